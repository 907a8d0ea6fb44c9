"""One battery for both logs: what bridge and worker rely on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Protocol

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.partitioner import murmur2 as kafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from ingest.embedded_log import EmbeddedLogWriter
from ingest.embedded_log_reader import EmbeddedLogReader, EmbeddedLogTrimmer
from ingest.kafka_log import KafkaLogWriter, KafkaSecurity
from ingest.kafka_log_reader import KafkaLogReader
from ingest.log import LogError, LogReader
from ingest.partitioning import Partitioner, murmur2
from ingest.raw import LogIdentity, LogRecord, LogSlice, RawMessage
from storage.connect import connect
from tests.services.kafka_server import Kafka

PARTITIONS = 4


class Writer(Protocol):
    async def open(self) -> LogIdentity: ...
    async def append(self, device_id: str, message: RawMessage) -> None: ...
    async def append_many(self, messages: Sequence[tuple[str, RawMessage]]) -> None: ...
    async def close(self) -> None: ...


class Positions:
    """The worker's stored positions."""

    def __init__(self) -> None:
        self.next: dict[int, int] = {}

    async def load(self, _identity: LogIdentity, partitions: Sequence[int]) -> dict[int, int]:
        await asyncio.sleep(0)
        return {partition: self.next[partition] for partition in partitions if partition in self.next}

    def store(self, slices: Sequence[LogSlice]) -> None:
        self.next.update({part.partition: part.next for part in slices})


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


def message(number: int, device: str = "51B-1", retained: bool = False) -> RawMessage:
    return RawMessage(f"hanhtrinh/{device}", b'{"n":%d}' % number, 1_700_000_000_000_000 + number, retained)


async def read(reader: LogReader, count: int, within_s: float = 20.0) -> list[LogSlice]:
    """Slices until `count` records are there."""
    slices: list[LogSlice] = []
    async with asyncio.timeout(within_s):
        while sum(len(part.records) for part in slices) < count:
            slices += await reader.fetch(1_000, 0.2)
    return slices


async def stopped(reader: LogReader, partition: int, within_s: float = 20.0) -> str:
    """Why this partition is stopped, as soon as it is; nothing of it may be handed out before."""
    async with asyncio.timeout(within_s):
        while partition not in reader.stopped:
            assert partition not in {part.partition for part in await reader.fetch(1_000, 0.1)}
    return reader.stopped[partition]


def messages_of(slices: Sequence[LogSlice]) -> list[RawMessage]:
    return [record.message for part in slices for record in part.records]


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


# What only the embedded log can show.


async def test_appends_at_the_same_moment_share_transactions(postgres_url: str) -> None:
    writer = EmbeddedLogWriter(lambda: connect(postgres_url), PARTITIONS)
    await writer.open()
    async with await connect(postgres_url) as observer:
        before = await _transactions(observer)
        await asyncio.gather(*(writer.append("a", message(n)) for n in range(500)))
        after = await _transactions(observer)
    await writer.close()
    assert after - before < 20


async def _transactions(connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> int:
    """Transaction ids used so far: only transactions that write take one."""
    cursor = await connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def test_two_writers_leave_offsets_without_holes(postgres_url: str) -> None:
    writers = [EmbeddedLogWriter(lambda: connect(postgres_url), PARTITIONS) for _ in range(2)]
    await asyncio.gather(*(writer.open() for writer in writers))
    await asyncio.gather(*(writer.append(f"d{n}", message(n, f"d{n}")) for n in range(300) for writer in writers))
    async with await connect(postgres_url) as connection:
        cursor = await connection.execute(
            "SELECT partition, count(*), min(log_offset), max(log_offset) FROM embedded_log_messages GROUP BY 1"
        )
        rows = await cursor.fetchall()
    assert sum(count for _, count, _, _ in rows) == 600
    assert all(first == 0 and last == count - 1 for _, count, first, last in rows)
    for writer in writers:
        await writer.close()


async def test_an_append_whose_connection_is_killed_fails_and_the_next_one_works(postgres_url: str) -> None:
    writer = EmbeddedLogWriter(lambda: connect(postgres_url), PARTITIONS)
    await writer.open()
    async with await connect(postgres_url) as observer:
        await observer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
    with pytest.raises(LogError, match="could not be appended"):
        await writer.append("a", message(1))
    await writer.append("a", message(2))
    await writer.close()


async def test_trimming_deletes_only_what_is_old_and_read(postgres_url: str) -> None:
    async def open_connection() -> psycopg.AsyncConnection[tuple[Any, ...]]:
        return await connect(postgres_url)

    writer = EmbeddedLogWriter(open_connection, PARTITIONS)
    identity = await writer.open()
    partition = Partitioner(PARTITIONS).partition("a")
    await writer.append_many([("a", message(n)) for n in range(10)])
    await writer.close()
    positions = Positions()
    trimmer = EmbeddedLogTrimmer(open_connection, positions.load, 60.0, lambda: 1_700_000_060_000_000 + 8)
    assert await trimmer.trim(identity) == 0  # old enough up to message 7, but nobody has read any
    positions.next = {partition: 5}
    assert await trimmer.trim(identity) == 5
    positions.next = {partition: 10}
    assert await trimmer.trim(identity) == 3
    reader = EmbeddedLogReader(open_connection, PARTITIONS, positions.load, lambda _: None)
    await reader.open()
    positions.next = {partition: 8}
    await reader.rewind()
    assert messages_of(await reader.fetch(10, 1.0)) == [message(8), message(9)]
    positions.next = {partition: 7}
    await reader.rewind()
    assert await reader.fetch(10, 0.1) == []
    assert "begins at offset 8" in reader.stopped[partition]
    await reader.close()


# What only Kafka can show.


async def test_group_members_share_the_partitions_and_one_takes_over_when_the_other_leaves(kafka: Kafka) -> None:
    topic = kafka.topic()
    group = f"group-{uuid.uuid4().hex}"
    positions = Positions()
    assigned: dict[str, frozenset[int]] = {}

    def member(name: str) -> KafkaLogReader:
        def changed(partitions: frozenset[int]) -> None:
            assigned[name] = partitions

        return KafkaLogReader(kafka.bootstrap, topic, PARTITIONS, positions.load, changed, group=group)

    writer = KafkaLogWriter(kafka.bootstrap, topic, PARTITIONS)
    await writer.open()
    await writer.append_many([(f"d{n}", message(n, f"d{n}")) for n in range(100)])
    first, second = member("first"), member("second")
    await first.open()
    received: list[RawMessage] = []

    async def work(*members: KafkaLogReader, until: Callable[[], bool]) -> None:
        async with asyncio.timeout(40):
            while not until():
                for reader in members:
                    slices = await reader.fetch(1_000, 0.2)
                    for part in slices:
                        assert part.start == positions.next.get(part.partition, 0)
                    positions.store(slices)
                    received.extend(messages_of(slices))

    await work(first, until=lambda: len(received) == 100)
    opening = asyncio.create_task(second.open())
    await work(first, until=opening.done)
    await work(first, second, until=lambda: len(assigned["first"]) == len(assigned["second"]) == PARTITIONS // 2)
    assert assigned["first"] | assigned["second"] == set(range(PARTITIONS))
    await writer.append_many([(f"d{n}", message(n, f"d{n}")) for n in range(100, 200)])
    await work(first, second, until=lambda: len(received) == 200)
    await first.close()
    await writer.append_many([(f"d{n}", message(n, f"d{n}")) for n in range(200, 300)])
    await work(second, until=lambda: len(received) == 300)
    assert assigned["second"] == set(range(PARTITIONS))
    assert len(set(received)) == 300
    await second.close()
    await writer.close()


async def test_positions_that_cannot_be_loaded_at_a_rebalance_come_out_of_fetch_and_are_asked_for_again(
    kafka: Kafka,
) -> None:
    asked = 0

    async def away_at_first(_identity: LogIdentity, _partitions: Sequence[int]) -> dict[int, int]:
        nonlocal asked
        asked += 1
        if asked <= 2:
            raise RuntimeError("database is away")
        return {0: 1}

    topic, group = kafka.topic(), f"group-{uuid.uuid4().hex}"
    writer = KafkaLogWriter(kafka.bootstrap, topic, PARTITIONS)
    await writer.open()
    device = next(name for n in range(100) if Partitioner(PARTITIONS).partition(name := f"51B-{n}") == 0)
    for number in range(3):
        await writer.append(device, message(number, device))
    await writer.close()
    reader = KafkaLogReader(kafka.bootstrap, topic, PARTITIONS, away_at_first, lambda _: None, group=group)
    await reader.open()
    with pytest.raises(RuntimeError, match="database is away"):  # noqa: PT012
        async with asyncio.timeout(30):
            while True:
                assert await reader.fetch(10, 0.2) == []
    slices: list[LogSlice] = []
    async with asyncio.timeout(30):
        while not slices:
            slices = await reader.fetch(10, 0.2)
    assert asked == 3
    assert [(each.partition, each.start, each.next) for each in slices] == [(0, 1, 3)]
    await reader.close()
    await writer.close()


async def test_a_topic_that_is_made_again_while_it_is_read_stops_the_reader_although_its_position_fits(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.kafka_log_reader._SAME_TOPIC_EVERY_S", 0.2)
    topic = kafka.topic()
    reader = KafkaLogReader(kafka.bootstrap, topic, 1, Positions().load, lambda _: None, only=[0])
    first = await _written(kafka, topic, range(5))
    await reader.open()
    assert len(messages_of(await read(reader, 5))) == 5
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.delete_topics([topic])
    async with asyncio.timeout(20):
        while topic in await admin.list_topics():
            pass
    await admin.close()
    second = await _written(kafka, topic, range(10))
    assert (first.log_id, first.partitions) == (second.log_id, second.partitions)
    assert None not in (first.topic_id, second.topic_id)
    assert first.topic_id != second.topic_id
    with pytest.raises(LogError, match="was deleted and made again while it was read"):
        await read(reader, 5)
    await reader.close()


async def _written(kafka: Kafka, topic: str, numbers: Sequence[int]) -> LogIdentity:
    writer = KafkaLogWriter(kafka.bootstrap, topic, 1)
    identity = await writer.open()
    await writer.append_many([("a", message(n)) for n in numbers])
    await writer.close()
    return identity


async def test_a_member_that_restarts_under_its_instance_name_moves_no_partition(kafka: Kafka) -> None:
    topic, group = kafka.topic(), f"group-{uuid.uuid4().hex}"
    assigned: dict[str, list[frozenset[int]]] = {"one": [], "two": []}

    def member(name: str) -> KafkaLogReader:
        changed = assigned[name].append
        return KafkaLogReader(
            kafka.bootstrap, topic, PARTITIONS, Positions().load, changed, group=group, group_instance_id=name
        )

    async def work(*members: KafkaLogReader, until: Callable[[], bool]) -> None:
        async with asyncio.timeout(40):
            while not until():
                for reader in members:
                    await reader.fetch(10, 0.1)

    def half(name: str) -> bool:
        return bool(assigned[name]) and len(assigned[name][-1]) == PARTITIONS // 2

    one, two = member("one"), member("two")
    await one.open()
    opening = asyncio.create_task(two.open())
    await work(one, until=opening.done)
    await work(one, two, until=lambda: half("one") and half("two"))
    before = {name: list(all_of) for name, all_of in assigned.items()}
    await two.close()
    two = member("two")
    opening = asyncio.create_task(two.open())
    await work(one, until=opening.done)
    # Two heartbeats: a rebalance would have reached the other member by then.
    deadline = asyncio.get_running_loop().time() + 7.0
    await work(one, two, until=lambda: asyncio.get_running_loop().time() > deadline)
    assert assigned["one"] == before["one"]
    assert assigned["two"][-2:] == [before["two"][-1]] * 2
    await one.close()
    await two.close()


async def test_nothing_is_ever_committed_to_kafka(kafka: Kafka) -> None:
    topic, group = kafka.topic(), f"group-{uuid.uuid4().hex}"
    writer = KafkaLogWriter(kafka.bootstrap, topic, PARTITIONS)
    await writer.open()
    await writer.append("a", message(1))
    reader = KafkaLogReader(kafka.bootstrap, topic, PARTITIONS, Positions().load, lambda _: None, group=group)
    await reader.open()
    await read(reader, 1)
    await reader.close()
    await writer.close()
    observer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=group, enable_auto_commit=False)
    await observer.start()
    observer.assign([TopicPartition(topic, Partitioner(PARTITIONS).partition("a"))])
    assert await observer.committed(TopicPartition(topic, Partitioner(PARTITIONS).partition("a"))) is None
    await observer.stop()


async def test_a_silent_broker_fails_the_append_in_time_and_a_new_producer_goes_on(kafka: Kafka) -> None:
    topic = kafka.topic()
    writer = KafkaLogWriter(kafka.bootstrap, topic, 1, deadline_s=2.0)
    await writer.open()
    await writer.append("a", message(1))
    kafka.kill()
    try:
        with pytest.raises(LogError, match="could not be appended"):
            await writer.append("a", message(2))
        with pytest.raises(LogError):
            await writer.append("a", message(3))
    finally:
        kafka.start()
    async with asyncio.timeout(60):
        while True:
            try:
                await writer.append("a", message(4))
                break
            except LogError:
                await asyncio.sleep(0.2)
    reader = KafkaLogReader(kafka.bootstrap, topic, 1, Positions().load, lambda _: None, only=[0])
    await reader.open()
    received = messages_of(await read(reader, 2))
    assert received[0] == message(1)
    assert received[-1] == message(4)
    await reader.close()
    await writer.close()


async def test_kafka_that_is_not_there_is_an_error_that_names_it() -> None:
    writer = KafkaLogWriter("127.0.0.1:1", "raw", 1)
    with pytest.raises(LogError, match=r"127\.0\.0\.1:1 cannot be used"):
        await writer.open()


def test_a_password_is_not_shown_when_kafka_security_is_printed() -> None:
    security = KafkaSecurity("SASL_PLAINTEXT", "bridge", "secret-1")
    assert "secret-1" not in repr(security)
    assert security.client_options()["sasl_plain_password"] == "secret-1"
