"""Records of the Kafka topic as raw messages."""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka import ConsumerRecord

from ingest.raw import LogRecord, LogRecords, RawMessage

_OURS = {("topic", "received_us")}


def log_records(records: Sequence[ConsumerRecord]) -> LogRecords:
    """The raw messages in consecutive records of a partition, at least one, whoever wrote them."""
    try:
        return _our_own(records)
    except (ValueError, IndexError, TypeError):
        # Something else wrote one of them: other headers, or one without a value.
        return LogRecords.of(map(_log_record, records))


def _our_own(records: Sequence[ConsumerRecord]) -> LogRecords:
    """As our writer makes them; ValueError, IndexError or TypeError when one is not."""
    headers = [record.headers for record in records]
    if {(each[0][0], each[1][0]) for each in headers} != _OURS:
        raise ValueError("other headers")
    # One decoding for all; a topic with a line's end in it makes one more line.
    topics = b"\n".join([each[0][1] for each in headers]).decode().split("\n")
    if len(topics) != len(records):
        raise ValueError("a line's end in a topic")
    first, last = records[0].offset, records[-1].offset
    whole = last - first + 1 == len(records)
    return LogRecords(
        range(first, last + 1) if whole else [record.offset for record in records],
        topics,
        [record.value or b"" for record in records],
        [int(each[1][1]) for each in headers],
        [len(each) > 2 for each in headers],
    )


def _log_record(record: ConsumerRecord) -> LogRecord:
    headers = record.headers
    if len(headers) >= 2 and (headers[0][0], headers[1][0]) in _OURS:
        try:
            message = RawMessage(headers[0][1].decode(), record.value or b"", int(headers[1][1]), len(headers) > 2)
            return LogRecord(record.offset, message)
        except (ValueError, TypeError, AttributeError):
            pass
    return LogRecord(record.offset, _foreign_message(record))


def _foreign_message(record: ConsumerRecord) -> RawMessage:
    named = dict(record.headers)
    topic = (named.get("topic") or record.key or b"").decode(errors="backslashreplace")
    return RawMessage(topic, record.value or b"", record.timestamp * 1_000, named.get("retained") == b"1")
