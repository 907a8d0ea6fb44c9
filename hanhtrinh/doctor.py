"""What `hanhtrinh doctor` looks at: each check says what it found and, where something is wrong, the remedy."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import aiomqtt
import psycopg
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from hanhtrinh.doctor_alerts import check_alerts_file
from hanhtrinh.doctor_findings import Finding
from hanhtrinh.mqtt_broker import broker_of
from hanhtrinh.raw_log import kafka_security
from hanhtrinh.settings import Settings
from storage import reader
from storage.connect import Connection, DatabaseError, connect
from storage.migrate import pending

_DEADLINE_S = 10.0
_MAX_CLOCK_DIFFERENCE_S = 2.0
_MAX_AGE_OF_SUMS_S = 900.0
"""`maintain` keeps them up every minute, on TimescaleDB every five."""
_OLDEST_SERVER = 160_000
_NEEDED = ("SELECT", "INSERT", "UPDATE", "DELETE")


async def diagnose(settings: Settings, database_url: str) -> list[Finding]:
    """Every check but the folder's, in the order in which a message meets the parts. Changes nothing anywhere."""
    findings = [await check_mqtt(settings)]
    if settings.log == "kafka":
        findings.append(await check_kafka(settings))
    return findings + await check_database(settings, database_url)


def check_data_dir(settings: Settings) -> Finding:
    """The folder of the embedded database can be written."""
    folder = settings.data_dir.expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Finding("data_dir", f"{folder}: {error.strerror}", "make it writable, or set HANHTRINH_DATA_DIR")
    return Finding("data_dir", f"{folder} is writable")


async def check_mqtt(settings: Settings) -> Finding:
    """The broker takes our account. The bridge's own session is not touched."""
    broker = broker_of(settings)
    where = f"{broker.host}:{broker.port}" + (" with TLS" if broker.tls else "")
    client = aiomqtt.Client(
        broker.host, broker.port, identifier=f"hanhtrinh-doctor-{os.getpid()}", username=broker.username,
        password=broker.password, tls_context=broker.tls, protocol=aiomqtt.ProtocolVersion.V311,
        timeout=_DEADLINE_S,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_DEADLINE_S), client:
            account = f"as {broker.username}" if broker.username else "without an account"
            return Finding("mqtt", f"{where} accepts us {account}")
    except aiomqtt.MqttCodeError as error:
        return Finding(
            "mqtt", f"{where} refuses us: {error}", "check HANHTRINH_MQTT_USERNAME and HANHTRINH_MQTT_PASSWORD"
        )
    except (aiomqtt.MqttError, OSError, TimeoutError) as error:
        return Finding(
            "mqtt", f"{where} cannot be reached: {error or 'no answer'}",
            "start the broker (`hanhtrinh run` brings its own), or set HANHTRINH_MQTT_HOST and HANHTRINH_MQTT_PORT",
        )  # fmt: skip


async def check_kafka(settings: Settings) -> Finding:
    """The brokers answer, and the topic has the number of partitions that the settings name."""
    options = kafka_security(settings).client_options()
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap, **options)
    topic, wanted = settings.kafka_topic, settings.log_partitions
    try:
        async with asyncio.timeout(_DEADLINE_S):
            await admin.start()
            if topic not in await admin.list_topics():
                return Finding(
                    "log", f"{settings.kafka_bootstrap} has no topic {topic}",
                    f"start `hanhtrinh bridge` once, it makes the topic, or make it with {wanted} partitions",
                )  # fmt: skip
            [described] = await admin.describe_topics([topic])
    except (KafkaError, OSError, TimeoutError) as error:
        return Finding(
            "log", f"Kafka at {settings.kafka_bootstrap} cannot be used: {error!r}",
            "check HANHTRINH_KAFKA_BOOTSTRAP and HANHTRINH_KAFKA_SECURITY, and that the brokers are up",
        )  # fmt: skip
    finally:
        await admin.close()
    found = len(described["partitions"])
    if found != wanted:
        return Finding(
            "log", f"topic {topic} has {found} partitions, the settings name {wanted}",
            f"set HANHTRINH_LOG_PARTITIONS={found}: the number is fixed when the topic is made",
        )  # fmt: skip
    return Finding("log", f"Kafka at {settings.kafka_bootstrap}, topic {topic} with {found} partitions")


async def check_database(settings: Settings, url: str) -> list[Finding]:
    """The server, its extension, the schema, our rights, its clock, and the embedded log when that is the log."""
    began = time.monotonic()
    try:
        connection = await connect(url, application_name="hanhtrinh doctor")
    except psycopg.OperationalError as error:
        reason = str(error).strip().replace("\n", " ")
        return [Finding("database", reason, "check HANHTRINH_DATABASE_URL, and that the server is up")]
    reached_ms = (time.monotonic() - began) * 1000
    role = settings.dashboards_role
    checks: list[Callable[[Connection], Awaitable[Finding]]] = [
        _extension, _migrations, _privileges, lambda connection: _dashboards(connection, role), _sums, _clock
    ]  # fmt: skip
    if (path := settings.alerts_file) is not None:
        checks.append(lambda connection: check_alerts_file(connection, settings, path))
    if settings.log == "embedded":
        checks.append(lambda connection: _embedded_log(connection, settings.log_partitions))
    try:
        return [_server(connection, reached_ms), *[await check(connection) for check in checks]]
    finally:
        await connection.close()


def _server(connection: Connection, reached_ms: float) -> Finding:
    version = connection.info.server_version
    detail = (
        f"PostgreSQL {version // 10_000}.{version % 10_000}, database {connection.info.dbname}, {reached_ms:.0f} ms"
    )
    return Finding("database", detail, "" if version >= _OLDEST_SERVER else "PostgreSQL 16 or newer is needed")


async def _extension(connection: Connection) -> Finding:
    cursor = await connection.execute(
        "SELECT default_version, installed_version, current_setting('timescaledb.license', true)"
        " FROM pg_available_extensions WHERE name = 'timescaledb'"
    )
    row = await cursor.fetchone()
    if row is None:
        return Finding("extension", "plain PostgreSQL: fixes are partitioned by month")
    available, installed, licence = row
    if installed is None:
        return Finding("extension", f"TimescaleDB {available} is there; the first migration turns it on")
    if licence == "apache":
        return Finding("extension", f"TimescaleDB {installed}, licence apache: hypertables only, without its policies")
    return Finding("extension", f"TimescaleDB {installed}, licence {licence}")


async def _migrations(connection: Connection) -> Finding:
    try:
        missing = [migration.name for migration in await pending(connection)]
    except DatabaseError as error:
        return Finding("migrations", str(error), "use the version of hanhtrinh that the database was migrated with")
    if missing:
        return Finding("migrations", f"{len(missing)} missing: {', '.join(missing)}", "run `hanhtrinh migrate`")
    return Finding("migrations", "up to date")


async def _privileges(connection: Connection) -> Finding:
    cursor = await connection.execute(
        """
        SELECT c.relname || ' ' || privilege
        FROM pg_class c, unnest(%s::text[]) AS privilege
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND NOT has_table_privilege(c.oid, privilege)
        UNION ALL SELECT 'temporary tables' WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
        UNION ALL SELECT 'CREATE in schema ' || current_schema()
        WHERE NOT has_schema_privilege(current_schema(), 'CREATE')
        ORDER BY 1
        """,
        [list(_NEEDED)],
    )
    lacking = [str(row[0]) for row in await cursor.fetchall()]
    user = connection.info.user
    if lacking:
        return Finding(
            "privileges", f"{user} lacks {_some(lacking)}",
            f"let the owner GRANT it, or connect as the owner instead of {user}",
        )  # fmt: skip
    return Finding("privileges", f"{user} may read and write every table")


async def _dashboards(connection: Connection, role: str) -> Finding:
    if not await reader.exists(connection, role):
        return Finding("dashboards", f"no role {role}: Grafana cannot read here (docs/dashboards.md makes one)")
    lacking = await reader.lacking(connection, role)
    if lacking:
        return Finding("dashboards", f"role {role} cannot read {_some(lacking)}", "run `hanhtrinh migrate`")
    excess = await reader.excess(connection, role)
    if excess:
        return Finding(
            "dashboards", f"role {role} {_some(excess)}",
            f"it should only read the panels: run `hanhtrinh migrate` as a superuser, REVOKE the rest from {role}",
        )  # fmt: skip
    return Finding("dashboards", f"role {role} may read the panels, and nothing else")


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


async def _sums(connection: Connection) -> Finding:
    """That `maintain` runs: but a database without a fix has nothing to sum."""
    cursor = await connection.execute("SELECT to_regclass('sums_freshness') IS NOT NULL")
    row = await cursor.fetchone()
    if row is None or not row[0]:
        return Finding("sums", "the tables of the sums are missing", "run `hanhtrinh migrate`")
    cursor = await connection.execute(
        "SELECT extract(epoch FROM clock_timestamp() - current_to)::float8, EXISTS (SELECT FROM fixes)"
        " FROM sums_freshness"
    )
    row = await cursor.fetchone()
    assert row is not None
    age_s, are_fixes = row
    if not are_fixes:
        return Finding("sums", "no fixes are stored yet")
    if age_s is None:
        return Finding("sums", "sums per hour and day were never counted", _START_MAINTAIN)
    detail = f"sums per hour and day are {age_s:.0f} s old"
    return Finding("sums", detail, "" if age_s <= _MAX_AGE_OF_SUMS_S else _START_MAINTAIN)


_START_MAINTAIN = "start `hanhtrinh maintain`, or look at its log"


async def _clock(connection: Connection) -> Finding:
    before = datetime.now(UTC)
    cursor = await connection.execute("SELECT clock_timestamp()")
    row = await cursor.fetchone()
    assert row is not None
    between = before + (datetime.now(UTC) - before) / 2
    ahead_s = (row[0] - between).total_seconds()
    detail = f"the database's clock is {abs(ahead_s):.3f} s {'ahead' if ahead_s > 0 else 'behind'}"
    return Finding("clock", detail, "" if abs(ahead_s) <= _MAX_CLOCK_DIFFERENCE_S else "set both machines by NTP")


async def _embedded_log(connection: Connection, wanted: int) -> Finding:
    cursor = await connection.execute("SELECT to_regclass('embedded_log_partitions') IS NOT NULL")
    row = await cursor.fetchone()
    if row is None or not row[0]:
        return Finding("log", "the tables of the embedded log are missing", "run `hanhtrinh migrate`")
    cursor = await connection.execute("SELECT count(*) FROM embedded_log_partitions")
    row = await cursor.fetchone()
    found = int(row[0]) if row else 0
    if found == 0:
        return Finding("log", f"embedded, not in use yet; it will be made with {wanted} partitions")
    if found != wanted:
        return Finding(
            "log", f"the embedded log has {found} partitions, the settings name {wanted}",
            f"set HANHTRINH_LOG_PARTITIONS={found}: the number is fixed when the log is made",
        )  # fmt: skip
    return Finding("log", f"embedded, {found} partitions")
