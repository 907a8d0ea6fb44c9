"""Records of the Kafka topic as raw messages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from ingest.raw import LogRecord, LogRecords, RawMessage

_NAMES = ("topic", "received_us")
"""Of the headers that our writer begins with."""


def log_records(records: Sequence[ConsumerRecord]) -> LogRecords:
    """The raw messages in consecutive records of a partition, at least one, whoever wrote them."""
    try:
        return _our_own(records)
    except (ValueError, IndexError, TypeError):
        # Something else wrote one of them: other headers, or one without a value.
        return LogRecords.of(map(_log_record, records))


def leave_unwrapped(consumer: AIOKafkaConsumer) -> None:
    """Let what the consumer has fetched come out as the records that aiokafka's parser makes.

    They have all that is asked for here, and a `ConsumerRecord` around each takes longer than parsing it. Where a later
    aiokafka keeps what it fetched elsewhere, its records come wrapped, and are read the same.
    """
    fetched = getattr(getattr(consumer, "_fetcher", None), "_records", None) or {}
    for result in fetched.values():
        records = getattr(result, "_partition_records", None)
        if records is not None:
            records._consumer_record = _as_it_is


def _as_it_is(_partition: TopicPartition, record: ConsumerRecord) -> ConsumerRecord:
    return record


def _our_own(records: Sequence[ConsumerRecord]) -> LogRecords:
    """As our writer makes them; ValueError, IndexError or TypeError when one is not."""
    headers = [record.headers for record in records]
    size = len(headers)
    names, topics = zip(*[each[0] for each in headers], strict=True)
    more_names, received_us = zip(*[each[1] for each in headers], strict=True)
    if names != _NAMES[:1] * size or more_names != _NAMES[1:] * size or not b"".join(received_us).isdigit():
        raise ValueError("other headers")
    # One decoding for all; a topic with a line's end in it makes one more line.
    texts, times_us = b"\n".join(topics).decode().split("\n"), np.fromstring(b" ".join(received_us), np.int64, sep=" ")
    if len(texts) != size or len(times_us) != size:
        raise ValueError("a line's end in a topic, or a header that is empty")
    first, last = records[0].offset, records[-1].offset
    return LogRecords(
        range(first, last + 1) if last - first + 1 == size else [record.offset for record in records],
        texts,
        [record.value or b"" for record in records],
        times_us,
        [False] * size if set(map(len, headers)) == {len(_NAMES)} else [len(each) > len(_NAMES) for each in headers],
    )


def _log_record(record: ConsumerRecord) -> LogRecord:
    headers = record.headers
    if len(headers) >= 2 and (headers[0][0], headers[1][0]) == _NAMES:
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
