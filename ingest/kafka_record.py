"""A record of the Kafka topic as a raw message."""

from __future__ import annotations

from aiokafka import ConsumerRecord

from ingest.raw import LogRecord, RawMessage

_new = tuple.__new__


def log_record(record: ConsumerRecord) -> LogRecord:
    """The raw message in a record of the topic, whoever wrote it."""
    headers = record.headers
    # As our writer orders them; the slower way is for records that something else wrote.
    if len(headers) >= 2 and headers[0][0] == "topic" and headers[1][0] == "received_us":
        try:
            topic, received_us = headers[0][1].decode(), int(headers[1][1])
            # Made as tuples are: a named tuple's own way takes twice as long.
            message = _new(RawMessage, (topic, record.value or b"", received_us, len(headers) > 2))
            return _new(LogRecord, (record.offset, message))
        except ValueError:
            pass
    return LogRecord(record.offset, _foreign_message(record))


def _foreign_message(record: ConsumerRecord) -> RawMessage:
    named = dict(record.headers)
    topic = (named.get("topic") or record.key or b"").decode(errors="backslashreplace")
    return RawMessage(topic, record.value or b"", record.timestamp * 1_000, named.get("retained") == b"1")
