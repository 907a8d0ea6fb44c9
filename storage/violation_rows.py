"""How a violation lies in its table: the row of a judged one, and what two rows are compared by."""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from detectors.fix import from_us, to_us
from detectors.violation import Excuse, HoursFigures, SpeedingFigures, Violation

Row = dict[str, Any]

JUDGED = (
    "violation_id", "kind", "rule_pack", "rule_id", "rule_version", "grade", "status", "vehicle_id", "driver_id",
    "operator_id", "started_at", "ended_at", "duration_s", "start_lat", "start_lon", "end_lat", "end_lon", "fixes",
    "limit_kmh", "limit_source", "top_speed_kmh", "mean_speed_kmh", "excess_kmh", "fine_band", "report_band",
    "distance_m", "limit_s", "actual_s", "judged_by", "evidence", "supersedes",
)  # fmt: skip
EXCUSE = ("excused_at", "excused_by", "excused_why")
"""An officer's, not the judge's: no judgement changes them."""
COLUMNS = (*JUDGED, *EXCUSE)
# What a revision compares: who owns the vehicle and what was replaced are not part of the judgement.
_COMPARED = tuple(name for name in JUDGED if name not in ("operator_id", "supersedes"))
_BANDS = {"": 0, "5-10": 1, "10-20": 2, "20-35": 3, "over 35": 4}


def row_of(violation: Violation) -> Row:
    """All columns."""
    figures = violation.figures
    start, end = violation.start or (None, None), violation.end or (None, None)
    row: Row = dict.fromkeys(COLUMNS)
    row.update(
        violation_id=violation.violation_id,
        kind=violation.kind,
        rule_pack=violation.rule.pack,
        rule_id=violation.rule.rule_id,
        rule_version=violation.rule.version,
        grade=violation.grade,
        status=violation.status,
        vehicle_id=violation.vehicle_id,
        driver_id=violation.driver_id,
        operator_id=violation.operator_id,
        started_at=from_us(violation.started_us),
        ended_at=from_us(violation.ended_us),
        duration_s=violation.duration_s,
        start_lat=start[0],
        start_lon=start[1],
        end_lat=end[0],
        end_lon=end[1],
        fixes=violation.fixes,
        judged_by=dict(violation.judged_by),
        evidence=dict(violation.evidence),
        supersedes=list(violation.supersedes),
    )
    if violation.excused is not None:
        row.update(zip(EXCUSE, excuse_values(violation.excused), strict=True))
    names = SpeedingFigures.__slots__ if isinstance(figures, SpeedingFigures) else HoursFigures.__slots__
    row.update({name: getattr(figures, name) for name in names})
    return row


def excuse_of(row: Row) -> Excuse | None:
    """The excuse in a row."""
    if row["excused_at"] is None:
        return None
    return Excuse(to_us(row["excused_at"]), row["excused_by"], row["excused_why"])


def excuse_values(excuse: Excuse | None) -> tuple[Any, ...]:
    """In the order of the columns."""
    return (None, None, None) if excuse is None else (from_us(excuse.at_us), excuse.by, excuse.why)


def differs(old: Row, new: Row) -> bool:
    """Whether the judgement has changed."""
    return any(old[name] != new[name] for name in _COMPARED) or not set(new["supersedes"]) <= set(old["supersedes"])


def overlap(row: Row, violation: Violation) -> bool:
    """Whether a row tells of the same deed under another id."""
    if row["kind"] != violation.kind or row["violation_id"] == violation.violation_id:
        return False
    if row["vehicle_id"] != violation.vehicle_id and row["driver_id"] != violation.driver_id:
        return False
    return bool(row["started_at"] <= from_us(violation.ended_us) and row["ended_at"] >= from_us(violation.started_us))


def is_graver(violation: Violation, row: Row) -> bool:
    """A higher band or a firmer grade than the one people were told of."""
    if violation.grade == "confirmed" and row["grade"] == "review":
        return True
    if isinstance(violation.figures, SpeedingFigures):
        return _BANDS.get(violation.figures.report_band, 0) > _BANDS.get(row["report_band"] or "", 0)
    return False


def adapted(value: Any) -> Any:
    """For a parameter of a query."""
    return Jsonb(value) if isinstance(value, dict) else value


def plain(row: Row) -> dict[str, Any]:
    """With times as text."""
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}


def history(row: Row | None) -> Jsonb | None:
    """As a revision keeps it."""
    return None if row is None else Jsonb(plain(row))
