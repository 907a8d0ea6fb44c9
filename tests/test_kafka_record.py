"""Records of the topic as messages: ours at a glance, those of others one by one, and none is lost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from ingest.kafka_record import log_records
from ingest.raw import LogRecord, RawMessage

Headers = Sequence[tuple[str, bytes | None]]
PART = TopicPartition("raw", 3)
SENT_MS = 1_772_327_730_000


def ours(topic: str = "hanhtrinh/29B-00001", received_us: int = 7, *, retained: bool = False) -> Headers:
    marks: Headers = [("retained", b"1")] if retained else []
    return [("topic", topic.encode()), ("received_us", b"%d" % received_us), *marks]


def fetched(*records: tuple[int, bytes | None, bytes | None, Headers]) -> bytes:
    """As a broker sends them: offset, key, value, headers."""
    batch = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1_000_000)
    for offset, key, value, headers in records:
        batch.append(offset, SENT_MS, key, value, list(headers))
    return bytes(batch.build())


@pytest.fixture(params=["wrapped", "as parsed"])
def parsed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "as parsed")


def read(batch: bytes, parsed: bool) -> list[LogRecord]:
    """What comes of a batch, by itself or as aiokafka wraps its records."""
    records = MemoryRecords(batch)
    if parsed:
        return list(log_records(list(records.next_batch())))
    return list(log_records(list(PartitionRecords(PART, records, [], 0, None, None, True, 0))))


def test_messages_of_the_bridge_come_out_as_they_went_in(parsed: bool) -> None:
    records = fetched(
        (0, b"29B-00001", b'{"a":1}', ours(received_us=11)),
        (1, b"xe", None, ours("owntracks/\u0111/xe", 12)),
        (2, b"29B-00001", b"", ours(received_us=13)),
    )
    assert read(records, parsed) == [
        LogRecord(0, RawMessage("hanhtrinh/29B-00001", b'{"a":1}', 11)),
        LogRecord(1, RawMessage("owntracks/\u0111/xe", b"", 12)),
        LogRecord(2, RawMessage("hanhtrinh/29B-00001", b"", 13)),
    ]


def test_a_gap_in_the_offsets_and_retained_messages_are_kept(parsed: bool) -> None:
    records = fetched((0, b"k", b"x", ours()), (5, b"k", b"y", ours(received_us=8, retained=True)))
    assert read(records, parsed) == [
        LogRecord(0, RawMessage("hanhtrinh/29B-00001", b"x", 7)),
        LogRecord(5, RawMessage("hanhtrinh/29B-00001", b"y", 8, True)),
    ]


@pytest.mark.parametrize(
    ("key", "headers", "expected"),
    [
        (b"hanhtrinh/K", [], ("hanhtrinh/K", SENT_MS * 1_000)),
        (None, [], ("", SENT_MS * 1_000)),
        (b"k", [("topic", b"hanhtrinh/T")], ("hanhtrinh/T", SENT_MS * 1_000)),
        (b"k", [("topic", b"hanhtrinh/T"), ("received_us", b"soon")], ("hanhtrinh/T", SENT_MS * 1_000)),
        (b"k", [("topic", b"hanhtrinh/T"), ("received_us", b"")], ("hanhtrinh/T", SENT_MS * 1_000)),
        (b"k", [("topic", b"hanhtrinh/T"), ("received_us", b"-5")], ("hanhtrinh/T", -5)),
        (b"k", [("topic", b"hanhtrinh/T"), ("received_us", None)], ("hanhtrinh/T", SENT_MS * 1_000)),
        (b"k", [("topic", None), ("received_us", b"5")], ("k", SENT_MS * 1_000)),
        (b"k", [("received_us", b"5"), ("topic", b"hanhtrinh/T")], ("hanhtrinh/T", SENT_MS * 1_000)),
        (b"k", [("topic", b"\xff"), ("received_us", b"5")], ("\\xff", SENT_MS * 1_000)),
        (b"k", ours("hanhtrinh/two\nlines", 5), ("hanhtrinh/two\nlines", 5)),
        (b"k", [("received_us", b"5"), *ours("hanhtrinh/T", 6)], ("hanhtrinh/T", SENT_MS * 1_000)),
    ],
)
def test_what_somebody_else_wrote_spoils_no_other_record(
    parsed: bool, key: bytes | None, headers: Headers, expected: tuple[str, int]
) -> None:
    records = fetched((0, b"k", b"x", ours()), (1, key, b"y", headers), (2, b"k", b"z", ours()))
    assert read(records, parsed) == [
        LogRecord(0, RawMessage("hanhtrinh/29B-00001", b"x", 7)),
        LogRecord(1, RawMessage(expected[0], b"y", expected[1])),
        LogRecord(2, RawMessage("hanhtrinh/29B-00001", b"z", 7)),
    ]
