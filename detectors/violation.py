"""The violation: what speeding and driving time both end in, and how it looks on the wire."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from detectors.fix import from_us
from detectors.rules import Band

Grade = Literal["confirmed", "review"]
Status = Literal["open", "closed", "withdrawn"]

_OF_VEHICLES = ("speeding", "silence")
"""Kinds whose subject is the vehicle, whoever drove it."""

DRIVING_TIME_KINDS = frozenset(
    {
        "continuous_driving",
        "short_rest",
        "daily_driving",
        "weekly_driving",
        "fortnight_driving",
        "daily_extension",
    }
)
"""Kinds whose subject is the driver, wherever he drove; all others are about a vehicle."""


@dataclass(frozen=True, slots=True)
class RuleName:
    """Which rule judged: pack, rule and version (the day it came into force)."""

    pack: str
    rule_id: str
    version: str


@dataclass(frozen=True, slots=True)
class SpeedingFigures:
    """What a speeding violation adds. Bands are those of the largest excess, by the two conventions."""

    limit_kmh: float
    limit_source: str
    top_speed_kmh: float
    mean_speed_kmh: float
    excess_kmh: float
    fine_band: str
    report_band: str
    distance_m: float


@dataclass(frozen=True, slots=True)
class HoursFigures:
    """What a driving-time violation or a silence adds: the limit and what was done instead, seconds."""

    limit_s: float
    actual_s: float


class Whereabouts(NamedTuple):
    """A vehicle at a moment (microseconds UTC), to be looked up in its fixes."""

    vehicle_id: str
    time_us: int


@dataclass(frozen=True, slots=True)
class Excuse:
    """Why an officer excuses a violation (force majeure, a verified jam), who and when (microseconds UTC)."""

    at_us: int
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class Violation:
    """A judged episode with its evidence. Times are microseconds since 1970 UTC; places are (lat, lon)."""

    kind: str
    rule: RuleName
    grade: Grade
    status: Status
    vehicle_id: str | None
    driver_id: str | None
    started_us: int
    ended_us: int
    start: tuple[float, float] | None
    end: tuple[float, float] | None
    fixes: int | None
    figures: SpeedingFigures | HoursFigures
    judged_by: Mapping[str, Any]
    """The numbers of the rule that judged it; under "overridden", which of them an office set, and how."""
    evidence: Mapping[str, Any]
    proven_us: int
    """Time of the fix that made it a violation."""
    closed_us: int | None
    """Time of the fix that ended it; None while it is open."""
    operator_id: str | None = None
    supersedes: Sequence[str] = field(default=())
    ends: tuple[Whereabouts, Whereabouts] | None = None
    """Of driving time: where `start` and `end` are found. Not on the wire."""
    excused: Excuse | None = None

    @property
    def violation_id(self) -> str:
        """Derived from content only (kind, rule, subject, start): the same in every run of every program."""
        by_driver = self.kind in DRIVING_TIME_KINDS and self.driver_id is not None
        subject = f"driver:{self.driver_id}" if by_driver else f"vehicle:{self.vehicle_id}"
        content = "\n".join(
            (self.kind, self.rule.pack, self.rule.rule_id, self.rule.version, subject, str(self.started_us))
        )
        return hashlib.blake2b(content.encode(), digest_size=12).hexdigest()

    @property
    def duration_s(self) -> float:
        """From start to end, seconds."""
        return (self.ended_us - self.started_us) / 1e6

    def to_wire(self) -> dict[str, Any]:
        """The object that `check --json`, the Kafka topic and the webhook print; what is unknown is absent."""
        wire: dict[str, Any] = {
            "violation_id": self.violation_id,
            "kind": self.kind,
            "rule": {"pack": self.rule.pack, "id": self.rule.rule_id, "version": self.rule.version},
            "grade": self.grade,
            "status": self.status,
            "vehicle_id": self.vehicle_id,
            "driver_id": self.driver_id,
            "operator_id": self.operator_id,
            "started_at": rfc3339(self.started_us),
            "ended_at": rfc3339(self.ended_us),
            "duration_s": self.duration_s,
            "start": _place(self.start),
            "end": _place(self.end),
            "fixes": self.fixes,
        }
        figures = self.figures
        wire.update({name: getattr(figures, name) for name in figures.__slots__})
        wire["judged_by"] = dict(self.judged_by)
        wire["evidence"] = dict(self.evidence)
        if self.supersedes:
            wire["supersedes"] = list(self.supersedes)
        if self.excused is not None:
            wire["excused"] = {"at": rfc3339(self.excused.at_us), "by": self.excused.by, "why": self.excused.why}
        return {name: value for name, value in wire.items() if value is not None}


def rfc3339(time_us: int) -> str:
    """A UTC time as RFC 3339 with Z, with microseconds only where there are any."""
    return from_us(time_us).isoformat().replace("+00:00", "Z")


def band_of(excess_thousandths: int, bands: Sequence[Band]) -> str:
    """The highest band that an excess (in thousandths of a km/h) reaches; "" below the first."""
    name = ""
    for band in bands:
        edge = round(band.over_kmh * 1000)
        if excess_thousandths > edge or (band.inclusive and excess_thousandths == edge):
            name = band.name
    return name


def _place(place: tuple[float, float] | None) -> dict[str, float] | None:
    return None if place is None else {"lat": place[0], "lon": place[1]}
