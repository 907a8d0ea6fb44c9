"""The log in Apache Kafka: the reader.

Kafka's group gives out partitions, nothing else: positions come from the worker's database, and nothing is
ever committed to Kafka. aiokafka loses records silently in several ways (a getmany() that raises has already moved
other partitions; positions move before the work is done; errors in rebalance listeners are only logged); the
rule against all of them is one: the position that counts is ours, and after anything unusual we seek back to it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from ingest.kafka_log import KafkaSecurity, KafkaTopic
from ingest.kafka_pieces import Pieces
from ingest.kafka_record import log_records
from ingest.kafka_topic_id import topic_id
from ingest.log import AssignmentChanged, LoadPositions, LogError
from ingest.positions import outside_log
from ingest.raw import LogExtent, LogIdentity, LogSlice

_SESSION_TIMEOUT_MS = 30_000
_HEARTBEAT_MS = 3_000
_MAX_POLL_INTERVAL_MS = 900_000
_LOOK_AGAIN_S = 3.0
_SAME_TOPIC_EVERY_S = 10.0
_PATIENCE_S = 2.0
_AT_ONCE = 1_000
"""Records parsed between two turns of the event loop: about 2 ms."""

log = logging.getLogger(__name__)


class KafkaLogReader:
    """Reads the partitions its group assigns, or the fixed ones given in `only` (then there is no group)."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        partitions: int,
        load_positions: LoadPositions,
        assignment_changed: AssignmentChanged,
        *,
        group: str | None = None,
        only: Sequence[int] | None = None,
        group_instance_id: str | None = None,
        replication: int = 1,
        security: KafkaSecurity | None = None,
        session_timeout_ms: int = _SESSION_TIMEOUT_MS,
    ) -> None:
        if (group is None) == (only is None):
            raise ValueError("a Kafka reader takes either a group or fixed partitions")
        self._topic = KafkaTopic(bootstrap, topic, partitions, replication, security or KafkaSecurity())
        self._load_positions = load_positions
        self._assignment_changed = assignment_changed
        self._group = group
        self._only = only
        self._group_instance_id = group_instance_id
        self._session_timeout_ms = session_timeout_ms
        self._consumer: AIOKafkaConsumer | None = None
        self._pieces: Pieces | None = None
        self._identity: LogIdentity | None = None
        self._positions: dict[int, int] = {}
        self._unloaded = False
        self._gap: tuple[int, int] | None = None
        self._stopped: dict[int, str] = {}
        self._look_again_s = 0.0
        self._same_topic_s = 0.0

    @property
    def stopped(self) -> Mapping[int, str]:
        """See LogReader."""
        return self._stopped

    async def open(self) -> LogIdentity:
        """See LogReader."""
        unknown = [partition for partition in self._only or () if not 0 <= partition < self._topic.partitions]
        if unknown:
            raise LogError(f"partition {unknown[0]} is asked for, the topic has 0 to {self._topic.partitions - 1}")
        self._identity = await self._topic.ensure()
        # No deserializers, ever: one poison value would throw away what was read from other partitions.
        self._consumer = consumer = AIOKafkaConsumer(
            bootstrap_servers=self._topic.bootstrap,
            group_id=self._group,
            group_instance_id=self._group_instance_id,
            enable_auto_commit=False,
            auto_offset_reset="none",
            session_timeout_ms=self._session_timeout_ms,
            heartbeat_interval_ms=_HEARTBEAT_MS,
            max_poll_interval_ms=_MAX_POLL_INTERVAL_MS,
            **self._topic.security.client_options(),
        )
        if self._only is None:
            listener = _Listener(self._revoked, self._assigned)
            consumer.subscribe([self._topic.topic], listener=listener)
        try:
            await consumer.start()
        except (KafkaError, OSError) as error:
            await self.close()
            raise LogError(f"Kafka at {self._topic.bootstrap} cannot be used: {error!r}") from error
        self._pieces = Pieces(consumer)
        if self._only is not None:
            consumer.assign([self._of(partition) for partition in sorted(set(self._only))])
            await self._assigned(consumer.assignment())
        return self._identity

    async def fetch(self, max_records: int, wait_s: float) -> list[LogSlice]:
        """See LogReader. Brokers that cannot be reached raise nothing: aiokafka tries again, and nothing comes.

        Positions that could not be loaded at a rebalance are asked for here again; what the loading raises comes out.
        """
        if self._pieces is None:
            raise LogError("the Kafka reader is not open")
        if self._unloaded:
            await self._reload()
        await self._look_after()
        try:
            batches = await self._drain(self._pieces, max_records, wait_s)
        except OffsetOutOfRangeError as error:
            await self._stop_outside(error)
            return []
        except NoOffsetForPartitionError:
            # A rebalance whose positions are still being loaded.
            self._seek_back()
            return []
        except CorruptRecordException as error:
            self._seek_back()
            raise LogError(
                f"the Kafka topic {self._topic.topic} has a corrupt batch: {error}; skipping it is an operator's"
                " decision: `hanhtrinh position set PARTITION OFFSET` moves the position past it"
                f" (positions: {self._positions})"
            ) from error
        except KafkaError as error:
            self._seek_back()
            raise LogError(f"the Kafka topic {self._topic.topic} cannot be read: {error!r}") from error
        return self._slices(batches)

    async def _drain(self, pieces: Pieces, max_records: int, wait_s: float) -> dict[int, list[ConsumerRecord]]:
        """What the consumer has, by partition, some records at a time: what else waits for the loop has its turn."""
        drained: dict[int, list[ConsumerRecord]] = {}
        left, timeout_ms = max_records, int(wait_s * 1_000)
        while left:
            batches = await pieces.read(min(left, _AT_ONCE), timeout_ms)
            if not batches:
                break
            for part, records in batches.items():
                drained.setdefault(part.partition, []).extend(records)
                left -= len(records)
            timeout_ms = 0
            await asyncio.sleep(0)
        return drained

    async def rewind(self) -> None:
        """See LogReader."""
        await self._reload()

    async def end_offsets(self) -> dict[int, int]:
        """See LogReader."""
        consumer = self._running()
        try:
            parts = [part for part in consumer.assignment() if part.partition not in self._stopped]
            ends = await consumer.end_offsets(parts) if parts else {}
        except KafkaError as error:
            raise LogError(f"Kafka at {self._topic.bootstrap} does not tell its end: {error!r}") from error
        return {part.partition: end for part, end in ends.items()}

    async def close(self) -> None:
        """Leave the group and release the connections. Nothing is committed."""
        if self._consumer is not None:
            consumer, self._consumer, self._pieces = self._consumer, None, None
            await consumer.stop()

    def _slices(self, batches: dict[int, list[ConsumerRecord]]) -> list[LogSlice]:
        slices = []
        for partition, records in sorted(batches.items()):
            position = self._positions.get(partition)
            if position is None or not records:
                continue
            if not self._follows(partition, position, records):
                self._seek_back()
                return []
            end = records[-1].offset + 1
            slices.append(LogSlice(partition, position, end, log_records(records)))
        for part in slices:
            self._positions[part.partition] = part.next
        return slices

    def _seek_back(self) -> None:
        """To where our own reading stands, every partition: a getmany() that raised has moved others already."""
        consumer = self._running()
        for part in consumer.assignment():
            if part.partition in self._positions:
                consumer.seek(part, self._positions[part.partition])

    def _follows(self, partition: int, position: int, records: list[ConsumerRecord]) -> bool:
        """Whether the records go on where reading stood; a gap is believed only when it is there a second time."""
        first, last = records[0].offset, records[-1].offset
        if first == position and last - position + 1 == len(records):
            return True
        gap = (partition, position)
        if first >= position and self._gap == gap:
            log.warning("gap in the log topic=%s partition=%d position=%d first=%d", self._topic.topic, *gap, first)
            self._gap = None
            return True
        self._gap = gap
        return False

    def _revoked(self, revoked: Iterable[TopicPartition]) -> None:
        for part in revoked:
            self._positions.pop(part.partition, None)
            self._stopped.pop(part.partition, None)

    async def _assigned(self, assigned: Iterable[TopicPartition]) -> None:
        # aiokafka logs and forgets what a listener raises: reading would go on from Kafka's own idea of a position.
        consumer = self._running()
        parts = sorted(assigned)
        self._positions = {}
        self._stopped = {}
        try:
            for part in parts:
                # A valid position at once, or the fetcher asks Kafka for a committed one, which does not exist.
                consumer.pause(part)
                consumer.seek(part, 0)
            self._assignment_changed(frozenset(part.partition for part in parts))
            await self._reload()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.warning("positions could not be loaded topic=%s, paused until they are: %s", self._topic.topic, error)
            self._unloaded = True

    async def _reload(self) -> None:
        """Go on from the stored positions. Raises what the loading raises; then the partitions stay as they are."""
        consumer = self._running()
        parts = consumer.assignment()
        if parts:
            await self._seek(parts)
            consumer.resume(*(parts & consumer.assignment()))
        self._unloaded = False

    async def _seek(self, parts: Iterable[TopicPartition]) -> None:
        assert self._identity is not None, "open() comes first"
        partitions = sorted(part.partition for part in parts)
        stored = await self._load_positions(self._identity, partitions)
        consumer = self._running()
        still_ours = consumer.assignment()
        for partition in partitions:
            if self._of(partition) in still_ours:
                self._positions[partition] = stored.get(partition, 0)
                consumer.seek(self._of(partition), self._positions[partition])

    async def _look_after(self) -> None:
        """Now and then: whether this is still the topic that was opened, and whether a stopped partition may go on."""
        now_s = time.monotonic()
        if now_s >= self._same_topic_s:
            self._same_topic_s = now_s + _SAME_TOPIC_EVERY_S
            await self._require_same_topic()
        if self._stopped and now_s >= self._look_again_s:
            await self._look_at([self._of(partition) for partition in sorted(self._stopped)])

    async def _require_same_topic(self) -> None:
        assert self._identity is not None, "open() comes first"
        found = None
        # Brokers that are away say nothing about the topic.
        with suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                found = await topic_id(self._running()._client, self._topic.topic)
        if found is not None and self._identity.topic_id not in (None, found):
            raise LogError(
                f"the Kafka topic {self._topic.topic} was deleted and made again while it was read: its offsets begin"
                " anew. Start the worker again: it says how to go on"
            )

    async def _stop_outside(self, error: OffsetOutOfRangeError) -> None:
        """Stop the partitions whose positions Kafka refuses; the others go on."""
        (outside,) = error.args
        self._seek_back()
        await self._look_at(list(outside))

    async def _look_at(self, parts: list[TopicPartition]) -> None:
        """Stop those of these partitions whose stored position lies outside the log, and let the others go on."""
        consumer = self._running()
        self._look_again_s = time.monotonic() + _LOOK_AGAIN_S
        await self._seek(parts)
        try:
            firsts, ends = await consumer.beginning_offsets(parts), await consumer.end_offsets(parts)
        except KafkaError as error:
            raise LogError(f"the Kafka topic {self._topic.topic} cannot be read: {error!r}") from error
        for part in parts:
            position = self._positions.get(part.partition)
            if position is None or part not in consumer.assignment():
                continue
            extent = LogExtent(firsts[part], ends[part])
            why = outside_log(f"the Kafka topic {part.topic}", part.partition, position, extent)
            if why is not None:
                consumer.pause(part)
                if self._stopped.get(part.partition) != why:
                    log.error("partition stopped: %s", why)
                self._stopped[part.partition] = why
            elif self._stopped.pop(part.partition, None) is not None:
                consumer.resume(part)
                log.info("partition goes on partition=%d position=%d", part.partition, position)

    def _running(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise LogError("the Kafka reader is not open")
        return self._consumer

    def _of(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic.topic, partition)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(
        self,
        revoked: Callable[[Iterable[TopicPartition]], None],
        assigned: Callable[[Iterable[TopicPartition]], object],
    ) -> None:
        self._revoked = revoked
        self._assigned = assigned

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._revoked(revoked)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> object:
        return self._assigned(assigned)
