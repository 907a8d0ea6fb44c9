"""Migrations: each applied once, by whoever comes first; a schema that is not ours is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import psycopg
import pytest

from storage.connect import Connection, connect, is_transient
from storage.migrate import Migration, MigrationError, known_migrations, migrate, pending

FIX = """
    INSERT INTO fixes (vehicle_id, time, lat, lon, flags, settled, received_at)
    VALUES (%s, %s, 21.0, 105.8, 0, false, clock_timestamp())
"""


@pytest.fixture
async def empty(empty_postgres_url: str) -> AsyncIterator[Connection]:
    connection = await connect(empty_postgres_url)
    yield connection
    await connection.close()


@pytest.fixture
async def migrated(postgres_url: str) -> AsyncIterator[Connection]:
    connection = await connect(postgres_url)
    yield connection
    await connection.close()


async def column(connection: Connection, query: str) -> list[object]:
    cursor = await connection.execute(query)
    return [row[0] for row in await cursor.fetchall()]


def steps(*texts: str) -> list[Migration]:
    return [Migration(f"{number:04}_step.sql", text) for number, text in enumerate(texts, 1)]


async def test_the_whole_schema_is_applied_once_and_in_order(empty_postgres_url: str) -> None:
    names = [migration.name for migration in known_migrations()]
    assert names == sorted(names)
    assert names[0] == "0001_tables.sql"
    assert await migrate(empty_postgres_url) == names
    assert await migrate(empty_postgres_url) == []


async def test_several_processes_at_once_apply_each_migration_once(empty_postgres_url: str) -> None:
    applied = await asyncio.gather(*(migrate(empty_postgres_url) for _ in range(6)))
    assert sorted(applied, key=len) == [[]] * 5 + [[migration.name for migration in known_migrations()]]


async def test_only_what_is_missing_is_applied(empty: Connection, empty_postgres_url: str) -> None:
    first = steps("CREATE TABLE a (x int)")
    both = steps("CREATE TABLE a (x int)", "ALTER TABLE a ADD y int; ALTER TABLE a ADD z int")
    assert await migrate(empty_postgres_url, first) == ["0001_step.sql"]
    assert await pending(empty, both) == both[1:]
    assert await migrate(empty_postgres_url, both) == ["0002_step.sql"]
    columns = await column(empty, "SELECT attname FROM pg_attribute WHERE attrelid = 'a'::regclass AND attnum > 0")
    assert columns == ["x", "y", "z"]


async def test_a_changed_file_is_refused_and_nothing_is_applied(empty: Connection, empty_postgres_url: str) -> None:
    await migrate(empty_postgres_url, steps("CREATE TABLE a (x int)"))
    with pytest.raises(MigrationError, match=r"0001_step\.sql was changed after it had been applied"):
        await migrate(empty_postgres_url, steps("CREATE TABLE a (x bigint)", "CREATE TABLE b (x int)"))
    assert await column(empty, "SELECT to_regclass('b') IS NULL") == [True]


async def test_a_database_of_a_newer_program_is_refused(empty_postgres_url: str) -> None:
    await migrate(empty_postgres_url, steps("CREATE TABLE a (x int)", "CREATE TABLE b (x int)"))
    with pytest.raises(MigrationError, match=r"0002_step\.sql was applied to the database but is unknown here"):
        await migrate(empty_postgres_url, steps("CREATE TABLE a (x int)"))


async def test_a_migration_that_fails_leaves_nothing_behind(empty: Connection, empty_postgres_url: str) -> None:
    broken = steps("CREATE TABLE a (x int)", "CREATE TABLE b (x int); SELECT 1/0")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await migrate(empty_postgres_url, broken)
    assert await column(empty, "SELECT to_regclass('b') IS NULL") == [True]
    assert await migrate(empty_postgres_url, steps("CREATE TABLE a (x int)", "CREATE TABLE b (x int)")) == [
        "0002_step.sql"
    ]


async def test_fixes_are_a_hypertable_or_partitioned_under_the_same_columns(migrated: Connection) -> None:
    timescale = await column(migrated, "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')")
    partitioned = await column(migrated, "SELECT relkind = 'p' FROM pg_class WHERE oid = 'fixes'::regclass")
    assert partitioned == [not timescale[0]]
    if timescale[0]:
        hypertables = "SELECT hypertable_name::text FROM timescaledb_information.hypertables"
        assert "fixes" in await column(migrated, hypertables)


async def test_a_fix_of_any_month_is_stored_and_moves_into_its_partition(migrated: Connection) -> None:
    times = [datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)]
    for time in times:
        await migrated.execute(FIX, ["v1", time])
    await migrated.execute("SELECT make_fix_partition(%s)", [times[1]])
    await migrated.execute("SELECT make_fix_partition(%s)", [times[1]])
    assert await column(migrated, "SELECT time FROM fixes ORDER BY time") == times
    if await column(migrated, "SELECT to_regclass('fixes_elsewhen')") != [None]:
        assert await column(migrated, "SELECT time FROM fixes_elsewhen") == times[:1]
        assert await column(migrated, "SELECT time FROM fixes_2026_02") == times[1:]
    with pytest.raises(psycopg.errors.UniqueViolation):
        await migrated.execute(FIX, ["v1", times[1]])


async def test_partitions_made_at_once_by_several_workers_do_not_collide(postgres_url: str) -> None:
    connections = [await connect(postgres_url) for _ in range(4)]
    month = datetime(2026, 3, 15, tzinfo=UTC)
    await connections[0].execute(FIX, ["v1", month])
    await asyncio.gather(*(each.execute("SELECT make_fix_partition(%s)", [month]) for each in connections))
    assert await column(connections[0], "SELECT count(*) FROM fixes") == [1]
    for connection in connections:
        await connection.close()


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
@pytest.mark.parametrize("name", ["lat", "lon", "speed_kmh", "heading_deg", "odometer_km", "hdop"])
async def test_numbers_that_poison_an_average_are_refused(migrated: Connection, name: str, value: str) -> None:
    await migrated.execute(FIX, ["v1", datetime(2026, 1, 1, tzinfo=UTC)])
    with pytest.raises(psycopg.errors.CheckViolation):
        await migrated.execute(f"UPDATE fixes SET {name} = '{value}'")


async def test_connections_are_in_autocommit_and_speak_utc(postgres_url: str) -> None:
    connection = await connect(f"{postgres_url}{'&' if '?' in postgres_url else '?'}options=-c%20TimeZone%3DAsia/Tokyo")
    assert connection.autocommit
    assert await column(connection, "SELECT current_setting('TimeZone')") == ["UTC"]
    await connection.close()


async def test_only_lost_connections_and_conflicts_are_worth_another_try(migrated: Connection) -> None:
    with pytest.raises(psycopg.errors.ProtocolViolation) as caught:
        # Two bytes for an int4: an OperationalError that would come back for ever.
        async with (
            migrated.cursor() as cursor,
            cursor.copy("COPY logs (log_id, partitions) FROM STDIN (FORMAT BINARY)") as copy,
        ):
            await copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\2" + b"\0\0\0\1x" + b"\0\0\0\2\0\1")
    assert isinstance(caught.value, psycopg.OperationalError)
    assert not is_transient(caught.value)
    with pytest.raises(psycopg.errors.SerializationFailure) as conflict:
        await migrated.execute("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")
    assert is_transient(conflict.value)
    for state in ("25006", "53100", "53200", "53300"):
        with pytest.raises(psycopg.Error) as full:
            await migrated.execute(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$")
        assert is_transient(full.value), state
    await migrated.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError) as lost:
        await migrated.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert is_transient(lost.value)
    with pytest.raises(psycopg.OperationalError) as closed:
        await migrated.execute("SELECT 1")
    assert is_transient(closed.value)


async def test_a_session_that_is_silent_in_a_transaction_loses_its_locks_and_may_try_again(postgres_url: str) -> None:
    connection = await connect(postgres_url, silent_transaction_s=1)
    with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout) as ended:  # noqa: PT012
        async with connection.transaction():
            await connection.execute("LOCK TABLE logs")
            other = await connect(postgres_url)
            await other.execute("LOCK TABLE logs; SELECT 1")
            await other.close()
            await connection.execute("SELECT 1")
    assert is_transient(ended.value, connection)
    await connection.close()


async def test_a_server_that_is_not_there_is_worth_another_try() -> None:
    with pytest.raises(psycopg.OperationalError) as caught:
        await connect("postgresql://postgres@127.0.0.1:1/none?connect_timeout=2")
    assert is_transient(caught.value)
