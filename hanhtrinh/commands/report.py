"""`hanhtrinh report`."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hanhtrinh.database import database, require_schema
from hanhtrinh.documents import WRITERS, write_report
from hanhtrinh.rule_packs import load_pack
from hanhtrinh.settings import Settings, load_settings
from storage.connect import connect
from storage.reports.asked import checked
from storage.reports.catalogue import KINDS
from storage.reports.scope import ZONE, ReportError, Scope
from storage.reports.table import Report


def report(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of {', '.join(KINDS)}.")],
    month: Annotated[str, typer.Option(metavar="YYYY-MM", help="The month, Vietnamese time.")],
    out: Annotated[Path, typer.Option("--out", "-o", dir_okay=False, help="The file: .xlsx, .pdf or .csv.")],
    operator: Annotated[str | None, typer.Option(metavar="ID", help="Only vehicles of this operator.")] = None,
    province: Annotated[str | None, typer.Option(help="Only vehicles of this province's operators.")] = None,
    vehicle: Annotated[str | None, typer.Option(metavar="ID", help="Only this vehicle.")] = None,
    confirmed_only: Annotated[
        bool, typer.Option("--confirmed-only", help="Leave out violations that are to be reviewed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write a report of a month: the annexes of Circular 09/2015 (PL05, PL08, PL14, PL16, PL17, PL19), the reports of
    QCVN 31:2014 (journey, speed, overspeed, continuous, stops, vehicles, drivers), badge list, national summary.

    Example: hanhtrinh report PL05 --month 2026-10 --operator OP-HN -o PL05.xlsx
    """
    if name not in KINDS:
        raise ReportError(f"no report {name!r}: there are {', '.join(KINDS)}")
    if out.suffix.lower() not in WRITERS:
        raise ReportError(f"--out {out}: expected a file that ends in {', '.join(WRITERS)}")
    if KINDS[name].needs_vehicle and vehicle is None:
        raise ReportError(f"report {name} is about one vehicle: name it with --vehicle")
    scope = Scope.of_month(
        month, operator_id=operator, province=_composed(province), vehicle_id=vehicle, confirmed_only=confirmed_only,
        as_of=datetime.now(ZONE),
    )  # fmt: skip
    settings = load_settings()
    console = Console(stderr=True)
    with database(settings) as url, console.status(f"{name} {month}"):
        made = asyncio.run(_made(settings, url, name, scope))
        write_report(made, out)
    rows = len(made.frame)
    if as_json:
        typer.echo(json.dumps({"report": name, "month": month, "rows": rows, "file": str(out)}))
    else:
        typer.echo(f"{name} {month}: {rows} rows in {out}")


def _composed(text: str | None) -> str | None:
    """As the registry has it: some keyboards and file names give letters and their marks one by one."""
    return None if text is None else unicodedata.normalize("NFC", text)


async def _made(settings: Settings, url: str, name: str, scope: Scope) -> Report:
    numbers = load_pack(settings.rule_pack, settings.rules).pack.reports
    if numbers is None:
        raise ReportError(f"rule pack {settings.rule_pack} has no [reports]: take the pack vn, or add them")
    await require_schema(settings, url)
    connection = await connect(url, application_name="hanhtrinh report")
    try:
        return await KINDS[name].make(connection, await checked(connection, scope), numbers)
    finally:
        await connection.close()
