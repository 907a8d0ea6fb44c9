"""Figures of panels are those of the raw rows and of the reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dashboards.catalogue import FOLDER
from tests.fleet_until_now import EXCUSED, QUOTED, SPEEDING_NOW
from tests.grafana import ALL, queries
from tests.grafana_reader import Reader, Result, at_work

__all__ = ["at_work"]


def shown(reader: Reader, dashboard: str, title: str, **chosen: Sequence[str]) -> Result:
    """What the panel of this English title asks for."""
    [query] = [
        each
        for each in queries(FOLDER)
        if (each.language, each.dashboard, each.panel["title"]) == ("en", dashboard, title)
    ]
    return reader.run(query, **chosen)


def number(reader: Reader, dashboard: str, title: str, **chosen: Sequence[str]) -> Any:
    [[value]] = shown(reader, dashboard, title, **chosen).rows
    return value


def test_the_control_room_tells_what_happens_now(at_work: Reader) -> None:
    states = dict(at_work.ask("SELECT state, count(*) FROM panels.positions GROUP BY 1").rows)
    assert states["silent"] >= 1
    assert states["driving"] > 1
    assert states["over_limit"] >= 1
    assert number(at_work, "control-room", "Vehicles on the road") == states["driving"] + states["over_limit"]
    assert number(at_work, "control-room", "Vehicles over the limit") == states["over_limit"]
    assert number(at_work, "control-room", "Vehicles that stand") == states["stopped"]
    assert number(at_work, "control-room", "Silent vehicles") == states["silent"]
    positions = shown(at_work, "control-room", "Last positions")
    assert len(positions.rows) == sum(states.values())
    assert dict(zip(positions.of("vehicle_id"), positions.of("state"), strict=True))[SPEEDING_NOW] == "over_limit"
    going_on = shown(at_work, "control-room", "List of violations going on")
    assert number(at_work, "control-room", "Violations going on") == len(going_on.rows) >= 2
    assert (SPEEDING_NOW, "speeding") in zip(going_on.of("vehicle_id"), going_on.of("kind"), strict=True)
    silent = shown(at_work, "control-room", "List of silent vehicles")
    assert set(silent.of("vehicle_id")) == {
        vehicle
        for vehicle, kind in zip(going_on.of("vehicle_id"), going_on.of("kind"), strict=True)
        if kind == "silence"
    }
    assert all(2_400 < age_s < 3_600 for age_s in silent.of("silent_s"))
    alerts = shown(at_work, "control-room", "List of alerts of the last hour")
    assert number(at_work, "control-room", "Alerts of the last hour") == len(alerts.rows) > 10


def test_a_quote_in_a_name_is_just_a_letter(at_work: Reader) -> None:
    theirs = shown(at_work, "violations", "List of violations", operator=[QUOTED])
    assert set(theirs.of("vehicle_id")) == {SPEEDING_NOW}, "and the excused one does not count"
    assert EXCUSED not in shown(at_work, "violations", "List of violations").of("vehicle_id")
    both = shown(at_work, "violations", "List of violations", operator=[QUOTED, "nobody"])
    assert both.rows == theirs.rows
    assert len(shown(at_work, "violations", "List of violations", operator=[ALL]).rows) > len(theirs.rows)
