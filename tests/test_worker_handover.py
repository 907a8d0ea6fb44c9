"""Workers that take over from each other, stand in each other's way, or lose their database: the result is the same."""

from __future__ import annotations

import asyncio
import logging
import random
from itertools import pairwise

import pytest

from detectors.fix import Fix
from ingest.partitioning import Partitioner
from tests.running_worker import PARTITIONS, RigMaker, journey, make_rig, message, rig
from tests.speeding_trip import BEGIN_US, TRIP
from tests.table_state import table_state

__all__ = ["make_rig", "rig"]


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
