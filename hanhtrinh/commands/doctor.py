"""`hanhtrinh doctor`."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Annotated

import typer

from hanhtrinh.database import database
from hanhtrinh.doctor import check_data_dir, diagnose
from hanhtrinh.doctor_findings import Finding
from hanhtrinh.settings import Settings, load_settings
from storage.connect import DatabaseError


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per check.")] = False,
) -> None:
    """Check every connection, version, topic, privilege and clock: a line each, with the remedy where one is needed.

    Nothing is changed; the embedded database is started where that is the one. The exit code is 1 when a check fails.

    Example: hanhtrinh doctor
    """
    settings = load_settings()
    # The findings say it in one line; what the libraries log about the same failure would only hide that.
    logging.disable(logging.CRITICAL)
    findings = _examine(settings)
    for finding in findings:
        _show_json(finding) if as_json else _show(finding)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _examine(settings: Settings) -> list[Finding]:
    folder = check_data_dir(settings)
    try:
        with database(settings) as url:
            return [folder, *asyncio.run(diagnose(settings, url))]
    except DatabaseError as error:
        return [folder, Finding("database", str(error), "mend that, or set HANHTRINH_DATABASE_URL to another server")]


def _show(finding: Finding) -> None:
    mark = typer.style("ok  ", fg="green") if finding.ok else typer.style("FAIL", fg="red", bold=True)
    remedy = "" if finding.ok else f"; remedy: {finding.remedy}"
    typer.echo(f"{mark} {finding.check:<11}{finding.detail}{remedy}")


def _show_json(finding: Finding) -> None:
    typer.echo(json.dumps({**finding._asdict(), "ok": finding.ok}, ensure_ascii=False))
