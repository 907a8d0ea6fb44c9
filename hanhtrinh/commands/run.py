"""`hanhtrinh run`."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NamedTuple

import psycopg
import typer
from rich.console import Console

from hanhtrinh.database import database, require_schema
from hanhtrinh.event_loop import run_async
from hanhtrinh.everything import Everything
from hanhtrinh.log_setup import configure_logging
from hanhtrinh.mqtt_broker import broker_of
from hanhtrinh.only_run import only_run
from hanhtrinh.rule_packs import load_pack
from hanhtrinh.run_summary import Counts, RunSummary, counts_seen, print_summary
from hanhtrinh.settings import Settings, SettingsError, load_settings
from ingest.publisher import Publisher
from ingest.recordings.messages import OutMessage
from ingest.simulator.files import message_of, write_registry
from ingest.simulator.live import LiveFleet
from storage.connect import connect
from storage.registry import import_file

log = logging.getLogger(__name__)

_STATUS_EVERY_S = 10.0


def run(
    demo: Annotated[bool, typer.Option("--demo", help="Add a simulated fleet that drives now.")] = False,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="60s", help="Stop by itself after so many s, m or h.")
    ] = None,
    vehicles: Annotated[int, typer.Option(min=1, max=10_000, help="Vehicles of the demo.")] = 100,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the demo; without it each run has a fleet of its own.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Run everything in one process: MQTT broker, bridge, log, database, worker and alerts on this screen.

    Nothing needs to be installed beside: the database is embedded in HANHTRINH_DATA_DIR and the broker listens on this
    machine only. Set HANHTRINH_MQTT_HOST, HANHTRINH_DATABASE_URL or HANHTRINH_LOG=kafka to use real servers instead.
    Trackers publish to hanhtrinh/<vehicle_id>. Stop with Ctrl-C; a summary follows.

    Example: hanhtrinh run --demo --for 60s
    """
    seconds = parse_duration(for_)
    settings = load_settings(alert_terminal=True)
    configure_logging("warning" if settings.log_level == "info" else settings.log_level)
    pack = load_pack(settings.rule_pack, settings.rules)
    console = Console(stderr=as_json, highlight=False)
    with database(settings) as url, only_run(settings, url):
        # Two demos with one seed in one database would be the same vehicles in two places at once.
        chosen = time.time_ns() // 1_000_000_000 % 1_000_000 if seed is None else seed
        fleet = LiveFleet(chosen, vehicles, lambda: datetime.now(UTC)) if demo else None
        ended = run_async(_run(Everything(settings, url, pack, console), url, settings, fleet, seconds, console))
    if as_json:
        typer.echo(json.dumps(ended.summary))
    else:
        print_summary(ended.summary)
    if ended.by is signal.SIGINT and seconds is None:
        raise typer.Exit(130)
    if not ended.whole:
        raise typer.Exit(1)


class _Ended(NamedTuple):
    by: signal.Signals | None
    summary: Counts
    whole: bool
    """Whether the database could be asked for the summary."""


def parse_duration(text: str | None) -> float | None:
    """Seconds of "90", "60s", "5m" or "2h". SettingsError for anything else."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not found or float(found[1]) <= 0:
        raise SettingsError(f"--for {text!r}: expected a duration such as 60s, 5m or 2h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


async def _run(
    everything: Everything,
    url: str,
    settings: Settings,
    fleet: LiveFleet | None,
    seconds: float | None,
    console: Console,
) -> _Ended:
    await require_schema(settings, url)
    summary = await RunSummary.begin(url)
    stop = asyncio.Event()
    ended_by: list[signal.Signals] = []

    def end(by: signal.Signals | None) -> None:
        if by is not None:
            ended_by.append(by)
        stop.set()

    loop = asyncio.get_running_loop()
    for by in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(by, end, by)

    @asynccontextmanager
    async def beside() -> AsyncIterator[None]:
        used = everything.settings
        console.print(
            f"Listening for trackers on mqtt://{used.mqtt_host}:{used.mqtt_port}, topic hanhtrinh/<vehicle_id>."
            " Alerts follow as they happen; Ctrl-C ends."
        )
        if seconds is not None:
            loop.call_later(seconds, end, None)
        helpers = [asyncio.create_task(_status(everything, console))]
        try:
            if fleet is not None:
                await _import_fleet(fleet, url)
                helpers.append(asyncio.create_task(_drive(fleet, used, stop, end)))
            yield
        finally:
            for helper in helpers:
                helper.cancel()
            results = await asyncio.gather(*helpers, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    await everything.run(stop, beside)
    try:
        counts, whole = await summary.counts(url), True
    except psycopg.OperationalError as error:
        log.error("the database is away, so the summary is what this process has seen: %s", error)
        counts, whole = counts_seen(everything.progress), False
    return _Ended(ended_by[0] if ended_by else None, counts, whole)


async def _status(everything: Everything, console: Console) -> None:
    """A line now and then, so that a quiet screen says that work goes on."""
    while True:
        await asyncio.sleep(_STATUS_EVERY_S)
        done = everything.progress
        console.print(
            f"[dim]{done.messages:,} messages, {done.fixes:,} fixes stored, {done.letters:,} dead letters[/dim]"
        )


async def _import_fleet(fleet: LiveFleet, url: str) -> None:
    """The demo's operators, vehicles and drivers into the registry."""
    connection = await connect(url)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_registry(fleet.roster, folder)
            for table in ("operators", "vehicles", "drivers"):
                await import_file(connection, folder / f"{table}.csv")
    finally:
        await connection.close()


async def _drive(
    fleet: LiveFleet, settings: Settings, stop: asyncio.Event, end: Callable[[signal.Signals | None], None]
) -> None:
    """Publish the fleet's messages until `stop`."""

    async def messages() -> AsyncIterator[OutMessage]:
        async for delivery in fleet.deliveries():
            if stop.is_set():
                return
            yield message_of(delivery)

    try:
        with suppress(asyncio.CancelledError):
            await Publisher(broker_of(settings)).publish(messages())
    except BaseException:
        end(None)
        raise
