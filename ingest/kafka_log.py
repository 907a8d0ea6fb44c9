"""The log in Apache Kafka: what writer and reader share, and the writer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from ingest.kafka_topic_id import topic_id
from ingest.log import LogError
from ingest.partitioning import Partitioner
from ingest.raw import LogExtent, LogIdentity, RawMessage

_BATCH_BYTES = 131_072
_MAX_REQUEST_BYTES = 1_048_576
_LINGER_MS = 2
_CLOSE_DEADLINE_S = 10.0
_SENDING_ENDS_WITHIN_S = 1.0
_TOPIC_APPEARS_WITHIN_S = 30.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KafkaSecurity:
    """How to speak to the brokers: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL (mechanism PLAIN)."""

    protocol: str = "PLAINTEXT"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments for every aiokafka client."""
        options: dict[str, Any] = {"security_protocol": self.protocol}
        if self.protocol.endswith("SSL"):
            options["ssl_context"] = ssl.create_default_context(cafile=self.ca_file)
        if self.protocol.startswith("SASL"):
            options["sasl_mechanism"] = "PLAIN"
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password
        return options


@dataclass(frozen=True)
class KafkaTopic:
    """The topic of raw messages, as it is to be."""

    bootstrap: str
    topic: str
    partitions: int
    replication: int = 1
    security: KafkaSecurity = KafkaSecurity()

    async def ensure(self, *, create: bool = True) -> LogIdentity:
        """The log's identity; the topic is made when missing, unless told not to.

        LogError when it has another number of partitions.
        """
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, **self.security.client_options())
        try:
            await admin.start()
            cluster_id = (await admin.describe_cluster())["cluster_id"]
            found = await self._partition_count(admin)
            if found is None and not create:
                raise LogError(f"there is no topic {self.topic} in Kafka at {self.bootstrap}: the bridge makes it")
            if found is None:
                found = await self._create(admin)
            known_as = await topic_id(admin._client, self.topic)
        except (KafkaError, OSError, TimeoutError) as error:
            raise LogError(f"Kafka at {self.bootstrap} cannot be used: {error!r}") from error
        finally:
            await admin.close()
        if found != self.partitions:
            raise LogError(
                f"the Kafka topic {self.topic} has {found} partitions, {self.partitions} are configured: the number is"
                f" fixed when the topic is created, set HANHTRINH_LOG_PARTITIONS={found}"
            )
        return LogIdentity(f"{cluster_id}/{self.topic}", found, known_as)

    async def extents(self) -> dict[int, LogExtent]:
        """What each partition holds. LogError when Kafka does not answer."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, **self.security.client_options())
        try:
            await consumer.start()
            parts = [TopicPartition(self.topic, partition) for partition in range(self.partitions)]
            firsts = await consumer.beginning_offsets(parts)
            ends = await consumer.end_offsets(parts)
        except (KafkaError, OSError, TimeoutError) as error:
            raise LogError(f"Kafka at {self.bootstrap} does not tell what it holds: {error!r}") from error
        finally:
            await consumer.stop()
        return {part.partition: LogExtent(firsts[part], ends[part]) for part in parts}

    async def _partition_count(self, admin: AIOKafkaAdminClient) -> int | None:
        if self.topic not in await admin.list_topics():
            return None
        (described,) = await admin.describe_topics([self.topic])
        return len(described["partitions"]) or None

    async def _create(self, admin: AIOKafkaAdminClient) -> int:
        # Never compacted: offsets without gaps let the reader see that nothing was skipped.
        new = NewTopic(self.topic, self.partitions, self.replication, topic_configs={"cleanup.policy": "delete"})
        response = await admin.create_topics([new])
        for _, code, *message in response.topic_errors:
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:
                raise LogError(f"the Kafka topic {self.topic} could not be created: {error.__name__} {message}")
        found = None
        async with asyncio.timeout(_TOPIC_APPEARS_WITHIN_S):
            while found is None:
                await asyncio.sleep(0.1)
                found = await self._partition_count(admin)
        log.info("created Kafka topic=%s partitions=%d replication=%d", self.topic, found, self.replication)
        return found


class KafkaLogWriter:
    """Appends durably: idempotent producer, all in-sync replicas.

    An idempotent batch never expires by itself and can be stuck until the producer is new; so an append that is not
    confirmed within `deadline_s` fails and the producer is replaced. Its messages may still arrive.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        partitions: int,
        replication: int = 1,
        security: KafkaSecurity | None = None,
        *,
        deadline_s: float = 15.0,
    ) -> None:
        self._topic = KafkaTopic(bootstrap, topic, partitions, replication, security or KafkaSecurity())
        self._partitioner = Partitioner(partitions)
        self._deadline_s = deadline_s
        self._producer: AIOKafkaProducer | None = None
        self._replacing = asyncio.Lock()
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By partition."""
        self._stopping: set[asyncio.Task[None]] = set()
        self._closed = False

    async def open(self) -> LogIdentity:
        """See LogWriter."""
        self._closed = False
        identity = await self._topic.ensure()
        try:
            await self._usable_producer()
        except (KafkaError, OSError) as error:
            raise LogError(f"Kafka at {self._topic.bootstrap} cannot be used: {error!r}") from error
        return identity

    async def append(self, device_id: str, message: RawMessage) -> None:
        """See LogWriter."""
        await self.append_many([(device_id, message)])

    async def append_many(self, messages: Sequence[tuple[str, RawMessage]]) -> None:
        """`append` of all, in order, by device; LogError when any of them could not be made durable."""
        producer = None
        try:
            async with asyncio.timeout(self._deadline_s):
                producer = await self._usable_producer()
                await self._send(producer, messages)
        except (KafkaError, OSError, TimeoutError) as error:
            if producer is not None:
                await self._discard(producer)
            why = f"not confirmed within {self._deadline_s:g} s" if isinstance(error, TimeoutError) else repr(error)
            raise LogError(f"messages could not be appended to the Kafka topic {self._topic.topic}: {why}") from error

    async def close(self) -> None:
        """Release the connections; what was not confirmed is given up, and its append fails."""
        self._closed = True
        await self._discard(self._producer)

    async def _send(self, producer: AIOKafkaProducer, messages: Sequence[tuple[str, RawMessage]]) -> None:
        by_partition: defaultdict[int, list[tuple[bytes, RawMessage]]] = defaultdict(list)
        for device_id, message in messages:
            by_partition[self._partitioner.partition(device_id)].append((device_id.encode(), message))
        sends = [self._send_partition(producer, partition, part) for partition, part in by_partition.items()]
        for result in await asyncio.gather(*sends, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _send_partition(
        self, producer: AIOKafkaProducer, partition: int, messages: Sequence[tuple[bytes, RawMessage]]
    ) -> None:
        # Whole batches instead of send() per message: a quarter of the CPU.
        confirmations = []
        batch = producer.create_batch()
        for key, message in messages:
            if not _add(batch, key, message):
                confirmations.append(await self._handed_over(producer, partition, batch))
                batch = producer.create_batch()
                if not _add(batch, key, message):
                    raise LogError(f"a message of {len(message.payload)} bytes does not fit into a Kafka batch")
        confirmations.append(await self._handed_over(producer, partition, batch))
        await asyncio.gather(*confirmations)

    async def _handed_over(self, producer: AIOKafkaProducer, partition: int, batch: Any) -> asyncio.Future[Any]:
        """Its confirmation to come, once the producer has room for the batch."""
        # One at a time: of many that wait for room each wakes at every batch, and aiokafka counts the whole wait
        # against its patience each time, which 40 s do not outlast where fifty wait on a busy machine.
        async with self._turns[partition]:
            confirmation: asyncio.Future[Any] = await producer.send_batch(batch, self._topic.topic, partition=partition)
            return confirmation

    async def _usable_producer(self) -> AIOKafkaProducer:
        async with self._replacing:
            self._fail_if_closed()
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._topic.bootstrap,
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=_LINGER_MS,
                    max_batch_size=_BATCH_BYTES,
                    max_request_size=_MAX_REQUEST_BYTES,
                    **self._topic.security.client_options(),
                )
                try:
                    await producer.start()
                    self._fail_if_closed()
                except BaseException:
                    await producer.stop()
                    raise
                # Nobody waits behind those that are stuck with the one before.
                self._producer, self._turns = producer, defaultdict(asyncio.Lock)
            return self._producer

    def _fail_if_closed(self) -> None:
        # Nobody would stop a producer that begins after close().
        if self._closed:
            raise LogError(f"the writer of the Kafka topic {self._topic.topic} was closed")

    async def _discard(self, producer: AIOKafkaProducer | None) -> None:
        """Stop a producer once, whoever asks first; everybody waits for it, so that none is left behind by `close`."""
        if producer is not None and self._producer is producer:
            self._producer = None
            stopping = asyncio.create_task(_stop_in_time(producer))
            self._stopping.add(stopping)
            stopping.add_done_callback(self._stopping.discard)
        if self._stopping:
            await asyncio.wait(self._stopping)


async def _stop_in_time(producer: AIOKafkaProducer) -> None:
    with contextlib.suppress(KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(_CLOSE_DEADLINE_S):
            await _stop(producer)


async def _stop(producer: AIOKafkaProducer) -> None:
    """Stop a producer that may be stuck: its own stop() waits until every batch is delivered, which may be never."""
    sending = producer._sender.sender_task
    if sending is not None:
        sending.cancel()
        await producer.client.close()
        # Cancelled once, it waits for what it has begun: up to 40 s where a broker takes a connection and is silent.
        _, waiting = await asyncio.wait([sending], timeout=_SENDING_ENDS_WITHIN_S)
        if waiting:
            sending.cancel()
            await asyncio.wait([sending])
    producer._message_accumulator._batches.clear()
    producer._message_accumulator._pending_batches.clear()
    await producer.stop()


def _add(batch: Any, key: bytes, message: RawMessage) -> bool:
    headers = [("topic", message.topic.encode()), ("received_us", b"%d" % message.received_us)]
    if message.retained:
        headers.append(("retained", b"1"))
    # Kafka's retention goes by this timestamp: a dead letter that is put back after months must not be deleted at once.
    added = batch.append(timestamp=time.time_ns() // 1_000_000, key=key, value=message.payload, headers=headers)
    return added is not None
