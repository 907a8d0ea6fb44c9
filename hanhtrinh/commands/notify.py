"""Send waiting alerts to their channels."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence

import typer
from prometheus_client import CollectorRegistry

from alerts.notifier import Notifier
from alerts.retry import RetryPolicy
from alerts.route import PacedRoute, Route
from hanhtrinh.alert_routes import build_routes
from hanhtrinh.database import database, require_schema
from hanhtrinh.log_setup import configure_logging
from hanhtrinh.metrics import MetricsServer, NotifierMetrics
from hanhtrinh.rule_packs import LoadedPack, load_pack
from hanhtrinh.settings import Settings, SettingsError, load_settings
from hanhtrinh.stop_signal import StopSignal
from storage.connect import connect, is_transient
from storage.outbox import Outbox

logger = logging.getLogger(__name__)


def notify() -> None:
    """Send waiting alerts to the channels of the settings until SIGTERM or Ctrl-C; what is under way is finished first.

    Channels are set by HANHTRINH_ALERT_TERMINAL, _WEBHOOK_URL (with _WEBHOOK_SECRET), _MQTT_TOPIC and _KAFKA_TOPIC, and
    by HANHTRINH_ALERTS_FILE for mail, messengers and who gets what.
    Several may run at once when all have the same channels. Alerts older than HANHTRINH_ALERT_FRESHNESS_S are recorded
    and not sent.

    Example: HANHTRINH_ALERT_TERMINAL=true hanhtrinh notify
    """
    settings = load_settings()
    configure_logging(settings.log_level)
    pack = load_pack(settings.rule_pack, settings.rules)
    routes = build_routes(settings, pack)
    if not routes:
        raise SettingsError(
            "no alert channel is set: set at least one of HANHTRINH_ALERT_TERMINAL, HANHTRINH_ALERT_WEBHOOK_URL, "
            "HANHTRINH_ALERT_MQTT_TOPIC, HANHTRINH_ALERT_KAFKA_TOPIC and HANHTRINH_ALERTS_FILE"
        )
    with database(settings) as url:
        ended_by = asyncio.run(_notify(settings, url, pack, routes))
    if ended_by is signal.SIGINT:
        raise typer.Exit(130)


def build_notifier(
    settings: Settings, url: str, pack: LoadedPack, routes: Sequence[Route | PacedRoute], metrics: NotifierMetrics
) -> Notifier:
    """The notifier that the settings describe, from the database at `url` to the channels of `routes`; their hours are
    those of the pack's zone."""
    metrics.begin(route.channel.name for route in routes)
    return Notifier(
        Outbox(lambda: connect(url, application_name="hanhtrinh notify"), zone=pack.pack.time_zone),
        routes,
        metrics,
        is_transient=is_transient,
        retry=RetryPolicy(max_tries=settings.alert_max_tries, first_wait_s=settings.alert_retry_s),
        freshness_s=settings.alert_freshness_s,
    )


async def _notify(
    settings: Settings, url: str, pack: LoadedPack, routes: Sequence[Route | PacedRoute]
) -> signal.Signals | None:
    """Run until a signal comes, and return it."""
    stop = StopSignal("notifier")
    await require_schema(settings, url)
    registry = CollectorRegistry()
    notifier = build_notifier(settings, url, pack, routes, NotifierMetrics(registry))
    parts = {"notifier": lambda: notifier.trouble}
    server = MetricsServer(registry, settings.metrics_host, settings.metrics_port, parts)
    server.start()
    names = ",".join(route.channel.name for route in routes)
    logger.info("notifier started channels=%s metrics_port=%d", names, server.port)
    try:
        await notifier.run(stop.event)
    finally:
        server.stop()
    return stop.came
