"""See the package: fills a database with a simulated week, asks what each dashboard asks, and draws the answers."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dashboards.catalogue import FOLDER
from tests.dashboard_images.drawing import Panel, draw
from tests.dashboard_images.look import ZONE
from tests.fleet_until_now import drive, fleet
from tests.grafana import Json, Query, View, dashboards, is_sql, panels, variables_of
from tests.grafana_reader import Reader, reader_of, rig_of
from tests.services.postgres import Postgres

TARGET = Path(__file__).parents[2] / "docs" / "images" / "dashboards"
_SOMEBODY = (
    "SELECT vehicle_id, driver_id FROM violations WHERE kind = 'speeding' AND driver_id IS NOT NULL AND started_at >"
    " now() - INTERVAL '8 hours' GROUP BY 1, 2 ORDER BY count(*) DESC, 1 LIMIT 1"
)


def main() -> None:
    wanted = set(sys.argv[1:])
    with server() as postgres:
        for reader in reader_of(postgres, a_week):
            for path, dashboard in dashboards(FOLDER):
                name = f"{path.stem}-{path.parent.name}"
                asks_us = any(is_sql(target) for panel in panels(dashboard) for target in panel["targets"])
                if asks_us and (not wanted or name in wanted):
                    draw(str(dashboard["title"]), answers(reader, path, dashboard), TARGET / f"{name}.png")
                    print(TARGET / f"{name}.png")


@contextmanager
def server() -> Iterator[Postgres]:
    """A database server of our own, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="hanhtrinh-") as home:
        Path(home).chmod(0o755)
        postgres = Postgres(Path(home) / "postgres")
        postgres.start()
        try:
            yield postgres
        finally:
            postgres.stop()


async def a_week(url: str) -> View:
    """Thirty vehicles until now; the one with most violations of today is chosen."""
    async with rig_of(url) as rig:
        now = await drive(rig, fleet(vehicles=30, hours=6 * 24))
        [[vehicle, driver]] = await rig.rows(_SOMEBODY)
    return View(now - timedelta(days=1), now, {"vehicle": [vehicle], "driver": [driver]})


def answers(reader: Reader, path: Path, dashboard: Json) -> list[Panel]:
    """What each panel's first query gives over the time range with which the dashboard opens."""
    begin, end = (moment(dashboard["time"][which], end=which == "to") for which in ("from", "to"))
    reader.view = replace(reader.view, begin=begin, end=end)
    drawn = []
    for panel in panels(dashboard):
        target = panel["targets"][0]
        query = Query(path.stem, path.parent.name, panel, target, variables_of(dashboard))
        drawn.append(Panel(panel, reader.run(query) if is_sql(target) else None))
    return drawn


def moment(text: str, *, end: bool) -> datetime:
    """Grafana's "now-7d" or "now/d": the beginning, or the end, of the local day."""
    found = re.fullmatch(r"now(?:-(\d+)([mhd]))?(/d)?", text)
    assert found is not None, text
    seconds = int(found[1] or 0) * {"m": 60, "h": 3600, "d": 86400, None: 0}[found[2]]
    at = datetime.now(UTC) - timedelta(seconds=seconds)
    if found[3]:
        midnight = at.astimezone(ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight + timedelta(days=1, milliseconds=-1) if end else midnight
    return at


if __name__ == "__main__":
    main()
