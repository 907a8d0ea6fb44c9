"""Marks: one per vehicle, widened by whoever has a reason, and seen by the workers and commands that they are for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from storage.connect import Connection, connect
from storage.marks import Mark, MarkStore
from storage.positions import Positions

LOG, OTHER_LOG = "cluster/raw", "cluster/another"
LATE, ASKED = Mark("V1", 2, 100, 200, 3), Mark("V1", 2, 150, 400, 0, ("limits of March corrected",))


@pytest.fixture
async def connection(postgres_url: str) -> AsyncIterator[Connection]:
    async with await connect(postgres_url) as connection:
        yield connection


@pytest.fixture
def marks(connection: Connection) -> MarkStore:
    return MarkStore(connection)


@pytest.mark.parametrize("first", [LATE, ASKED])
async def test_a_mark_keeps_every_reason_and_the_whole_stretch_whoever_comes_first(
    marks: MarkStore, first: Mark
) -> None:
    """Late fixes that come while an import waits must neither take its reason away nor its stretch."""
    for each in [first, ASKED if first is LATE else LATE]:
        await marks.save(LOG, [each])
    both = Mark("V1", 2, 100, 400, 3, ("limits of March corrected",))
    assert await marks.locked("V1") == both
    assert both.why == "3 late fixes; limits of March corrected"
    await marks.save(LOG, [ASKED, ASKED._replace(reasons=("kind of the vehicle changed",))])
    assert await marks.locked("V1") == both._replace(
        reasons=("kind of the vehicle changed", "limits of March corrected")
    )
    assert await marks.late(LOG, [2]) == await marks.asked(LOG, [2], 10)
    assert [mark.reasons for _, mark in await marks.left(["V1"], "limits of March corrected")] == [
        ("kind of the vehicle changed", "limits of March corrected")
    ]


async def test_a_worker_sees_the_marks_of_its_log_and_partitions_and_of_its_own_kind(marks: MarkStore) -> None:
    for name, log_id, partition in [("mine", LOG, 1), ("next", LOG, 2), ("elsewhere", OTHER_LOG, 1)]:
        await marks.save(log_id, [LATE._replace(vehicle_id=f"{name} late", partition=partition)])
        await marks.save(log_id, [ASKED._replace(vehicle_id=f"{name} asked", partition=partition)])
    assert [each.vehicle_id for each in await marks.late(LOG, [1])] == ["mine late"]
    assert [each.vehicle_id for each in await marks.asked(LOG, [1], 10)] == ["mine asked"]
    assert [each.vehicle_id for each in await marks.asked(LOG, [0, 1, 2], 10)] == ["mine asked", "next asked"]


async def test_of_many_that_were_asked_for_the_oldest_come_first(marks: MarkStore) -> None:
    names = ["V3", "V1", "V2"]
    await marks.save(LOG, [ASKED._replace(vehicle_id=name) for name in names])
    assert [each.vehicle_id for each in await marks.asked(LOG, [2], 2)] == ["V3", "V1"]


async def test_whoever_asked_waits_for_the_vehicles_and_the_reason_asked_for_only(marks: MarkStore) -> None:
    why = ASKED.reasons[0]
    await marks.save(LOG, [ASKED, LATE._replace(vehicle_id="late")])
    await marks.save(OTHER_LOG, [ASKED._replace(vehicle_id="not chosen"), ASKED._replace(vehicle_id="V2")])
    found = await marks.left(["V1", "V2", "late"], why)
    assert [(log_id, mark.vehicle_id) for log_id, mark in found] == [(OTHER_LOG, "V2"), (LOG, "V1")]
    assert await marks.left(["V1", "V2", "late"], "another reason") == []


async def test_who_asks_waits_for_the_batch_that_a_worker_has_in_hand(
    marks: MarkStore, connection: Connection, postgres_url: str
) -> None:
    """What the batch stores was judged before the mark: it must lie under it."""
    positions = Positions(LOG, 4)
    await positions.register(connection)

    async def ask() -> None:
        async with connection.transaction():
            await marks.ask(LOG, [ASKED])

    async with await connect(postgres_url) as worker:
        async with worker.transaction():
            await positions.hold_as_it_is(worker, 3)
            asking = asyncio.create_task(ask())
            while not await waits_for_a_lock(worker):
                assert not asking.done()
                await asyncio.sleep(0)
        await asyncio.wait_for(asking, 10)
    assert await marks.locked("V1") == ASKED


async def waits_for_a_lock(connection: Connection) -> bool:
    cursor = await connection.execute(
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return await cursor.fetchone() is not None
