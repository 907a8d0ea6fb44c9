"""The log between trackers and workers, as its two users see it.

Two implementations: `ingest.kafka_log` (Apache Kafka) and `ingest.embedded_log` (a table in PostgreSQL). One battery
of tests runs on both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from ingest.raw import LogIdentity, LogSlice, RawMessage

LoadPositions = Callable[[LogIdentity, Sequence[int]], Awaitable[dict[int, int]]]
"""Given the log and partitions newly assigned, the stored next offset of each (0 where none is stored)."""

AssignmentChanged = Callable[[frozenset[int]], None]
"""Told the whole new assignment; what belonged to other partitions must be forgotten."""


class LogError(Exception):
    """The log cannot go on; the message says what, where, and the remedy."""


class LogWriter(Protocol):
    """Where the bridge puts raw messages."""

    async def open(self) -> LogIdentity:
        """Connect; create the topic or table when missing. LogError when it has another partition count."""
        ...

    async def append(self, device_id: str, message: RawMessage) -> None:
        """Return only when the message is durable (all in-sync replicas, or a committed insert).

        Keyed by device: messages of one device go to one partition in call order. Many calls may be under way at once.
        Raises LogError when it could not be made durable; the message may or may not be there then.
        """
        ...

    async def append_many(self, messages: Sequence[tuple[str, RawMessage]]) -> None:
        """`append` of all (device id, message); LogError when any of them could not be made durable."""
        ...

    async def close(self) -> None: ...


class LogReader(Protocol):
    """Where a worker reads. The position is the worker's (in its database); the log's own notion is never used."""

    @property
    def stopped(self) -> Mapping[int, str]:
        """Partitions whose stored position lies outside the log (data lost by retention, or another log), and the words
        for it. They are not read; the others are. The stored positions are looked at again every few seconds."""
        ...

    async def open(self) -> LogIdentity: ...

    async def fetch(self, max_records: int, wait_s: float) -> list[LogSlice]:
        """Slices of assigned partitions, in partition order, at most `max_records` records together.

        Waits up to `wait_s` for the first record, then returns what is there; [] when nothing came.
        Raises LogError when the log cannot be read, or is not the one that was opened; and what `LoadPositions`
        raises where positions have to be asked for.
        """
        ...

    async def rewind(self) -> None:
        """Forget what was handed out: read every assigned partition again from the stored position."""
        ...

    async def end_offsets(self) -> dict[int, int]:
        """The offset after the newest record of each assigned partition that is not stopped.

        LogError when the log does not answer.
        """
        ...

    async def close(self) -> None: ...
