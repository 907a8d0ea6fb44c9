"""Every setting of every process: read once at start from HANHTRINH_* variables and .env, then passed down frozen."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, NoDecode, SettingsConfigDict

PREFIX = "HANHTRINH_"

_JOURNEYS_DAYS = 365
"""Circular 12/2020/TT-BGTVT, article 15."""


class SettingsError(Exception):
    """A setting is wrong; the message is one readable line per setting."""


class Settings(BaseSettings):
    """All settings with their defaults; the field's name in upper case after HANHTRINH_ is the variable."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True, allow_inf_nan=False, env_ignore_empty=True
    )

    data_dir: Path = Field(Path(".hanhtrinh"), description="where the embedded database keeps its files")
    database_url: SecretStr | None = Field(
        None, description="postgresql://user:password@host:port/name; unset: the embedded PostgreSQL in data_dir"
    )

    log: Literal["embedded", "kafka"] = Field("embedded", description="the log between bridge and workers")
    log_partitions: int = Field(8, ge=1, le=1024, description="partitions of the log, fixed when it is created")
    kafka_bootstrap: str = Field("localhost:9092", description="Kafka bootstrap servers, comma separated")
    kafka_topic: str = Field("hanhtrinh.raw", description="topic of raw messages")
    kafka_replication: int = Field(1, ge=1, description="replicas of the topic when it is created")
    kafka_group: str = Field("hanhtrinh-worker", description="consumer group of the workers")
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="security protocol of the Kafka listeners"
    )
    kafka_username: str | None = Field(None, description="SASL/PLAIN user")
    kafka_password: SecretStr | None = Field(None, description="SASL/PLAIN password")
    kafka_ca_file: Path | None = Field(None, description="certificate authority of the Kafka brokers")

    mqtt_host: str = Field("localhost", description="MQTT broker")
    mqtt_port: int = Field(1883, ge=1, le=65535, description="port of the MQTT broker")
    mqtt_username: str | None = Field(None, description="account at the MQTT broker; unset: none")
    mqtt_password: SecretStr | None = Field(None, description="password of that account")
    mqtt_tls: bool = Field(False, description="speak TLS to the broker")
    mqtt_ca_file: Path | None = Field(None, description="certificate authority of the broker; unset: the system's")
    mqtt_client_id: str = Field(
        "hanhtrinh-bridge", description="stable and unique per bridge: the broker keeps its queue under this name"
    )
    mqtt_topics: Annotated[tuple[str, ...], NoDecode] = Field(
        ("hanhtrinh/+", "owntracks/+/+"), description="topic filters to subscribe to, comma separated"
    )
    max_message_bytes: int = Field(262_144, ge=1_024, description="a larger message is refused and counted")

    batch_max_messages: int = Field(5_000, ge=1, le=100_000, description="messages in one transaction of the worker")
    batch_max_wait_ms: int = Field(200, ge=1, le=10_000, description="how long a batch may wait for more messages")
    late_settle_ms: int = Field(
        2_000, ge=0, le=60_000, description="quiet time after a vehicle's last late fix before its past is judged again"
    )

    rule_pack: str = Field("vn", description="name of a built-in rule pack, or the path of a .toml file")
    rules: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="overrides of numbers in the pack, comma separated: speeding.max_gap_s=300"
    )

    alert_freshness_s: int = Field(900, ge=0, description="older news is recorded, not pushed")
    alert_terminal: bool = Field(False, description="print alerts where the notifier runs")
    alert_mqtt_topic: str | None = Field(None, description="publish alerts below this topic: <topic>/<vehicle_id>")
    alert_kafka_topic: str | None = Field(None, description="publish alerts to this Kafka topic")
    alert_webhook_url: str | None = Field(None, description="POST alerts to this address")
    alert_webhook_secret: SecretStr | None = Field(None, description="key of the HMAC-SHA256 signature")
    alerts_file: Path | None = Field(
        None, description="TOML file of who is told what by mail, Telegram and others; docs/alerts.md"
    )
    dashboards_url: str | None = Field(None, description="where people reach Grafana: alerts link to it")
    dashboards_role: str = Field(
        "grafana", min_length=1, description="database role of Grafana: `migrate` lets it read the views of the panels"
    )
    alert_max_tries: int = Field(8, ge=1, le=100, description="tries per channel before an alert is given up")
    alert_retry_s: float = Field(2.0, gt=0, le=3600, description="wait before the first retry; doubles each time")

    keep_journeys_days: int = Field(400, description="fixes and activity are dropped after so many days; 365 at least")
    keep_violations_days: int = Field(
        1_100, description="violations, their history and alerts are dropped after so many days"
    )
    keep_letters_days: int = Field(400, ge=1, description="dead letters are dropped after so many days")
    columnstore_after_days: int = Field(
        7,
        ge=1,
        description="TimescaleDB packs fixes by vehicle after so many days; few fixes should be later",
    )

    metrics_host: str = Field("127.0.0.1", description="address of /metrics and /healthz")
    metrics_port: int = Field(9464, ge=0, le=65535, description="port of /metrics and /healthz; 0 picks a free one")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least serious messages that a process logs"
    )

    @field_validator("mqtt_topics", "rules", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("data_dir")
    @classmethod
    def _of_somebody(cls, folder: Path) -> Path:
        try:
            return folder.expanduser()
        except RuntimeError:
            raise ValueError("expected a folder; there is no such user") from None

    @field_validator("database_url")
    @classmethod
    def _can_be_read(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not _is_database_url(url.get_secret_value()):
            raise ValueError(
                "cannot be read (not shown: it may hold a password); expected postgresql://user:password@host:port/name,"
                " with %40 for an @ in the password, %2F for a / and %20 for a space, and after a ? only parameters of"
                " PostgreSQL"
            )
        return url

    @field_validator("keep_journeys_days")
    @classmethod
    def _a_year(cls, days: int) -> int:
        if days < _JOURNEYS_DAYS:
            raise ValueError(f"the law wants journey data kept for a year: at least {_JOURNEYS_DAYS} days")
        return days

    @model_validator(mode="after")
    def _belong_together(self) -> Settings:
        if self.alert_webhook_url and not self.alert_webhook_secret:
            raise ValueError("HANHTRINH_ALERT_WEBHOOK_URL needs HANHTRINH_ALERT_WEBHOOK_SECRET to sign with")
        if self.kafka_security.startswith("SASL") and not (self.kafka_username and self.kafka_password):
            raise ValueError("HANHTRINH_KAFKA_SECURITY=SASL_* needs HANHTRINH_KAFKA_USERNAME and _PASSWORD")
        if self.keep_violations_days < self.keep_journeys_days:
            raise ValueError(
                "HANHTRINH_KEEP_VIOLATIONS_DAYS must not be less than HANHTRINH_KEEP_JOURNEYS_DAYS: a violation must"
                " not go before the fixes that prove it"
            )
        return self


def load_settings(**overrides: object) -> Settings:
    """Read the settings; `overrides` win over the environment. SettingsError names each wrong variable."""
    # A misspelt variable would be silently unused otherwise (pydantic ignores what it does not know).
    unknown = [
        *_unknown(os.environ),
        *(f"{name} in {Settings.model_config.get('env_file')}" for name in _unknown(_names_in_dotenv())),
    ]
    if unknown:
        raise SettingsError(f"unknown setting {', '.join(unknown)}: see .env.example for the names there are")
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError("\n".join(_line(item) for item in error.errors())) from None


_NOT_SETTINGS = frozenset({"HANHTRINH_TEST_DATABASE_URL", "HANHTRINH_VERSION"})


def _unknown(names: Iterable[str]) -> list[str]:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | _NOT_SETTINGS
    # Upper and lower case count the same. Other names in .env are those of docker-compose.yml.
    return sorted(name for name in map(str.upper, names) if name.startswith(PREFIX) and name not in known)


def _names_in_dotenv() -> list[str]:
    """The names in the file, as pydantic reads it. SettingsError when it is none that can be read."""
    file = Settings.model_config.get("env_file")
    try:
        names = list(DotEnvSettingsSource(Settings, env_ignore_empty=False).env_vars)
    except UnicodeDecodeError:
        names = ["\0"]
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}: expected a file that this account may read") from None
    # UTF-16 without a mark is UTF-8 with a zero byte beside each letter.
    if any("\0" in name for name in names):
        raise SettingsError(f'{file}: not in UTF-8 (Notepad calls UTF-16 "Unicode"): save it as UTF-8') from None
    return names


def _is_database_url(text: str) -> bool:
    """Whether PostgreSQL's own library reads it, and no part of a password gets into another part."""
    # Here, as only some commands need the library.
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict, timeout_from_conninfo

    try:
        parameters = conninfo_to_dict(text)
        timeout_from_conninfo(parameters)
    except ProgrammingError:
        return False
    ports = str(parameters.get("port", "")).split(",")
    authority, _, name = text.partition("://")[2].partition("?")[0].partition("/")
    return (
        bool(parameters)
        and all(port == "" or (port.isdecimal() and 1 <= int(port) <= 65535) for port in ports)
        and authority.count("@") <= 1
        and "@" not in name
    )


def _line(item: object) -> str:
    assert isinstance(item, dict)
    where = ".".join(str(part) for part in item["loc"])
    name = PREFIX + where.upper() if where else "settings"
    message = str(item["msg"]).removeprefix("Value error, ")
    given = "" if not where or _is_secret(where) else f" (given: {item['input']!r})"
    return f"{name}: {message}{given}"


def _is_secret(where: str) -> bool:
    field = Settings.model_fields.get(where)
    return field is None or SecretStr in (field.annotation, *get_args(field.annotation))
