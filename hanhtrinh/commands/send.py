"""Publish recordings over MQTT, as trackers would."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from hanhtrinh.commands.recording_options import Files, Maps, SpeedUnit, TimeFormat, TimeZone, VehicleId, mapping_of
from hanhtrinh.event_loop import run_async
from hanhtrinh.mqtt_broker import broker_of
from hanhtrinh.settings import load_settings
from ingest.publisher import AtRate, FlatOut, InStep, Pace, Publisher
from ingest.recordings import ColumnMapping, Recording, RecordingError
from ingest.recordings.messages import OutMessage, by_time, messages


def send(
    files: Files,
    maps: Maps = None,
    speed_unit: SpeedUnit = None,
    time_format: TimeFormat = None,
    time_zone: TimeZone = None,
    vehicle_id: VehicleId = None,
    rate: Annotated[
        float | None, typer.Option(min=0.01, metavar="N", help="Messages per second; without it flat out.")
    ] = None,
    pace: Annotated[
        str | None, typer.Option(metavar="10x", help="Play in order of time, so many times as fast as it went.")
    ] = None,
    per_message: Annotated[
        int | None, typer.Option(min=1, max=1000, metavar="N", help="Up to N rows of one vehicle in one message.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Publish recordings over MQTT in our own format, QoS 1, to hanhtrinh/<vehicle_id> on the broker of the settings.

    Rows that are no usable position are published as far as they go, so that the worker keeps them as dead letters with
    the reason. Lines of NDJSON in our own format are published as they stand.

    Example: hanhtrinh send day.csv.gz --map time=timestamp --speed-unit ms --pace 60x
    """
    mapping = mapping_of(maps, speed_unit, time_format, time_zone, vehicle_id)
    factor = _factor(pace)
    if factor is not None and rate is not None:
        raise typer.BadParameter("--rate and --pace exclude each other")
    publisher = Publisher(broker_of(load_settings()))
    count = _Count()
    started = time.perf_counter()
    with _bar(files) as advance:
        source = _messages(files, mapping, per_message, advance, ordered=factor is not None)
        run_async(publisher.publish(_stream(source), _pace(rate, factor), count.add))
    summary = count.summary(len(files), time.perf_counter() - started)
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        typer.echo(
            f"{summary['messages']} messages with {summary['fixes']} fixes sent and acknowledged,"
            f" {summary['unusable']} of them unusable, in {summary['seconds']:.1f} s"
            f" ({summary['messages_per_s']:.0f} messages/s)"
        )


class _Count:
    def __init__(self) -> None:
        self._messages = self._fixes = self._unusable = 0

    def add(self, message: OutMessage) -> None:
        self._messages += 1
        self._fixes += message.fixes
        self._unusable += message.fixes == 0

    def summary(self, files: int, seconds: float) -> dict[str, int | float]:
        return {
            "files": files,
            "messages": self._messages,
            "fixes": self._fixes,
            "unusable": self._unusable,
            "seconds": round(seconds, 3),
            "messages_per_s": round(self._messages / max(seconds, 1e-9), 1),
        }


def _factor(pace: str | None) -> float | None:
    if pace is None:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)x?", pace)
    if match is None or float(match[1]) == 0:
        raise typer.BadParameter(f"--pace {pace}: expected a factor such as 1x or 60x")
    return float(match[1])


def _pace(rate: float | None, factor: float | None) -> Pace:
    if rate is not None:
        return AtRate(rate, time.monotonic)
    return FlatOut() if factor is None else InStep(factor, time.monotonic)


def _messages(
    files: Sequence[Path],
    mapping: ColumnMapping,
    per_message: int | None,
    advance: Callable[[int], None],
    ordered: bool,
) -> Iterable[OutMessage]:
    recordings = [Recording(path, mapping) for path in files]
    mixed = {recording.is_own_format for recording in recordings}
    if len(mixed) > 1 and per_message is not None:
        raise RecordingError(
            "--per-message: NDJSON in our own format is sent line by line; send such files on their own"
        )

    def all_messages() -> Iterator[OutMessage]:
        for recording in recordings:
            yield from messages(recording, per_message, advance)

    # A file of our own format is in order of delivery, which is what it is for.
    return by_time(all_messages()) if ordered and mixed != {True} else all_messages()


async def _stream(source: Iterable[OutMessage]) -> AsyncIterator[OutMessage]:
    for message in source:
        yield message


@contextmanager
def _bar(files: Sequence[Path]) -> Iterator[Callable[[int], None]]:
    """A bar over the bytes of the files, on a terminal only."""
    console = Console(stderr=True)
    columns = (TextColumn("sending"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task: TaskID = progress.add_task("send", total=sum(path.stat().st_size for path in files))
        yield lambda size: progress.advance(task, size)
