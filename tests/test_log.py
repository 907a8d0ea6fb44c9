"""One battery for both logs: what bridge and worker rely on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Protocol

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.partitioner import murmur2 as kafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from ingest.embedded_log import EmbeddedLogWriter
from ingest.embedded_log_reader import EmbeddedLogReader
from ingest.kafka_log import KafkaLogWriter
from ingest.kafka_log_reader import KafkaLogReader
from ingest.log import LogError, LogReader
from ingest.partitioning import Partitioner, murmur2
from ingest.raw import LogIdentity, LogRecord, RawMessage
from storage.connect import connect
from tests.log_access import PARTITIONS, Positions, message, messages_of, read
from tests.services.kafka_server import Kafka


class Writer(Protocol):
    async def open(self) -> LogIdentity: ...
    async def append(self, device_id: str, message: RawMessage) -> None: ...
    async def append_many(self, messages: Sequence[tuple[str, RawMessage]]) -> None: ...
    async def close(self) -> None: ...


class Rig:
    """Writers and readers of one log; everything opened is closed at the end."""

    def __init__(
        self,
        writer: Callable[[int], Writer],
        reader: Callable[..., LogReader],
        lose_first: Callable[[int, int], Awaitable[None]],
    ) -> None:
        self.writer = writer
        self.reader = reader
        self.lose_first = lose_first
        self.opened: list[Any] = []

    async def open_writer(self, partitions: int = PARTITIONS) -> Writer:
        writer = self.writer(partitions)
        await writer.open()
        self.opened.append(writer)
        return writer

    async def open_reader(self, positions: Positions | None = None, only: Sequence[int] | None = None) -> LogReader:
        reader = self.reader((positions or Positions()).load, lambda _: None, only or range(PARTITIONS))
        self.opened.append(reader)
        await reader.open()
        return reader


def kafka_rig(server: Kafka) -> Rig:
    topic = server.topic()

    async def lose_first(partition: int, before: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=server.bootstrap)
        await admin.start()
        await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=before)})
        await admin.close()

    return Rig(
        lambda partitions: KafkaLogWriter(server.bootstrap, topic, partitions),
        lambda load, changed, only: KafkaLogReader(server.bootstrap, topic, PARTITIONS, load, changed, only=only),
        lose_first,
    )


def embedded_rig(url: str) -> Rig:
    async def lose_first(partition: int, before: int) -> None:
        async with await connect(url) as connection:
            await connection.execute(
                "UPDATE embedded_log_partitions SET first_offset = %s WHERE partition = %s", [before, partition]
            )

    return Rig(
        lambda partitions: EmbeddedLogWriter(lambda: connect(url), partitions),
        lambda load, changed, only: EmbeddedLogReader(lambda: connect(url), PARTITIONS, load, changed, only=only),
        lose_first,
    )


@pytest.fixture(params=["embedded", "kafka"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "kafka":
        rig = kafka_rig(request.getfixturevalue("kafka"))
    else:
        rig = embedded_rig(await _new_database(request))
    yield rig
    for thing in rig.opened:
        await thing.close()


async def _new_database(request: pytest.FixtureRequest) -> str:
    from tests.services.postgres import make_database

    return await make_database(request.getfixturevalue("postgres"))


async def stopped(reader: LogReader, partition: int, within_s: float = 20.0) -> str:
    """Why this partition is stopped, as soon as it is; nothing of it may be handed out before."""
    async with asyncio.timeout(within_s):
        while partition not in reader.stopped:
            assert partition not in {part.partition for part in await reader.fetch(1_000, 0.1)}
    return reader.stopped[partition]


async def test_a_message_comes_back_as_it_was_written(rig: Rig) -> None:
    sent = [
        RawMessage("hanhtrinh/xe-số-1", b"\x00\xff not json", 1_700_000_000_123_456),
        RawMessage("hanhtrinh/xe-số-1", b"", 1_700_000_000_123_457),
        RawMessage("owntracks/a/b", b"{}", 1_700_000_000_123_458, retained=True),
    ]
    writer = await rig.open_writer()
    for one in sent:
        await writer.append("xe-số-1", one)
    slices = await read(await rig.open_reader(), 3)
    assert messages_of(slices) == sent
    assert {part.partition for part in slices} == {Partitioner(PARTITIONS).partition("xe-số-1")}


async def test_messages_of_one_device_keep_their_order_while_many_are_appended_at_once(rig: Rig) -> None:
    writer = await rig.open_writer()
    devices = [f"51B-{number}" for number in range(20)]
    for start in range(0, 50, 10):
        await asyncio.gather(
            *(writer.append(device, message(n, device)) for n in range(start, start + 10) for device in devices)
        )
    received = messages_of(await read(await rig.open_reader(), 1_000))
    for device in devices:
        mine = [one for one in received if one.topic == f"hanhtrinh/{device}"]
        assert mine == [message(n, device) for n in range(50)]


async def test_a_whole_batch_is_appended_in_order_by_device(rig: Rig) -> None:
    writer = await rig.open_writer()
    batch = [(f"d{n % 7}", message(n, f"d{n % 7}")) for n in range(2_000)]
    await writer.append_many(batch)
    received = messages_of(await read(await rig.open_reader(), 2_000))
    assert sorted(received, key=lambda one: one.received_us) == [one for _, one in batch]
    for device in {key for key, _ in batch}:
        mine = [one.received_us for one in received if one.topic == f"hanhtrinh/{device}"]
        assert mine == sorted(mine)


async def test_a_message_of_the_largest_size_fits(rig: Rig) -> None:
    writer = await rig.open_writer()
    large = RawMessage("hanhtrinh/a", b"x" * 262_144, 1_700_000_000_000_000)
    await writer.append_many([("a", message(1)), ("a", large), ("a", message(2))])
    assert messages_of(await read(await rig.open_reader(), 3)) == [message(1), large, message(2)]


async def test_slices_follow_each_other_without_holes(rig: Rig) -> None:
    writer = await rig.open_writer()
    await writer.append_many([(f"d{n}", message(n, f"d{n}")) for n in range(500)])
    reader = await rig.open_reader()
    expected = dict.fromkeys(range(PARTITIONS), 0)
    read_messages = 0
    async with asyncio.timeout(20):
        while read_messages < 500:
            slices = await reader.fetch(64, 0.2)
            assert sum(len(part.records) for part in slices) <= 64
            assert [part.partition for part in slices] == sorted({part.partition for part in slices})
            for part in slices:
                assert part.start == expected[part.partition]
                assert [record.offset for record in part.records] == list(range(part.start, part.next))
                expected[part.partition] = part.next
                read_messages += len(part.records)
    assert await reader.end_offsets() == expected


async def test_nothing_to_read_returns_after_the_wait(rig: Rig) -> None:
    await rig.open_writer()
    reader = await rig.open_reader()
    assert await reader.fetch(10, 0.05) == []


async def test_a_waiting_reader_wakes_up_for_a_message(rig: Rig) -> None:
    writer = await rig.open_writer()
    reader = await rig.open_reader()
    assert await reader.fetch(10, 0.05) == []
    waiting = asyncio.create_task(reader.fetch(10, 30.0))
    await asyncio.sleep(0.3)
    await writer.append("a", message(1))
    assert messages_of(await asyncio.wait_for(waiting, 10)) == [message(1)]


async def test_rewind_hands_out_everything_from_the_stored_positions_again(rig: Rig) -> None:
    writer = await rig.open_writer()
    await writer.append_many([("a", message(n)) for n in range(10)])
    positions = Positions()
    reader = await rig.open_reader(positions)
    await read(reader, 10)
    positions.next = {Partitioner(PARTITIONS).partition("a"): 4}
    await reader.rewind()
    (again,) = await read(reader, 6)
    assert (again.start, again.next) == (4, 10)
    assert again.records[0] == LogRecord(4, message(4))


async def test_a_new_reader_begins_at_the_stored_position(rig: Rig) -> None:
    writer = await rig.open_writer()
    await writer.append_many([("a", message(n)) for n in range(10)])
    positions = Positions()
    positions.next = {Partitioner(PARTITIONS).partition("a"): 7}
    assert messages_of(await read(await rig.open_reader(positions), 3)) == [message(n) for n in (7, 8, 9)]


async def test_a_reader_of_some_partitions_sees_only_those(rig: Rig) -> None:
    writer = await rig.open_writer()
    await writer.append_many([(f"d{n}", message(n, f"d{n}")) for n in range(200)])
    wanted = [n for n in range(200) if Partitioner(PARTITIONS).partition(f"d{n}") in (1, 3)]
    reader = await rig.open_reader(only=[3, 1])
    received = messages_of(await read(reader, len(wanted)))
    assert sorted(one.received_us - 1_700_000_000_000_000 for one in received) == wanted
    assert await reader.fetch(10, 0.2) == []
    assert set(await reader.end_offsets()) == {1, 3}


async def test_a_position_after_the_end_stops_its_partition_with_both_numbers(rig: Rig) -> None:
    writer = await rig.open_writer()
    partition = Partitioner(PARTITIONS).partition("a")
    await writer.append("a", message(1))
    positions = Positions()
    positions.next = {partition: 1234}
    reader = await rig.open_reader(positions)
    why = await stopped(reader, partition)
    assert "ends at offset 1, the stored position is 1234: this is another log" in why
    assert f"`hanhtrinh position set {partition} start`" in why


async def test_a_position_before_the_beginning_stops_its_partition_with_both_numbers_until_it_is_set(rig: Rig) -> None:
    writer = await rig.open_writer()
    partition = Partitioner(PARTITIONS).partition("a")
    others = [device for device in map(str, range(50)) if Partitioner(PARTITIONS).partition(device) != partition]
    await writer.append_many([("a", message(n)) for n in range(9)])
    await rig.lose_first(partition, 5)
    positions = Positions()
    reader = await rig.open_reader(positions)
    why = await stopped(reader, partition)
    assert "begins at offset 5, the stored position is 0: 5 messages were deleted before they were read" in why
    assert f"`hanhtrinh position set {partition} start`" in why
    assert partition not in await reader.end_offsets()
    # The others go on.
    await writer.append_many([(device, message(n, device)) for n, device in enumerate(others)])
    slices = await read(reader, len(others))
    assert partition not in {part.partition for part in slices}
    assert set(reader.stopped) == {partition}
    # Nobody restarts anything: the position is set, and the partition goes on.
    positions.store(slices)
    positions.next[partition] = 5
    assert messages_of(await read(reader, 4)) == [message(n) for n in range(5, 9)]
    assert not reader.stopped
    assert partition in await reader.end_offsets()


async def test_another_partition_count_is_refused_by_writer_and_reader(rig: Rig) -> None:
    await rig.open_writer(3)
    with pytest.raises(LogError, match="has 3 partitions, 4 are configured"):
        await rig.open_writer(4)
    with pytest.raises(LogError, match="has 3 partitions, 4 are configured"):
        await rig.open_reader()


async def test_writers_and_readers_agree_which_log_it_is(rig: Rig) -> None:
    first, second = rig.writer(PARTITIONS), rig.writer(PARTITIONS)
    reader = rig.reader(Positions().load, lambda _: None, [0])
    rig.opened += [first, second, reader]
    identities = list(await asyncio.gather(first.open(), second.open(), reader.open()))
    assert len(set(identities)) == 1
    assert identities[0].partitions == PARTITIONS
    assert "/" in identities[0].log_id


async def test_a_partition_that_the_log_does_not_have_is_refused(rig: Rig) -> None:
    with pytest.raises(LogError, match="partition 9 is asked for"):
        await rig.open_reader(only=[0, 9])


@given(st.binary(max_size=40))
def test_the_partitioner_hashes_like_kafka_clients(key: bytes) -> None:
    assert murmur2(key) & 0x7FFFFFFF == kafka_murmur2(key) & 0x7FFFFFFF
