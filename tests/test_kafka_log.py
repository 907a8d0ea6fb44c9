"""What only the log in Kafka can show; what both logs must, see test_log.py."""

from __future__ import annotations

import asyncio
import gc
import signal
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError
from aiokafka.producer.message_accumulator import MessageAccumulator

from ingest.kafka_log import KafkaLogWriter, KafkaSecurity
from ingest.kafka_log_reader import KafkaLogReader
from ingest.log import LogError
from ingest.partitioning import Partitioner
from ingest.raw import LogIdentity, LogSlice, RawMessage
from tests.log_access import PARTITIONS, Positions, message, messages_of, read
from tests.services.kafka_server import Kafka


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


async def test_an_append_that_is_still_beginning_when_the_writer_is_closed_fails_and_leaves_no_connection(
    kafka: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    topic = kafka.topic()
    writer = KafkaLogWriter(kafka.bootstrap, topic, 1)
    await writer.open()
    await writer.close()
    for turns in range(6):
        writer = KafkaLogWriter(kafka.bootstrap, topic, 1)
        appending = asyncio.create_task(writer.append("a", message(turns)))
        for _ in range(turns):
            await asyncio.sleep(0)
        await writer.close()
        with pytest.raises(LogError, match=f"the writer of the Kafka topic {topic} was closed"):
            await appending
        with pytest.raises(LogError, match="was closed"):
            await writer.append("a", message(turns))
    gc.collect()
    assert "Unclosed" not in caplog.text
    await writer.open()
    await writer.append("a", message(9))
    await writer.close()


async def test_a_producer_that_waits_for_a_new_connection_to_a_silent_broker_is_stopped_too(kafka: Kafka) -> None:
    """Its connection was left open with it: what aiokafka has begun to connect to is not closed by its client."""
    writer = KafkaLogWriter(kafka.bootstrap, kafka.topic(), 1, deadline_s=1.0)
    await writer.open()
    await writer.append("a", message(1))
    producer = writer._producer
    assert producer is not None
    kafka.process.send(signal.SIGSTOP)
    try:
        for connection in list(producer.client._conns.values()):
            connection.close()
        with pytest.raises(LogError, match="not confirmed within 1 s"):
            await writer.append("a", message(2))
        assert producer._closed
        assert producer._sender.sender_task.done()
    finally:
        kafka.process.send(signal.SIGCONT)
        await writer.close()


async def test_closing_waits_for_a_producer_that_a_failed_append_is_stopping(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it is left unclosed when the program ends, or the test: nobody else would stop it."""
    stop = AIOKafkaProducer.stop
    stopping, may_stop = asyncio.Event(), asyncio.Event()

    async def held(self: AIOKafkaProducer) -> None:
        stopping.set()
        await may_stop.wait()
        await stop(self)

    async def refuse(*_: Any) -> None:
        raise KafkaConnectionError("away")

    monkeypatch.setattr(AIOKafkaProducer, "stop", held)
    writer = KafkaLogWriter(kafka.bootstrap, kafka.topic(), 1)
    await writer.open()
    monkeypatch.setattr(MessageAccumulator, "add_batch", refuse)
    appending = asyncio.create_task(writer.append("a", message(1)))
    await stopping.wait()
    closing = asyncio.create_task(writer.close())
    closed, _ = await asyncio.wait([closing], timeout=0.2)
    assert not closed
    may_stop.set()
    await closing
    with pytest.raises(LogError, match="away"):
        await appending


async def test_of_many_appends_to_a_partition_one_at_a_time_waits_for_room(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them waiting, aiokafka gave up on the last ones long before its time was over."""
    waiting: Counter[TopicPartition] = Counter()
    most: Counter[TopicPartition] = Counter()
    add_batch = MessageAccumulator.add_batch

    async def counted(self: MessageAccumulator, builder: Any, part: TopicPartition, timeout: float) -> Any:
        waiting[part] += 1
        most[part] = max(most[part], waiting[part])
        try:
            return await add_batch(self, builder, part, timeout)
        finally:
            waiting[part] -= 1

    monkeypatch.setattr(MessageAccumulator, "add_batch", counted)
    writer = KafkaLogWriter(kafka.bootstrap, kafka.topic(), 1)
    await writer.open()
    await asyncio.gather(*(writer.append("a", message(number)) for number in range(60)))
    await writer.close()
    assert list(most.values()) == [1]


async def test_kafka_that_is_not_there_is_an_error_that_names_it() -> None:
    writer = KafkaLogWriter("127.0.0.1:1", "raw", 1)
    with pytest.raises(LogError, match=r"127\.0\.0\.1:1 cannot be used"):
        await writer.open()


def test_a_password_is_not_shown_when_kafka_security_is_printed() -> None:
    security = KafkaSecurity("SASL_PLAINTEXT", "bridge", "secret-1")
    assert "secret-1" not in repr(security)
    assert security.client_options()["sasl_plain_password"] == "secret-1"
