"""Present hours for panels: what the board publishes is what the judge says of the whole line, whatever came late."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from detectors.activity import Activity
from detectors.fix import Fix, to_us
from detectors.hours import HoursJudgement, Interval, Line, judge_hours
from detectors.hours_now import left_us, look_again_us
from detectors.rules.driving_time import HoursKind
from hanhtrinh.commands.hours import judge_timelines
from hanhtrinh.driver_packs import DriverPacks
from hanhtrinh.hours_board import HoursBoard
from hanhtrinh.rule_packs import load_hours
from storage.activity import ActivityStore
from storage.connect import connect
from storage.driver_now import DriverNowStore
from tests.running_worker import WorkerRig, make_rig, message, rig
from tests.scenario import CAR, DRIVER, MONDAY, Part, away, day, drive, fixes_of, intervals_of, stop
from tests.test_worker_order import shuffled

__all__ = ["make_rig", "rig"]

RULES = load_hours("vn").rules
CLOCKS = {
    HoursKind.CONTINUOUS: "continuous", HoursKind.DAILY: "day", HoursKind.WEEKLY: "week",
    HoursKind.FORTNIGHT: "fortnight",
}  # fmt: skip


async def publish(rig: WorkerRig) -> int:
    return await HoursBoard(DriverPacks(rig.pack.hours)).publish(rig.connection)


async def run(rig: WorkerRig, fixes: Sequence[Fix], **settings: Any) -> None:
    await rig.append(message(fix) for fix in fixes)
    await rig.work_off(**settings)


def figures(judgement: HoursJudgement) -> dict[str, float | None]:
    """As the table has them."""
    told: dict[str, float | None] = {}
    for kind, name in CLOCKS.items():
        clock = judgement.clocks.get(kind)
        told[f"{name}_s"] = None if clock is None else clock.driven_us / 1e6
        told[f"{name}_limit_s"] = None if clock is None or clock.limit_us is None else clock.limit_us / 1e6
    return told


async def published(rig: WorkerRig) -> dict[str, dict[str, Any]]:
    names = [f"{name}{what}_s" for name in CLOCKS.values() for what in ("", "_limit")]
    rows = await rig.rows(f"SELECT line_id, at, {', '.join(names)} FROM driver_now")
    return {line: {"at_us": to_us(at), **dict(zip(names, values, strict=True))} for line, at, *values in rows}


async def judged(rig: WorkerRig) -> dict[str, dict[str, Any]]:
    """What the judge says of the whole stored timeline of every line."""
    told = {}
    packs = DriverPacks(rig.pack.hours)
    named = dict(await rig.rows("SELECT driver_id, rule_pack FROM drivers"))
    for (name,) in await rig.rows("SELECT line_id FROM driver_hours"):
        kind, _, subject = name.partition(":")
        line = Line(subject, None) if kind == "driver" else Line(None, subject)
        intervals = (await ActivityStore(rig.connection).timeline([(line, 0)]))[line]
        judgement = judge_hours(line, intervals, packs.named(named.get(subject)))
        told[name] = {"at_us": judgement.judged_to_us, **figures(judgement)}
    return told


async def one(rig: WorkerRig, columns: str = "*") -> tuple[Any, ...]:
    (row,) = await rig.rows(f"SELECT {columns} FROM panels.drivers_now")
    return row


async def test_the_figures_are_those_that_the_hours_command_finds(rig: WorkerRig) -> None:
    story = day(drive(hours=3), stop(minutes=20), drive(hours=2), stop(minutes=5), drive(hours=1, minutes=10))
    await run(rig, fixes_of(story))
    assert await publish(rig) == 1
    judgement = judge_timelines({Line(DRIVER, None): intervals_of(story)}, RULES)[Line(DRIVER, None)]
    assert await published(rig) == {f"driver:{DRIVER}": {"at_us": judgement.judged_to_us, **figures(judgement)}}
    assert await one(rig, "continuous_s, day_s, week_s, nearest_kind, left_s, state") == (
        11_400.0, 22_200.0, 22_200.0, "continuous_driving", 3_000.0, "driving",
    )  # fmt: skip


def two_weeks() -> Iterator[Part]:
    """Two drivers who change vehicles, days and nights, and somebody unnamed."""
    dice = random.Random(5)
    for number in range(12):
        for _ in range(dice.randrange(2, 5)):
            yield drive(minutes=dice.randrange(30, 250), vehicle=dice.choice("AB"), driver=dice.choice(("D1", "D2")))
            yield dice.choice((stop, away))(minutes=dice.choice((3, 14, 15, 16, 50)))
        yield away(hours=dice.randrange(6, 30) if number % 5 else 60)


async def test_whenever_published_every_line_stands_as_its_whole_timeline_says(rig: WorkerRig) -> None:
    await rig.rows("INSERT INTO drivers (driver_id, rule_pack) VALUES ('D2', 'eu') RETURNING 1")
    fixes = fixes_of(day(*two_weeks()), every_s=200)
    unnamed = [fix._replace(vehicle_id="C", driver_id=None) for fix in fixes if fix.vehicle_id == "A"]
    every = sorted(fixes + unnamed, key=lambda fix: fix.time_us)
    step, seen = len(every) // 8, 0
    for first in range(0, len(every), step):
        await run(rig, every[first : first + step])
        await publish(rig)
        told = await published(rig)
        expected = await judged(rig)
        # Lines looked at less than their wait ago may be behind: those that are not must be equal.
        current = {name for name, row in told.items() if row["at_us"] == expected[name]["at_us"]}
        assert {name: told[name] for name in current} == {name: expected[name] for name in current}
        seen += len(current)
    assert seen > 8
    await rig.rows("UPDATE driver_now SET look_at = '-infinity' RETURNING 1")
    await rig.rows("UPDATE driver_hours SET judgements = judgements + 1 RETURNING 1")
    await publish(rig)
    assert await published(rig) == await judged(rig)
    assert {name.partition(":")[0] for name in await published(rig)} == {"driver", "vehicle"}


async def test_late_fixes_correct_what_was_published(rig: WorkerRig) -> None:
    fixes = fixes_of(day(drive(hours=1), stop(minutes=30), drive(hours=2), stop(minutes=3)))
    rest = [fix for fix in fixes if fix.speed_kmh == 0.0 and fix.time_us < to_us(MONDAY + timedelta(hours=2))]
    held = [fix for fix in fixes if to_us(MONDAY) + 1_800e6 < fix.time_us < to_us(MONDAY) + 5_400e6]
    assert set(rest) & set(held)
    await run(rig, [fix for fix in fixes if fix not in held])
    await publish(rig)
    before = await published(rig)
    # Nothing newer is heard of the vehicle: only its past changed.
    await run(rig, held)
    assert await publish(rig) == 1
    assert await published(rig) == await judged(rig) != before
    assert (await one(rig, "continuous_s, day_s")) == (7_200.0, 10_800.0)
    assert await publish(rig) == 0


@pytest.mark.parametrize("seed", range(3))
async def test_any_order_of_the_same_fixes_ends_in_the_same_figures(rig: WorkerRig, seed: int) -> None:
    rng = random.Random(seed)
    fixes = fixes_of(day(*list(two_weeks())[:30]), every_s=240)
    messages = list(shuffled(fixes, rng))
    for first in range(0, len(messages), 200):
        await rig.append(messages[first : first + 200])
        await rig.work_off()
        if rng.random() < 0.5:
            await publish(rig)
    await rig.rows("UPDATE driver_now SET look_at = '-infinity' RETURNING 1")
    while await publish(rig):
        await rig.rows("UPDATE driver_now SET look_at = at + interval '1 day' RETURNING 1")
    assert await published(rig) == await judged(rig)


async def test_a_vehicle_without_a_named_driver_has_hours_of_its_own(rig: WorkerRig) -> None:
    fixes = [fix._replace(driver_id=None) for fix in fixes_of(day(drive(hours=2)))]
    await run(rig, fixes)
    await publish(rig)
    assert await one(rig, "line_id, driver_id, vehicle_id, continuous_s, state") == (
        f"vehicle:{CAR}", None, CAR, 7_200.0, "driving",
    )  # fmt: skip


async def test_what_is_driven_since_counts_at_once_and_equals_the_next_judgement(rig: WorkerRig) -> None:
    fixes = fixes_of(day(drive(hours=2, minutes=10)))
    await run(rig, fixes[:121])
    await publish(rig)
    await run(rig, fixes[121:])
    begun = to_us(MONDAY)
    at, continuous_s, left_s, heard_at = await one(rig, "at, continuous_s, left_s, heard_at")
    assert (to_us(at), to_us(heard_at)) == (begun + 7_800_000_000,) * 2
    assert (continuous_s, left_s) == (7_800.0, 6_600.0)
    assert await publish(rig) == 0
    await rig.rows("UPDATE driver_now SET look_at = at RETURNING 1")
    assert await publish(rig) == 1
    assert await one(rig, "at, continuous_s, left_s, heard_at") == (at, continuous_s, left_s, heard_at)


async def test_nothing_is_added_beyond_the_moment_at_which_it_would_be_judged_anew(rig: WorkerRig) -> None:
    fixes = fixes_of(day(drive(hours=3, minutes=30)))
    await run(rig, fixes[:121])
    await publish(rig)
    await run(rig, fixes[121:])
    assert await one(rig, "continuous_s") == (7_200.0 + 720.0,)
    assert await publish(rig) == 1
    assert await one(rig, "continuous_s, left_s") == (12_600.0, 1_800.0)


async def test_a_driver_whom_another_relieved_is_away(rig: WorkerRig) -> None:
    story = day(drive(hours=1), drive(hours=1, minutes=5, driver="D2"))
    fixes = fixes_of(story)
    await run(rig, fixes[:40])
    await publish(rig)
    await run(rig, fixes[40:])
    await publish(rig)
    rows = await rig.rows("SELECT driver_id, state, continuous_s FROM panels.drivers_now ORDER BY 1")
    assert rows == [(DRIVER, "away", 3_600.0), ("D2", "driving", 3_900.0)]
    assert await publish(rig) == 0


async def test_what_was_driven_while_nobody_looked_is_found(rig: WorkerRig) -> None:
    story = day(drive(hours=1), drive(hours=1, driver="D2"), drive(hours=2), drive(hours=1, driver="D2"))
    fixes = fixes_of(story)
    await run(rig, fixes[:70])
    await publish(rig)
    await run(rig, fixes[70:])
    while await publish(rig):
        pass
    assert await published(rig) == await judged(rig)
    await rig.rows("DELETE FROM driver_now RETURNING 1")
    assert await publish(rig) == 2
    assert await published(rig) == await judged(rig)


async def test_those_nearest_to_a_limit_are_looked_at_first(rig: WorkerRig) -> None:
    hours = {"D1": 1.0, "D2": 3.5, "D3": 2.0, "D4": 0.5}
    fixes = {
        name: fixes_of(day(drive(hours=part, vehicle=f"V-{name}", driver=name), stop(minutes=40)))
        for name, part in hours.items()
    }
    await run(rig, sorted((fix for sent in fixes.values() for fix in sent[:-35]), key=lambda fix: fix.time_us))
    await publish(rig)
    await run(rig, sorted((fix for sent in fixes.values() for fix in sent[-35:]), key=lambda fix: fix.time_us))
    store = DriverNowStore(rig.connection)
    assert [each.line.driver_id for each in await store.due(9)] == ["D2", "D3", "D1", "D4"]
    assert [each.line.driver_id for each in await store.due(2)] == ["D2", "D3"]


async def test_two_processes_do_the_work_of_one(rig: WorkerRig) -> None:
    await run(rig, fixes_of(day(drive(hours=1))))
    other = await connect(rig.url)
    try:
        assert await DriverNowStore(other).lock()
        assert await publish(rig) == 0
        await DriverNowStore(other).unlock()
        assert await publish(rig) == 1
    finally:
        await other.close()


@pytest.mark.parametrize("pack", ["vn", "eu"])
def test_nobody_comes_near_a_limit_unseen(pack: str) -> None:
    """Driving on from any moment, the look comes with nine tenths of what was left still left, or a minute after."""
    rules, dice = load_hours(pack).rules, random.Random(3)
    for _ in range(300):
        at_us, intervals = to_us(datetime.fromisoformat("2026-03-02T05:00:00+07:00")), []
        for _ in range(dice.randrange(1, 12)):
            end_us = at_us + dice.randrange(60, 9_000) * 1_000_000
            intervals.append(Interval(at_us, end_us, dice.choice((Activity.DRIVING, Activity.STOPPED)), CAR))
            at_us = end_us
        before = judge_hours(Line(DRIVER, None), intervals, rules)
        look_us = look_again_us(before, rules)
        assert before.judged_to_us < look_us <= before.judged_to_us + 1_800_000_000
        driven_on = [*intervals, Interval(at_us, look_us, Activity.DRIVING, CAR)]
        after = judge_hours(Line(DRIVER, None), driven_on, rules)
        left_before, left_after = left_us(before), left_us(after)
        assert left_before is not None
        assert left_after is not None
        new_day = rules.calendar.day_begin(look_us) != rules.calendar.day_begin(before.judged_to_us)
        assert new_day or left_after >= min(left_before * 0.9, left_before - 60_000_000) - 1
