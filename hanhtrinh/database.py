"""Where a process finds its database: the one in the settings, or the embedded one for as long as it is needed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from hanhtrinh.settings import Settings
from storage.connect import DatabaseError, connect
from storage.embedded import EmbeddedDatabase
from storage.migrate import migrate, pending

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The URL of the database. Starts the embedded one when none is set, again when it dies, and lets go of it at the
    end."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    embedded = EmbeddedDatabase(settings.data_dir)
    url = embedded.start()
    try:
        with _kept_up(embedded):
            yield url
    finally:
        embedded.stop()


@contextmanager
def _kept_up(embedded: EmbeddedDatabase) -> Iterator[None]:
    """What uses a database waits until somebody starts it again; nobody but us would start this one."""
    done = Event()

    def watch() -> None:
        while not done.wait(_LOOK_EVERY_S):
            if embedded.is_up:
                continue
            logger.warning("the embedded database has died and is started again")
            try:
                embedded.start()
            except DatabaseError as error:
                logger.warning("it did not start: %s", error)

    thread = Thread(target=watch, name="embedded database", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


async def require_schema(settings: Settings, url: str) -> None:
    """Make sure that the schema is this program's. The embedded database is migrated; a shared one only by `migrate`,
    so that starting one new process never changes the tables under the others: DatabaseError there."""
    if settings.database_url is None:
        await migrate(url, dashboards_role=settings.dashboards_role)
        return
    connection = await connect(url)
    try:
        missing = [migration.name for migration in await pending(connection)]
    finally:
        await connection.close()
    if missing:
        raise DatabaseError(f"the database lacks {', '.join(missing)}: run `hanhtrinh migrate`")
