"""PostgreSQL for the tests: the product's embedded server, or the one named by HANHTRINH_TEST_DATABASE_URL."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import psutil
from psycopg import sql

from storage.connect import connect
from storage.embedded import EmbeddedDatabase
from storage.migrate import migrate


class DatabaseServer(Protocol):
    """Where the tests' databases are made."""

    @property
    def admin_url(self) -> str: ...


class GivenPostgres:
    """A server that somebody else runs; only databases of our own are made and dropped in it."""

    def __init__(self, admin_url: str) -> None:
        self.admin_url = admin_url


class Postgres:
    """A server of its own from the wheel; may be killed and started again on the same data."""

    def __init__(self, home: Path) -> None:
        self._server = EmbeddedDatabase(home)

    @property
    def admin_url(self) -> str:
        return self._server.url("postgres")

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        return self._server.pid

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def kill(self) -> None:
        """kill -9 of every process of the server at once, as a power cut would."""
        postmaster = psutil.Process(self._server.pid)
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=20)


async def make_database(server: DatabaseServer, *, migrated: bool = True) -> str:
    """A fresh database and its URL."""
    name = f"test_{uuid.uuid4().hex[:16]}"
    await _administrate(server, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = urlsplit(server.admin_url)._replace(path=f"/{name}").geturl()
    if migrated:
        await migrate(url)
    return url


async def drop_database(server: DatabaseServer, url: str) -> None:
    """Drop it even while somebody is connected: a failed test must not stop the next one."""
    name = urlsplit(url).path.removeprefix("/")
    await _administrate(server, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


async def _administrate(server: DatabaseServer, statement: sql.Composed) -> None:
    connection = await connect(server.admin_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
