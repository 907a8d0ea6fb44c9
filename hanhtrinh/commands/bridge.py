"""`hanhtrinh bridge`."""

from __future__ import annotations

import logging
import signal
from contextlib import nullcontext

import typer
from prometheus_client import CollectorRegistry

from hanhtrinh.database import database, require_schema
from hanhtrinh.event_loop import run_async
from hanhtrinh.log_setup import configure_logging
from hanhtrinh.metrics import BridgeMetrics, MetricsServer
from hanhtrinh.raw_log import log_writer
from hanhtrinh.settings import Settings, load_settings
from hanhtrinh.stop_signal import StopSignal
from ingest.bridge import BatchWriter, Bridge
from ingest.formats import FormatRegistry
from ingest.mqtt import MqttOptions, MqttSession

logger = logging.getLogger(__name__)


def bridge() -> None:
    """Carry MQTT messages into the log until SIGTERM or Ctrl-C; each is acknowledged only when the log has it.

    The broker is HANHTRINH_MQTT_HOST and its sisters, the log HANHTRINH_LOG. To run several bridges give each its own
    HANHTRINH_MQTT_CLIENT_ID and its own share of HANHTRINH_MQTT_TOPICS: the broker keeps a queue per client id, and two
    bridges under one id throw each other out.

    Example: HANHTRINH_LOG=kafka HANHTRINH_MQTT_HOST=broker.example hanhtrinh bridge
    """
    settings = load_settings()
    configure_logging(settings.log_level)
    with database(settings) if settings.log == "embedded" else nullcontext() as url:
        ended_by = run_async(_bridge(settings, url))
    if ended_by is signal.SIGINT:
        raise typer.Exit(130)


def build_bridge(settings: Settings, writer: BatchWriter, metrics: BridgeMetrics) -> Bridge:
    """The bridge that the settings describe, into `writer`, which is open."""
    password = settings.mqtt_password.get_secret_value() if settings.mqtt_password else None
    options = MqttOptions(
        settings.mqtt_host,
        settings.mqtt_port,
        settings.mqtt_client_id,
        settings.mqtt_topics,
        settings.mqtt_username,
        password,
        settings.mqtt_tls,
        settings.mqtt_ca_file,
    )
    formats = FormatRegistry()
    return Bridge(MqttSession(options), writer, formats.device_id, settings.max_message_bytes, metrics)


async def _bridge(settings: Settings, url: str | None) -> signal.Signals | None:
    """Run until a signal comes, and return it."""
    stop = StopSignal("bridge")
    if url is not None:
        await require_schema(settings, url)
    registry = CollectorRegistry()
    writer = log_writer(settings, url)
    identity = await writer.open()
    try:
        carrying = build_bridge(settings, writer, BridgeMetrics(registry))
        parts = {"bridge": lambda: carrying.trouble}
        server = MetricsServer(registry, settings.metrics_host, settings.metrics_port, parts)
        server.start()
        logger.info(
            "bridge started log=%s partitions=%d metrics_port=%d", identity.log_id, identity.partitions, server.port
        )
        try:
            await carrying.run(stop.event)
        finally:
            server.stop()
    finally:
        await writer.close()
    return stop.came
