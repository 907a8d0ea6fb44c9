"""A role as Grafana's, for one database: `hanhtrinh migrate` has granted it what it may."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from psycopg import sql

from storage.connect import connect
from storage.migrate import migrate

_PASSWORD = "panels-only"


class DashboardsRole(NamedTuple):
    """Its name, and the address of the database as this role."""

    name: str
    url: str


@asynccontextmanager
async def dashboards_role(url: str) -> AsyncIterator[DashboardsRole]:
    """Roles belong to the server, which tests share: under a name of its own, gone at the end."""
    name = f"grafana_{uuid.uuid4().hex[:8]}"
    role = sql.Identifier(name)
    owner = await connect(url)
    try:
        await owner.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(_PASSWORD)))
        try:
            await migrate(url, dashboards_role=name)
            yield DashboardsRole(name, as_role(url, name, _PASSWORD))
        finally:
            await owner.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(role))
    finally:
        await owner.close()


def as_role(url: str, name: str, password: str) -> str:
    """The same database as another role."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{name}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()
