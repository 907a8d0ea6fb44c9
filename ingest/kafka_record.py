"""Records of the Kafka topic as raw messages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from aiokafka import ConsumerRecord

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


def _our_own(records: Sequence[ConsumerRecord]) -> LogRecords:
    """As our writer makes them; ValueError, IndexError or TypeError when one is not."""
    headers = [record.headers for record in records]
    size, sizes = len(headers), set(map(len, headers))
    retained = [False] * size if sizes == {len(_NAMES)} else [len(each) > len(_NAMES) for each in headers]
    if min(sizes) < len(_NAMES):
        raise ValueError("a header is missing")
    if True in retained:
        headers = [each[: len(_NAMES)] for each in headers]
    # Flat, and every fourth of it: much less than taking each record's headers apart.
    told = list(chain.from_iterable(chain.from_iterable(headers)))
    topics, received_us = told[1::4], told[3::4]
    names = told[::4].count(_NAMES[0]), told[2::4].count(_NAMES[1])
    if names != (size, size) or not b"".join(received_us).isdigit():
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
        retained,
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
