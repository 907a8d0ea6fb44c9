"""Migrations: numbered SQL files, each applied once, in order, in a transaction of its own."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

from storage import reader
from storage.connect import Connection, DatabaseError, connect

logger = logging.getLogger(__name__)

# Any number, as long as every version of the program takes the same one.
_LOCK = 7_238_104_451

_CREATE_BOOK = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        name text PRIMARY KEY,
        sha256 text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
"""


class MigrationError(DatabaseError):
    """The database and the migrations of this program do not belong together."""


class Migration(NamedTuple):
    """One SQL file."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def known_migrations() -> list[Migration]:
    """The migrations of this program, in the order in which they apply."""
    folder = files("storage") / "migrations"
    found = (item for item in folder.iterdir() if item.name.endswith(".sql"))
    return [Migration(item.name, item.read_text("utf-8")) for item in sorted(found, key=lambda item: item.name)]


async def migrate(
    url: str, migrations: Sequence[Migration] | None = None, *, dashboards_role: str | None = None
) -> list[str]:
    """Apply what is missing and return the names; [] when the schema was up to date. `dashboards_role` may read the
    views of the panels afterwards, where there is such a role (`storage/reader.py`).

    Any number of processes may call it at once: the others wait for the first. MigrationError when an applied file
    has changed since, or when the database was migrated by a newer program; nothing is applied then.
    """
    known = known_migrations() if migrations is None else migrations
    connection = await connect(url, application_name="hanhtrinh migrate")
    try:
        await connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        await connection.execute(_CREATE_BOOK)
        waiting = await pending(connection, known)
        for migration in waiting:
            await _apply(connection, migration)
        if dashboards_role is not None:
            await reader.grant(connection, dashboards_role)
    finally:
        await connection.close()
    return [migration.name for migration in waiting]


async def pending(connection: Connection, migrations: Sequence[Migration] | None = None) -> list[Migration]:
    """The migrations that the database lacks. MigrationError as `migrate`."""
    known = {migration.name: migration for migration in (known_migrations() if migrations is None else migrations)}
    applied = await _applied(connection)
    for name, sha256 in sorted(applied.items()):
        if name not in known:
            raise MigrationError(
                f"migration {name} was applied to the database but is unknown here: use the version of hanhtrinh that "
                "applied it, or a newer one"
            )
        if known[name].sha256 != sha256:
            raise MigrationError(
                f"migration {name} was changed after it had been applied: an applied file must stay as it is, changes "
                "go into a new one"
            )
    return [migration for name, migration in known.items() if name not in applied]


async def _applied(connection: Connection) -> dict[str, str]:
    cursor = await connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL")
    row = await cursor.fetchone()
    if row is None or not row[0]:
        return {}
    cursor = await connection.execute("SELECT name, sha256 FROM schema_migrations")
    return {str(name): str(sha256) for name, sha256 in await cursor.fetchall()}


async def _apply(connection: Connection, migration: Migration) -> None:
    async with connection.transaction():
        # Without parameters psycopg sends the text as it is, many statements at once.
        await connection.execute(migration.text.encode())
        await connection.execute(
            "INSERT INTO schema_migrations (name, sha256) VALUES (%s, %s)", [migration.name, migration.sha256]
        )
    logger.info("migration applied name=%s", migration.name)
