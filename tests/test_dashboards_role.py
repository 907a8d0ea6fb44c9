"""Grafana's role reads the views of the panels, and nothing else. Everything else is tried."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from psycopg import sql

from hanhtrinh.doctor import check_database
from hanhtrinh.settings import load_settings
from storage import reader
from storage.connect import Connection, connect
from storage.embedded import EmbeddedDatabase, programs
from storage.migrate import migrate
from storage.sums import Sums
from tests.dashboards_role import DashboardsRole, as_role, dashboards_role

REPOSITORY = Path(__file__).parents[1]

SECRET = "mailto://office:f3b1c0@mail.example.org"

# What the server and extensions show to everybody is theirs: names of tables and settings, no row of ours. A type of
# ours brings functions that only make its values.
OURS = """
    n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(temp|toast)'
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = {}.oid AND d.deptype = ANY('{{{}}}'))
"""


@pytest.fixture
async def owner(postgres_url: str) -> AsyncIterator[Connection]:
    connection = await connect(postgres_url)
    await connection.execute("CREATE SCHEMA IF NOT EXISTS panels")
    await connection.execute("CREATE VIEW panels.test_drivers AS SELECT driver_id FROM drivers")
    await connection.execute("CREATE VIEW panels.test_hours AS SELECT hour, fixes FROM vehicle_hours")
    await connection.execute("INSERT INTO operators (operator_id, name, alert_url) VALUES ('OP-1', 'A', %s)", (SECRET,))
    yield connection
    await connection.close()


@pytest.fixture
async def role(owner: Connection, postgres_url: str) -> AsyncIterator[DashboardsRole]:
    async with dashboards_role(postgres_url) as found:
        yield found


@pytest.fixture
async def grafana(role: DashboardsRole) -> AsyncIterator[Connection]:
    connection = await connect(role.url)
    yield connection
    await connection.close()


async def rows(connection: Connection, query: str, *values: object) -> list[tuple[Any, ...]]:
    return await (await connection.execute(query.encode(), values or None)).fetchall()


async def refused(connection: Connection, *statements: str) -> None:
    for statement in statements:
        try:
            await connection.execute(statement.encode())
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState):
            # The second: a view that nobody could write to.
            continue
        except psycopg.Error as error:
            raise AssertionError(f"{statement}: {error!r}, not for lack of privilege") from error
        raise AssertionError(f"{statement}: was allowed")


async def test_each_view_of_the_panels_is_read_and_none_is_written(owner: Connection, grafana: Connection) -> None:
    views = [name for (name,) in await rows(owner, "SELECT c.oid::regclass::text FROM pg_class c"
             " WHERE c.relnamespace = 'panels'::regnamespace AND c.relkind IN ('v', 'm')")]  # fmt: skip
    assert {"panels.test_drivers", "panels.test_hours"} <= set(views)
    await owner.execute(
        "INSERT INTO fixes (vehicle_id, time, lat, lon, flags, settled, received_at, leg_mm, leg_driving_us)"
        " SELECT 'v1', now() - make_interval(days => n), 10, 106, 0, false, now(), 0, 0 FROM generate_series(0, 5) n"
    )
    await owner.execute(
        "INSERT INTO stale_hours (vehicle_id, hour) SELECT vehicle_id, date_trunc('hour', time) FROM fixes"
    )
    await Sums(owner).bring_up_to_date()
    assert await rows(grafana, "SELECT sum(fixes) FROM panels.test_hours") == [(6,)]
    for view in views:
        await rows(grafana, f"SELECT * FROM {view} LIMIT 1")
        await refused(grafana, f"DELETE FROM {view}", f"CREATE RULE r AS ON SELECT TO {view} DO NOTHING")
    await refused(grafana, "INSERT INTO panels.test_drivers VALUES ('d1')")


async def test_no_table_view_or_sequence_outside_is_read_or_written(owner: Connection, grafana: Connection) -> None:
    found = await rows(
        owner,
        "SELECT c.oid::regclass::text, c.relkind::text, (SELECT quote_ident(attname) FROM pg_attribute"
        "  WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attidentity = '' LIMIT 1)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        f" WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname <> 'panels' AND {OURS.format('c', 'e')}",
    )
    names = {name for name, _, _ in found}
    assert {"fixes", "violations", "operators", "drivers", "vehicle_days", "schema_migrations"} <= names
    for name, kind, column in found:
        await refused(grafana, f"SELECT * FROM {name} LIMIT 1", f"SELECT count(*) FROM {name}")
        if kind == "S":
            await refused(grafana, f"SELECT nextval('{name}')", f"SELECT setval('{name}', 1)")
        # TimescaleDB lets nobody write to its own.
        elif not name.startswith("_timescaledb_internal."):
            await refused(
                grafana, f"DELETE FROM {name}", f"UPDATE {name} SET {column} = {column}", f"COPY {name} TO STDOUT"
            )
            if kind in "rp":
                await refused(grafana, f"TRUNCATE {name}", f"DROP TABLE {name}")


async def test_no_function_of_ours_or_that_changes_something_is_called(owner: Connection, grafana: Connection) -> None:
    # Out of a subquery: a strict function of nothing but constant NULLs is never called.
    found = await rows(
        owner,
        "SELECT CASE WHEN f.prokind = 'p' THEN 'CALL ' ELSE 'SELECT ' END || f.oid::regproc || '(' || coalesce(("
        " SELECT string_agg(CASE WHEN f.prokind = 'p' THEN a ELSE '(SELECT ' || a || ')' END, ', ' ORDER BY i)"
        " FROM unnest(f.proargtypes) WITH ORDINALITY AS t (t, i),"
        "  format('NULL::%s', replace(format_type(t, NULL), 'anyelement', 'int')) AS a), '') || ')'"
        " FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace"
        f" WHERE n.nspname = current_schema() AND (f.provolatile = 'v' OR {OURS.format('f', 'e,i')})",
    )
    calls = [call for (call,) in found]
    assert "SELECT make_fix_partition((SELECT NULL::timestamp with time zone))" in calls
    await refused(grafana, *calls)


async def test_nothing_is_made_anywhere(grafana: Connection, role: DashboardsRole) -> None:
    await refused(
        grafana,
        "CREATE TABLE t (x int)", "CREATE TEMP TABLE t (x int)", "CREATE TABLE panels.t (x int)", "CREATE SCHEMA s",
        "CREATE VIEW panels.v AS SELECT 1", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE ROLE r", f"ALTER ROLE {role.name} SUPERUSER", "CREATE DATABASE d",
        "SELECT lo_create(0)", "SELECT lo_creat(-1)", "SELECT lo_from_bytea(0, 'x')", "SELECT lo_import('/etc/passwd')",
    )  # fmt: skip


async def test_no_way_leads_out_of_the_role_or_the_database(
    owner: Connection, grafana: Connection, role: DashboardsRole
) -> None:
    [(user,)] = await rows(owner, "SELECT current_user")
    await refused(
        grafana,
        f"SET ROLE {user}", f"SET SESSION AUTHORIZATION {user}", "SET ROLE pg_read_all_data",
        f"GRANT {user} TO {role.name}",
        "COPY panels.test_drivers TO PROGRAM 'cat'", "COPY (SELECT 1) TO '/tmp/x'", "SELECT pg_read_file('PG_VERSION')",
        "SELECT pg_ls_dir('.')", f"SELECT pg_terminate_backend({owner.info.backend_pid})",
        "ALTER SYSTEM SET work_mem = '1GB'",
        "SELECT rolpassword FROM pg_authid", "SELECT pg_reload_conf()", "CHECKPOINT",
    )  # fmt: skip


async def test_no_view_tells_an_operators_alert_address(owner: Connection, grafana: Connection) -> None:
    views = await rows(
        owner, "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = 'panels'::regnamespace"
        " AND c.relkind IN ('v', 'm')"
    )  # fmt: skip
    for (view,) in views:
        [(text,)] = await rows(grafana, f"SELECT coalesce(string_agg(v::text, ''), '') FROM {view} v")
        assert SECRET not in text, view


async def test_a_new_view_is_covered_by_the_next_migrate(
    owner: Connection, grafana: Connection, role: DashboardsRole, postgres_url: str
) -> None:
    await owner.execute("CREATE VIEW panels.test_new AS SELECT count(*) FROM fixes")
    await refused(grafana, "SELECT * FROM panels.test_new")
    assert await reader.lacking(owner, role.name) == ["panels.test_new"]
    await migrate(postgres_url, dashboards_role=role.name)
    assert await rows(grafana, "SELECT * FROM panels.test_new") == [(0,)]
    assert await reader.lacking(owner, role.name) == []


async def test_a_table_among_the_views_is_not_covered(
    owner: Connection, grafana: Connection, role: DashboardsRole, postgres_url: str
) -> None:
    await owner.execute("CREATE TABLE panels.test_table (x int)")
    await migrate(postgres_url, dashboards_role=role.name)
    await refused(grafana, "SELECT * FROM panels.test_table")


async def test_the_owner_can_still_do_what_the_workers_need(owner: Connection, role: DashboardsRole) -> None:
    await owner.execute("CREATE TEMP TABLE t (x int); SELECT make_fix_partition(now())")


async def test_what_the_role_may_beyond_that_is_told(owner: Connection, role: DashboardsRole) -> None:
    assert await reader.excess(owner, role.name) == []
    [(database,)] = await rows(owner, "SELECT current_database()")
    name = sql.Identifier(role.name)
    for statement, told in [
        ("GRANT pg_read_all_data TO {}", "is a member of pg_read_all_data"),
        ("GRANT SELECT (alert_url) ON operators TO {}", "may use operators"),
        ("GRANT INSERT ON panels.test_drivers TO {}", "may change panels.test_drivers"),
        ("GRANT CREATE ON SCHEMA panels TO {}", "has CREATE in schema panels"),
        ("GRANT EXECUTE ON FUNCTION make_fix_partition TO {}", "may call make_fix_partition(timestamp with time zone)"),
        ("GRANT EXECUTE ON FUNCTION lo_creat TO {}", "may call lo_creat(integer)"),
        ("ALTER ROLE {} CREATEDB", "is CREATEDB"),
    ]:
        await owner.execute(sql.SQL(statement).format(name))
        assert told in await reader.excess(owner, role.name), statement
    await owner.execute(f"GRANT TEMPORARY ON DATABASE {database} TO PUBLIC")
    assert f"has TEMPORARY in database {database}" in await reader.excess(owner, role.name)


async def test_without_the_role_or_the_schema_nothing_is_granted_and_nothing_fails(empty_postgres_url: str) -> None:
    assert await migrate(empty_postgres_url, [], dashboards_role="nobody-here") == []
    await migrate(empty_postgres_url)
    connection = await connect(empty_postgres_url)
    await connection.execute("DROP SCHEMA IF EXISTS panels CASCADE")
    async with dashboards_role(empty_postgres_url) as role:
        assert await reader.lacking(connection, role.name) == []
    await connection.close()


async def test_as_in_the_containers_the_role_is_made_first_and_migrate_grants(services_home: Path) -> None:
    server = EmbeddedDatabase(services_home / "grafana-role")
    url = server.start()
    try:
        settings = load_settings()
        assert "no role grafana" in await dashboards_finding(url)
        run_role_script(url)
        await migrate(url, dashboards_role=settings.dashboards_role)
        owner = await connect(url)
        await owner.execute("CREATE SCHEMA IF NOT EXISTS panels")
        await owner.execute("CREATE VIEW panels.test AS SELECT 1 AS one")
        assert "cannot read panels.test" in await dashboards_finding(url)
        await migrate(url, dashboards_role=settings.dashboards_role)
        assert await dashboards_finding(url) == "role grafana may read the panels, and nothing else"
        await owner.execute("GRANT pg_read_all_data TO grafana")
        assert "role grafana is a member of pg_read_all_data" in await dashboards_finding(url)
        await owner.close()
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            await connect(as_role(server.url("postgres"), "grafana", "any"))
    finally:
        server.stop()


async def dashboards_finding(url: str) -> str:
    [finding] = [each for each in await check_database(load_settings(), url) if each.check == "dashboards"]
    assert finding.ok == (finding.detail.endswith("nothing else") or finding.detail.startswith("no role"))
    return finding.detail


def run_role_script(url: str) -> None:
    """As the image of TimescaleDB runs it when the volume is made."""
    environment = {
        "PATH": f"{programs()}:{os.environ['PATH']}", "PGHOST": parse_qs(urlsplit(url).query)["host"][0],
        "POSTGRES_USER": "postgres", "POSTGRES_DB": "hanhtrinh", "GRAFANA_DATABASE_PASSWORD": "it's 1",
    }  # fmt: skip
    script = REPOSITORY / "deploy" / "timescaledb" / "grafana-role.sh"
    subprocess.run(["sh", str(script)], check=True, capture_output=True, env=environment)
