"""The database of the run: the settings of docs/install.md, a registered country, and what is read from it."""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg

from tests.services.postgres import Postgres

SETTINGS = {
    "shared_buffers": "4GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "15min",
    "wal_writer_delay": "20ms",
}
BATCH_MAX_MESSAGES = 10_000
"""Both as docs/install.md asks for a large fleet."""
_SAMPLE = 500_000
"""Rows looked at for the delays."""
_WATCHED = {"track_commit_timestamp": "on"}
"""When each row was committed: for the measurement only."""

REGISTRY = frozenset({"operators", "vehicles", "drivers", "schema_migrations"})


def configure(server: Postgres) -> None:
    """Start the server again with the settings."""
    with psycopg.connect(server.admin_url, autocommit=True) as connection:
        for name, value in (SETTINGS | _WATCHED).items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    server.stop()
    server.start()


def register(connection: psycopg.Connection[Any], vehicles: int) -> None:
    """Every vehicle and driver of the traffic, under operators of a thousand vehicles each."""
    connection.execute(
        "INSERT INTO operators (operator_id, name) SELECT 'O' || n, 'operator ' || n FROM generate_series(0, %s) AS n",
        (vehicles // 1_000,),
    )
    connection.execute(
        "INSERT INTO vehicles (vehicle_id, operator_id, kind, speed_class, limit_kmh)"
        " SELECT 'V' || lpad(n::text, 7, '0'), 'O' || n / 1000, 'goods', 'heavy', 80 FROM generate_series(0, %s) AS n",
        (vehicles - 1,),
    )
    connection.execute(
        "INSERT INTO drivers (driver_id, operator_id, name)"
        " SELECT 'D' || lpad(n::text, 7, '0'), 'O' || n / 1000, 'driver ' || n FROM generate_series(0, %s) AS n",
        (vehicles - 1,),
    )
    connection.execute("VACUUM ANALYZE")


class Progress(NamedTuple):
    """What is committed."""

    messages: int
    fixes: int
    wal_bytes: int


def progress(connection: psycopg.Connection[Any]) -> Progress:
    row = connection.execute(
        "SELECT coalesce(sum(messages), 0)::int8, coalesce(sum(fixes), 0)::int8,"
        " pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::int8 FROM log_positions"
    ).fetchone()
    assert row is not None
    return Progress(*row)


def alerts_waiting(connection: psycopg.Connection[Any]) -> int:
    """Alerts that have not reached the webhook yet."""
    row = connection.execute(
        "SELECT (SELECT count(*) FROM alerts WHERE fanned_out_at IS NULL)"
        " + (SELECT count(*) FROM deliveries WHERE status = 'waiting')"
    ).fetchone()
    assert row is not None
    return int(row[0])


def commit_delays_s(
    connection: psycopg.Connection[Any], from_s: float, to_s: float, stored: int
) -> tuple[float, float] | None:
    """Median and 99th percentile from the time of a fix to the commit of its row, for fixes made in a span; None when
    none of them is stored."""
    percent = min(100.0, _SAMPLE / stored * 100)
    row = connection.execute(
        "SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP"
        " (ORDER BY extract(epoch FROM pg_xact_commit_timestamp(xmin) - time)::float8)"
        " FROM fixes TABLESAMPLE SYSTEM (%s) WHERE time >= to_timestamp(%s) AND time < to_timestamp(%s)",
        (percent, from_s, to_s),
    ).fetchone()
    return None if row is None or row[0] is None else (row[0][0], row[0][1])


def bytes_by_table(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Size of each table with its indexes; partitions count for their table."""
    rows = connection.execute(
        "SELECT coalesce(i.inhparent, c.oid)::regclass::text, sum(pg_total_relation_size(c.oid))::int8"
        " FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid"
        " WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace GROUP BY 1"
    ).fetchall()
    return dict(rows)
