"""`hanhtrinh migrate`."""

from __future__ import annotations

import asyncio

import typer

from hanhtrinh.database import database
from hanhtrinh.log_setup import configure_logging
from hanhtrinh.settings import load_settings
from storage.migrate import migrate as apply_migrations


def migrate() -> None:
    """Bring the database to the schema of this version; safe to repeat, and safe to run twice at once.

    The database is HANHTRINH_DATABASE_URL, or the embedded one. Where the server has the role
    HANHTRINH_DASHBOARDS_ROLE, it may read the views of the dashboards afterwards.

    Example: hanhtrinh migrate
    """
    settings = load_settings()
    configure_logging(settings.log_level)
    with database(settings) as url:
        applied = asyncio.run(apply_migrations(url, dashboards_role=settings.dashboards_role))
    for name in applied:
        typer.echo(f"applied {name}")
    if not applied:
        typer.echo("up to date")
