"""`hanhtrinh excuse`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from hanhtrinh.database import database, require_schema
from hanhtrinh.log_setup import configure_logging
from hanhtrinh.settings import Settings, load_settings
from storage.connect import connect
from storage.excuses import Excused, ExcuseStore


def excuse(
    violation_id: Annotated[str, typer.Argument(metavar="VIOLATION_ID", help="As an alert or the table shows it.")],
    why: Annotated[str, typer.Option(metavar="TEXT", help="The reason: force majeure, a verified jam, ...")],
    by: Annotated[str, typer.Option(metavar="NAME", help="The officer who decides.")],
    undo: Annotated[bool, typer.Option("--undo", help="Withdraw the excuse; WHY says why.")] = False,
) -> None:
    """Excuse a violation. It stands with its reason, nothing is deleted, and each step is a revision.

    Late data that changes an excused violation leaves the excuse and says so in its revision.

    Example: hanhtrinh excuse 5c8c97fc49b37a5dfef34f9f --why "landslide on QL6, police report 118" --by "Nguyen Van An"
    """
    why, by = why.strip(), by.strip()
    for option, text in (("VIOLATION_ID", violation_id), ("--why", why), ("--by", by)):
        if not text or not text.isprintable():
            raise typer.BadParameter(f"{option} {text!r}: expected a line of text")
    settings = load_settings()
    configure_logging(settings.log_level)
    with database(settings) as url:
        done = asyncio.run(_excuse(settings, url, violation_id, by, why, undo=undo))
    whose = ", ".join(filter(None, (done.kind, done.vehicle_id, done.driver_id)))
    typer.echo(f"violation {done.violation_id} ({whose}): {'excuse withdrawn' if undo else 'excused'} by {by}")


async def _excuse(settings: Settings, url: str, violation_id: str, by: str, why: str, *, undo: bool) -> Excused:
    await require_schema(settings, url)
    connection = await connect(url, application_name="hanhtrinh excuse")
    try:
        store = ExcuseStore(connection)
        return await (store.withdraw if undo else store.excuse)(violation_id, by, why)
    finally:
        await connection.close()
