"""What the role of the dashboards may do: read the views of the schema `panels`, and nothing else.

Anybody who may look at a dashboard can have Grafana send any query. Roles belong to the whole server and migrations to
one database, so `migrate` grants it each time, when the views are there.
"""

from __future__ import annotations

from storage.connect import Connection

SCHEMA = "panels"

# Open to everybody: our own functions, those that write of an extension beside them (TimescaleDB's add_job and
# drop_chunks; the views need its time_bucket), and the server's that make large objects.
_OPEN_FUNCTIONS = """
    FROM pg_proc f
    WHERE has_function_privilege(%(role)s::name, f.oid, 'EXECUTE')
        AND CASE WHEN f.pronamespace = current_schema()::regnamespace
            THEN f.provolatile = 'v' OR NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = f.oid
                AND d.deptype IN ('e', 'i'))
            ELSE f.oid = ANY('{lo_create(oid),lo_creat(integer),"lo_from_bytea(oid,bytea)"}'::regprocedure[]) END
"""

_VIEWS = "FROM pg_class c WHERE c.relnamespace = to_regnamespace(%(schema)s::text) AND c.relkind IN ('v', 'm')"

_GRANTS = f"""
    SELECT format('GRANT USAGE ON SCHEMA %%I TO %%I', %(schema)s::text, %(role)s::name)
    UNION ALL
    SELECT format('GRANT SELECT ON %%s TO %%I', c.oid::regclass, %(role)s::name) {_VIEWS}
    UNION ALL
    SELECT format('GRANT %%1$s TO %%2$I; REVOKE %%1$s FROM PUBLIC', what, pg_get_userbyid(nspowner))
    FROM pg_namespace, LATERAL (
        SELECT format('TEMPORARY ON DATABASE %%I', current_database())
        UNION ALL SELECT format('EXECUTE ON ROUTINE %%s', f.oid::regprocedure) {_OPEN_FUNCTIONS}
    ) AS open (what) WHERE nspname = %(schema)s::text
"""

_READS = "SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER"
_WRITES = "INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER"

_EXCESS = f"""
    SELECT 'is ' || quality FROM pg_roles r, LATERAL (VALUES (rolsuper, 'a superuser'), (rolcreaterole, 'CREATEROLE'),
        (rolcreatedb, 'CREATEDB'), (rolreplication, 'REPLICATION'), (rolbypassrls, 'BYPASSRLS')) AS q (has, quality)
    WHERE r.rolname = %(role)s::name AND q.has
    UNION ALL
    SELECT 'is a member of ' || roleid::regrole FROM pg_auth_members
    WHERE member = to_regrole(quote_ident(%(role)s::name))
    UNION ALL
    SELECT format('has %%s in database %%s', privilege, current_database())
    FROM unnest(ARRAY['CREATE', 'TEMPORARY']) AS privilege
    WHERE has_database_privilege(%(role)s::name, current_database(), privilege)
    UNION ALL
    SELECT 'has CREATE in schema ' || n.nspname FROM pg_namespace n
    WHERE n.nspname !~ '^pg_(temp|toast)' AND has_schema_privilege(%(role)s::name, n.oid, 'CREATE')
    UNION ALL
    SELECT 'may use ' || c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', %(schema)s::text) AND n.nspname !~ '^pg_(temp|toast)'
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
        AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(%(role)s::name, c.oid, 'USAGE, SELECT, UPDATE')
            WHEN c.relkind IN ('r', 'p', 'v', 'm', 'f') THEN has_table_privilege(%(role)s::name, c.oid, '{_READS}')
                OR has_any_column_privilege(%(role)s::name, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES') END
    UNION ALL
    SELECT 'may change ' || c.oid::regclass {_VIEWS} AND has_table_privilege(%(role)s::name, c.oid, '{_WRITES}')
    UNION ALL
    SELECT 'may call ' || f.oid::regprocedure {_OPEN_FUNCTIONS}
    ORDER BY 1
"""


async def exists(connection: Connection, role: str) -> bool:
    """Whether the server has a role of this name."""
    return bool(await _column(connection, "SELECT 1 FROM pg_roles WHERE rolname = %(role)s::name", role))


async def grant(connection: Connection, role: str) -> None:
    """Let `role` read each view of the schema, and leave to the schema's owner what PostgreSQL lets everybody do: make
    temporary tables and large objects, call functions that change something.

    Nothing happens while the role or the schema is missing. What we may not take away stays (`excess` tells of it).
    """
    both = "SELECT 1 FROM pg_roles, pg_namespace WHERE rolname = %(role)s::name AND nspname = %(schema)s::text"
    if not await _column(connection, both, role):
        return
    async with connection.transaction():
        for statements in await _column(connection, _GRANTS, role):
            await connection.execute(statements.encode())


async def lacking(connection: Connection, role: str) -> list[str]:
    """The views that `role` cannot read."""
    query = (
        f"SELECT c.oid::regclass::text {_VIEWS} AND NOT (has_schema_privilege(%(role)s::name, c.relnamespace, 'USAGE')"
        " AND has_table_privilege(%(role)s::name, c.oid, 'SELECT')) ORDER BY 1"
    )
    return await _column(connection, query, role)


async def excess(connection: Connection, role: str) -> list[str]:
    """What `role` may do beside reading the views, in words; [] when that is nothing."""
    return await _column(connection, _EXCESS, role)


async def _column(connection: Connection, query: str, role: str) -> list[str]:
    cursor = await connection.execute(query.encode(), {"role": role, "schema": SCHEMA})
    return [row[0] for row in await cursor.fetchall()]
