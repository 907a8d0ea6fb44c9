"""doctor: every check passes on a sound installation, and each fault is named with its remedy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from pydantic import SecretStr

from hanhtrinh.doctor import check_data_dir, check_database, check_kafka, check_mqtt, diagnose
from hanhtrinh.doctor_findings import Finding
from hanhtrinh.settings import Settings, load_settings
from ingest.kafka_log import KafkaTopic
from storage.connect import connect
from storage.registry import import_file
from tests.services.kafka_server import Kafka
from tests.services.mosquitto import Mosquitto
from tests.services.process import free_port

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
async def topic(kafka: Kafka) -> str:
    name = kafka.topic()
    await KafkaTopic(kafka.bootstrap, name, partitions=4).ensure()
    return name


@pytest.fixture
def settings(kafka: Kafka, mosquitto: Mosquitto, postgres_url: str, topic: str, tmp_path: Path) -> Settings:
    return load_settings(
        data_dir=tmp_path,
        database_url=SecretStr(postgres_url),
        log="kafka",
        log_partitions=4,
        kafka_bootstrap=kafka.bootstrap,
        kafka_topic=topic,
        mqtt_host=mosquitto.host,
        mqtt_port=mosquitto.password_port,
        mqtt_username=mosquitto.username,
        mqtt_password=SecretStr(mosquitto.password),
    )


def changed(settings: Settings, **values: object) -> Settings:
    return settings.model_copy(update=values)


def named(findings: list[Finding], check: str) -> Finding:
    [finding] = [finding for finding in findings if finding.check == check]
    return finding


async def test_a_sound_installation_has_nothing_to_remedy(settings: Settings, postgres_url: str) -> None:
    findings = await diagnose(settings, postgres_url)
    assert [finding for finding in findings if not finding.ok] == []
    checks = [finding.check for finding in findings]
    assert checks == ["mqtt", "log", "database", "extension", "migrations", "privileges", "dashboards", "sums", "clock"]


async def test_the_embedded_log_is_checked_where_it_is_the_log(settings: Settings, postgres_url: str) -> None:
    embedded = changed(settings, log="embedded")
    assert named(await check_database(embedded, postgres_url), "log").ok
    with psycopg.connect(postgres_url) as connection:
        connection.execute("INSERT INTO embedded_log_partitions (partition) VALUES (0), (1)")
    finding = named(await check_database(embedded, postgres_url), "log")
    assert "has 2 partitions, the settings name 4" in finding.detail
    assert "HANHTRINH_LOG_PARTITIONS=2" in finding.remedy
    assert named(await check_database(changed(embedded, log_partitions=2), postgres_url), "log").ok


async def test_a_wrong_password_of_the_broker_is_named(settings: Settings) -> None:
    finding = await check_mqtt(changed(settings, mqtt_password=SecretStr("wrong")))
    assert "refuses us" in finding.detail
    assert "HANHTRINH_MQTT_PASSWORD" in finding.remedy
    assert "wrong" not in finding.detail


async def test_a_broker_that_is_not_there_is_named(settings: Settings) -> None:
    finding = await check_mqtt(changed(settings, mqtt_port=free_port()))
    assert "cannot be reached" in finding.detail
    assert "HANHTRINH_MQTT_HOST" in finding.remedy


async def test_a_missing_topic_is_named_and_not_made(settings: Settings, kafka: Kafka) -> None:
    absent = changed(settings, kafka_topic=kafka.topic("absent"))
    for _ in range(2):
        finding = await check_kafka(absent)
        assert f"has no topic {absent.kafka_topic}" in finding.detail
        assert "4 partitions" in finding.remedy


async def test_another_number_of_partitions_is_named(settings: Settings) -> None:
    finding = await check_kafka(changed(settings, log_partitions=9))
    assert "has 4 partitions, the settings name 9" in finding.detail
    assert "HANHTRINH_LOG_PARTITIONS=4" in finding.remedy


async def test_kafka_that_is_not_there_is_named(settings: Settings) -> None:
    finding = await check_kafka(changed(settings, kafka_bootstrap=f"127.0.0.1:{free_port()}"))
    assert not finding.ok
    assert "HANHTRINH_KAFKA_BOOTSTRAP" in finding.remedy


async def test_a_database_that_is_not_there_is_named(settings: Settings) -> None:
    [finding] = await check_database(settings, f"postgresql://127.0.0.1:{free_port()}/none")
    assert "refused" in finding.detail
    assert "HANHTRINH_DATABASE_URL" in finding.remedy


async def test_missing_migrations_are_named(settings: Settings, empty_postgres_url: str) -> None:
    finding = named(await check_database(settings, empty_postgres_url), "migrations")
    assert "0001_tables.sql" in finding.detail
    assert finding.remedy == "run `hanhtrinh migrate`"


async def test_missing_privileges_are_named(settings: Settings, postgres_url: str) -> None:
    role = f"reader_{os.getpid()}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'reads'")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        try:
            finding = named(await check_database(settings, as_role(postgres_url, role)), "privileges")
        finally:
            connection.execute(f"DROP OWNED BY {role}")
            connection.execute(f"DROP ROLE {role}")
    assert f"{role} lacks CREATE in schema public, activity_changes DELETE" in finding.detail
    assert "GRANT" in finding.remedy


async def test_sums_that_nobody_keeps_up_are_named(settings: Settings, postgres_url: str) -> None:
    assert named(await check_database(settings, postgres_url), "sums").detail == "no fixes are stored yet"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO fixes (vehicle_id, time, lat, lon, flags, settled, received_at, leg_mm, leg_driving_us)"
            " VALUES ('v1', now(), 10, 106, 0, false, now(), 0, 0)"
        )
        finding = named(await check_database(settings, postgres_url), "sums")
        assert "never counted" in finding.detail
        assert "start `hanhtrinh maintain`" in finding.remedy
        connection.execute("UPDATE upkeep SET sums_at = now() - interval '20 minutes'")
        finding = named(await check_database(settings, postgres_url), "sums")
        assert finding.detail.startswith("sums per hour and day are 12")
        assert "start `hanhtrinh maintain`" in finding.remedy
        connection.execute("UPDATE upkeep SET sums_at = now() - interval '5 minutes'")
        assert named(await check_database(settings, postgres_url), "sums").ok


def as_role(url: str, role: str) -> str:
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{role}:reads@{place}").geturl()


async def test_a_channel_for_whom_the_registry_does_not_have_is_named(
    settings: Settings, postgres_url: str, tmp_path: Path
) -> None:
    """Such a channel is silent for ever, and nobody misses what never came."""
    operators = tmp_path / "operators.csv"
    operators.write_text("operator_id,name,tax_code,province\nOP-1,Sông Hồng,,Hà Nội\n", encoding="utf-8")
    connection = await connect(postgres_url)
    await import_file(connection, operators)
    await connection.close()
    alerts = tmp_path / "alerts.toml"
    settings = changed(settings, alerts_file=alerts)
    channel = '[[channel]]\nname = "night"\nurl = "json://localhost"\n'

    async def found(lines: str) -> Finding:
        alerts.write_text(channel + lines, encoding="utf-8")
        return named(await check_database(settings, postgres_url), "alerts")

    known = f'operators = ["OP-1"]\nprovinces = ["{unicodedata.normalize("NFD", "Hà Nội")}"]'
    assert (await found(known)).ok
    assert (await found("")).ok
    strange = await found('operators = ["OP-1", "OP-9"]\nprovinces = ["Ha Noi"]')
    assert strange.detail == (
        "the registry has no operator 'OP-9' (channel 'night'); no province 'Ha Noi' (channel 'night')"
    )
    assert "provinces there: Hà Nội" in strange.remedy
    assert "kinds" in (await found('kinds = ["lorry"]')).detail


def test_a_folder_that_cannot_be_written_is_named(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finding = check_data_dir(changed(settings, data_dir=tmp_path / "file"))
    assert "HANHTRINH_DATA_DIR" in finding.remedy
    assert check_data_dir(settings).ok


def run_doctor(tmp_path: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hanhtrinh", "doctor", *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "HANHTRINH_DATA_DIR": str(tmp_path), **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_prints_a_line_per_check_and_exits_with_1_on_a_fault(
    tmp_path: Path, mosquitto: Mosquitto, postgres_url: str
) -> None:
    environment = {"HANHTRINH_DATABASE_URL": postgres_url, "HANHTRINH_MQTT_PORT": str(mosquitto.port)}
    sound = run_doctor(tmp_path, environment)
    assert (sound.returncode, sound.stderr) == (0, "")
    assert [line.split()[0] for line in sound.stdout.splitlines()] == ["ok"] * 10
    faulty = run_doctor(tmp_path, {**environment, "HANHTRINH_MQTT_PORT": str(free_port())}, "--json")
    assert (faulty.returncode, faulty.stderr) == (1, "")
    findings = [json.loads(line) for line in faulty.stdout.splitlines()]
    assert [finding["check"] for finding in findings if not finding["ok"]] == ["mqtt"]
