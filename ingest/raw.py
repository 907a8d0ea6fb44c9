"""What a tracker sent, untouched, and where the log keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


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


@dataclass(frozen=True, slots=True)
class LogRecords:
    """Records one after the other, by column: a worker reads tens of thousands a second, and rarely one by itself."""

    offsets: Sequence[int]
    topics: Sequence[str]
    payloads: Sequence[bytes]
    received_us: NDArray[np.int64]
    retained: Sequence[bool]

    @classmethod
    def of(cls, records: Iterable[LogRecord]) -> LogRecords:
        """By column what is there one by one."""
        rows = [(offset, *message) for offset, message in records]
        offsets, topics, payloads, received_us, retained = zip(*rows, strict=True) if rows else ((),) * 5
        return cls(offsets, topics, payloads, np.array(received_us, dtype=np.int64), retained)

    def __len__(self) -> int:
        return len(self.offsets)

    def __iter__(self) -> Iterator[LogRecord]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, number: int) -> LogRecord:
        return LogRecord(self.offsets[number], self.message(number))

    def message(self, number: int) -> RawMessage:
        """The message of one record."""
        received_us = int(self.received_us[number])
        return RawMessage(self.topics[number], self.payloads[number], received_us, self.retained[number])

    def part(self, begin: int, end: int | None = None) -> LogRecords:
        """The records from one up to, not including, another."""
        here = slice(begin, end)
        return LogRecords(
            self.offsets[here], self.topics[here], self.payloads[here], self.received_us[here], self.retained[here]
        )


class LogSlice(NamedTuple):
    """Consecutive records of one partition: all there is from `start` up to, not including, `next`.

    `start` is the position that was read from, not the first record's offset: offsets may have gaps.
    """

    partition: int
    start: int
    next: int
    records: LogRecords

    def split(self, at: int) -> tuple[LogSlice, LogSlice]:
        """Two slices, the second beginning with record `at`, not the first; no position in between is left out."""
        cut = self.records.offsets[at]
        return (
            LogSlice(self.partition, self.start, cut, self.records.part(0, at)),
            LogSlice(self.partition, cut, self.next, self.records.part(at)),
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
