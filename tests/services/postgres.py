"""PostgreSQL for the tests: the product's embedded server, or the one named by HANHTRINH_TEST_DATABASE_URL."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import psutil
from psycopg import sql

from storage.connect import connect
from storage.embedded import EmbeddedDatabase
from storage.migrate import migrate

Fill = Callable[[str], Awaitable[object]]
"""Fills the empty database at a URL, and leaves no connection to it open."""


class DatabaseServer(Protocol):
    """Where the tests' databases are made. `templates` are databases by what they were filled with, to be copied
    instead of filled again; None where that cannot be."""

    @property
    def admin_url(self) -> str: ...
    @property
    def templates(self) -> dict[str, str] | None: ...


class GivenPostgres:
    """A server that somebody else runs; only databases of our own are made and dropped in it."""

    templates = None
    """TimescaleDB's own processes stay connected to each of its databases, and so none can be copied."""

    def __init__(self, admin_url: str) -> None:
        self.admin_url = admin_url


class Postgres:
    """A server of its own from the wheel; may be killed and started again on the same data."""

    def __init__(self, home: Path) -> None:
        self._server = EmbeddedDatabase(home)
        self.templates: dict[str, str] = {}

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
    return await make_filled_database(server, "schema", migrate) if migrated else await _create(server)


async def make_filled_database(server: DatabaseServer, what: str, fill: Fill) -> str:
    """A database of its own filled with `what`, and its URL. Filling happens once, if the server's databases can be
    copied."""
    if server.templates is None:
        url = await _create(server)
        await fill(url)
        return url
    if what not in server.templates:
        template_url = await _create(server)
        await fill(template_url)
        server.templates[what] = _name(template_url)
    return await _create(server, server.templates[what])


async def _create(server: DatabaseServer, template: str = "template0") -> str:
    # Not template1, which TimescaleDB's processes connect to now and then: it cannot be copied at that moment.
    name = f"test_{uuid.uuid4().hex[:16]}"
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    await _administrate(server, statement.format(sql.Identifier(name), sql.Identifier(template)))
    return urlsplit(server.admin_url)._replace(path=f"/{name}").geturl()


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


async def drop_database(server: DatabaseServer, url: str) -> None:
    """Drop it even while somebody is connected: a failed test must not stop the next one."""
    await _administrate(server, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(_name(url))))


async def _administrate(server: DatabaseServer, statement: sql.Composed) -> None:
    connection = await connect(server.admin_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
