"""Timelines told in a few letters, as the CSV that `hanhtrinh hours` reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from detectors.hours import HoursJudgement
from detectors.rules.driving_time import HoursKind
from hanhtrinh.commands.hours import judge_timelines
from hanhtrinh.rule_packs import load_hours
from hanhtrinh.timelines import read_timelines

LETTERS = {"D": "driving", "B": "rest", "W": "work", "A": "available", "S": "sleeper", "U": "unknown", "T": "stopped"}
MONDAY_UTC = datetime(2025, 3, 3, tzinfo=UTC)
HEADER = "driver_id,start,end,activity,vehicle_id,vehicle_kind"


def parts(told: str) -> Iterator[tuple[str, timedelta, str]]:
    """The activity, duration and vehicle of "D270 B45": minutes, or h:mm:ss; "D2:30:00@CAR1"; "-5" is away."""
    for word in told.split():
        found = re.fullmatch(r"([A-Z-])(?:(\d+):(\d\d):(\d\d)|(\d+))(?:@(\w+))?", word)
        assert found, word
        letter, hours, minutes, seconds, whole_minutes, vehicle = found.groups()
        lasted = timedelta(hours=int(hours or 0), minutes=int(whole_minutes or minutes), seconds=int(seconds or 0))
        yield ("" if letter == "-" else LETTERS[letter]), lasted, vehicle or "CAR1"


def rows(told: str, start: datetime = MONDAY_UTC, driver_id: str = "D1", kind: str = "") -> list[str]:
    """The same as rows of CSV."""
    result = []
    for activity, lasted, vehicle in parts(told):
        if activity:
            result.append(f"{driver_id},{start.isoformat()},{(start + lasted).isoformat()},{activity},{vehicle},{kind}")
        start += lasted
    return result


def judged(path: Path, lines: Iterable[str], rules: str, *, minutes: bool = False) -> HoursJudgement:
    """What the command judges of a file with these rows of one driver."""
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    (judgement,) = judge_timelines(read_timelines(path), load_hours(rules).rules, minutes=minutes).values()
    return judgement


def minutes_driven(judgement: HoursJudgement, kind: HoursKind) -> float:
    """Minutes on the clock of a limit at the end."""
    return judgement.clocks[kind].driven_us / 60e6
