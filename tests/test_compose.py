"""docker-compose.yml and what it mounts, held against the settings, the commands and the Dockerfile.

No Docker is needed: what can be started here (the broker, Kafka's configuration) is started for real.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiomqtt
import pytest
import yaml
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from hanhtrinh.cli import load_command
from hanhtrinh.env_example import COMPOSE_CHOICES, COMPOSE_SECRETS
from hanhtrinh.settings import PREFIX, Settings, load_settings
from tests.compose import ComposeError, load_compose, variables
from tests.services.kafka_server import Kafka
from tests.services.mosquitto import make_password_file
from tests.services.process import ServerProcess, accepts, free_port, program

REPOSITORY = Path(__file__).parents[1]
COMPOSE = REPOSITORY / "docker-compose.yml"
DEPLOY = REPOSITORY / "deploy"
SECRETS = {name: f"secret{number}" for number, name in enumerate(COMPOSE_SECRETS)}

# Settings that have no place in the containers, and why.
NOT_IN_COMPOSE = {
    "kafka_security": "the broker is inside the network of the containers",
    "kafka_username": "as above",
    "kafka_password": "as above",
    "kafka_ca_file": "as above",
    "kafka_topic": "the one broker is ours alone",
    "kafka_group": "as above",
    "kafka_replication": "there is one broker",
    "dashboards_role": "deploy/timescaledb/grafana-role.sh makes it under its default name",
    "mqtt_tls": "the broker is inside the network of the containers",
    "mqtt_ca_file": "as above",
}

SERVICE_KEYS = {
    "build", "command", "depends_on", "env_file", "environment", "healthcheck", "image", "ports", "restart", "shm_size",
    "stop_grace_period", "volumes",
}  # fmt: skip
HEALTH_KEYS = {"test", "interval", "timeout", "retries", "start_period", "disable"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return load_compose(COMPOSE, SECRETS)


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


@pytest.fixture(scope="module")
def ours(services: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The services that run our image."""
    return {name: service for name, service in services.items() if "build" in service}


@pytest.fixture(scope="module")
def image() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, text)."""
    text = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(instruction, rest) for instruction, rest in lines]


def image_environment(image: list[tuple[str, str]]) -> dict[str, str]:
    words = [word for instruction, text in image if instruction == "ENV" for word in shlex.split(text)]
    return dict(word.split("=", 1) for word in words)


def settings_of(service: dict[str, Any], image: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings as the process in the container would read them."""
    for name, value in {**image_environment(image), **service["environment"]}.items():
        if name.startswith(PREFIX):
            monkeypatch.setenv(name, value)
    return load_settings()


def test_only_known_keys_are_used(compose: dict[str, Any], services: dict[str, dict[str, Any]]) -> None:
    assert {key for key in compose if not key.startswith("x-")} == {"name", "services", "volumes"}
    for name, service in services.items():
        assert set(service) <= SERVICE_KEYS, name
        assert set(service["healthcheck"]) <= HEALTH_KEYS, name


def test_our_processes_are_all_there(ours: dict[str, dict[str, Any]], services: dict[str, dict[str, Any]]) -> None:
    assert set(ours) == {"migrate", "bridge", "worker", "notifier", "maintenance"}
    assert set(services) - set(ours) == {"mosquitto", "kafka", "timescaledb", "prometheus", "grafana"}


def test_every_secret_is_asked_for_and_documented() -> None:
    for name in SECRETS:
        with pytest.raises(ComposeError, match=name):
            load_compose(COMPOSE, {**SECRETS, name: ""})
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    assert variables(COMPOSE) - settings == {*SECRETS, *COMPOSE_CHOICES}


def test_every_variable_is_a_setting_with_an_allowed_value(
    ours: dict[str, dict[str, Any]], image: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in ours.values():
        with monkeypatch.context() as patch:
            settings_of(service, image, patch)


def test_a_setting_in_dotenv_reaches_the_containers(ours: dict[str, dict[str, Any]]) -> None:
    given = {name for service in ours.values() for name in service["environment"]}
    missing = {name for name in Settings.model_fields if PREFIX + name.upper() not in given}
    assert missing - set(NOT_IN_COMPOSE) == {"data_dir", "metrics_host", "metrics_port"}, "those three are the image's"
    for name in variables(COMPOSE):
        if name.startswith(PREFIX):
            changed = load_compose(COMPOSE, {**SECRETS, name: "changed"})["services"]
            environments = [service.get("environment", {}) for service in changed.values()]
            values = [environment[name] for environment in environments if name in environment]
            assert values, name
            assert set(values) == {"changed"}, name


def test_addresses_name_services_and_their_ports(
    ours: dict[str, dict[str, Any]],
    services: dict[str, dict[str, Any]],
    image: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [listener] = re.findall(r"^listener (\d+)$", (DEPLOY / "mosquitto" / "mosquitto.conf").read_text(), re.MULTILINE)
    for name, service in ours.items():
        with monkeypatch.context() as patch:
            settings = settings_of(service, image, patch)
        if name != "bridge":
            assert settings.database_url is not None
            database = urlsplit(settings.database_url.get_secret_value())
            server = services["timescaledb"]["environment"]
            assert (database.hostname, database.port) == ("timescaledb", 5432)
            assert database.username == server["POSTGRES_USER"]
            assert database.password == server["POSTGRES_PASSWORD"]
            assert database.path == "/" + server["POSTGRES_DB"]
        if name not in ("migrate", "maintenance"):
            assert settings.log == "kafka"
            listeners = services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
            assert f"PLAINTEXT://{settings.kafka_bootstrap}" == listeners
        if name in ("bridge", "notifier"):
            assert (settings.mqtt_host, settings.mqtt_port) == ("mosquitto", int(listener))
            assert settings.mqtt_password is not None
            assert settings.mqtt_password.get_secret_value() == services["mosquitto"]["environment"]["MQTT_PASSWORD"]


def test_every_command_and_option_exists(ours: dict[str, dict[str, Any]]) -> None:
    for service in ours.values():
        name, *arguments = service["command"]
        load_command(name).make_context(name, list(arguments))


def test_nothing_is_exposed_but_the_broker_and_the_dashboards(services: dict[str, dict[str, Any]]) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {"mosquitto": ["1883:1883"], "grafana": ["3000:3000"]}


def test_passwords_of_the_alerts_file_come_from_a_file_that_may_be_missing_and_is_not_committed(
    services: dict[str, dict[str, Any]],
) -> None:
    found = {name: service["env_file"] for name, service in services.items() if "env_file" in service}
    assert found == {"notifier": [{"path": "alerts.env", "required": False}]}
    assert "/alerts.env" in (REPOSITORY / ".gitignore").read_text("utf-8").split()


def test_volumes_are_declared_and_used_and_files_exist(
    compose: dict[str, Any], services: dict[str, dict[str, Any]]
) -> None:
    mounts = [mount for service in services.values() for mount in service.get("volumes", [])]
    sources = [mount.split(":")[0] for mount in mounts]
    assert {source for source in sources if not source.startswith(".")} == set(compose["volumes"])
    for source in sources:
        assert not source.startswith(".") or (REPOSITORY / source).exists(), source
    assert all(mount.endswith(":ro") for mount in mounts if mount.startswith("."))


def test_every_long_running_service_has_a_health_check_and_restarts(
    services: dict[str, dict[str, Any]], image: list[tuple[str, str]]
) -> None:
    port = image_environment(image)["HANHTRINH_METRICS_PORT"]
    for name, service in services.items():
        if name == "migrate":
            assert service["restart"] == "no"
            assert service["healthcheck"] == {"disable": True}
            continue
        assert service["restart"] == "unless-stopped", name
        kind, *test = service["healthcheck"]["test"]
        assert kind in ("CMD", "CMD-SHELL"), name
        if "build" in service:
            assert test[:2] == ["python", "-c"]
            compile(test[2], name, "exec")
            assert f"http://127.0.0.1:{port}/healthz" in test[2]


def test_services_wait_for_what_they_need(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if other == "migrate" else "service_healthy"
            assert how == {"condition": expected}, f"{name} on {other}"
            assert other in services
    needs = {name: set(service.get("depends_on", {})) for name, service in services.items()}
    assert needs["bridge"] == {"mosquitto", "kafka"}
    assert needs["worker"] == {"migrate", "kafka"}
    assert needs["notifier"] == {"migrate", "mosquitto", "kafka"}
    assert needs["maintenance"] == {"migrate"}
    assert needs["migrate"] == {"timescaledb"}


def test_the_image_installs_the_lock_copies_every_package_and_is_not_root(image: list[tuple[str, str]]) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    copied = {text.split()[0] for instruction, text in image if instruction == "COPY" and text.split()[0] in packages}
    assert copied == packages
    sources = [word for instruction, text in image if instruction == "COPY" for word in text.split()[:-1]]
    allowed = (REPOSITORY / ".dockerignore").read_text().splitlines()
    for source in (source for source in sources if not source.startswith(("--", "/"))):
        assert (REPOSITORY / source).exists(), source
        assert f"!{source}" in allowed, f"{source} is not sent to the builder"
    runs = [text for instruction, text in image if instruction == "RUN"]
    assert any("--require-hashes --requirement requirements.txt" in text for text in runs)
    assert [text for instruction, text in image if instruction == "USER"] == ["hanhtrinh"]
    assert ("ENTRYPOINT", '["hanhtrinh"]') in image
    assert "hanhtrinh" in project["project"]["scripts"]
    assert ("EXPOSE", image_environment(image)["HANHTRINH_METRICS_PORT"]) in image


def test_prometheus_asks_every_process_at_its_port(
    services: dict[str, dict[str, Any]], image: list[tuple[str, str]]
) -> None:
    configuration = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    [job] = configuration["scrape_configs"]
    [names] = job["dns_sd_configs"]
    assert names["names"] == ["bridge", "worker", "notifier", "maintenance"]
    assert set(names["names"]) <= set(services)
    assert str(names["port"]) == image_environment(image)["HANHTRINH_METRICS_PORT"]
    assert image_environment(image)["HANHTRINH_METRICS_HOST"] == "0.0.0.0"
    assert "--config.file=/etc/prometheus/prometheus.yml" in services["prometheus"]["command"]
    assert "./deploy/prometheus:/etc/prometheus:ro" in services["prometheus"]["volumes"]


def test_grafana_reads_the_database_and_prometheus_under_fixed_names(services: dict[str, dict[str, Any]]) -> None:
    provisioning = REPOSITORY / "dashboards" / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "hanhtrinh.yml").read_text())["datasources"]
    database, prometheus = sources
    assert (database["uid"], database["type"]) == ("hanhtrinh", "grafana-postgresql-datasource")
    assert database["url"] == "timescaledb:5432"
    assert database["jsonData"]["database"] == services["timescaledb"]["environment"]["POSTGRES_DB"]
    role = (DEPLOY / "timescaledb" / "grafana-role.sh").read_text()
    assert f"CREATE ROLE {database['user']} LOGIN" in role
    assert database["user"] == Settings.model_fields["dashboards_role"].default
    password = database["secureJsonData"]["password"].removeprefix("$")
    assert password in services["grafana"]["environment"]
    assert password in services["timescaledb"]["environment"]
    assert f'"${password}"' in role
    assert (prometheus["uid"], prometheus["url"]) == ("prometheus", "http://prometheus:9090")
    providers = yaml.safe_load((provisioning / "dashboards" / "hanhtrinh.yml").read_text())["providers"]
    mounted = "/etc/hanhtrinh/dashboards"
    assert f"./dashboards/json:{mounted}:ro" in services["grafana"]["volumes"]
    written = {f"{mounted}/{folder.name}" for folder in (REPOSITORY / "dashboards" / "json").iterdir()}
    assert {provider["options"]["path"] for provider in providers} == written


@pytest.mark.parametrize("given", [{}, {"GRAFANA_BASE_MAP": "osm"}], ids=["by default", "by choice"])
def test_the_base_map_is_a_file_of_ours_and_needs_no_internet_unless_asked(given: dict[str, str]) -> None:
    grafana = load_compose(COMPOSE, SECRETS | given)["services"]["grafana"]
    mounted = dict(volume.split(":")[1::-1] for volume in grafana["volumes"])
    path = Path(grafana["environment"]["GF_GEOMAP_DEFAULT_BASELAYER_CONFIG__FILE"])
    layer = json.loads((REPOSITORY / mounted[str(path.parent)] / path.name).read_text())
    assert path.stem == given.get("GRAFANA_BASE_MAP", COMPOSE_CHOICES["GRAFANA_BASE_MAP"][0])
    if given:
        assert layer["type"] == "osm-standard"
        return
    assert layer["type"] == "geojson"
    assert "//" not in json.dumps(layer)
    outline = json.loads((REPOSITORY / mounted[f"/usr/share/grafana/{layer['config']['src']}"]).read_text())
    kinds = {feature["properties"]["kind"] for feature in outline["features"]}
    assert {rule["check"]["value"] for rule in layer["config"]["rules"]} < kinds
    points = [feature["geometry"]["coordinates"] for feature in outline["features"][1:]]
    assert all(102 < lon < 114 and 8 < lat < 24 for lon, lat in points), "longitude comes first"


async def test_kafka_knows_every_option_it_is_given(services: dict[str, dict[str, Any]], kafka: Kafka) -> None:
    given = {
        name.removeprefix("KAFKA_").lower().replace("_", ".")
        for name in services["kafka"]["environment"]
        if name.startswith("KAFKA_")
    }
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, "1")])
    finally:
        await admin.close()
    known = {entry[0] for entry in answer.resources[0][4]}
    assert given - known == set()


async def test_the_broker_starts_with_its_configuration_and_keeps_to_its_rules(
    services: dict[str, dict[str, Any]], services_home: Path
) -> None:
    home = services_home / "compose-mosquitto"
    home.mkdir()
    port = free_port()
    accounts = {"hanhtrinh": "bridge-1", "tracker": "road-1"}
    make_password_file(home / "passwords", accounts)
    (home / "acl").write_text((DEPLOY / "mosquitto" / "acl").read_text())
    text = (DEPLOY / "mosquitto" / "mosquitto.conf").read_text()
    text = text.replace("/mosquitto/data/", f"{home}/").replace("listener 1883", f"listener {port} 127.0.0.1")
    (home / "mosquitto.conf").write_text(f"{text}\nuser root\n")
    broker = program("mosquitto", "mosquitto", "/usr/sbin/mosquitto")
    process = ServerProcess("mosquitto", [broker, "-c", str(home / "mosquitto.conf")], home / "log", {})
    process.start(lambda: accepts(port))
    try:
        with pytest.raises(aiomqtt.MqttCodeError, match="ot authori"):
            async with aiomqtt.Client("127.0.0.1", port):
                pass
        async with (
            aiomqtt.Client("127.0.0.1", port, username="hanhtrinh", password=accounts["hanhtrinh"]) as bridge,
            aiomqtt.Client("127.0.0.1", port, username="tracker", password=accounts["tracker"]) as tracker,
        ):
            for topic in (*load_settings().mqtt_topics, "#"):
                await bridge.subscribe(topic, qos=1)
            await tracker.subscribe("#", qos=1)
            for topic in ("elsewhere", "alerts/v1", "owntracks/u/d", "hanhtrinh/v1"):
                await tracker.publish(topic, "x", qos=1)
            async with asyncio.timeout(10):
                arrived = {(await anext(bridge.messages)).topic.value for _ in range(2)}
            assert arrived == {"owntracks/u/d", "hanhtrinh/v1"}
            await bridge.publish("alerts/v1", "y", qos=1)
            assert len(tracker.messages) == 0
    finally:
        process.stop()
    default_topic = services["notifier"]["environment"]["HANHTRINH_ALERT_MQTT_TOPIC"]
    assert f"topic write {default_topic}/+" in (home / "acl").read_text()
