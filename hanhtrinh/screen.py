"""How violations and times look to a person: local times with their zone, numbers with their units."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from detectors.fix import from_us
from detectors.rules.driving_time import HoursKind
from detectors.violation import SpeedingFigures, Violation
from hanhtrinh.listing import READABLE, Column, print_rows

LOCAL_LEAST = len("08:00:40 +07")
"""A time may stand in two lines: its date, and its clock with the offset."""

KIND_NAMES = {
    "speeding": "speeding",
    HoursKind.CONTINUOUS: "continuous driving",
    HoursKind.SHORT_REST: "rest too short",
    HoursKind.DAILY: "driving in a day",
    HoursKind.WEEKLY: "driving in a week",
    HoursKind.FORTNIGHT: "driving in two weeks",
    HoursKind.EXTENSION: "one long day too many",
    "silence": "silence",
}


def local(time_us: int, zone: ZoneInfo) -> str:
    """A time where the rules hold, to the second, with the offset from UTC."""
    stamp = from_us(time_us).astimezone(zone)
    return f"{stamp:%Y-%m-%d %H:%M:%S} {stamp:%z}"[:-2]


def span(seconds: float) -> str:
    """A duration as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def figures(violation: Violation) -> str:
    """What was done against what was allowed."""
    what = violation.figures
    if isinstance(what, SpeedingFigures):
        return f"{what.top_speed_kmh:.1f} km/h, limit {what.limit_kmh:g} ({what.limit_source}), +{what.excess_kmh:.1f}"
    if violation.kind == HoursKind.SHORT_REST:
        return f"{span(what.actual_s)} h of rest, required {span(what.limit_s)} h"
    if violation.kind == "silence":
        return f"nothing for {span(what.actual_s)} h, allowed {span(what.limit_s)} h"
    return f"{span(what.actual_s)} h driven, limit {span(what.limit_s)} h"


def print_violations(violations: Sequence[Violation], zone: ZoneInfo) -> None:
    """One row per violation."""
    columns = (
        Column("vehicle"),
        Column("driver"),
        Column("violation"),
        Column("began", least=LOCAL_LEAST),
        Column("ended", least=LOCAL_LEAST),
        Column("lasted"),
        Column("figures", least=READABLE),
        Column("grade"),
    )
    rows = [
        (
            each.vehicle_id or "",
            each.driver_id or "not named",
            KIND_NAMES.get(each.kind, each.kind),
            local(each.started_us, zone),
            "still open" if each.status == "open" else local(each.ended_us, zone),
            span(each.duration_s),
            figures(each),
            each.grade,
        )
        for each in violations
    ]
    print_rows(columns, rows)
