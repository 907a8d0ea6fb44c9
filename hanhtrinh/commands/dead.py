"""`hanhtrinh dead`."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.progress import Progress

from detectors.fix import to_us
from hanhtrinh.database import database, require_schema
from hanhtrinh.dead_letters import Retried, Retry
from hanhtrinh.listing import READABLE, Column, print_rows, visible
from hanhtrinh.log_setup import configure_logging
from hanhtrinh.raw_log import log_writer
from hanhtrinh.rule_packs import load_pack
from hanhtrinh.screen import LOCAL_LEAST, local
from hanhtrinh.settings import Settings, load_settings
from ingest.formats.reasons import REASONS
from storage.connect import Connection, connect
from storage.letter_book import LetterBook, LetterFilter, StoredLetter

T = TypeVar("T")

_ID_CHARS = 12
_UNITS_S = {"m": 60, "h": 3_600, "d": 86_400}
_OUTCOMES = {"sending": "perhaps sent", "sent": "sent back", "unusable": "still unusable"}
_COLUMNS = (
    Column("id"),
    Column("received", least=LOCAL_LEAST),
    Column("topic"),
    Column("reason"),
    Column("detail", least=READABLE),
    Column("retried", least=READABLE),
)

dead = typer.Typer(no_args_is_help=True, add_completion=False)

Reason = Annotated[str | None, typer.Option(metavar="CODE", help="Only letters with this reason, such as bad_json.")]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Only those received since: 30m, 12h, 7d, a day 2026-03-04, or an RFC 3339 time."
    ),
]
Vehicle = Annotated[str | None, typer.Option(metavar="ID", help="Only messages of this vehicle's topics.")]
Topic = Annotated[str | None, typer.Option(metavar="TOPIC", help="Only this MQTT topic; * stands for any characters.")]


@dead.callback()
def _dead() -> None:
    """Dead letters: messages, or parts of them, that could not be used; kept with their bytes and the reason.

    Example: hanhtrinh dead list --reason bad_value --since 7d
    """


@dead.command("list")
def list_(
    reason: Reason = None,
    since: Since = None,
    vehicle: Vehicle = None,
    topic: Topic = None,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many, the last received ones first.")] = 50,
    every: Annotated[bool, typer.Option("--all", help="Also those that the log has again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per letter.")] = False,
) -> None:
    """List dead letters that are not sent back yet, the last received first.

    Example: hanhtrinh dead list --vehicle 29B-12345 --since 2026-03-04
    """
    settings, zone = _settings()
    chosen = _filter(reason, since, vehicle, topic, zone, sent=every)

    async def find(book: LetterBook, _url: str) -> tuple[list[StoredLetter], int]:
        return await book.newest(chosen, limit), await book.count(chosen)

    letters, there = _with_book(settings, find)
    if as_json:
        for letter in letters:
            typer.echo(json.dumps(_document(letter), ensure_ascii=False))
        return
    if letters:
        print_rows(_COLUMNS, [_row(letter, zone) for letter in letters])
    shown = "" if there == len(letters) else f", the last {len(letters)} shown"
    typer.echo(f"{there:,} dead letters{shown}")


@dead.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="As `hanhtrinh dead list` shows it.")],
    as_hex: Annotated[bool, typer.Option("--hex", help="The payload as hexadecimal, although it is text.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show all of one dead letter: where it came from, why it could not be used, and its bytes.

    Example: hanhtrinh dead show 4f1c9a33d2e0
    """
    settings, zone = _settings()
    letter = _with_book(settings, lambda book, _url: book.get(letter_id))
    if as_json:
        typer.echo(json.dumps(_document(letter), ensure_ascii=False))
        return
    facts = {
        "id": letter.dead_letter_id,
        "topic": letter.topic,
        "received": local(to_us(letter.received_at), zone),
        "log": f"{letter.log_id}, partition {letter.partition}, offset {letter.log_offset}",
        "reason": f"{letter.reason}: {REASONS.get(letter.reason, 'unknown to this version')}",
        "detail": letter.detail,
        "retried": _retried(letter, zone),
        "payload": f"{len(letter.payload)} bytes",
    }
    for name, value in facts.items():
        typer.echo(f"{name + ':':<10}{visible(value)}")
    text = None if as_hex else _text(letter.payload)
    typer.echo(_hex_lines(letter.payload) if text is None else text)


@dead.command()
def retry(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Letters by id; without any: by filter.")
    ] = None,
    reason: Reason = None,
    since: Since = None,
    vehicle: Vehicle = None,
    topic: Topic = None,
    every: Annotated[bool, typer.Option("--all", help="Every letter that is not sent back yet.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Try dead letters again with the decoders of this version: after a decoder was mended, or a vehicle was renamed.

    What can be used goes back into the log as it came, with its first time of receipt, and is judged as late; fixes
    that are stored already change nothing. What cannot stays, with this attempt noted; the exit code is 1 then.

    Example: hanhtrinh dead retry --reason bad_value --since 7d
    """
    settings, zone = _settings()
    filtered = any(option is not None for option in (reason, since, vehicle, topic))
    if bool(ids) + (filtered or every) != 1:
        raise typer.BadParameter("expected ids, or filters such as --reason, or --all for every letter")
    chosen = _filter(reason, since, vehicle, topic, zone, sent=False)

    async def send(book: LetterBook, url: str) -> Retried:
        writer = log_writer(settings, url)
        await writer.open()
        console = Console(stderr=True)
        try:
            with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
                letters = [await book.get(letter_id) for letter_id in ids or ()]
                bar = progress.add_task("dead letters", total=len(letters) or await book.count(chosen))
                again = Retry(book, writer, lambda n: progress.advance(bar, n))
                return await (again.these(letters) if letters else again.all(chosen))
        finally:
            await writer.close()

    done = _with_book(settings, send)
    if as_json:
        typer.echo(json.dumps({"sent": done.sent, "unusable": done.unusable}))
    else:
        typer.echo(f"{done.sent} sent back into the log, {done.unusable} unusable still")
    if done.unusable:
        raise typer.Exit(1)


def parse_since(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    """A time given as an age (30m, 12h, 7d), a local day, or RFC 3339. typer.BadParameter for anything else."""
    age = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if age:
        return now - timedelta(seconds=int(age[1]) * _UNITS_S[age[2]])
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        given = None
    if given is None or (given.tzinfo is None and len(text) != len("2026-03-04")):
        raise typer.BadParameter(f"--since {text!r}: expected 30m, 12h, 7d, a day 2026-03-04 or 2026-03-04T08:00:00Z")
    return given if given.tzinfo else given.replace(tzinfo=zone)


def _settings() -> tuple[Settings, ZoneInfo]:
    settings = load_settings()
    configure_logging(settings.log_level)
    return settings, ZoneInfo(load_pack(settings.rule_pack, settings.rules).pack.time_zone)


def _filter(
    reason: str | None, since: str | None, vehicle: str | None, topic: str | None, zone: ZoneInfo, *, sent: bool
) -> LetterFilter:
    if reason is not None and reason not in REASONS:
        raise typer.BadParameter(f"--reason {reason!r}: expected one of {', '.join(REASONS)}")
    if vehicle is not None and topic is not None:
        raise typer.BadParameter("expected --vehicle or --topic, not both")
    topics = [topic] if topic is not None else None
    if vehicle is not None:
        topics = [f"{family}/{vehicle.replace('*', '')}" for family in ("hanhtrinh", "owntracks")]
    return LetterFilter(reason, None if since is None else parse_since(since, zone, datetime.now(UTC)), topics, sent)


def _with_book(settings: Settings, work: Callable[[LetterBook, str], Awaitable[T]]) -> T:
    async def run(url: str) -> T:
        await require_schema(settings, url)
        connection: Connection = await connect(url, application_name="hanhtrinh dead")
        try:
            return await work(LetterBook(connection), url)
        finally:
            await connection.close()

    with database(settings) as url:
        return asyncio.run(run(url))


def _row(letter: StoredLetter, zone: ZoneInfo) -> tuple[str, ...]:
    return (
        letter.dead_letter_id[:_ID_CHARS],
        local(to_us(letter.received_at), zone),
        letter.topic,
        letter.reason,
        letter.detail,
        _retried(letter, zone),
    )


def _retried(letter: StoredLetter, zone: ZoneInfo) -> str:
    if letter.retried_at is None or letter.retry_outcome is None:
        return "never"
    times = "" if letter.retries == 1 else f", {letter.retries} times"
    why = f" ({letter.retry_detail})" if letter.retry_detail and letter.retry_detail != letter.detail else ""
    return f"{local(to_us(letter.retried_at), zone)}{times}: {_OUTCOMES[letter.retry_outcome]}{why}"


def _document(letter: StoredLetter) -> dict[str, Any]:
    """All of a letter for a machine: times in UTC, the payload as text or, where it is none, as hexadecimal."""
    document = {name: value for name, value in letter._asdict().items() if value is not None and name != "payload"}
    for name in ("received_at", "created_at", "retried_at"):
        if name in document:
            document[name] = document[name].astimezone(UTC).isoformat().replace("+00:00", "Z")
    text = _text(letter.payload)
    return document | ({"payload_hex": letter.payload.hex()} if text is None else {"payload": text})


def _text(payload: bytes) -> str | None:
    """The payload as text; None when it is not, or would play tricks with a terminal."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return None
    return text if all(char.isprintable() or char in "\n\t" for char in text) else None


def _hex_lines(payload: bytes) -> str:
    return "\n".join(
        f"{start:08x}  {payload[start : start + 16].hex(' '):<47}  "
        + "".join(chr(byte) if 32 <= byte < 127 else "." for byte in payload[start : start + 16])
        for start in range(0, len(payload), 16)
    )
