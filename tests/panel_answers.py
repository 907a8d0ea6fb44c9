"""What panels answer on the database of a test."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dashboards.catalogue import FOLDER
from tests.grafana import View, queries
from tests.running_worker import WorkerRig


async def shown(
    rig: WorkerRig, dashboard: str, title: str, begin: datetime, end: datetime, **chosen: str
) -> list[dict[str, Any]]:
    """The rows of the panel of this English title, by column, in the chosen time."""
    [query] = [
        each
        for each in queries(FOLDER)
        if (each.language, each.dashboard, each.panel["title"]) == ("en", dashboard, title)
    ]
    timescaledb = await rig.one("SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'") == 1
    view = View(begin, end, {name: [value] for name, value in chosen.items()}, timescaledb)
    cursor = await rig.connection.execute(view.expand(query.sql, query.variables).encode())
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]
