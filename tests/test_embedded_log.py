"""What only the embedded log can show; what both logs must, see test_log.py."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from ingest.embedded_log import EmbeddedLogWriter
from ingest.embedded_log_reader import EmbeddedLogReader, EmbeddedLogTrimmer
from ingest.log import LogError
from ingest.partitioning import Partitioner
from storage.connect import connect
from tests.log_access import PARTITIONS, Positions, message, messages_of


async def test_appends_at_the_same_moment_share_transactions(postgres_url: str) -> None:
    writer = EmbeddedLogWriter(lambda: connect(postgres_url), PARTITIONS)
    await writer.open()
    async with await connect(postgres_url) as observer:
        before = await _transactions(observer)
        await asyncio.gather(*(writer.append("a", message(n)) for n in range(500)))
        after = await _transactions(observer)
    await writer.close()
    assert after - before < 20


async def _transactions(connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> int:
    """Transaction ids used so far: only transactions that write take one."""
    cursor = await connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def test_two_writers_leave_offsets_without_holes(postgres_url: str) -> None:
    writers = [EmbeddedLogWriter(lambda: connect(postgres_url), PARTITIONS) for _ in range(2)]
    await asyncio.gather(*(writer.open() for writer in writers))
    await asyncio.gather(*(writer.append(f"d{n}", message(n, f"d{n}")) for n in range(300) for writer in writers))
    async with await connect(postgres_url) as connection:
        cursor = await connection.execute(
            "SELECT partition, count(*), min(log_offset), max(log_offset) FROM embedded_log_messages GROUP BY 1"
        )
        rows = await cursor.fetchall()
    assert sum(count for _, count, _, _ in rows) == 600
    assert all(first == 0 and last == count - 1 for _, count, first, last in rows)
    for writer in writers:
        await writer.close()


async def test_an_append_whose_connection_is_killed_fails_and_the_next_one_works(postgres_url: str) -> None:
    writer = EmbeddedLogWriter(lambda: connect(postgres_url), PARTITIONS)
    await writer.open()
    async with await connect(postgres_url) as observer:
        await observer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
    with pytest.raises(LogError, match="could not be appended"):
        await writer.append("a", message(1))
    await writer.append("a", message(2))
    await writer.close()


async def test_trimming_deletes_only_what_is_old_and_read(postgres_url: str) -> None:
    async def open_connection() -> psycopg.AsyncConnection[tuple[Any, ...]]:
        return await connect(postgres_url)

    writer = EmbeddedLogWriter(open_connection, PARTITIONS)
    identity = await writer.open()
    partition = Partitioner(PARTITIONS).partition("a")
    await writer.append_many([("a", message(n)) for n in range(10)])
    await writer.close()
    positions = Positions()
    trimmer = EmbeddedLogTrimmer(open_connection, positions.load, 60.0, lambda: 1_700_000_060_000_000 + 8)
    assert await trimmer.trim(identity) == 0  # old enough up to message 7, but nobody has read any
    positions.next = {partition: 5}
    assert await trimmer.trim(identity) == 5
    positions.next = {partition: 10}
    assert await trimmer.trim(identity) == 3
    reader = EmbeddedLogReader(open_connection, PARTITIONS, positions.load, lambda _: None)
    await reader.open()
    positions.next = {partition: 8}
    await reader.rewind()
    assert messages_of(await reader.fetch(10, 1.0)) == [message(8), message(9)]
    positions.next = {partition: 7}
    await reader.rewind()
    assert await reader.fetch(10, 0.1) == []
    assert "begins at offset 8" in reader.stopped[partition]
    await reader.close()
