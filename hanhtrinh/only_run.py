"""One `hanhtrinh run` for each embedded log: every reader of it takes all partitions, two would fight for each."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from hanhtrinh.settings import Settings

_LOCK = "SELECT pg_try_advisory_lock(hashtext('hanhtrinh run'))"
# A machine that vanished holds the lock until the server notices: half a minute, not the system's two hours.
_NOTICE = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"


class AlreadyRunning(Exception):
    """Another `hanhtrinh run` uses the same log; the message names where it is and the remedy."""


@contextmanager
def only_run(settings: Settings, url: str) -> Iterator[None]:
    """Hold the log at `url` until the end, or until the process dies. AlreadyRunning when another `run` has it.

    Other commands may use the same database. Kafka's groups share a log among many, so nothing is held there.
    """
    if settings.log == "kafka":
        yield
    elif settings.database_url is None:
        with _folder(settings):
            yield
    else:
        with _database(url):
            yield


@contextmanager
def _folder(settings: Settings) -> Iterator[None]:
    """By a file beside the embedded database: unlike its sessions it outlives a crash of the server."""
    folder = settings.data_dir.absolute()
    with (folder / "run.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(
                f"another `hanhtrinh run` uses {folder}: end that one, or set HANHTRINH_DATA_DIR to a folder of its own"
            ) from None
        yield


@contextmanager
def _database(url: str) -> Iterator[None]:
    with psycopg.connect(url, autocommit=True, connect_timeout=10, application_name="hanhtrinh run") as connection:
        connection.execute(_NOTICE)
        row = connection.execute(_LOCK).fetchone()
        if row is None or not row[0]:
            raise AlreadyRunning(
                f"another `hanhtrinh run` uses the database {connection.info.dbname} on"
                f" {connection.info.host}: end that one, or set HANHTRINH_DATABASE_URL to another database, or"
                " HANHTRINH_LOG=kafka for several"
            )
        yield
