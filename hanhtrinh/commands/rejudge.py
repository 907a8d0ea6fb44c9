"""`hanhtrinh rejudge`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from hanhtrinh.database import database, require_schema
from hanhtrinh.detectors import detector_factories
from hanhtrinh.differences import print_differences
from hanhtrinh.log_setup import configure_logging
from hanhtrinh.rejudging import Advance, Preview, Rejudging
from hanhtrinh.rule_packs import LoadedPack, load_pack
from hanhtrinh.screen import local
from hanhtrinh.settings import Settings, load_settings
from storage.chosen_vehicles import Choice, beyond_judging, chosen_vehicles
from storage.connect import Connection, connect
from storage.registry import KINDS

_LOOK_EVERY_S = 0.3
_DAY_US = 86_400_000_000
_FIRST_YEAR, _LAST_YEAR = 1970, 2999

Ids = list[str] | None


@dataclass(frozen=True, slots=True)
class _Asked:
    choice: Choice
    why: str
    rules_as_of: date | None
    dry_run: bool
    yes: bool
    as_json: bool


class RejudgeError(Exception):
    """What was asked for cannot be judged again; the message says why and what can."""


def rejudge(
    from_: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], metavar="DATE", help="First local day.")],
    to: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="Last local day.")],
    vehicle: Annotated[Ids, typer.Option(metavar="ID", help="This vehicle only. Repeatable, as all of these.")] = None,
    driver: Annotated[Ids, typer.Option(metavar="ID", help="Vehicles while this driver drove them.")] = None,
    operator: Annotated[Ids, typer.Option(metavar="ID", help="Vehicles of this operator.")] = None,
    kind: Annotated[Ids, typer.Option(metavar="KIND", help="Vehicles of this kind: taxi, city_bus, ...")] = None,
    rules_as_of: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="DATE",
            help="Judge by the rules that were in force on that day, whenever it happened. Only with --dry-run.",
        ),
    ] = None,
    why: Annotated[
        str, typer.Option(metavar="TEXT", help="The reason, for the history of what changes.")
    ] = "judged again on request",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before writing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print each change as one JSON object per line.")] = False,
) -> None:
    """Judge stored history again, after a change of rules, limits or registry, beside live work.

    First everything is judged without writing, and what would be added, withdrawn and corrected is shown. After a yes
    the vehicles are marked and the workers judge them; where no worker reads a partition, this command does. It may be
    stopped at any moment: marks stay, and the same command goes on. Driving time is judged to the end of a driver's
    line. Run it with the rules (HANHTRINH_RULE_PACK, HANHTRINH_RULES) that the workers have.

    Example: hanhtrinh rejudge --operator OP-1 --from 2026-03-01 --to 2026-03-31 --why "limits of March corrected"
    """  # fmt: skip
    if rules_as_of is not None and not dry_run:
        raise RejudgeError(
            "--rules-as-of is for looking only, give --dry-run too: what it wrote would be undone by the next late fix,"
            " which is judged by the rules of its own day"
        )
    if not dry_run and not yes and not sys.stdin.isatty():
        raise RejudgeError("nobody is here to say yes: give --yes to write, or --dry-run to look")
    if not why.strip() or not why.isprintable():
        raise typer.BadParameter(f"--why {why!r}: expected a line of text")
    for option, days in (("--from", from_), ("--to", to), ("--rules-as-of", rules_as_of)):
        if days is not None and not _FIRST_YEAR <= days.year <= _LAST_YEAR:
            raise RejudgeError(f"{option} {days.date()}: expected a day from {_FIRST_YEAR} to {_LAST_YEAR}")
    for each in kind or ():
        if each not in KINDS:
            raise RejudgeError(f"--kind {each!r}: expected one of {', '.join(sorted(KINDS))}")
    if to < from_:
        raise RejudgeError(f"--to {to:%Y-%m-%d} lies before --from {from_:%Y-%m-%d}")
    settings = load_settings()
    configure_logging(settings.log_level)
    pack = load_pack(settings.rule_pack, settings.rules)
    before_us = pack.midnight_us(to.date() + timedelta(days=1))
    choice = Choice(pack.midnight_us(from_.date()), before_us, vehicle or (), driver or (), operator or (), kind or ())
    asked = _Asked(choice, why.strip(), None if rules_as_of is None else rules_as_of.date(), dry_run, yes, as_json)
    with database(settings) as url:
        try:
            asyncio.run(_rejudge(settings, url, pack, asked))
        except KeyboardInterrupt:
            typer.echo(
                "stopped; marks that are written stay: workers go on, and the same command shows the rest", err=True
            )
            raise


async def _rejudge(settings: Settings, url: str, pack: LoadedPack, asked: _Asked) -> None:
    await require_schema(settings, url)
    connection = await connect(url, application_name="hanhtrinh rejudge")
    try:
        rejudging = Rejudging(connection, pack, detector_factories(), asked.rules_as_of)
        preview = await _preview(connection, rejudging, pack.zone, asked)
        if asked.dry_run or not preview.marks:
            return
        if not asked.yes and not typer.confirm("Write this?", err=True):
            raise typer.Exit(1)
        await rejudging.ask(preview)
        await _wait(rejudging, preview, asked.why)
    finally:
        await connection.close()


async def _preview(connection: Connection, rejudging: Rejudging, zone: ZoneInfo, asked: _Asked) -> Preview:
    """Judge without writing and show the outcome."""
    choice = asked.choice
    span = f"{local(choice.from_us, zone)} until before {local(choice.before_us, zone)}"
    vehicles = await chosen_vehicles(connection, choice)
    lost = await beyond_judging(connection, choice)
    if lost:
        typer.echo(
            f"{lost:,} violations stand whose fixes are no longer stored, or which began soon after such:"
            " they are not judged again",
            err=True,
        )
    if not vehicles:
        raise RejudgeError(f"no stored fixes {_whose(choice)} from {span}: nothing can be judged again")
    to_us = min(choice.before_us, max(time.time_ns() // 1000, choice.from_us))
    total_s = sum(max(0, to_us - max(choice.from_us, each.first_us)) / 1e6 for each in vehicles)
    with _bar(f"judging {len(vehicles):,} vehicles", total_s) as advance:
        preview = await rejudging.preview(vehicles, choice, asked.why, advance)
    _show(preview, asked)
    by = "" if asked.rules_as_of is None else f" by the rules of {asked.rules_as_of}"
    typer.echo(
        f"{len(vehicles):,} vehicles from {span}{by}: {len(preview.differences):,} violations would change, and"
        f" {preview.changed_fixes:,} fixes in how they are marked",
        err=True,
    )
    return preview


def _whose(choice: Choice) -> str:
    asked = {"vehicle": choice.vehicles, "driver": choice.drivers, "operator": choice.operators, "kind": choice.kinds}
    options = [f"--{name} {each}" for name, values in asked.items() for each in values]
    return f"for {' '.join(options)}" if options else "of any vehicle"


def _show(preview: Preview, asked: _Asked) -> None:
    if asked.as_json:
        for each in preview.differences:
            sys.stdout.write(json.dumps(each.to_wire(), ensure_ascii=False) + "\n")
    elif preview.differences:
        print_differences(preview.differences)


async def _wait(rejudging: Rejudging, preview: Preview, why: str) -> None:
    """Until no mark is left; what no worker reads is judged here."""
    here = 0
    marked = {mark.vehicle_id: mark for _, mark in preview.marks}
    with _bar("judging again", sum((each.to_us - each.from_us) / 1e6 for each in marked.values())) as advance:
        done_s = 0.0
        while left := await rejudging.left(preview, why):
            left_s = sum((min(each.to_us, marked[each.vehicle_id].to_us) - each.from_us) / 1e6 for _, each in left)
            all_s = sum((each.to_us - each.from_us) / 1e6 for each in marked.values())
            advance(max(0.0, all_s - left_s - done_s))
            done_s = max(done_s, all_s - left_s)
            worked = await rejudging.step(left)
            here += worked
            if not worked:
                await asyncio.sleep(_LOOK_EVERY_S)
    by = "here: no worker reads their partitions" if here else "by the workers"
    typer.echo(f"{len(marked):,} vehicles judged again {by}", err=True)


@contextmanager
def _bar(what: str, total_s: float) -> Iterator[Advance]:
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=total_s)
        yield lambda seconds: progress.advance(task, seconds)
