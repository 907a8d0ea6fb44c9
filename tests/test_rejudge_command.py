"""`hanhtrinh rejudge`: stored history judged again, shown before it is written, beside live work."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from detectors.fix import Fix, to_us
from hanhtrinh.rule_packs import RulePackError, load_pack
from hanhtrinh.rules_as_of import pack_as_of
from ingest.simulator import Fleet
from tests.running_worker import WorkerRig, journey, make_rig, message, rig, shifted
from tests.scenario import CAR, DRIVER, MONDAY, day, drive, fixes_of, stop
from tests.table_state import table_state
from tests.test_worker_order import small_day

__all__ = ["make_rig", "rig"]

REPOSITORY = Path(__file__).parents[1]
BEGIN_US = to_us(MONDAY)
DAY = ("--from", "2025-03-03", "--to", "2025-03-03")
TRIP = journey("V1", BEGIN_US, [50.0] * 3 + [75.0] * 12 + [50.0] * 6, driver_id="D1")
"""Two minutes at 75 km/h."""


async def started(rig: WorkerRig, *arguments: str, **settings: str) -> Process:
    variables = {f"HANHTRINH_{name.upper()}": value for name, value in settings.items()}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hanhtrinh", "rejudge", *arguments, stdin=DEVNULL, stdout=PIPE, stderr=PIPE,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "HANHTRINH_DATABASE_URL": rig.url, **variables},
    )  # fmt: skip


async def rejudge(rig: WorkerRig, *arguments: str, **settings: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    process = await started(rig, *arguments, **settings)
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def stored(rig: WorkerRig, fixes: Sequence[Fix]) -> None:
    await rig.append(message(fix) for fix in fixes)
    await rig.work_off()


async def speeding(rig: WorkerRig) -> list[tuple[str, float]]:
    rows = await rig.rows(
        "SELECT status, limit_kmh FROM violations WHERE kind = 'speeding' ORDER BY vehicle_id, started_at"
    )
    return [(status, limit_kmh) for status, limit_kmh in rows]


async def with_wrong_limit(rig: WorkerRig, wrong: int, right: int) -> None:
    """A trip judged by one limit, and the other imported after it."""
    await rig.imports("operator_id,name\nop1,One\n")
    await rig.imports(f"vehicle_id,operator_id,kind,limit_kmh\nV1,op1,goods,{wrong}\n")
    await stored(rig, TRIP)
    await rig.imports(f"vehicle_id,limit_kmh\nV1,{right}\n")
    await rig.work_off()


async def test_a_lowered_limit_adds_the_violations_of_the_past_and_says_why(rig: WorkerRig) -> None:
    await with_wrong_limit(rig, 80, 60)
    assert await speeding(rig) == []
    async with rig.worker():
        code, out, err = await rejudge(rig, "--vehicle", "V1", *DAY, "--yes", "--why", "limit corrected")
    assert code == 0, err
    shown = [each.replace("│", " ").split() for each in out.splitlines() if "op1" in each]
    assert shown == [["speeding", "op1", "1", "0", "0"]]
    assert "2025-03-03 00:00:00 +07" in err
    assert "judged again by the workers" in err
    assert await speeding(rig) == [("closed", 60.0)]
    assert await rig.rows("SELECT DISTINCT why FROM violation_revisions") == [("limit corrected",)]
    await rig.is_sound()


async def test_a_raised_limit_withdraws_them_and_a_second_start_changes_nothing(rig: WorkerRig) -> None:
    await with_wrong_limit(rig, 60, 80)
    assert await speeding(rig) == [("closed", 60.0)]
    async with rig.worker():
        assert (await rejudge(rig, *DAY, "--yes"))[0] == 0
        before = await rig.rows("SELECT * FROM violation_revisions")
        code, out, err = await rejudge(rig, *DAY, "--yes")
    assert (code, out) == (0, "")
    assert "0 violations would change, and 0 fixes" in err
    assert await speeding(rig) == [("withdrawn", 60.0)]
    assert await rig.rows("SELECT * FROM violation_revisions") == before
    await rig.is_sound()


async def test_looking_changes_nothing_and_tells_what_writing_then_does(rig: WorkerRig) -> None:
    await with_wrong_limit(rig, 60, 65)
    before = await table_state(rig.connection)
    revisions = await rig.rows("SELECT * FROM violation_revisions")
    code, out, _ = await rejudge(rig, *DAY, "--dry-run", "--json")
    assert code == 0
    (told,) = [json.loads(line) for line in out.splitlines()]
    assert before.differences(await table_state(rig.connection)) == ""
    assert await rig.rows("SELECT * FROM violation_revisions") == revisions
    assert await rig.rows("SELECT * FROM rejudge_marks") == []
    assert (told["change"], told["operator_id"]) == ("corrected", "op1")
    assert (told["before"]["limit_kmh"], told["after"]["limit_kmh"]) == (60.0, 65.0)
    async with rig.worker():
        await rejudge(rig, *DAY, "--yes")
    assert await rig.rows("SELECT violation_id, limit_kmh, excess_kmh FROM violations") == [
        (told["violation_id"], 65.0, told["after"]["excess_kmh"])
    ]


async def test_without_a_worker_the_command_does_the_work(rig: WorkerRig) -> None:
    await with_wrong_limit(rig, 80, 60)
    code, _, err = await rejudge(rig, "--operator", "op1", "--kind", "goods", *DAY, "--yes")
    assert code == 0
    assert "here: no worker reads their partitions" in err
    assert await speeding(rig) == [("closed", 60.0)]
    await rig.is_sound()


async def test_a_worker_that_reads_a_partition_keeps_the_command_from_it(rig: WorkerRig) -> None:
    await with_wrong_limit(rig, 80, 60)
    everything = {n for n in range(4)}
    (own,) = {partition for (partition,) in await rig.rows("SELECT partition FROM vehicle_anchors")}
    async with rig.worker(only=sorted(everything - {own})):
        assert "here: no worker" in (await rejudge(rig, *DAY, "--yes"))[2]
    await rig.imports("vehicle_id,limit_kmh\nV1,80\n")
    async with rig.worker(only=[own]):
        assert "by the workers" in (await rejudge(rig, *DAY, "--yes"))[2]


async def of_many_days(rig: WorkerRig) -> list[Fix]:
    """Ten vehicles, four half days each, judged by a limit of 100; then 60 is imported."""
    names = [f"29B-{n:05}" for n in range(10)]
    await rig.imports("vehicle_id,limit_kmh\n" + "".join(f"{name},100\n" for name in names))
    trips = [shifted([fix._replace(vehicle_id=name) for fix in TRIP], 43_200 * n) for name in names for n in range(8)]
    fixes = [fix for trip in trips for fix in trip]
    await stored(rig, sorted(fixes, key=lambda fix: fix.time_us))
    await rig.imports("vehicle_id,limit_kmh\n" + "".join(f"{name},60\n" for name in names))
    await rig.work_off()
    return fixes


FOUR_DAYS = ("--from", "2025-03-03", "--to", "2025-03-07")


async def test_law_2_killed_in_the_middle_and_started_again_it_ends_as_undisturbed(rig: WorkerRig) -> None:
    await of_many_days(rig)
    assert await speeding(rig) == []
    process = await started(rig, *FOUR_DAYS, "--yes")
    await rig.until("SELECT count(*) BETWEEN 1 AND 8 FROM rejudge_marks")
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    waiting = await rig.one("SELECT count(*) FROM rejudge_marks")
    assert 0 < waiting < 10
    code, _, err = await rejudge(rig, *FOUR_DAYS, "--yes")
    assert code == 0, err
    assert await speeding(rig) == [("closed", 60.0)] * 80
    assert (
        await rig.one(
            "SELECT count(*) FROM violation_revisions WHERE change = 'opened' AND after ->> 'kind' = 'speeding'"
        )
        == 80
    )
    await rig.is_sound()


async def test_live_fixes_and_late_ones_meanwhile_are_judged_as_ever(rig: WorkerRig) -> None:
    fixes = await of_many_days(rig)
    last_us = max(fix.time_us for fix in fixes)
    names = sorted({fix.vehicle_id for fix in fixes})
    live = [fix for name in names for fix in journey(name, last_us + 600_000_000, [75.0] * 20 + [50.0] * 5)]
    late = [fix for name in names for fix in journey(name, BEGIN_US + 3_600_000_000, [75.0] * 10)]
    async with rig.worker() as task:
        command = asyncio.create_task(rejudge(rig, *FOUR_DAYS, "--yes"))
        for n in range(0, len(live), 10):
            await rig.append(message(fix) for fix in live[n : n + 10] + late[n : n + 10])
            await asyncio.sleep(0.1)
        code, _, err = await command
        await rig.worked_off(60.0, task)
    assert code == 0, err
    assert len(await speeding(rig)) > 80
    await rig.is_sound()


async def test_a_stretch_of_many_days_is_judged_in_parts_and_alike(rig: WorkerRig) -> None:
    """Random half days, and hours across them, against the judge that sees all at once."""
    fleet: Fleet = small_day(11)
    fixes = [fix for delivery in fleet.deliveries() for fix in delivery.fixes]
    fixes = sorted({*fixes, *shifted(fixes, 86_400), *shifted(fixes, 3 * 86_400)}, key=lambda fix: fix.time_us)
    await stored(rig, fixes)
    names = sorted({fix.vehicle_id for fix in fixes})
    await rig.imports("vehicle_id,limit_kmh,kind\n" + "".join(f"{name},45,taxi\n" for name in names))
    code, _, err = await rejudge(rig, "--from", "2026-03-01", "--to", "2026-03-10", "--yes")
    assert code == 0, err
    assert await rig.one("SELECT count(*) FROM violations WHERE limit_kmh = 45") > 10
    await rig.is_sound()


async def test_an_episode_over_midnight_is_judged_whole(rig: WorkerRig) -> None:
    await rig.imports("vehicle_id,limit_kmh\nV1,80\n")
    midnight_us = load_pack().midnight_us(date(2025, 3, 4))
    # Two hours before it: what judging begins from must be looked for.
    await stored(rig, journey("V1", midnight_us - 7_600_000_000, [50.0] * 740 + [75.0] * 40 + [50.0] * 10))
    await rig.imports("vehicle_id,limit_kmh\nV1,60\n")
    await rejudge(rig, "--from", "2025-03-04", "--to", "2025-03-04", "--yes")
    await rig.is_sound()
    assert await rig.rows("SELECT duration_s FROM violations") == [(390.0,)]


async def test_the_hours_of_the_drivers_of_a_kind_are_judged_again(rig: WorkerRig) -> None:
    await stored(
        rig, fixes_of(day(drive(hours=2, minutes=10), stop(minutes=6), drive(hours=2), stop(hours=9), drive(minutes=5)))
    )
    assert await rig.rows("SELECT kind, status FROM violations") == [("continuous_driving", "closed")]
    await rig.imports(f"vehicle_id,kind\n{CAR},taxi\n")
    await rejudge(rig, "--driver", DRIVER, *DAY, "--yes")
    assert await rig.rows("SELECT kind, status FROM violations") == [("continuous_driving", "withdrawn")]
    await rig.is_sound()


async def test_the_rules_of_another_day_can_be_looked_at_and_not_written(rig: WorkerRig) -> None:
    one = [drive(hours=3, minutes=50), stop(minutes=15), drive(hours=3), stop(hours=16, minutes=55)]
    await stored(
        rig,
        fixes_of(day(*one * 6, drive(hours=3, minutes=50), stop(minutes=15), drive(hours=3, minutes=11)), every_s=240),
    )
    assert await rig.rows("SELECT kind FROM violations") == [("weekly_driving",)]
    week = ("--from", "2025-03-03", "--to", "2025-03-10", "--rules-as-of", "2024-06-01")
    code, out, _ = await rejudge(rig, *week, "--dry-run", "--json")
    assert code == 0
    assert [(each["change"], each["kind"]) for each in map(json.loads, out.splitlines())] == [
        ("withdrawn", "weekly_driving")
    ]
    code, _, err = await rejudge(rig, *week, "--yes")
    assert code == 2
    assert "give --dry-run" in err
    assert await rig.rows("SELECT kind, status FROM violations") == [("weekly_driving", "open")]


def test_a_pack_of_a_day_before_its_first_rule_is_refused() -> None:
    with pytest.raises(RulePackError, match="no rule on speeding was in force on 1990-01-01"):
        pack_as_of(load_pack(), date(1990, 1, 1))


async def test_what_was_judged_from_fixes_that_are_gone_stands(rig: WorkerRig) -> None:
    """Old fixes are dropped in time; neither a request nor a late fix of then withdraws what they proved."""
    await rig.imports("vehicle_id,limit_kmh\nV1,60\n")
    await stored(rig, [*TRIP, *shifted(TRIP, 86_400), *shifted(TRIP, 2 * 86_400)])
    assert await speeding(rig) == [("closed", 60.0)] * 3
    activity = await rig.rows("SELECT * FROM activity_changes ORDER BY time")
    await rig.rows("DELETE FROM fixes WHERE time < '2025-03-04T00:00+07' RETURNING 1")
    await rig.imports("vehicle_id,limit_kmh\nV1,80\n")
    await rig.work_off()
    await stored(rig, [TRIP[4]._replace(time_us=BEGIN_US - 3_600_000_000)])
    assert await speeding(rig) == [("closed", 60.0)] * 3
    code, _, err = await rejudge(rig, "--from", "2025-03-01", "--to", "2025-03-10", "--yes")
    assert code == 0
    assert "2 violations stand whose fixes are no longer stored" in err
    assert await speeding(rig) == [("closed", 60.0), ("withdrawn", 60.0), ("withdrawn", 60.0)]
    assert await rig.rows("SELECT * FROM activity_changes ORDER BY time") == activity
    code, _, err = await rejudge(rig, "--from", "2025-03-03", "--to", "2025-03-03", "--vehicle", "V1", "--yes")
    assert code == 0
    assert "2 violations stand" in err
    assert "0 violations would change, and 0 fixes" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*DAY], "give --yes to write, or --dry-run to look"),
        (["--from", "2025-03-04", "--to", "2025-03-03", "--yes"], "lies before --from"),
        ([*DAY, "--vehicle", "ghost", "--yes"], "no stored fixes for --vehicle ghost from 2025-03-03 00:00:00 +07"),
        ([*DAY, "--operator", "a", "--operator", "b", "--yes"], "no stored fixes for --operator a --operator b from"),
        ([*DAY, "--yes"], "no stored fixes of any vehicle from"),
        ([*DAY, "--kind", "lorry", "--yes"], "--kind 'lorry': expected one of city_bus, container"),
        (["--from", "0001-01-01", "--to", "2025-03-03", "--yes"], "--from 0001-01-01: expected a day from 1970 to"),
        (["--from", "2025-03-03", "--to", "9999-12-31", "--yes"], "--to 9999-12-31: expected a day from 1970 to"),
        ([*DAY, "--yes", "--why", "\n"], "expected a line of text"),
    ],
)
async def test_wrong_use_is_one_line(rig: WorkerRig, arguments: list[str], said: str) -> None:
    code, out, err = await rejudge(rig, *arguments)
    assert (code, out) == (2, "")
    assert said in err
