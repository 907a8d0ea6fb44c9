"""Judge recordings offline, with the same core as the stream and without any server."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from detectors.columns import Code, Columns, concatenate
from detectors.hours import HoursRules
from detectors.limits import LimitBook
from detectors.names import Names
from detectors.overrides import concerning
from detectors.recording import RecordingJudgement, judge_recording
from detectors.rules import RulePack
from hanhtrinh.commands.recording_options import Files, Maps, SpeedUnit, TimeFormat, TimeZone, VehicleId, mapping_of
from hanhtrinh.detectors import context_of, detector_factories
from hanhtrinh.driver_packs import DriverPacks
from hanhtrinh.garbage import collect_rarely
from hanhtrinh.listing import visible
from hanhtrinh.rule_packs import LoadedPack, load_pack
from hanhtrinh.screen import print_violations
from ingest.recordings import ColumnMapping, Recording, RejectedRow
from storage.csv_rows import BadRow, RegistryError
from storage.overrides import parse_overrides
from storage.registry import VehicleRow, parse_drivers, parse_vehicles


class _Judged(NamedTuple):
    """Which vehicles the recordings hold, and what was set for them."""

    vehicles: Code
    limits: LimitBook
    given: bool
    """Overrides were given."""


def check(
    files: Files,
    maps: Maps = None,
    speed_unit: SpeedUnit = None,
    time_format: TimeFormat = None,
    time_zone: TimeZone = None,
    vehicle_id: VehicleId = None,
    vehicles: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="vehicles.csv: class, kind and own limit of each vehicle."),
    ] = None,
    drivers: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="drivers.csv: the rule pack for the hours of each driver."),
    ] = None,
    overrides: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="overrides.csv: an office's own numbers by operator, kind or vehicle; --vehicles says whose is whose.",
        ),
    ] = None,
    limit_kmh: Annotated[
        float | None, typer.Option(min=1, max=200, metavar="KMH", help="One limit for all vehicles.")
    ] = None,
    rules: Annotated[str, typer.Option(metavar="PACK", help="Rule pack: a name or a .toml file.")] = "vn",
    rule: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help="Override a number of the pack: speeding.max_gap_s=300. Repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one violation per line as JSON.")] = False,
) -> None:
    """Judge recordings offline: all files together, in any order, by the same rules as the stream.

    Violations go to standard output, the summary to standard error. Exit code 0 whether there are violations or not.

    Example: hanhtrinh check day.csv.gz --map time=timestamp --speed-unit ms --rule speeding.max_gap_s=300
    """
    collect_rarely()
    loaded = load_pack(rules, rule or ())
    mapping = mapping_of(maps, speed_unit, time_format, time_zone, vehicle_id)
    registry = _registry(vehicles)
    vehicle_names, driver_names = Names(), Names()
    columns, rejected = _read(files, mapping, vehicle_names, driver_names)
    limits = _limits(registry, vehicle_names, loaded.pack, limit_kmh)
    _override(overrides, registry, vehicle_names, loaded.pack, limits)
    judgement = judge_recording(
        columns,
        context_of(loaded, vehicle_names, driver_names, limits),
        detector_factories(),
        loaded.hours,
        {row.vehicle_id: row.kind for row in registry},
        _hours_of_driver(drivers, loaded.hours),
        latest_us=time.time_ns() // 1000,
    )
    _print(judgement, loaded, as_json=as_json)
    _summarise(judgement, rejected, loaded, _Judged(np.unique(columns.vehicle), limits, given=overrides is not None))


def _registry(path: Path | None) -> list[VehicleRow]:
    if path is None:
        return []
    parsed = parse_vehicles(path)
    _refuse(path, parsed.bad_rows)
    return parsed.rows


def _hours_of_driver(path: Path | None, configured: HoursRules) -> dict[str, HoursRules]:
    if path is None:
        return {}
    parsed, packs = parse_drivers(path), DriverPacks(configured)
    _refuse(path, parsed.bad_rows)
    return {row.driver_id: packs.named(row.rule_pack) for row in parsed.rows if row.rule_pack is not None}


def _refuse(path: Path, bad_rows: Sequence[BadRow]) -> None:
    if bad_rows:
        bad = "; ".join(f"line {row.line}, {row.column}: {row.why}" for row in bad_rows[:5])
        raise RegistryError(f"{path}: {len(bad_rows)} bad rows: {bad}")


def _limits(registry: Sequence[VehicleRow], vehicles: Names, pack: RulePack, given_kmh: float | None) -> LimitBook:
    limits = LimitBook(pack, given_kmh)
    for row in registry:
        limits.register(vehicles.code(row.vehicle_id), row.limit_kmh, row.speed_class)
    return limits


def _override(
    path: Path | None, registry: Sequence[VehicleRow], vehicles: Names, pack: RulePack, limits: LimitBook
) -> None:
    if path is None:
        return
    parsed = parse_overrides(path, pack)
    _refuse(path, parsed.bad_rows)
    by_scope = parsed.by_scope()
    known = {row.vehicle_id: row for row in registry}
    named = {scope_id for scope, scope_id in by_scope if scope == "vehicle"}
    for vehicle_id in sorted(known.keys() | named):
        row = known.get(vehicle_id, VehicleRow(vehicle_id))
        own = concerning(by_scope, vehicle_id, row.kind, row.operator_id, row.limit_kmh)
        limits.overrides.assign(vehicles.code(vehicle_id), own)


def _read(
    files: Sequence[Path], mapping: ColumnMapping, vehicles: Names, drivers: Names
) -> tuple[Columns, list[RejectedRow]]:
    parts: list[Columns] = []
    rejected: list[RejectedRow] = []
    with _bar(files) as advance:
        for path in files:
            for chunk in Recording(path, mapping, vehicles, drivers).chunks(progress=advance):
                parts.append(chunk.columns())
                rejected += chunk.rejected
    return concatenate(parts), rejected


@contextmanager
def _bar(files: Sequence[Path]) -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    with Progress(
        TextColumn("reading"), BarColumn(), TimeElapsedColumn(), console=console, disable=not console.is_terminal,
        transient=True,
    ) as progress:  # fmt: skip
        task = progress.add_task("reading", total=sum(path.stat().st_size for path in files))
        yield lambda size: progress.advance(task, size)


def _print(judgement: RecordingJudgement, loaded: LoadedPack, *, as_json: bool) -> None:
    if as_json:
        for violation in judgement.violations:
            wire = violation.to_wire()
            if loaded.overrides:
                wire["overrides"] = loaded.overrides
            sys.stdout.write(json.dumps(wire, ensure_ascii=False) + "\n")
    elif judgement.violations:
        print_violations(judgement.violations, ZoneInfo(loaded.pack.time_zone))


def _summarise(
    judgement: RecordingJudgement, rejected: Sequence[RejectedRow], loaded: LoadedPack, judged: _Judged
) -> None:
    def say(text: str) -> None:
        typer.echo(visible(text), err=True)

    say(
        f"{judgement.fixes:,} fixes of {len(judged.vehicles):,} vehicles judged by pack {loaded.pack.name};"
        f" doubled {judgement.doubled:,}, conflicts {judgement.conflicts:,}, unusable rows {len(rejected):,}"
    )
    if loaded.overrides:
        say("overrides: " + ", ".join(f"{name}={value:g}" for name, value in loaded.overrides.items()))
    if judged.given:
        own = sum(bool(judged.limits.overrides.of(code)) for code in judged.vehicles.tolist())
        say(f"own numbers of the office concern {own:,} of the vehicles")
    flagged = {name: n for name, n in judgement.flagged.items() if n}
    if flagged:
        say("fixes not trusted: " + ", ".join(f"{name} {n:,}" for name, n in flagged.items()))
    for reason, n in Counter(row.reason for row in rejected).most_common():
        first = next(row for row in rejected if row.reason == reason)
        say(f"unusable, {reason}: {n:,} rows, first in row {first.row}: {first.detail}")
    counts = Counter((each.kind, each.grade) for each in judgement.violations)
    found = ", ".join(f"{kind} {grade} {n:,}" for (kind, grade), n in sorted(counts.items()))
    say(f"violations: {found or 'none'}")
