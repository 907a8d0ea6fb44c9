"""The worker in process, on the embedded log and a real database: what it makes of fixes, in order and late."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from detectors.fix import Fix, to_us
from hanhtrinh.rule_packs import load_pack
from ingest.formats import FormatRegistry
from ingest.log import LogError
from ingest.raw import RawMessage
from tests.running_worker import RigMaker, WorkerRig, journey, make_rig, message, rig
from tests.speeding_trip import BEGIN_US, TRIP
from tests.table_state import table_state

__all__ = ["make_rig", "rig"]


async def test_orderly_messages_become_fixes_activity_violations_and_alerts(rig: WorkerRig) -> None:
    await rig.append(message(fix) for fix in TRIP)
    await rig.work_off()
    await rig.is_sound()
    assert await rig.one("SELECT count(*) FROM fixes WHERE flags = 0") == len(TRIP)
    found = await rig.rows(
        "SELECT started_at, ended_at, fixes, top_speed_kmh, status, grade, limit_source FROM violations"
        " ORDER BY started_at"
    )
    assert found == [
        (TRIP[3].time, TRIP[12].time, 9, 97.0, "closed", "review", "class"),
        (TRIP[16].time, TRIP[18].time, 3, 90.0, "closed", "review", "class"),
    ]
    alerts = await rig.rows("SELECT stage, event_at, push FROM alerts ORDER BY event_at, stage")
    assert alerts == [
        ("opened", TRIP[5].time, True),
        ("closed", TRIP[13].time, True),
        ("opened", TRIP[18].time, True),
        ("closed", TRIP[19].time, True),
    ]


@pytest.mark.parametrize(
    "late",
    [[3], [5], [6, 7], [4, 5, 6, 7, 8, 9], [13], [13, 14, 15], [0], [19], [16, 17], range(3, 13), range(1, 19, 2)],
    ids=str,
)
async def test_late_fixes_end_in_what_they_would_have_been_in_time(make_rig: RigMaker, late: Sequence[int]) -> None:
    in_time, behind = await make_rig(), await make_rig()
    await in_time.append(message(fix) for fix in TRIP)
    await in_time.work_off()
    await behind.append(message(fix) for number, fix in enumerate(TRIP) if number not in late)
    await behind.work_off()
    await behind.append([message(*(TRIP[number] for number in late))])
    await behind.work_off()
    await behind.is_sound()
    expected = await table_state(in_time.connection)
    assert expected.differences(await table_state(behind.connection), alerts=False) == ""


async def test_a_late_fix_may_split_an_episode_before_fixes_that_belonged_to_it(make_rig: RigMaker) -> None:
    # After it comes a fix above the limit that counts for nothing, and only then the second episode.
    slow = TRIP[6]._replace(time_us=TRIP[6].time_us + 5_000_000, speed_kmh=40.0)
    in_time, behind = await make_rig(), await make_rig()
    await in_time.append(message(fix) for fix in [*TRIP[:7], slow, *TRIP[7:]])
    await in_time.work_off()
    for fixes in (TRIP, [slow]):
        await behind.append(message(fix) for fix in fixes)
        await behind.work_off()
    await behind.is_sound()
    expected = await table_state(in_time.connection)
    assert len(expected.violations) == 3
    assert expected.differences(await table_state(behind.connection), alerts=False) == ""


async def test_a_late_fix_that_moves_the_start_replaces_the_violation_and_tells_nobody_again(rig: WorkerRig) -> None:
    await rig.append(message(fix) for fix in TRIP[:3] + TRIP[4:])
    await rig.work_off()
    old = await rig.one("SELECT violation_id FROM violations ORDER BY started_at LIMIT 1")
    await rig.append([message(TRIP[3])])
    await rig.work_off()
    assert await rig.one("SELECT status FROM violations WHERE violation_id = %s", old) == "withdrawn"
    new, supersedes = (
        await rig.rows("SELECT violation_id, supersedes FROM violations WHERE started_at = %s", TRIP[3].time)
    )[0]
    assert supersedes == [old]
    assert await rig.rows("SELECT stage, push FROM alerts WHERE violation_id = %s ORDER BY stage", new) == [
        ("closed", True),
        ("opened", False),
    ]
    assert await rig.rows(
        "SELECT violation_id, change, why FROM violation_revisions WHERE why LIKE '%%late%%' OR why LIKE '%%place%%'"
        " ORDER BY at"
    ) == [(old, "withdrawn", "1 late fixes"), (new, "opened", "takes the place of a withdrawn one")]


async def test_a_worker_that_starts_before_late_fixes_are_judged_again_tells_nobody_twice(rig: WorkerRig) -> None:
    await rig.append(message(fix) for fix in TRIP[:3] + TRIP[4:9])
    await rig.work_off()
    old = await rig.one("SELECT violation_id FROM violations")
    await rig.append([message(TRIP[3])])
    async with rig.worker(late_settle_ms=60_000):
        await rig.until("SELECT EXISTS (SELECT FROM rejudge_marks)")
    await rig.append(message(fix) for fix in TRIP[9:11])
    async with rig.worker(late_settle_ms=60_000):
        await rig.until("SELECT count(*) = 11 FROM fixes")
    await rig.append(message(fix) for fix in TRIP[11:])
    await rig.work_off()
    await rig.is_sound()
    assert await rig.rows(
        "SELECT violation_id, push FROM alerts WHERE stage = 'opened' AND event_at < %s AND push", TRIP[12].time
    ) == [(old, True)]
    assert await rig.one("SELECT supersedes FROM violations WHERE started_at = %s", TRIP[3].time) == [old]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    "loses",
    [
        TRIP[6]._replace(lat=22.0),
        TRIP[6]._replace(speed_kmh=99.0),
        TRIP[6]._replace(speed_kmh=None),
        TRIP[6]._replace(valid=False, speed_kmh=10.0),
        TRIP[6]._replace(driver_id=None),
        TRIP[6]._replace(odometer_km=5.0),
    ],
    ids=["lat", "speed", "no speed", "flagged", "driver", "odometer"],
)
async def test_two_fixes_of_one_moment_are_settled_by_content_whichever_comes_first(
    make_rig: RigMaker, loses: Fix, together: bool
) -> None:
    wins = TRIP[6]._replace(odometer_km=1.0) if loses.odometer_km else TRIP[6]
    states = []
    for first, second in ((wins, loses), (loses, wins)):
        rig = await make_rig()
        trip = [*TRIP[:6], first, *TRIP[7:]]
        if together:
            await rig.append(message(fix) for fix in [*trip, second])
            await rig.work_off()
        else:
            await rig.append(message(fix) for fix in trip)
            await rig.work_off()
            await rig.append([message(second)])
            await rig.work_off()
        await rig.is_sound()
        states.append(await table_state(rig.connection))
        reason, payload = (await rig.rows("SELECT reason, payload FROM dead_letters"))[0]
        assert reason == "conflict"
        assert FormatRegistry().decode(RawMessage(f"hanhtrinh/{loses.vehicle_id}", payload, 0)).fixes == [loses]
        assert await rig.rows("SELECT sum(fixes), sum(doubled), sum(letters) FROM log_positions") == [(22, 0, 1)]
    assert states[0].differences(states[1], alerts=False) == ""


async def test_doubled_fixes_are_counted_and_change_nothing(make_rig: RigMaker) -> None:
    once, twice = await make_rig(), await make_rig()
    await once.append(message(fix) for fix in TRIP)
    await once.work_off()
    await twice.append(message(fix) for fix in TRIP for _ in range(2))
    await twice.work_off(batch_max_messages=7)
    await twice.append([message(*TRIP), message(TRIP[0], TRIP[0])])
    await twice.work_off()
    await twice.is_sound()
    assert (await table_state(once.connection)).differences(await table_state(twice.connection)) == ""
    counted = await twice.rows("SELECT sum(messages), sum(fixes), sum(doubled), sum(letters) FROM log_positions")
    assert counted == [(46, 22, 46, 0)]


async def test_a_log_with_another_number_of_partitions_is_refused(rig: WorkerRig) -> None:
    await rig.append([message(TRIP[0])])
    with pytest.raises(LogError, match="has 4 partitions, 8 are configured"):
        await rig.work_off(log_partitions=8)


async def test_the_limit_of_the_registry_counts(rig: WorkerRig) -> None:
    await rig.connection.execute("INSERT INTO operators (operator_id, name) VALUES ('OP', 'Thang Long')")
    await rig.connection.execute(
        "INSERT INTO vehicles (vehicle_id, operator_id, limit_kmh, speed_class)"
        " VALUES ('29B-00001', 'OP', 50, 'heavy'), ('V2', NULL, NULL, 'trailer')"
    )
    for vehicle_id in ("29B-00001", "V2", "V3"):
        await rig.append(message(fix._replace(vehicle_id=vehicle_id)) for fix in TRIP)
    await rig.work_off()
    await rig.is_sound()
    assert await rig.rows(
        "SELECT DISTINCT vehicle_id, limit_kmh, limit_source, grade, operator_id FROM violations ORDER BY vehicle_id"
    ) == [
        ("29B-00001", 50.0, "vehicle", "confirmed", "OP"),
        ("V2", 50.0, "class", "review", None),
        ("V3", 80.0, "class", "review", None),
    ]


async def test_overrides_of_the_rule_pack_judge_a_sparse_tracker(make_rig: RigMaker) -> None:
    sparse = [fix._replace(time_us=BEGIN_US + n * 120_000_000, lat=21 + n * 0.02) for n, fix in enumerate(TRIP)]
    found = []
    for overrides in ((), ("speeding.max_gap_s=300",)):
        rig = await make_rig(pack=load_pack("vn", overrides))
        await rig.append(message(fix) for fix in sparse)
        await rig.work_off()
        await rig.is_sound()
        found.append(await rig.rows("SELECT (judged_by->>'max_gap_s')::float, fixes FROM violations ORDER BY 2"))
    assert found == [[], [(300.0, 3), (300.0, 9)]]


async def test_an_anchor_is_moved_when_it_is_old_and_the_vehicle_is_rebuilt_behind_it(rig: WorkerRig) -> None:
    long = journey("29B-00001", BEGIN_US, [50.0] * 800, driver_id="D1")
    await rig.append(message(fix) for fix in long)
    await rig.work_off(batch_max_messages=20)
    # Over two hours and a quarter, each move after half an hour at least and an hour at most.
    settled = await rig.one("SELECT settled_at FROM vehicle_anchors")
    assert 0 <= (long[-1].time - settled).total_seconds() <= 3_600
    assert settled > long[0].time
    await rig.append(message(fix) for fix in journey("29B-00001", long[-1].time_us + 10_000_000, [50.0] * 5))
    await rig.work_off()
    await rig.is_sound()


async def test_fixes_of_several_months_in_one_batch_each_get_their_partition(rig: WorkerRig) -> None:
    before_us = to_us(datetime(2026, 1, 31, 23, 59, tzinfo=UTC))
    trips = [journey(name, before_us + days * 86_400_000_000, [50.0] * 12) for name, days in (("A", 0), ("B", 59))]
    await rig.append(message(fix) for trip in trips for fix in trip)
    await rig.work_off()
    assert await rig.one("SELECT count(DISTINCT date_trunc('month', time, 'UTC')) FROM fixes") == 4
    # Where all lie that have no partition; TimescaleDB has no such place.
    if await rig.one("SELECT to_regclass('fixes_elsewhen') IS NOT NULL"):
        assert await rig.one("SELECT count(*) FROM fixes_elsewhen") == 0
