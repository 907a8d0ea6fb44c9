"""All dashboards, and the files they are written to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import control_room, driver, pipeline, vehicle, violations
from dashboards.frame import Board
from dashboards.words import LANGUAGES, Language

DASHBOARDS: tuple[Callable[[Language], Board], ...] = (
    control_room.dashboard,
    violations.dashboard,
    vehicle.dashboard,
    driver.dashboard,
    pipeline.dashboard,
)

FOLDER = Path(__file__).parent / "json"


def documents() -> Iterator[tuple[Path, str]]:
    """Every file below `FOLDER` and its text: <language>/<name>.json."""
    for language in LANGUAGES:
        for dashboard in DASHBOARDS:
            board = dashboard(language)
            text = json.dumps(board.build(), cls=JSONEncoder, ensure_ascii=False, indent=2)
            yield Path(language) / f"{board.name}.json", text + "\n"
