"""The log in PostgreSQL tables: the writer. For one machine without Kafka; same promises, less throughput.

A partition's counter row is locked by every transaction that appends to it, so commit order is offset order and
readers never see a hole that fills later.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psycopg

from ingest.log import LogError
from ingest.partitioning import Partitioner
from ingest.raw import LogExtent, LogIdentity, RawMessage

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Connect = Callable[[], Awaitable[Connection]]

CHANNEL = "hanhtrinh_log"
_MAX_GROUP_MESSAGES = 10_000
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('hanhtrinh embedded log'))"

log = logging.getLogger(__name__)


async def ensure_log(connection: Connection, partitions: int) -> LogIdentity:
    """The log's identity; made when it is not there yet. LogError when it has another number of partitions."""
    try:
        async with connection.transaction():
            await connection.execute(_LOCK)
            await connection.execute(
                "INSERT INTO embedded_log (log_id) SELECT %s WHERE NOT EXISTS (SELECT FROM embedded_log)",
                [f"embedded/{uuid.uuid4()}"],
            )
            await connection.execute(
                "INSERT INTO embedded_log_partitions (partition) SELECT generate_series(0, %s - 1)"
                " WHERE NOT EXISTS (SELECT FROM embedded_log_partitions)",
                [partitions],
            )
            cursor = await connection.execute(
                "SELECT (SELECT log_id FROM embedded_log), (SELECT count(*) FROM embedded_log_partitions)"
            )
            row = await cursor.fetchone()
    except psycopg.errors.UndefinedTable as error:
        raise LogError("the tables of the embedded log are missing: run `hanhtrinh migrate`") from error
    assert row is not None
    log_id, found = row
    if found != partitions:
        raise LogError(
            f"the embedded log has {found} partitions, {partitions} are configured: the number is fixed when the log is"
            f" created, set HANHTRINH_LOG_PARTITIONS={found}"
        )
    return LogIdentity(log_id, found)


async def find_log(connection: Connection) -> LogIdentity:
    """The log's identity, without making it. LogError when it is not there yet."""
    cursor = await connection.execute("SELECT log_id, (SELECT count(*) FROM embedded_log_partitions) FROM embedded_log")
    row = await cursor.fetchone()
    if row is None:
        raise LogError("there is no embedded log in this database yet: the bridge makes it")
    return LogIdentity(*row)


async def log_extents(connection: Connection) -> dict[int, LogExtent]:
    """What each partition holds."""
    cursor = await connection.execute("SELECT partition, first_offset, next_offset FROM embedded_log_partitions")
    return {partition: LogExtent(first, end) for partition, first, end in await cursor.fetchall()}


class _Waiting:
    """Messages of one caller until the transaction that holds them has ended."""

    def __init__(self, messages: Sequence[tuple[str, RawMessage]]) -> None:
        self.messages = messages
        self.ended = False
        self.error: BaseException | None = None


class EmbeddedLogWriter:
    """Appends durably; calls that arrive while a transaction is under way share the next one (group commit).

    `connect` must give a connection in autocommit mode; the writer owns it and makes another when it is lost.
    """

    def __init__(self, connect: Connect, partitions: int) -> None:
        self._connect = connect
        self._partitions = partitions
        self._partitioner = Partitioner(partitions)
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._waiting: list[_Waiting] = []

    async def open(self) -> LogIdentity:
        """See LogWriter."""
        try:
            return await ensure_log(await self._usable_connection(), self._partitions)
        except psycopg.Error as error:
            await self.close()
            raise LogError(f"the embedded log cannot be opened: {error}") from error
        except LogError:
            await self.close()
            raise

    async def append(self, device_id: str, message: RawMessage) -> None:
        """See LogWriter."""
        await self.append_many([(device_id, message)])

    async def append_many(self, messages: Sequence[tuple[str, RawMessage]]) -> None:
        """`append` of all, in order, by device; LogError when any of them could not be made durable."""
        if not messages:
            return
        mine = _Waiting(messages)
        self._waiting.append(mine)
        async with self._turn:
            if not mine.ended:
                await self._write_group()
        if mine.error is not None:
            raise LogError(f"messages could not be appended to the embedded log: {mine.error}") from mine.error

    async def close(self) -> None:
        """Release the connection; messages that wait are still written first."""
        async with self._turn:
            if self._connection is not None:
                await self._connection.close()
                self._connection = None

    async def _write_group(self) -> None:
        group = self._take_group()
        error: BaseException | None = None
        try:
            await self._write([item for waiting in group for item in waiting.messages])
        except psycopg.Error as failure:
            error = failure
        except BaseException as failure:
            # Cancelled in the middle: the others of the group must not be told that they are safe.
            error = failure
            raise
        finally:
            for waiting in group:
                waiting.ended = True
                waiting.error = error

    def _take_group(self) -> list[_Waiting]:
        size = taken = 0
        for waiting in self._waiting:
            size += len(waiting.messages)
            if taken and size > _MAX_GROUP_MESSAGES:
                break
            taken += 1
        group, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return group

    async def _write(self, messages: Sequence[tuple[str, RawMessage]]) -> None:
        by_partition: defaultdict[int, list[RawMessage]] = defaultdict(list)
        for device_id, message in messages:
            by_partition[self._partitioner.partition(device_id)].append(message)
        connection = await self._usable_connection()
        try:
            async with connection.transaction(), connection.cursor() as cursor:
                await _insert(cursor, by_partition)
        except BaseException:
            # After an error in the middle of COPY, or a cancellation, the connection's state is anybody's guess.
            await connection.close()
            raise

    async def _usable_connection(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await self._connect()
            # The tracker is told that the message is safe: the commit must be on disk, whatever the server's default.
            await self._connection.execute("SET synchronous_commit = on")
        return self._connection


async def _insert(cursor: psycopg.AsyncCursor[tuple[Any, ...]], by_partition: dict[int, list[RawMessage]]) -> None:
    # Locked in partition order, as every writer does, or two of them deadlock.
    partitions = sorted(by_partition)
    await cursor.execute(
        "SELECT partition, next_offset FROM embedded_log_partitions WHERE partition = ANY(%s)"
        " ORDER BY partition FOR UPDATE",
        [partitions],
    )
    starts: dict[int, int] = dict(await cursor.fetchall())
    await cursor.execute(
        "UPDATE embedded_log_partitions AS p SET next_offset = p.next_offset + added.messages"
        " FROM unnest(%s::int[], %s::bigint[]) AS added (partition, messages) WHERE p.partition = added.partition",
        [partitions, [len(by_partition[partition]) for partition in partitions]],
    )
    copy_sql = (
        "COPY embedded_log_messages (partition, log_offset, topic, received_us, retained, payload)"
        " FROM STDIN (FORMAT BINARY)"
    )
    async with cursor.copy(copy_sql) as copy:
        copy.set_types(["int4", "int8", "text", "int8", "bool", "bytea"])
        for partition in partitions:
            for offset, (topic, payload, received_us, retained) in enumerate(
                by_partition[partition], starts[partition]
            ):
                await copy.write_row((partition, offset, topic, received_us, retained, payload))
    await cursor.execute(f"NOTIFY {CHANNEL}")
