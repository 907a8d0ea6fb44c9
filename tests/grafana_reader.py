"""Grafana on a real database: a connection as its role, with data that went through the real worker, or without any."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg
import pytest

from storage.connect import connect
from tests.dashboards_role import dashboards_role
from tests.fleet_until_now import drive, fleet
from tests.grafana import Query, View
from tests.running_worker import WorkerRig
from tests.services.postgres import DatabaseServer, drop_database, make_database


class Result(NamedTuple):
    """The rows of a query, and its columns in order: name to PostgreSQL type."""

    columns: dict[str, str]
    rows: list[tuple[Any, ...]]

    def of(self, name: str) -> list[Any]:
        at = list(self.columns).index(name)
        return [row[at] for row in self.rows]


class Reader:
    """Grafana: a connection as its role, and what a reader has chosen."""

    def __init__(self, owner_url: str, url: str, view: View) -> None:
        """`owner_url` is the same database as its owner, for what tests compare with."""
        self.owner_url = owner_url
        self._connection = psycopg.connect(url, autocommit=True)
        self.view = view

    def close(self) -> None:
        self._connection.close()

    def run(self, query: Query, **chosen: Sequence[str]) -> Result:
        """The result of a query under the given choices; fails far beyond the panel's time budget."""
        sql = replace(self.view, chosen={**self.view.chosen, **chosen}).expand(query.sql, query.variables)
        # The bench holds the budget on a large database; this only finds what would never end.
        self._connection.execute(f"SET statement_timeout = {20 * int(query.target['budgetMs'])}".encode())
        return self.ask(sql)

    def ask(self, sql: str) -> Result:
        cursor = self._connection.execute(sql.encode())
        types = self._connection.adapters.types
        names = {
            column.name: found.name if (found := types.get(column.type_code)) else "?"
            for column in cursor.description or ()
        }
        return Result(names, cursor.fetchall())


@asynccontextmanager
async def database(server: DatabaseServer) -> AsyncIterator[tuple[str, str]]:
    """A new database: its address as its owner, and as Grafana."""
    url = await make_database(server)
    try:
        async with dashboards_role(url) as role:
            yield url, role.url
    finally:
        await drop_database(server, url)


async def a_day(url: str) -> View:
    """The fleet's last 34 hours through the worker."""
    async with rig_of(url) as rig:
        now = await drive(rig, fleet(vehicles=12, hours=34))
        vehicle, driver = (
            await rig.rows("SELECT vehicle_id, driver_id FROM violations WHERE kind = 'continuous_driving' LIMIT 1")
        )[0]
        timescaledb = await rig.one("SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'") == 1
    chosen = {"vehicle": [vehicle], "driver": [driver]}
    return View(now - timedelta(hours=36), now + timedelta(minutes=1), chosen, timescaledb)


@asynccontextmanager
async def rig_of(url: str) -> AsyncIterator[WorkerRig]:
    """A worker's rig on a database that is there."""
    rig = WorkerRig(url, await connect(url))
    try:
        yield rig
    finally:
        await rig.connection.close()


@pytest.fixture(scope="module")
def at_work(postgres: DatabaseServer) -> Iterator[Reader]:
    """A database with a fleet until now, read by Grafana."""
    yield from reader_of(postgres, a_day)


@pytest.fixture(scope="module")
def of_nothing(postgres: DatabaseServer) -> Iterator[Reader]:
    """A database where nothing has happened yet, read by Grafana."""

    async def nothing(_url: str) -> View:
        now = datetime.now(UTC)
        return View(now - timedelta(days=1), now, {"vehicle": [""], "driver": [""]})

    yield from reader_of(postgres, nothing)


def reader_of(server: DatabaseServer, fill: Callable[[str], Awaitable[View]]) -> Iterator[Reader]:
    """Grafana on a new database that `fill` has filled, its owner's address given."""
    with asyncio.Runner() as runner:
        held = database(server)
        url, grafana_url = runner.run(held.__aenter__())
        try:
            reader = Reader(url, grafana_url, runner.run(_all_of(fill(url))))
            yield reader
            reader.close()
        finally:
            runner.run(held.__aexit__(None, None, None))


async def _all_of(filled: Awaitable[View]) -> View:
    return await filled
