"""How far the log is worked off: compare and set, the fence between workers, and the log's own identity."""

from __future__ import annotations

import asyncio

import pytest

from storage.connect import Connection, connect
from storage.positions import Fenced, Positions, Step, WrongLog


@pytest.fixture
async def positions(connection: Connection) -> Positions:
    positions = Positions("cluster/raw", 4)
    await positions.register(connection)
    return positions


async def counters(connection: Connection) -> dict[int, tuple[int, ...]]:
    cursor = await connection.execute(
        "SELECT partition, next_offset, messages, ignored, fixes, doubled, letters FROM log_positions"
    )
    return {row[0]: row[1:] for row in await cursor.fetchall()}


async def test_a_new_log_stands_at_the_beginning_of_every_partition(
    connection: Connection, positions: Positions
) -> None:
    await positions.register(connection)
    assert await positions.load(connection, [0, 1, 2, 3]) == {0: 0, 1: 0, 2: 0, 3: 0}
    assert await positions.load(connection, [2]) == {2: 0}


async def test_an_advance_moves_its_partitions_and_adds_up_what_became_of_the_messages(
    connection: Connection, positions: Positions
) -> None:
    await positions.advance(connection, [Step(3, 0, 7, 6, 1, 5, 0, 2), Step(1, 0, 2, 2, 0, 2, 0, 0)])
    await positions.advance(connection, [Step(3, 7, 9, 2, 0, 1, 1, 0)])
    assert await counters(connection) == {
        0: (0, 0, 0, 0, 0, 0),
        1: (2, 2, 0, 2, 0, 0),
        2: (0, 0, 0, 0, 0, 0),
        3: (9, 8, 1, 6, 1, 2),
    }


@pytest.mark.parametrize("start", [0, 4, 6])
async def test_an_advance_from_anywhere_but_the_stored_position_is_fenced_and_changes_nothing(
    connection: Connection, positions: Positions, start: int
) -> None:
    await positions.advance(connection, [Step(1, 0, 5, 5, 0, 5, 0, 0)])
    before = await counters(connection)
    with pytest.raises(Fenced, match="found"):
        async with connection.transaction():
            await positions.advance(connection, [Step(0, 0, 3, 3, 0, 3, 0, 0), Step(1, start, 8, 3, 0, 3, 0, 0)])
    assert await counters(connection) == before


async def test_a_partition_nobody_registered_is_fenced(connection: Connection, positions: Positions) -> None:
    with pytest.raises(Fenced):
        await positions.advance(connection, [Step(7, 0, 1, 1)])


async def test_of_two_who_advance_from_one_position_the_second_waits_and_is_fenced(
    connection: Connection, positions: Positions, postgres_url: str
) -> None:
    other = await connect(postgres_url)
    try:
        async with connection.transaction():
            await positions.advance(connection, [Step(2, 0, 5, 5, 0, 5, 0, 0)])
            second = asyncio.create_task(positions.advance(other, [Step(2, 0, 3, 3, 0, 3, 0, 0)]))
            while not await _waits_for_a_lock(connection):
                assert not second.done()
                await asyncio.sleep(0)
        with pytest.raises(Fenced):
            await asyncio.wait_for(second, 10)
    finally:
        await other.close()
    assert (await counters(connection))[2] == (5, 5, 0, 5, 0, 0)


async def test_when_the_first_rolls_back_the_second_goes_on(
    connection: Connection, positions: Positions, postgres_url: str
) -> None:
    other = await connect(postgres_url)
    try:
        async with connection.transaction(force_rollback=True):
            await positions.advance(connection, [Step(2, 0, 5, 5, 0, 5, 0, 0)])
            second = asyncio.create_task(positions.advance(other, [Step(2, 0, 3, 3, 0, 3, 0, 0)]))
            while not await _waits_for_a_lock(connection):
                assert not second.done()
                await asyncio.sleep(0)
        await asyncio.wait_for(second, 10)
    finally:
        await other.close()
    assert (await counters(connection))[2] == (3, 3, 0, 3, 0, 0)


async def test_workers_that_hold_several_partitions_in_any_order_never_lock_each_other_out(
    positions: Positions, postgres_url: str, connection: Connection
) -> None:
    async def work(order: list[int], times: int) -> int:
        mine = await connect(postgres_url)
        done = 0
        try:
            while done < times:
                at = await positions.load(mine, order)
                try:
                    async with mine.transaction():
                        await positions.hold(mine, {partition: at[partition] for partition in order})
                        await positions.advance(mine, [Step(n, at[n], at[n] + 1, 1, 0, 1) for n in order])
                    done += 1
                except Fenced:
                    continue
        finally:
            await mine.close()
        return done

    await asyncio.wait_for(asyncio.gather(work([0, 1, 2, 3], 30), work([3, 2, 1, 0], 30), work([2, 0], 30)), 60)
    assert await counters(connection) == {n: (at, at, 0, at, 0, 0) for n, at in enumerate((90, 60, 90, 60))}


async def test_another_number_of_partitions_is_refused_with_both_numbers(
    connection: Connection, positions: Positions
) -> None:
    with pytest.raises(WrongLog, match="has 8 partitions, expected 4"):
        await Positions("cluster/raw", 8).register(connection)
    await Positions("cluster/other", 8).register(connection)
    assert await positions.load(connection, range(8)) == {0: 0, 1: 0, 2: 0, 3: 0}


async def test_a_topic_of_the_same_name_in_another_cluster_is_refused_until_somebody_adopts_it(
    connection: Connection, positions: Positions
) -> None:
    swapped = Positions("elsewhere/raw", 4)
    for _ in range(2):
        with pytest.raises(
            WrongLog, match=r"raw is now in cluster elsewhere, it was in cluster\. .*position set all start"
        ):
            await swapped.register(connection)
    assert await swapped.load(connection, range(4)) == {}
    await swapped.register(connection, adopt=True)
    await swapped.register(connection)
    await positions.register(connection)
    await Positions("embedded/raw", 4).register(connection)


async def test_a_topic_that_was_made_again_is_refused_until_somebody_adopts_it(connection: Connection) -> None:
    await Positions("cluster/new", 4).register(connection)
    await Positions("cluster/new", 4, "id 1").register(connection)
    await Positions("cluster/new", 4).register(connection)
    with pytest.raises(WrongLog, match=r"new was deleted and made again.*position set all start"):
        await Positions("cluster/new", 4, "id 2").register(connection)
    await Positions("cluster/new", 4, "id 2").register(connection, adopt=True)
    await Positions("cluster/new", 4, "id 2").register(connection)


async def _waits_for_a_lock(connection: Connection) -> bool:
    cursor = await connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    row = await cursor.fetchone()
    assert row is not None
    return bool(row[0])


async def test_positions_that_the_transaction_holds_already_advance(
    connection: Connection, positions: Positions
) -> None:
    async with connection.transaction():
        await positions.hold(connection, {1: 0, 3: 0})
        await positions.advance(connection, [Step(1, 0, 5, 5), Step(3, 0, 2, 2)], held=True)
    assert await positions.load(connection, [1, 3]) == {1: 5, 3: 2}
