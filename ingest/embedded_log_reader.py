"""The log in PostgreSQL tables: the reader, and the trimmer that deletes what every worker has passed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg

from ingest.embedded_log import CHANNEL, Connect, Connection, ensure_log, log_extents
from ingest.log import AssignmentChanged, LoadPositions, LogError
from ingest.positions import outside_log
from ingest.raw import LogExtent, LogIdentity, LogRecord, LogRecords, LogSlice, RawMessage

_SLICE_SQL = (
    "SELECT log_offset, topic, payload, received_us, retained FROM embedded_log_messages"
    " WHERE partition = %s AND log_offset >= %s ORDER BY log_offset LIMIT %s"
)

_LOOK_AGAIN_S = 3.0

log = logging.getLogger(__name__)


class EmbeddedLogReader:
    """Reads all partitions, or the fixed ones given; there is no group: two readers of one partition see the same.

    `connect` must give a connection in autocommit mode; the reader owns it and makes another when it is lost.
    """

    def __init__(
        self,
        connect: Connect,
        partitions: int,
        load_positions: LoadPositions,
        assignment_changed: AssignmentChanged,
        *,
        only: Sequence[int] | None = None,
    ) -> None:
        self._connect = connect
        self._partitions = partitions
        self._load_positions = load_positions
        self._assignment_changed = assignment_changed
        self._assigned = sorted(set(only)) if only is not None else list(range(partitions))
        self._connection: Connection | None = None
        self._identity: LogIdentity | None = None
        self._positions: dict[int, int] = {}
        self._first_turn = 0
        self._stopped: dict[int, str] = {}
        self._look_again_s = 0.0

    @property
    def stopped(self) -> Mapping[int, str]:
        """See LogReader."""
        return self._stopped

    async def open(self) -> LogIdentity:
        """See LogReader."""
        unknown = [partition for partition in self._assigned if not 0 <= partition < self._partitions]
        if unknown:
            raise LogError(f"partition {unknown[0]} is asked for, the log has 0 to {self._partitions - 1}")
        try:
            self._identity = await ensure_log(await self._usable_connection(), self._partitions)
        except psycopg.Error as error:
            await self.close()
            raise LogError(f"the embedded log cannot be opened: {error}") from error
        except LogError:
            await self.close()
            raise
        self._assignment_changed(frozenset(self._assigned))
        await self.rewind()
        return self._identity

    async def fetch(self, max_records: int, wait_s: float) -> list[LogSlice]:
        """See LogReader. A lost connection raises psycopg.OperationalError; the next call makes another."""
        deadline = time.monotonic() + wait_s
        while True:
            connection = await self._usable_connection()
            slices = await self._read(connection, max_records)
            left_s = deadline - time.monotonic()
            if slices or left_s <= 0:
                return slices
            # Partitions that are stopped are looked at again, whether or not there is news.
            async for _ in connection.notifies(timeout=min(left_s, _LOOK_AGAIN_S), stop_after=1):
                pass

    async def rewind(self) -> None:
        """See LogReader."""
        assert self._identity is not None, "open() comes first"
        stored = await self._load_positions(self._identity, self._assigned)
        self._positions = {partition: stored.get(partition, 0) for partition in self._assigned}

    async def end_offsets(self) -> dict[int, int]:
        """See LogReader."""
        extents = await log_extents(await self._usable_connection())
        return {partition: extents[partition].next for partition in self._assigned if partition not in self._stopped}

    async def close(self) -> None:
        """Release the connection."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _read(self, connection: Connection, max_records: int) -> list[LogSlice]:
        extents = await log_extents(connection)
        await self._look_at_stopped()
        self._stop_outside(extents)
        slices = []
        left = max_records
        # Another partition goes first each time, so that a busy one cannot starve the rest.
        self._first_turn += 1
        turn = self._first_turn % len(self._assigned) if self._assigned else 0
        for partition in self._assigned[turn:] + self._assigned[:turn]:
            start = self._positions[partition]
            if left and partition not in self._stopped and extents[partition].next > start:
                slices.append(await self._slice(connection, partition, start, left))
                left -= len(slices[-1].records)
        for part in slices:
            self._positions[part.partition] = part.next
        return sorted(slices)

    async def _slice(self, connection: Connection, partition: int, start: int, limit: int) -> LogSlice:
        async with connection.cursor(binary=True) as cursor:
            await cursor.execute(_SLICE_SQL, [partition, start, limit])
            rows = await cursor.fetchall()
        records = [LogRecord(offset, RawMessage(*message)) for offset, *message in rows]
        next_offset = start + len(records)
        if not records or records[0].offset != start or records[-1].offset != next_offset - 1:
            raise LogError(
                f"the embedded log has a hole in partition {partition} at or after offset {start}: rows of"
                " embedded_log_messages were deleted by hand. Restore them, or move the position past the hole:"
                f" `hanhtrinh position set {partition} OFFSET`"
            )
        return LogSlice(partition, start, next_offset, LogRecords.of(records))

    async def _look_at_stopped(self) -> None:
        """Take the stored positions of stopped partitions again, every few seconds: somebody may have set them."""
        assert self._identity is not None, "open() comes first"
        if self._stopped and time.monotonic() >= self._look_again_s:
            self._look_again_s = time.monotonic() + _LOOK_AGAIN_S
            self._positions |= await self._load_positions(self._identity, sorted(self._stopped))

    def _stop_outside(self, extents: Mapping[int, LogExtent]) -> None:
        for partition, position in self._positions.items():
            why = outside_log("the embedded log", partition, position, extents[partition])
            if why is not None:
                if self._stopped.get(partition) != why:
                    log.error("partition stopped: %s", why)
                self._stopped[partition] = why
            elif self._stopped.pop(partition, None) is not None:
                log.info("partition goes on partition=%d position=%d", partition, position)

    async def _usable_connection(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await self._connect()
            await self._connection.execute(f"LISTEN {CHANNEL}")
        return self._connection


class EmbeddedLogTrimmer:
    """Deletes messages older than the retention, as far as every worker's stored position is past them."""

    def __init__(
        self,
        connect: Connect,
        load_positions: LoadPositions,
        retention_s: float,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self._connect = connect
        self._load_positions = load_positions
        self._retention_s = retention_s
        self._now_us = now_us

    async def trim(self, identity: LogIdentity) -> int:
        """Delete what may go; the number of messages deleted."""
        partitions = range(identity.partitions)
        stored = await self._load_positions(identity, list(partitions))
        oldest_us = self._now_us() - int(self._retention_s * 1_000_000)
        connection = await self._connect()
        try:
            deleted = 0
            for partition in partitions:
                deleted += await _trim_partition(connection, partition, stored.get(partition, 0), oldest_us)
        finally:
            await connection.close()
        if deleted:
            log.info("embedded log trimmed messages=%d", deleted)
        return deleted


async def _trim_partition(connection: Connection, partition: int, position: int, oldest_us: int) -> int:
    # Only ever a whole prefix: the first message young enough to stay keeps everything after it.
    async with connection.transaction():
        cursor = await connection.execute(
            "SELECT least(%(position)s, coalesce(min(log_offset), %(position)s)) FROM embedded_log_messages"
            " WHERE partition = %(partition)s AND received_us >= %(oldest_us)s",
            {"partition": partition, "position": position, "oldest_us": oldest_us},
        )
        row: tuple[Any, ...] | None = await cursor.fetchone()
        assert row is not None
        cut = row[0]
        await connection.execute(
            "UPDATE embedded_log_partitions SET first_offset = %s WHERE partition = %s AND first_offset < %s",
            [cut, partition, cut],
        )
        deleted = await connection.execute(
            "DELETE FROM embedded_log_messages WHERE partition = %s AND log_offset < %s", [partition, cut]
        )
        return deleted.rowcount
