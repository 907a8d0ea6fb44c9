"""`hanhtrinh import`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hanhtrinh.database import database, require_schema
from hanhtrinh.log_setup import configure_logging
from hanhtrinh.settings import Settings, load_settings
from storage.connect import connect
from storage.registry import ImportReport, import_file, table_of

_ORDER = ("operators", "vehicles", "drivers")


def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV files, in any order.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, one file per line.")] = False,
) -> None:
    """Import operators, vehicles and drivers from CSV; each file is recognised by its columns.

    Bad rows are listed with line, column and reason, and left out; the exit code is 1 then. What is there already
    is updated in the columns that the file has. Columns: operator_id, name, tax_code, province / vehicle_id,
    operator_id, kind, speed_class, limit_kmh, seats, payload_t / driver_id, operator_id, name, rule_pack.

    Example: hanhtrinh import operators.csv vehicles.csv drivers.csv
    """
    settings = load_settings()
    configure_logging(settings.log_level)
    # Operators first: the others name them.
    ordered = sorted(files, key=lambda path: _ORDER.index(table_of(path)))
    with database(settings) as url:
        reports = asyncio.run(_import_all(settings, url, ordered))
    for path, report in zip(ordered, reports, strict=True):
        _show_json(path, report) if as_json else _show(path, report)
    if any(report.bad_rows for report in reports):
        raise typer.Exit(1)


async def _import_all(settings: Settings, url: str, files: Sequence[Path]) -> list[ImportReport]:
    await require_schema(settings, url)
    connection = await connect(url, application_name="hanhtrinh import")
    try:
        return [await import_file(connection, path) for path in files]
    finally:
        await connection.close()


def _show(path: Path, report: ImportReport) -> None:
    typer.echo(f"{path}: {report.accepted} {report.table} imported, {len(report.bad_rows)} bad rows left out")
    for row in report.bad_rows:
        typer.echo(f"{path}:{row.line}: {row.column}: {row.why}")


def _show_json(path: Path, report: ImportReport) -> None:
    bad_rows = [row._asdict() for row in report.bad_rows]
    body = {"file": str(path), "table": report.table, "accepted": report.accepted, "bad_rows": bad_rows}
    typer.echo(json.dumps(body, ensure_ascii=False))
