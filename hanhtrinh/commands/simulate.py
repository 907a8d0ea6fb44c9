"""Write, or play live, the days of a simulated fleet."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from detectors.fix import from_us
from hanhtrinh.event_loop import run_async
from hanhtrinh.mqtt_broker import broker_of
from hanhtrinh.settings import load_settings
from ingest.publisher import Publisher
from ingest.recordings.messages import OutMessage
from ingest.simulator import Fleet, LiveFleet, message_of, write_fleet, write_registry

_ZONE = ZoneInfo("Asia/Ho_Chi_Minh")


def simulate(
    vehicles: Annotated[int, typer.Option(min=1, max=100_000, help="How many vehicles.")] = 50,
    hours: Annotated[float, typer.Option(min=0.001, max=24 * 366, help="How long.")] = 24.0,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal fleets, to the byte.")] = 7,
    start: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"], help="Begin, Vietnamese time; default 2026-03-02."),
    ] = None,
    interval: Annotated[
        int | None, typer.Option(min=1, max=60, metavar="S", help="Seconds between fixes; default 10, live 5.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder for fleet.ndjson, planted.json and the registry.")
    ] = None,
    mqtt: Annotated[
        bool, typer.Option("--mqtt", help="Play live to the broker of the settings, some hours of history first.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Simulate a fleet in Vietnam: routes, stops, jams, rests, dead zones, speeders and tired drivers.

    Writes to --out: fleet.ndjson, one message per line in the order they are sent (for `check` and `send`);
    planted.json, every violation there is; vehicles.csv, drivers.csv and operators.csv for `import`. With --mqtt it
    plays now, in real time, for --hours or until Ctrl-C, and --out takes only the registry.

    Example: hanhtrinh simulate --vehicles 50 --hours 24 --seed 7 --out fleet
    """
    if mqtt:
        if start is not None:
            raise typer.BadParameter("--start and --mqtt exclude each other: live begins now")
        live = LiveFleet(seed, vehicles, lambda: datetime.now(UTC), interval_s=interval or 5)
        if out is not None:
            write_registry(live.roster, out)
        with _stopwatch() as done, suppress(KeyboardInterrupt):
            run_async(Publisher(broker_of(load_settings())).publish(_live(live, hours * 3600), None, done))
        return
    if out is None:
        raise typer.BadParameter("say where to write with --out FOLDER, or play with --mqtt")
    begin = (start or datetime(2026, 3, 2)).replace(tzinfo=_ZONE)  # noqa: DTZ001
    fleet = Fleet(seed, vehicles, begin, timedelta(hours=hours), interval or 10)
    with _clock(begin, hours) as progress:
        summary = write_fleet(fleet, out, progress)
    if as_json:
        typer.echo(json.dumps(summary | {"vehicles": vehicles, "seed": seed, "folder": str(out)}))
    else:
        typer.echo(
            f"{summary['fixes']} fixes of {vehicles} vehicles in {summary['deliveries']} messages, with"
            f" {summary['planted']} violations, in {out}"
        )


async def _live(fleet: LiveFleet, seconds: float) -> AsyncIterator[OutMessage]:
    deadline = asyncio.get_running_loop().time() + seconds
    async for delivery in fleet.deliveries():
        if asyncio.get_running_loop().time() >= deadline:
            return
        yield message_of(delivery)


@contextmanager
def _stopwatch() -> Iterator[Callable[[OutMessage], None]]:
    """How many messages went out, on a terminal only."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("live: {task.completed:.0f} messages"), console=console, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("live", total=None)
        yield lambda _: bar.advance(task)


@contextmanager
def _clock(begin: datetime, hours: float) -> Iterator[Callable[[int], None]]:
    """How much of the simulated time has passed, on a terminal only."""
    console = Console(stderr=True)
    columns = (TextColumn("simulating"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("simulate", total=hours * 3600)
        count = 0

        def advance(time_us: int) -> None:
            nonlocal count
            count += 1
            if count % 1000 == 0:
                bar.update(task, completed=(from_us(time_us) - begin).total_seconds())

        yield advance
