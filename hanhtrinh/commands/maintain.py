"""`hanhtrinh maintain`."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from typing import Annotated

import typer
from prometheus_client import CollectorRegistry

from detectors.hours import HoursRules
from hanhtrinh.database import database, require_schema
from hanhtrinh.driver_packs import DriverPacks
from hanhtrinh.hours_board import HoursBoard
from hanhtrinh.log_setup import configure_logging
from hanhtrinh.maintenance import Maintainer
from hanhtrinh.metrics import MaintenanceMetrics, MetricsServer
from hanhtrinh.rule_packs import load_pack
from hanhtrinh.settings import Settings, load_settings
from hanhtrinh.stop_signal import StopSignal
from storage.connect import connect
from storage.retention import KeepFor
from storage.upkeep import Upkept

logger = logging.getLogger(__name__)


def maintain(
    once: Annotated[bool, typer.Option("--once", help="Take one turn and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --once: print what was done as JSON.")] = False,
) -> None:
    """Keep distances and driving times per vehicle, hour and day and the present hours of drivers fresh, and drop what
    was kept for long enough.

    Works until SIGTERM or Ctrl-C. Any number may run: one at a time works. What is dropped when is set by
    HANHTRINH_KEEP_JOURNEYS_DAYS, _KEEP_VIOLATIONS_DAYS and _KEEP_LETTERS_DAYS.

    Example: hanhtrinh maintain --once
    """
    settings = load_settings()
    configure_logging(settings.log_level)
    hours = load_pack(settings.rule_pack, settings.rules).hours
    with database(settings) as url:
        if once:
            done = asyncio.run(_once(settings, url, hours))
            typer.echo(json.dumps(done._asdict()) if as_json else _said(done))
            return
        ended_by = asyncio.run(_maintain(settings, url, hours))
    if ended_by is signal.SIGINT:
        raise typer.Exit(130)


def build_maintainer(settings: Settings, url: str, hours: HoursRules, metrics: MaintenanceMetrics) -> Maintainer:
    """The maintainer that the settings describe, of the database at `url`. `hours` are the rules on driving time."""
    keep = KeepFor(
        settings.keep_journeys_days,
        settings.keep_violations_days,
        settings.keep_letters_days,
        settings.columnstore_after_days,
    )
    board = HoursBoard(DriverPacks(hours))
    return Maintainer(lambda: connect(url, application_name="hanhtrinh maintain"), keep, board, metrics)


async def _once(settings: Settings, url: str, hours: HoursRules) -> Upkept:
    await require_schema(settings, url)
    return await build_maintainer(settings, url, hours, MaintenanceMetrics(CollectorRegistry())).once()


async def _maintain(settings: Settings, url: str, hours: HoursRules) -> signal.Signals | None:
    """Run until a signal comes, and return it."""
    stop = StopSignal("maintenance")
    await require_schema(settings, url)
    registry = CollectorRegistry()
    maintainer = build_maintainer(settings, url, hours, MaintenanceMetrics(registry))
    parts = {"maintenance": lambda: maintainer.trouble}
    server = MetricsServer(registry, settings.metrics_host, settings.metrics_port, parts)
    server.start()
    logger.info("maintenance started metrics_port=%d", server.port)
    try:
        await maintainer.run(stop.event)
    finally:
        server.stop()
    return stop.came


def _said(done: Upkept) -> str:
    dropped = ", ".join(f"{n:,} {what}" for what, n in done.dropped.items()) or "nothing"
    return f"counted {done.hours:,} hours of vehicles; {done.waiting:,} may still grow; dropped {dropped}"
