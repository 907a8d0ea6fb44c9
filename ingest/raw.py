"""What a tracker sent, untouched, and where the log keeps it."""

from __future__ import annotations

from typing import NamedTuple


class RawMessage(NamedTuple):
    """Bytes as a tracker sent them; never altered on the way to the worker."""

    topic: str
    """MQTT topic as received."""
    payload: bytes
    received_us: int
    """Wall clock of the bridge at receipt, microseconds since 1970 UTC: for freshness and clock checks only."""
    retained: bool = False


class LogRecord(NamedTuple):
    """A raw message at its place in a partition of the log."""

    offset: int
    message: RawMessage


class LogSlice(NamedTuple):
    """Consecutive records of one partition: all there is from `start` up to, not including, `next`.

    `start` is the position that was read from, not the first record's offset: offsets may have gaps.
    """

    partition: int
    start: int
    next: int
    records: list[LogRecord]

    def split(self, at: int) -> tuple[LogSlice, LogSlice]:
        """Two slices, the second beginning with record `at`, not the first; no position in between is left out."""
        cut = self.records[at].offset
        return (
            LogSlice(self.partition, self.start, cut, self.records[:at]),
            LogSlice(self.partition, cut, self.next, self.records[at:]),
        )


class LogIdentity(NamedTuple):
    """Which log this is: a cluster swapped under the same name has another `log_id`."""

    log_id: str
    """Kafka: "<cluster id>/<topic>"; embedded: "embedded/<uuid made at creation>"."""
    partitions: int
    topic_id: str | None = None
    """Kafka's own id of the topic, which changes when it is deleted and made again; None where there is none."""


class LogExtent(NamedTuple):
    """What a partition of the log holds: offsets from `first` up to, not including, `next`."""

    first: int
    next: int
