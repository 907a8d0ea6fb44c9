"""The server of the large database: started on a folder, and kept there for the next run if it is wanted."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks.panels.build import Built, Size, build
from benchmarks.panels.sums import store_sums
from hanhtrinh.driver_packs import DriverPacks
from hanhtrinh.hours_board import HoursBoard
from hanhtrinh.rule_packs import load_pack
from storage.connect import connect
from storage.migrate import migrate
from tests.services.postgres import Postgres

SETTINGS = {"shared_buffers": "2GB", "max_wal_size": "4GB", "effective_cache_size": "8GB"}
_BUILDING = {"wal_level": "minimal", "max_wal_senders": "0", "fsync": "off", "full_page_writes": "off"}
"""Nothing that is built here must survive a crash."""
_DATABASE = "bench"
_FEW_LINES = 50

_BYTES = """
    SELECT 'fixes', sum(pg_total_relation_size(relid))::int8 FROM pg_partition_tree('fixes')
    UNION ALL SELECT 'violations', pg_total_relation_size('violations')
    UNION ALL SELECT 'revisions', pg_total_relation_size('violation_revisions')
    UNION ALL SELECT 'alerts', pg_total_relation_size('alerts') + pg_total_relation_size('deliveries')
    UNION ALL SELECT 'sums', pg_total_relation_size('hour_sums') + pg_total_relation_size('day_sums')
        + pg_total_relation_size('driver_hour_sums')
    UNION ALL SELECT 'waypoints', pg_total_relation_size('waypoints')
    UNION ALL SELECT 'activity', pg_total_relation_size('activity_changes')
    UNION ALL SELECT 'all', pg_database_size(current_database())
"""

# What panels ask of "now" goes by the clock: who is on the road, and what was told lately, moves up to it.
_FRESHEN = """
    WITH behind AS (SELECT now() - max(newest_at) AS by, max(newest_at) AS until FROM last_positions), moved AS (
        UPDATE alerts SET event_at = event_at + by, received_at = received_at + by, created_at = created_at + by,
            fanned_out_at = fanned_out_at + by FROM behind WHERE created_at > until - interval '1 day'
    )
    UPDATE last_positions SET time = time + by, newest_at = newest_at + by FROM behind
"""


class LargeDatabase:
    """A running server with the database in it."""

    def __init__(self, server: Postgres, home: Path, url: str, built: Built) -> None:
        self._server, self._home, self.url, self.built = server, home, url, built

    def bytes(self) -> dict[str, int]:
        """On disk, with indexes."""
        with psycopg.connect(self.url) as connection:
            return {name: int(size) for name, size in connection.execute(_BYTES.encode())}

    def freshen(self) -> None:
        """Let the newest fixes be of this moment."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(_FRESHEN)
            connection.execute("VACUUM ANALYZE last_positions, alerts")

    def make_cold(self) -> None:
        """Start the server again with none of its files in memory."""
        self._server.stop()
        for path in (self._home / "postgres").rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self._server.start()


@contextmanager
def large_database(size: Size, keep: Path | None, console: Console) -> Iterator[LargeDatabase]:
    """A database of this size: the one that `keep` holds, or a new one."""
    home = keep or Path(tempfile.mkdtemp(prefix="hanhtrinh-panels-"))
    home.mkdir(parents=True, exist_ok=True)
    try:
        server = Postgres(home)
        server.start()
        try:
            _configure(server)
            yield _made(server, home, size, console)
        finally:
            server.stop()
    finally:
        if keep is None:
            shutil.rmtree(home, ignore_errors=True)


def _made(server: Postgres, home: Path, size: Size, console: Console) -> LargeDatabase:
    url, note = urlsplit(server.admin_url)._replace(path=f"/{_DATABASE}").geturl(), home / "built.json"
    if note.exists():
        told = json.loads(note.read_text(encoding="utf-8"))
        if told["asked"] == {"fixes": size.fixes, "violations": size.violations}:
            # What the program has learnt since: views and indexes of newer migrations, and what they count.
            if asyncio.run(migrate(url)):
                asyncio.run(_count_more(url))
            asyncio.run(_publish_hours(url))
            return LargeDatabase(server, home, url, Built(**told["built"]))
    note.unlink(missing_ok=True)
    with psycopg.connect(server.admin_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{_DATABASE}"')
        connection.execute(f'CREATE DATABASE "{_DATABASE}"')
    asyncio.run(migrate(url))
    built = _build(url, size, console)
    asyncio.run(_publish_hours(url))
    asked = {"fixes": size.fixes, "violations": size.violations}
    note.write_text(json.dumps({"asked": asked, "built": asdict(built)}, indent=1) + "\n", encoding="utf-8")
    return LargeDatabase(server, home, url, built)


def _build(url: str, size: Size, console: Console) -> Built:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, share: float) -> None:
            if what not in tasks:
                for task in tasks.values():
                    progress.update(task, completed=1.0)
                tasks[what] = progress.add_task(what, total=1.0)
                if not console.is_terminal:
                    console.print(f"  {what}")
            progress.update(tasks[what], completed=share)

        return asyncio.run(build(url, size, tell))


async def _count_more(url: str) -> None:
    connection = await connect(url)
    try:
        await store_sums(connection)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


async def _publish_hours(url: str) -> None:
    """Present hours as `hanhtrinh maintain` publishes them, unless they are there."""
    connection = await connect(url)
    try:
        row = await (await connection.execute("SELECT EXISTS (SELECT FROM driver_now)")).fetchone()
        if row == (False,):
            board = HoursBoard(DriverPacks(load_pack().hours))
            # A line that drives on at its limit is due at every turn.
            while await board.publish(connection) > _FEW_LINES:
                pass
            await connection.execute("VACUUM ANALYZE driver_now")
    finally:
        await connection.close()


def _configure(server: Postgres) -> None:
    with psycopg.connect(server.admin_url, autocommit=True) as connection:
        for name, value in (SETTINGS | _BUILDING).items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
    server.stop()
    server.start()
