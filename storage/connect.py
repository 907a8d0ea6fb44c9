"""Connections to PostgreSQL: one way to make them, one rule for what may be tried again."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_RETRY_STATES = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "57P01", "57P02", "57P03",  # the server shuts down, has crashed, is starting
        "25P03",  # this session was silent in a transaction for too long
        "25006",  # read-only: a standby, or a primary that was switched over
        "53100", "53200", "53300",  # disk full, no memory, no free connection: no restart ends that
    }
)  # fmt: skip

_KEEPALIVE = {"keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3", "tcp_user_timeout": "30000"}


class DatabaseError(Exception):
    """The database cannot be used as it is; the message says what is wrong and the remedy."""


async def connect(
    url: str, *, application_name: str = "hanhtrinh", silent_transaction_s: int | None = None
) -> Connection:
    """A connection in autocommit mode whose times are UTC.

    Autocommit, because a bare SELECT would open an implicit transaction in which `conn.transaction()` is only a
    savepoint. `silent_transaction_s`: the server ends the session, and frees its locks, when it asks nothing for so
    long inside a transaction. Raises psycopg.OperationalError when the server cannot be reached.
    """
    settings: dict[str, Any] = dict(conninfo_to_dict(url))
    settings.setdefault("application_name", application_name)
    settings.setdefault("connect_timeout", "10")
    # A server that vanishes without a word is given up after half a minute, not after the system's two hours.
    for name, value in _KEEPALIVE.items():
        settings.setdefault(name, value)
    options = f"{settings.get('options') or ''} -c TimeZone=UTC"
    # A late fix changes packed rows; how many is bounded by the transaction, not by TimescaleDB's guard (issue 6804).
    options += " -c timescaledb.max_tuples_decompressed_per_dml_transaction=0"
    if silent_transaction_s is not None:
        options += f" -c idle_in_transaction_session_timeout={silent_transaction_s}s"
    settings["options"] = options.strip()
    return await psycopg.AsyncConnection.connect(make_conninfo(**settings), autocommit=True)


def is_transient(error: BaseException, connection: Connection | None = None) -> bool:
    """Whether the same work may succeed on a new connection or a moment later.

    `OperationalError` alone is no guide: a protocol violation made by our own COPY is one as well and would be
    retried for ever. What counts is a lost connection, or a state that names a conflict or a restart.
    """
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is not None:
        return error.sqlstate in _RETRY_STATES
    # Without a state the server never answered: libpq lost or could not make the connection.
    return isinstance(error, psycopg.OperationalError) or (connection is not None and connection.closed)
