"""The worker in process, on the embedded log and a real database: what it makes of every kind of message."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import pytest

from detectors.fix import Fix, to_us
from hanhtrinh.rule_packs import load_pack
from ingest.formats import FormatRegistry
from ingest.log import LogError
from ingest.partitioning import Partitioner
from ingest.raw import RawMessage
from tests.running_worker import PARTITIONS, RECEIVED_US, RigMaker, WorkerRig, journey, make_rig, message, rig
from tests.table_state import table_state

__all__ = ["make_rig", "rig"]

BEGIN_US = to_us(datetime(2026, 3, 4, 1, tzinfo=UTC))
# Speeding against the 80 km/h of an unregistered vehicle: 60 s above, a dip that does not end it, and again above.
SPEEDS = [40, 60, 78, 92, 95, 97, 92, 83, 90, 91, 93, 92, 85, 78, 60, 60, 88, 89, 90, 60, 40, 40]
TRIP = journey("29B-00001", BEGIN_US, SPEEDS, driver_id="D1", satellites=9)


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


GOOD = msgspec.json.encode({"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8})
UNUSABLE = {
    "empty": (b"", b" \n", b"[]"),
    "bad_json": (b"\xff\xfe\x00", b"{" + b"a" * 2_000, b"\x00", b"[" * 20_000, b'{"lat": NaN}', GOOD + GOOD),
    "bad_schema": (b"7", b'"lat"', b'{"time": "2026-03-04T01:00:00Z", "lat": "21", "lon": 105.8}', b"{}"),
    "no_position": (b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0}',),
    "naive_time": (b'{"time": "2026-03-04T01:00:00", "lat": 21.0, "lon": 105.8}',),
    "bad_value": (
        b'{"time": "2026-03-04T01:00:00Z", "lat": 90.0000001, "lon": 105.8}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": -180.0000001}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "speed_kmh": -0.001}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "speed_kmh": 1000.001}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "heading_deg": 360.01}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "odometer_km": 100000001}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "hdop": 1e308}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "satellites": 101}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "satellites": 40000}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "satellites": 65545}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "satellites": 4294967305}',
        b'{"time": -1, "lat": 21.0, "lon": 105.8}',
        b'{"time": 4133980800000, "lat": 21.0, "lon": 105.8}',
        b'{"time": 999999999999999999999999999999, "lat": 21.0, "lon": 105.8}',
        b'{"time": "2101-01-01T00:00:00Z", "lat": 21.0, "lon": 105.8}',
        b'{"time": "0001-01-01T00:00:00+07:00", "lat": 21.0, "lon": 105.8}',
    ),
    "bad_id": (
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "driver_id": "a\\u0000b"}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "driver_id": "' + b"d" * 65 + b'"}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "vehicle_id": "another"}',
    ),
}


async def test_a_message_that_cannot_be_used_is_a_dead_letter_with_its_bytes_and_the_reason(rig: WorkerRig) -> None:
    sent = {payload: reason for reason, payloads in UNUSABLE.items() for payload in payloads}
    await rig.append([message(TRIP[0])])
    await rig.append(RawMessage("hanhtrinh/29B-00001", payload, RECEIVED_US) for payload in sent)
    await rig.append([RawMessage("elsewhere/\x01", GOOD, RECEIVED_US), message(TRIP[1])])
    await rig.work_off()
    await rig.is_sound()
    kept = await rig.rows("SELECT payload, reason FROM dead_letters WHERE topic LIKE 'hanhtrinh/%%'")
    assert dict(kept) == sent
    assert await rig.rows("SELECT payload, reason FROM dead_letters WHERE topic LIKE 'elsewhere%%'") == [
        (GOOD, "unknown_topic")
    ]
    assert await rig.one("SELECT count(*) FROM fixes") == 2


async def test_the_same_unusable_bytes_are_one_letter_however_often_they_come(rig: WorkerRig) -> None:
    await rig.append([RawMessage("hanhtrinh/29B-00001", b"{", RECEIVED_US + n) for n in range(5)])
    await rig.work_off(batch_max_messages=2)
    assert await rig.one("SELECT count(*) FROM dead_letters") == 1
    assert await rig.one("SELECT sum(letters) FROM log_positions") == 5


async def test_of_a_list_that_is_partly_bad_the_good_positions_are_kept(rig: WorkerRig) -> None:
    good = message(TRIP[0]).payload
    bad = b'{"time": "2026-03-04T01:00:00Z", "lat": 95, "lon": 105.8}'
    payload = b"[" + b",".join((good, bad, message(TRIP[1]).payload, b"null")) + b"]"
    await rig.append([RawMessage("hanhtrinh/29B-00001", payload, RECEIVED_US)])
    await rig.work_off()
    await rig.is_sound()
    assert await rig.one("SELECT count(*) FROM fixes") == 2
    letters = await rig.rows("SELECT reason, left(detail, 4), payload FROM dead_letters ORDER BY detail")
    assert letters == [("bad_value", "[1] ", payload), ("bad_schema", "[3] ", payload)]


async def test_messages_that_are_no_position_by_design_are_counted_and_leave_nothing(rig: WorkerRig) -> None:
    await rig.append([RawMessage("owntracks/bus/7", b'{"_type": "lwt", "tst": 1772586000}', RECEIVED_US)])
    await rig.work_off()
    assert await rig.rows("SELECT sum(messages), sum(ignored), sum(letters) FROM log_positions") == [(1, 1, 0)]


@pytest.mark.parametrize("refused", [[0], [21], [5, 6], [0, 7, 14, 21], range(22)], ids=str)
async def test_what_the_database_refuses_is_put_aside_alone(make_rig: RigMaker, refused: Sequence[int]) -> None:
    without, rig = await make_rig(), await make_rig()
    await rig.connection.execute("ALTER TABLE fixes ADD CHECK (satellites <> 13)")
    await rig.append(
        message(fix._replace(satellites=13) if number in refused else fix) for number, fix in enumerate(TRIP)
    )
    await rig.work_off()
    await rig.is_sound()
    await without.append(message(fix) for number, fix in enumerate(TRIP) if number not in refused)
    await without.work_off()
    expected, found = await table_state(without.connection), await table_state(rig.connection)
    assert (expected.fixes, expected.violations, expected.activity) == (found.fixes, found.violations, found.activity)
    letters = await rig.rows("SELECT reason, payload FROM dead_letters ORDER BY log_offset")
    assert letters == [("refused_by_database", message(TRIP[n]._replace(satellites=13)).payload) for n in refused]
    assert "check constraint" in await rig.one("SELECT min(detail) FROM dead_letters")


async def test_wherever_a_worker_is_replaced_the_next_one_goes_on_as_if_nothing_was(make_rig: RigMaker) -> None:
    undisturbed, restarted = await make_rig(), await make_rig()
    trips = [[fix._replace(vehicle_id=f"V{cut}") for fix in TRIP] for cut in range(len(TRIP) + 1)]
    for cut, trip in enumerate(trips):
        await restarted.append(message(fix) for fix in trip[:cut])
    await restarted.work_off()
    for cut, trip in enumerate(trips):
        await restarted.append(message(fix) for fix in trip[cut:])
    await restarted.work_off()
    await restarted.is_sound()
    await undisturbed.append(message(fix) for trip in trips for fix in trip)
    await undisturbed.work_off()
    assert (await table_state(undisturbed.connection)).differences(await table_state(restarted.connection)) == ""


async def test_a_worker_stopped_with_late_fixes_not_judged_again_leaves_them_to_the_next(make_rig: RigMaker) -> None:
    in_time, rig = await make_rig(), await make_rig()
    await in_time.append(message(fix) for fix in TRIP)
    await in_time.work_off()
    await rig.append(message(fix) for fix in TRIP[:6] + TRIP[9:] + TRIP[6:9])
    async with rig.worker(late_settle_ms=60_000, batch_max_messages=5):
        await rig.until("SELECT count(*) = 22 FROM fixes")
    assert await rig.rows("SELECT vehicle_id, late_fixes FROM rejudge_marks") == [("29B-00001", 3)]
    await rig.work_off()
    await rig.is_sound()
    expected = await table_state(in_time.connection)
    assert expected.differences(await table_state(rig.connection), alerts=False) == ""


async def test_two_workers_on_the_same_partitions_fence_each_other_and_the_result_is_the_same(
    make_rig: RigMaker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    undisturbed, contested = await make_rig(), await make_rig()
    fixes = [fix._replace(vehicle_id=f"V{n}") for fix in TRIP for n in range(12)]
    random.Random(1).shuffle(fixes)
    for each in (undisturbed, contested):
        await each.append(message(fix) for fix in fixes)
    await undisturbed.work_off()
    async with contested.worker(batch_max_messages=20) as one, contested.worker(batch_max_messages=30) as two:
        await contested.worked_off(60, one, two)
    await contested.is_sound()
    assert "another worker has moved on" in caplog.text
    expected = await table_state(undisturbed.connection)
    assert expected.differences(await table_state(contested.connection), alerts=False) == ""


def a_shared_driver() -> tuple[list[Fix], list[Fix]]:
    """One driver for 2.5 hours in one vehicle and, six minutes later, 2 hours in another of another partition."""
    partitioner = Partitioner(PARTITIONS)
    one, two = next(pair for pair in pairwise(f"29H-{n:05d}" for n in range(100))
                    if partitioner.partition(pair[0]) != partitioner.partition(pair[1]))  # fmt: skip
    first = journey(one, BEGIN_US, [60.0] * 900 + [0.0] * 6, driver_id="D7")
    second = journey(two, first[-1].time_us + 360_000_000, [50.0] * 720 + [0.0] * 120, driver_id="D7")
    return first, second


@pytest.mark.parametrize("seed", range(4))
async def test_a_driver_in_vehicles_of_two_workers_is_judged_the_same_in_any_interleaving(
    make_rig: RigMaker, seed: int
) -> None:
    rng = random.Random(seed)
    undisturbed, rig = await make_rig(), await make_rig()
    first, second = a_shared_driver()
    await undisturbed.append(message(fix) for fix in first + second)
    await undisturbed.work_off()
    expected = await table_state(undisturbed.connection)
    assert [row["kind"] for row in expected.violations] == ["continuous_driving"]
    partitions = [Partitioner(PARTITIONS).partition(trip[0].vehicle_id) for trip in (first, second)]
    pieces = [trip[n : n + 60] for trip in (first, second) for n in range(0, len(trip), 60)]
    # In turns of which each is worked off alone by one of the two workers, or by both at once.
    rng.shuffle(pieces) if seed % 2 else pieces.sort(key=lambda piece: (rng.random() < 0.5, piece[0].time_us))
    async with (
        rig.worker(only=partitions[:1], batch_max_messages=50) as one,
        rig.worker(only=partitions[1:], batch_max_messages=70) as two,
    ):
        while pieces:
            together = rng.choice((1, 1, 2, 9))
            await rig.append(message(fix) for piece in pieces[:together] for fix in piece)
            del pieces[:together]
            await rig.worked_off(30, one, two)
    await rig.is_sound()
    assert expected.differences(await table_state(rig.connection), alerts=False) == ""


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


@pytest.mark.parametrize("seed", range(3))
async def test_a_connection_cut_in_the_middle_of_a_transaction_leaves_no_trace(make_rig: RigMaker, seed: int) -> None:
    rng = random.Random(seed)
    undisturbed, rig = await make_rig(), await make_rig()
    fixes = [fix._replace(vehicle_id=f"V{n}") for n in range(30) for fix in TRIP]
    rng.shuffle(fixes)
    for each in (undisturbed, rig):
        await each.append(message(fix) for fix in fixes)
    await undisturbed.work_off()
    cuts = 0
    async with rig.worker(batch_max_messages=60) as task:
        for wanted in sorted(rng.sample(range(len(fixes) - 100), 4)):
            while await rig.one("SELECT coalesce(sum(messages), 0) FROM log_positions") < wanted:
                assert not task.done()
                await asyncio.sleep(0)
            while not await rig.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hanhtrinh work'"
                " AND datname = current_database() AND xact_start IS NOT NULL AND backend_xid IS NOT NULL"
            ):
                if await rig.one("SELECT sum(messages) FROM log_positions") == len(fixes):
                    break
                await asyncio.sleep(0)
            else:
                cuts += 1
        await rig.worked_off(60, task)
    await rig.is_sound()
    assert cuts
    expected = await table_state(undisturbed.connection)
    assert expected.differences(await table_state(rig.connection), alerts=False) == ""


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
