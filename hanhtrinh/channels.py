"""The alert channels that the settings ask for."""

from __future__ import annotations

from rich.console import Console

from alerts.channel import Channel
from alerts.kafka import KafkaChannel
from alerts.mqtt import MqttChannel
from alerts.terminal import TerminalChannel
from alerts.webhook import WebhookChannel
from hanhtrinh.mqtt_broker import broker_of
from hanhtrinh.settings import Settings
from ingest.kafka_log import KafkaSecurity


def build_channels(settings: Settings, console: Console | None = None) -> list[Channel]:
    """One channel per HANHTRINH_ALERT_* that is set; [] when none is. Nothing connects before it has to send.

    `console` is where the terminal channel prints; standard output by default.
    """
    channels: list[Channel] = []
    if settings.alert_terminal:
        channels.append(TerminalChannel(console or Console()))
    if settings.alert_webhook_url and settings.alert_webhook_secret:
        secret = settings.alert_webhook_secret.get_secret_value().encode()
        channels.append(WebhookChannel(settings.alert_webhook_url, secret))
    if settings.alert_mqtt_topic:
        broker = broker_of(settings)
        channels.append(
            MqttChannel(
                broker.host,
                broker.port,
                settings.alert_mqtt_topic,
                username=broker.username,
                password=broker.password,
                tls=broker.tls,
            )
        )
    if settings.alert_kafka_topic:
        password = settings.kafka_password.get_secret_value() if settings.kafka_password else None
        security = KafkaSecurity(settings.kafka_security, settings.kafka_username, password, settings.kafka_ca_file)
        channels.append(
            KafkaChannel(
                settings.kafka_bootstrap,
                settings.alert_kafka_topic,
                partitions=settings.log_partitions,
                replication=settings.kafka_replication,
                client_options=security.client_options(),
            )
        )
    return channels
