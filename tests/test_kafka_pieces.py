"""Records in pieces: every one, once and in order, however the log is cut into batches and however many are wanted.

That all of it holds on a real broker shows tests/test_log.py.
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from ingest.kafka_pieces import Pieces

PART, OTHER = TopicPartition("raw", 3), TopicPartition("raw", 4)


Read = Callable[[int], dict[TopicPartition, list[int]]]


class FakeConsumer:
    """A consumer without a broker: a fetcher that has `_records`, and takes from them as aiokafka's does."""

    def __init__(self, isolation_level: int = READ_UNCOMMITTED) -> None:
        self._fetcher = SimpleNamespace(_records=OrderedDict[TopicPartition, Any](), _isolation_level=isolation_level)
        self.position: dict[TopicPartition, int] = {PART: 0, OTHER: 0}
        self.paused: set[TopicPartition] = set()

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(timeout_ms * 0)
        kept, drained = self._fetcher._records, {}
        for part in list(kept):
            records = kept[part].getall(max_records)
            if not kept[part].has_more():
                del kept[part]
            if records:
                drained[part] = records
                max_records -= len(records)
                assert max_records >= 0
                if not max_records:
                    break
        return drained

    def came(self, part: TopicPartition, *batches: bytes, at: int = 0) -> FetchResult:
        """A broker's answer, to a fetch from a position."""
        records = PartitionRecords(part, MemoryRecords(b"".join(batches)), [], at, None, None, True, 0)
        self.position[part] = at
        assignment = SimpleNamespace(active=True, state_value=self._state)
        result = FetchResult(part, assignment=assignment, partition_records=records, backoff=0)
        self._fetcher._records[part] = result
        return result

    def _state(self, part: TopicPartition) -> Any:
        def consumed_to(position: int) -> None:
            self.position[part] = position

        return SimpleNamespace(paused=part in self.paused, position=self.position[part], consumed_to=consumed_to)


def batch(offsets: Sequence[int], end: int | None = None) -> bytes:
    """As a broker keeps it: `end` is where the next one begins, where the last ones were compacted away."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1_000_000)
    for offset in offsets:
        builder.append(offset - offsets[0], 1_772_327_730_000, b"k", b"%d" % offset, [])
    built = builder.build()
    built[0:8] = offsets[0].to_bytes(8, "big")
    if end is not None:
        built[23:27] = (end - 1 - offsets[0]).to_bytes(4, "big")
        built[17:21] = calc_crc32c(bytes(built[21:])).to_bytes(4, "big")
    return bytes(built)


def marker(offset: int) -> bytes:
    """The end of a transaction, as the broker writes it into the log."""
    built = bytearray(batch([offset]))
    built[22] |= 0x20
    built[17:21] = calc_crc32c(bytes(built[21:])).to_bytes(4, "big")
    return bytes(built)


def spoilt(good: bytes) -> bytes:
    return good[:-1] + bytes([good[-1] ^ 1])


@pytest.fixture
def consumer() -> FakeConsumer:
    return FakeConsumer()


@pytest.fixture
def read(consumer: FakeConsumer) -> Read:
    """Offsets of what is read by partition."""
    pieces = Pieces(consumer)

    def offsets(at_most: int) -> dict[TopicPartition, list[int]]:
        found = asyncio.run(pieces.read(at_most, 0))
        return {part: [record.offset for record in records] for part, records in found.items()}

    return offsets


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 60), st.integers(0, 30))
def test_every_record_comes_once_and_in_order(sizes: list[int], at_most: int, skipped: int) -> None:
    consumer = FakeConsumer()
    pieces = Pieces(consumer)
    first = 100
    batches, begin = [], first
    for size in sizes:
        batches.append(batch(range(begin, begin + size)))
        begin += size
    # A broker answers with whole batches.
    at = first + min(skipped, sizes[0] - 1)
    consumer.came(PART, *batches, at=at)
    found: list[int] = []
    for _ in range(2 * sum(sizes) + 2):
        piece = [record.offset for record in asyncio.run(pieces.read(at_most, 0)).get(PART, [])]
        assert len(piece) <= at_most
        found += piece
        assert consumer.position[PART] == (found[-1] + 1 if found else at)
    assert found == list(range(at, begin))
    assert not consumer._fetcher._records


def test_a_result_that_is_used_up_is_dropped_at_once_so_that_more_is_fetched(
    consumer: FakeConsumer, read: Read
) -> None:
    consumer.came(PART, batch(range(5)))
    assert read(10) == {PART: [0, 1, 2, 3, 4]}
    assert not consumer._fetcher._records


def test_several_partitions_come_together_and_no_more_than_wanted(consumer: FakeConsumer, read: Read) -> None:
    consumer.came(PART, batch(range(5)))
    consumer.came(OTHER, batch(range(7, 12)), at=7)
    assert read(8) == {PART: [0, 1, 2, 3, 4], OTHER: [7, 8, 9]}
    assert read(8) == {OTHER: [10, 11]}
    assert read(8) == {}


def test_what_was_fetched_before_anybody_read_is_handed_out_together_too(consumer: FakeConsumer) -> None:
    consumer.came(PART, batch(range(5)))
    pieces = Pieces(consumer)
    assert len(asyncio.run(pieces.read(10, 0))[PART]) == 5


def test_the_position_moves_over_offsets_that_were_compacted_away(consumer: FakeConsumer, read: Read) -> None:
    consumer.came(PART, batch([0, 4], end=10), batch([12]))
    assert read(10) == {PART: [0, 4, 12]}
    assert consumer.position[PART] == 13
    consumer.came(PART, batch([13], end=20), at=13)
    assert read(10) == {PART: [13]}
    assert consumer.position[PART] == 20


def test_the_mark_of_a_transaction_is_no_record_and_the_position_moves_over_it(
    consumer: FakeConsumer, read: Read
) -> None:
    """Somebody's exactly-once writer ends each transaction with one; taken for a message it would be a dead letter."""
    consumer.came(PART, batch([0, 1]), marker(2), batch([3]), marker(4))
    assert read(10) == {PART: [0, 1, 3]}
    assert consumer.position[PART] == 5


def test_what_comes_before_a_corrupt_batch_is_handed_out_and_then_the_batch_is_named(
    consumer: FakeConsumer, read: Read
) -> None:
    consumer.came(PART, batch(range(3)), spoilt(batch(range(3, 6))))
    assert read(10) == {PART: [0, 1, 2]}
    with pytest.raises(CorruptRecordException, match="Invalid CRC"):
        read(10)
    assert consumer.position[PART] == 3
    # Nothing is handed out from behind it: it is fetched again.
    assert read(10) == {}
    assert not consumer._fetcher._records


def test_a_seek_elsewhere_throws_away_what_was_fetched(consumer: FakeConsumer, read: Read) -> None:
    consumer.came(PART, batch(range(5)))
    assert read(2) == {PART: [0, 1]}
    consumer.position[PART] = 0
    assert read(10) == {}
    assert not consumer._fetcher._records


def test_a_paused_partition_hands_out_nothing(consumer: FakeConsumer, read: Read) -> None:
    consumer.came(PART, batch(range(5)))
    consumer.paused = {PART}
    assert read(10) == {}


@pytest.mark.parametrize("used_up", [True, False])
def test_what_was_fetched_needs_no_garbage_collection(consumer: FakeConsumer, read: Read, used_up: bool) -> None:
    """A worker collects seldom: a country's messages took 32 GB an hour while each answer held on to itself."""
    gc.collect()
    gc.disable()
    try:
        result = consumer.came(PART, batch(range(5)), batch(range(5, 9)))
        gone = weakref.ref(result), weakref.ref(result._partition_records)
        del result
        assert read(10 if used_up else 6)
        consumer._fetcher._records.pop(PART, None)
        assert [each() for each in gone] == [None, None]
    finally:
        gc.enable()


def test_a_consumer_that_leaves_out_aborted_transactions_is_read_as_it_is() -> None:
    consumer = FakeConsumer(READ_COMMITTED)
    consumer.came(PART, batch(range(5)))
    found = asyncio.run(Pieces(consumer).read(3, 0))
    assert [record.offset for record in found[PART]] == [0, 1, 2]
