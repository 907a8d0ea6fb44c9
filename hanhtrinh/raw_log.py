"""The log of raw messages that the settings name: Kafka, or tables in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from hanhtrinh.settings import Settings
from ingest.embedded_log import Connection, EmbeddedLogWriter, find_log, log_extents
from ingest.embedded_log_reader import EmbeddedLogReader
from ingest.kafka_log import KafkaLogWriter, KafkaSecurity, KafkaTopic
from ingest.kafka_log_reader import KafkaLogReader
from ingest.log import AssignmentChanged, LoadPositions
from ingest.raw import LogExtent, LogIdentity
from storage.connect import connect


def kafka_security(settings: Settings) -> KafkaSecurity:
    """How the settings want the brokers spoken to."""
    password = settings.kafka_password.get_secret_value() if settings.kafka_password else None
    return KafkaSecurity(settings.kafka_security, settings.kafka_username, password, settings.kafka_ca_file)


def log_writer(settings: Settings, url: str | None) -> KafkaLogWriter | EmbeddedLogWriter:
    """The writer, not yet open; `url` of the database is needed for the embedded log only."""
    if settings.log == "kafka":
        return KafkaLogWriter(
            settings.kafka_bootstrap,
            settings.kafka_topic,
            settings.log_partitions,
            settings.kafka_replication,
            kafka_security(settings),
        )
    return EmbeddedLogWriter(_Connect(url, "hanhtrinh log writer"), settings.log_partitions)


def log_reader(
    settings: Settings,
    url: str | None,
    load_positions: LoadPositions,
    assignment_changed: AssignmentChanged,
    *,
    only: Sequence[int] | None = None,
    group_instance_id: str | None = None,
) -> KafkaLogReader | EmbeddedLogReader:
    """The reader, not yet open: of the partitions in `only`, else of what the Kafka group assigns (embedded: all)."""
    if settings.log == "kafka":
        return KafkaLogReader(
            settings.kafka_bootstrap,
            settings.kafka_topic,
            settings.log_partitions,
            load_positions,
            assignment_changed,
            group=settings.kafka_group if only is None else None,
            only=only,
            group_instance_id=group_instance_id,
            replication=settings.kafka_replication,
            security=kafka_security(settings),
        )
    connect_reader = _Connect(url, "hanhtrinh log reader")
    return EmbeddedLogReader(connect_reader, settings.log_partitions, load_positions, assignment_changed, only=only)


async def look_at_log(settings: Settings, url: str | None) -> tuple[LogIdentity, dict[int, LogExtent]]:
    """Which log the settings name and what each partition holds; nothing is made. LogError when it is not there."""
    if settings.log == "kafka":
        topic = KafkaTopic(
            settings.kafka_bootstrap,
            settings.kafka_topic,
            settings.log_partitions,
            settings.kafka_replication,
            kafka_security(settings),
        )
        return await topic.ensure(create=False), await topic.extents()
    connection = await _Connect(url, "hanhtrinh log")()
    try:
        return await find_log(connection), await log_extents(connection)
    finally:
        await connection.close()


class _Connect:
    def __init__(self, url: str | None, application_name: str) -> None:
        if url is None:
            raise ValueError("the embedded log needs the database's URL")
        self._url = url
        self._application_name = application_name

    async def __call__(self) -> Connection:
        return await connect(self._url, application_name=self._application_name)
