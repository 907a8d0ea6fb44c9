"""`hanhtrinh import`."""

from __future__ import annotations

import asyncio
import getpass
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hanhtrinh.database import database, require_schema
from hanhtrinh.log_setup import configure_logging
from hanhtrinh.rule_packs import load_pack
from hanhtrinh.settings import Settings, load_settings
from storage.connect import Connection, connect
from storage.csv_rows import ImportReport
from storage.overrides import holds_overrides, import_overrides
from storage.registry import import_file, table_of

_ORDER = ("operators", "vehicles", "drivers", "overrides")


def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV files, in any order.")],
    by: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Who imports, kept with overrides; your login name if not given."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, one file per line.")] = False,
) -> None:
    """Import operators, vehicles, drivers and overrides from CSV; each file is recognised by its columns.

    Bad rows are listed with line, column and reason, and left out; the exit code is 1 then. What is there already
    is updated in the columns that the file has. Columns: operator_id, name, tax_code, province / vehicle_id,
    operator_id, kind, speed_class, limit_kmh, seats, payload_t / driver_id, operator_id, name, rule_pack /
    scope, id, number, value, valid_from, valid_to, basis: an office's own numbers, checked against its rule pack.

    Example: hanhtrinh import operators.csv vehicles.csv drivers.csv
    """
    settings = load_settings()
    configure_logging(settings.log_level)
    # Operators first: the others name them.
    ordered = sorted(files, key=lambda path: _ORDER.index(_table_of(path)))
    with database(settings) as url:
        reports = asyncio.run(_import_all(settings, url, ordered, by))
    for path, report in zip(ordered, reports, strict=True):
        _show_json(path, report) if as_json else _show(path, report)
    if any(report.bad_rows for report in reports):
        raise typer.Exit(1)


async def _import_all(settings: Settings, url: str, files: Sequence[Path], by: str | None) -> list[ImportReport]:
    await require_schema(settings, url)
    connection = await connect(url, application_name="hanhtrinh import")
    try:
        return [await _import(connection, path, settings, by) for path in files]
    finally:
        await connection.close()


async def _import(connection: Connection, path: Path, settings: Settings, by: str | None) -> ImportReport:
    if not holds_overrides(path):
        return await import_file(connection, path)
    pack = load_pack(settings.rule_pack, settings.rules).pack
    return await import_overrides(connection, path, pack, _name(by))


def _table_of(path: Path) -> str:
    return "overrides" if holds_overrides(path) else table_of(path)


def _name(by: str | None) -> str:
    if by is None:
        try:
            by = getpass.getuser()
        except (KeyError, OSError):
            raise typer.BadParameter("--by is missing: expected who imports, for this login has no name") from None
    if not by.strip() or not by.isprintable():
        raise typer.BadParameter(f"--by {by!r}: expected a line of text")
    return by.strip()


def _show(path: Path, report: ImportReport) -> None:
    typer.echo(f"{path}: {report.accepted} {report.table} imported, {len(report.bad_rows)} bad rows left out")
    for row in report.bad_rows:
        typer.echo(f"{path}:{row.line}: {row.column}: {row.why}")


def _show_json(path: Path, report: ImportReport) -> None:
    bad_rows = [row._asdict() for row in report.bad_rows]
    body = {"file": str(path), "table": report.table, "accepted": report.accepted, "bad_rows": bad_rows}
    typer.echo(json.dumps(body, ensure_ascii=False))
