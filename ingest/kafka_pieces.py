"""What an aiokafka consumer has fetched, handed out many records at a time.

aiokafka hands out each record by itself, through four calls in Python that take longer than its compiled parser needs.
Here its parser fills a list at once. It reaches into the consumer for that: where a later aiokafka keeps what it
fetched elsewhere, records come one by one again, and are the same.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException


class _Wanted:
    """How many records are still asked for."""

    left = 0


class Pieces:
    """Reads from a consumer that has been started and that nobody else reads from."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._wanted = _Wanted()
        fetcher: Any = getattr(consumer, "_fetcher", None)
        # Transactions that were aborted are not left out here.
        reads_all = getattr(fetcher, "_isolation_level", None) == READ_UNCOMMITTED
        self._together = reads_all and type(getattr(fetcher, "_records", None)) is OrderedDict
        if self._together:
            fetcher._records = _Fetched(self._wanted, fetcher._records)

    async def read(self, at_most: int, timeout_ms: int) -> dict[TopicPartition, list[ConsumerRecord]]:
        """Up to so many records by partition, in their order; {} when none came in time. Raises as `getmany` does."""
        if not self._together:
            read: dict[TopicPartition, list[ConsumerRecord]] = await self._consumer.getmany(
                timeout_ms=timeout_ms, max_records=at_most
            )
            return read
        self._wanted.left = at_most
        # Of each partition one item, which is its piece.
        pieces = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=at_most)
        return {part: piece for part, (piece,) in pieces.items()}


class _Fetched(OrderedDict[TopicPartition, Any]):
    """What the fetcher keeps: results as they come from the broker, and errors, which stay what they are."""

    def __init__(self, wanted: _Wanted, before: OrderedDict[TopicPartition, Any]) -> None:
        super().__init__()
        self._wanted = wanted
        for part, result in before.items():
            self[part] = result

    def __setitem__(self, part: TopicPartition, result: Any) -> None:
        if type(result) is FetchResult:
            result.getall = _GetAll(result, self._wanted)
        super().__setitem__(part, result)


class _GetAll:
    """In the place of a new result's method: returns one list with as many of its records as are wanted."""

    def __init__(self, result: FetchResult, wanted: _Wanted) -> None:
        # A circle of references would keep a megabyte until garbage is collected, which is seldom.
        self._result: Any = weakref.proxy(result)
        self._wanted = wanted
        self._records: PartitionRecords = result._partition_records
        # Its own way through the records, and a circle with them.
        self._records._records_iterator = None
        self._batch: Iterator[ConsumerRecord] = iter(())
        self._batch_end: int | None = None
        self._corrupt = self._done = False

    def __call__(self, _max_records: int | None = None) -> list[list[ConsumerRecord]]:
        result = self._result
        if not self._wanted.left or not result.check_assignment(result._topic_partition) or not result.has_more():
            return []
        piece = self._take(self._wanted.left)
        self._wanted.left -= len(piece)
        result._update_position()
        if self._done:
            result._partition_records = None
        return [piece] if piece else []

    def _take(self, at_most: int) -> list[ConsumerRecord]:
        """So many records, or all that are left, and the position after them."""
        piece: list[ConsumerRecord] = []
        try:
            while len(piece) < at_most and self._add(piece, at_most - len(piece)):
                pass
            if self._corrupt and not piece:
                raise CorruptRecordException(f"Invalid CRC - {self._records._tp}")
        except BaseException:
            # As with aiokafka's own: what is left is fetched again.
            self._batch, self._corrupt, self._done = iter(()), False, True
            raise
        return piece

    def _add(self, piece: list[ConsumerRecord], wanted: int) -> bool:
        """Add up to so many records of one batch; False where the piece has to end."""
        begin = self._records.next_fetch_offset
        some = list(islice(self._batch, wanted))
        ended = len(some) < wanted
        if some and some[0].offset < begin:
            # A batch comes whole, also where the position is in the middle of it.
            some = [record for record in some if record.offset >= begin]
        if some:
            self._records.next_fetch_offset = some[-1].offset + 1
            piece += some
        return not ended or self._next_batch()

    def _next_batch(self) -> bool:
        """Go on with the next batch; False where none follows, or one that is corrupt."""
        records = self._records
        if self._batch_end is not None:
            # Beyond what was compacted away, and the mark of a transaction.
            records.next_fetch_offset = self._batch_end
        self._batch, self._batch_end = iter(()), None
        if self._corrupt or self._done or not records._records.has_next():
            self._done = not self._corrupt
            return False
        batch = records._records.next_batch()
        if records._check_crcs and not batch.validate_crc():
            self._corrupt = True
            return False
        self._batch_end = batch.next_offset
        if not batch.is_control_batch:
            # A batch may be asked for its iterator only once; a chain of it as often as one likes.
            self._batch = chain(batch)
        return True
