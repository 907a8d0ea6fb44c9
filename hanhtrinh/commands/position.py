"""`hanhtrinh position`."""

from __future__ import annotations

import asyncio
import getpass
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

import typer

from detectors.fix import to_us
from hanhtrinh.database import database, require_schema
from hanhtrinh.listing import Column, print_rows, visible
from hanhtrinh.log_setup import configure_logging
from hanhtrinh.raw_log import look_at_log
from hanhtrinh.rule_packs import load_pack
from hanhtrinh.screen import LOCAL_LEAST, local
from hanhtrinh.settings import Settings, load_settings
from ingest.positions import outside_log
from ingest.raw import LogExtent, LogIdentity
from storage.connect import connect
from storage.position_book import OtherLog, PositionBook, PositionChange, StoredPosition
from storage.positions import WrongLog

T = TypeVar("T")
Work = Callable[[PositionBook, LogIdentity, Mapping[int, LogExtent]], Awaitable[T]]

_SHOWN_CHANGES = 5

position = typer.Typer(no_args_is_help=True, add_completion=False)


@position.callback()
def _position() -> None:
    """How far each partition of the log is worked off: the next offset, kept in the database with the results.

    Example: hanhtrinh position show
    """


@position.command()
def show(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per partition.")] = False,
) -> None:
    """Show each partition: stored position, what the log holds, what waits, last commit and event time.

    The exit code is 1 when a position lies outside the log, or the log has taken another's place: a worker cannot go
    on there, and the line below the table says what to do.

    Example: hanhtrinh position show
    """
    settings, zone = _settings()

    async def look(
        book: PositionBook, identity: LogIdentity, extents: Mapping[int, LogExtent]
    ) -> tuple[list[dict[str, Any]], list[str], list[OtherLog], list[PositionChange]]:
        try:
            await book.require_same()
            wrong = []
        except WrongLog as error:
            wrong = [str(error)]
        rows, outside = _rows(identity, await book.stored(), extents)
        return rows, wrong or outside, await book.others(), await book.changes(_SHOWN_CHANGES)

    rows, wrong, others, changes = _with_book(settings, look)
    if as_json:
        for row in rows:
            typer.echo(json.dumps({name: _json_value(value) for name, value in row.items() if value is not None}))
    else:
        _print(rows, zone)
        for change in changes:
            typer.echo(f"moved by hand: {visible(_told(change, zone))}")
        for other in others:
            when = "never read" if other.last_commit_at is None else f"last read {_local(other.last_commit_at, zone)}"
            typer.echo(f"another log: {visible(other.log_id)}, {when}")
    for text in wrong:
        typer.echo(f"hanhtrinh: {text}", err=True)
    if wrong:
        raise typer.Exit(1)


@position.command("set")
def set_(
    partition: Annotated[str, typer.Argument(metavar="PARTITION", help="Its number, or all.")],
    to: Annotated[
        str, typer.Argument(metavar="OFFSET|start|end", help="The offset to read next, or an end of the log.")
    ],
    why: Annotated[str, typer.Option(metavar="TEXT", help="The reason, kept with the change.")],
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who decides; without it the account's name.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Move the position of a partition. It says how many messages that skips or reads again, and asks.

    Messages that are skipped are never judged; who skipped them, when and why is kept. Reading again is harmless: what
    is stored already is counted as doubled. A running worker goes on from the new position by itself: the batch it has
    in hand cannot be committed. For a log that has taken another's place: `hanhtrinh position set all start`.

    Example: hanhtrinh position set 3 start --why "retention was too short"
    """
    settings, zone = _settings()
    who = (by if by is not None else getpass.getuser()).strip()
    for option, text in (("--why", why.strip()), ("--by", who)):
        if not text or not text.isprintable():
            raise typer.BadParameter(f"{option} {text!r}: expected a line of text")

    async def move(book: PositionBook, identity: LogIdentity, extents: Mapping[int, LogExtent]) -> list[PositionChange]:
        targets = _targets(partition, to, extents)
        stored = await book.stored()
        try:
            await book.require_same()
        except WrongLog:
            if set(targets) != set(extents):
                raise
            stored = {}
        for each, offset in targets.items():
            typer.echo(_consequence(each, stored.get(each), offset, extents[each]))
        if not yes and not typer.confirm(f"Move the position in {identity.log_id}?"):
            raise typer.Exit(1)
        return await book.move(targets, who, why.strip(), adopt=set(targets) == set(extents))

    for change in _with_book(settings, move):
        typer.echo(f"moved: {_told(change, zone)}")


def _targets(partition: str, to: str, extents: Mapping[int, LogExtent]) -> dict[int, int]:
    """The offset for each partition that is meant. typer.BadParameter for what the log does not have."""
    if partition != "all" and (not partition.isdecimal() or int(partition) not in extents):
        raise typer.BadParameter(f"PARTITION {partition!r}: expected 0 to {len(extents) - 1}, or all")
    targets = {}
    for each in sorted(extents) if partition == "all" else [int(partition)]:
        first, end = extents[each]
        if to not in ("start", "end") and not to.isdecimal():
            raise typer.BadParameter(f"OFFSET {to!r}: expected a number, start or end")
        targets[each] = {"start": first, "end": end}[to] if to in ("start", "end") else int(to)
        if not first <= targets[each] <= end:
            raise typer.BadParameter(f"OFFSET {to}: partition {each} of the log holds {first} to {end}")
    return targets


def _consequence(partition: int, stored: StoredPosition | None, to: int, extent: LogExtent) -> str:
    """What a move means, counted in messages that the log holds."""
    first, end = extent
    if stored is None:
        return f"partition {partition}: nothing is stored yet, {end - to} messages will be read, {to - first} skipped"
    at = stored.next_offset
    lost = f"; {first - at} before offset {first} are lost already" if at < first else ""
    skipped = max(0, to - max(at, first)) if at <= end else to - first
    again = max(0, min(at, end) - to) if at <= end else 0
    if skipped:
        what = f"{skipped} messages will be SKIPPED and never judged"
    elif again:
        what = f"{again} messages will be read again"
    else:
        what = "no message is skipped or read again"
    other = f" (offset {at} is beyond this log's end {end}: what is in it counts as unread)" if at > end else ""
    return f"partition {partition}: from {at} to {to}: {what}{lost}{other}"


def _rows(
    identity: LogIdentity, stored: Mapping[int, StoredPosition], extents: Mapping[int, LogExtent]
) -> tuple[list[dict[str, Any]], list[str]]:
    rows, wrong = [], []
    for partition, extent in sorted(extents.items()):
        known = stored.get(partition)
        at = 0 if known is None else known.next_offset
        why = outside_log(identity.log_id, partition, at, extent)
        if why is not None:
            wrong.append(why)
        rows.append(
            {
                "partition": partition,
                "position": None if known is None else at,
                "log_start": extent.first,
                "log_end": extent.next,
                "lag": extent.next - max(at, extent.first) if at <= extent.next else None,
                "outside": why is not None,
                "last_commit_at": None if known is None or not at else known.updated_at,
                "newest_event_at": None if known is None else known.newest_event_at,
            }
        )
    return rows, wrong


def _print(rows: list[dict[str, Any]], zone: ZoneInfo) -> None:
    columns = [Column(heading, number=True) for heading in ("partition", "position", "log start", "log end", "lag")]
    columns += [Column(heading, least=LOCAL_LEAST) for heading in ("last commit", "event time")]
    cells = []
    for row in rows:
        numbers = [row[name] for name in ("partition", "position", "log_start", "log_end", "lag")]
        times = [row[name] for name in ("last_commit_at", "newest_event_at")]
        cells.append(
            [
                *("-" if number is None else str(number) for number in numbers),
                *("-" if time is None else _local(time, zone) for time in times),
            ]
        )
    # Without it the others fit a terminal of 80 columns while all is well.
    if any(row["outside"] for row in rows):
        columns.append(Column(""))
        for row, texts in zip(rows, cells, strict=True):
            texts.append("OUTSIDE THE LOG" if row["outside"] else "")
    print_rows(columns, cells)


def _told(change: PositionChange, zone: ZoneInfo) -> str:
    old = "nothing" if change.from_offset is None else change.from_offset
    when = _local(change.changed_at, zone)
    return f"partition {change.partition} from {old} to {change.to_offset}, {when}, {change.changed_by}: {change.why}"


def _local(time: datetime, zone: ZoneInfo) -> str:
    return local(to_us(time), zone)


def _json_value(value: Any) -> Any:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def _settings() -> tuple[Settings, ZoneInfo]:
    settings = load_settings()
    configure_logging(settings.log_level)
    return settings, ZoneInfo(load_pack(settings.rule_pack, settings.rules).pack.time_zone)


def _with_book(settings: Settings, work: Work[T]) -> T:
    async def run(url: str) -> T:
        await require_schema(settings, url)
        identity, extents = await look_at_log(settings, url)
        connection = await connect(url, application_name="hanhtrinh position")
        try:
            return await work(PositionBook(connection, *identity), identity, extents)
        finally:
            await connection.close()

    with database(settings) as url:
        return asyncio.run(run(url))
