"""What judging a line finds: violations, warnings before them, and where each limit stands."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from detectors.hours_rules import HoursRules
from detectors.hours_timeline import Interval, Line, Timeline
from detectors.rules.driving_time import HoursKind
from detectors.violation import HoursFigures, RuleName, Violation, Whereabouts, rfc3339

_NOT_NAMED = "no driver is named: drivers may have taken turns"


class Clock(NamedTuple):
    """Where a line stands against a limit at the end of its timeline, microseconds of driving."""

    driven_us: int
    limit_us: int | None
    """None while no version of the rule is in force."""

    @property
    def left_us(self) -> int | None:
        """What may still be driven."""
        return None if self.limit_us is None else max(0, self.limit_us - self.driven_us)


@dataclass(frozen=True, slots=True)
class LimitWarning:
    """A limit comes near: not a violation, and perhaps never one. Times in microseconds UTC."""

    kind: str
    rule: RuleName
    vehicle_id: str | None
    driver_id: str | None
    at_us: int
    counted_from_us: int
    """Where the driving began that counts."""
    limit_s: float
    actual_s: float
    operator_id: str | None = None

    @property
    def warning_id(self) -> str:
        """Derived from content only: of the same drive, day or week it is the same in every run."""
        subject = f"driver:{self.driver_id}" if self.driver_id else f"vehicle:{self.vehicle_id}"
        content = "\n".join((self.kind, self.rule.pack, self.rule.rule_id, subject, str(self.counted_from_us)))
        return hashlib.blake2b(content.encode(), digest_size=12).hexdigest()

    def to_wire(self) -> dict[str, Any]:
        """What is known of the violation that may come; what is unknown is absent."""
        wire = {
            "kind": self.kind,
            "rule": {"pack": self.rule.pack, "id": self.rule.rule_id, "version": self.rule.version},
            "vehicle_id": self.vehicle_id,
            "driver_id": self.driver_id,
            "operator_id": self.operator_id,
            "counted_from": rfc3339(self.counted_from_us),
            "limit_s": self.limit_s,
            "actual_s": self.actual_s,
            "left_s": self.limit_s - self.actual_s,
        }
        return {name: value for name, value in wire.items() if value is not None}


@dataclass(slots=True)
class Findings:
    """What one rule found."""

    violations: list[Violation] = field(default_factory=list)
    warnings: list[LimitWarning] = field(default_factory=list)
    clocks: dict[HoursKind, Clock] = field(default_factory=dict)
    extensions_used: int = 0
    """Longer days in the week at the end."""
    due_us: list[int] = field(default_factory=list)
    """Moments before which it can find nothing more."""


@dataclass(frozen=True, slots=True)
class Case:
    """The line under judgement."""

    line: Line
    timeline: Timeline
    rules: HoursRules

    def rule_name(self, kind: HoursKind, version: str) -> RuleName:
        """The rule of a kind in this case's pack."""
        return RuleName(self.rules.pack, kind.value, version)

    def vehicle_at(self, time_us: int) -> str | None:
        """The vehicle driven at a moment, or last before it."""
        return self.line.vehicle_id or self.timeline.piece_at(time_us).vehicle_id

    def whereabouts(self, time_us: int, piece: Interval) -> Whereabouts:
        """Where the driver of this piece was at a moment from its beginning on: a vehicle left behind goes its own
        ways, and what it does there is not part of this line."""
        return Whereabouts(self.line.vehicle_id or piece.vehicle_id or "", min(time_us, piece.end_us))

    def vehicles(self, begin_us: int, end_us: int) -> list[str]:
        """The vehicles driven between two times."""
        first = self.timeline.pieces_before(begin_us + 1) - 1
        pieces = self.timeline.pieces[max(0, first) : self.timeline.pieces_before(end_us)]
        return sorted({piece.vehicle_id for piece in pieces if piece.vehicle_id and piece.end_us > begin_us})

    def violation(
        self,
        kind: HoursKind,
        version: str,
        source: str,
        doubts: Sequence[str],
        span_us: tuple[int, int],
        limit_us: int,
        actual_us: int,
        judged_by: Mapping[str, float],
        evidence: Mapping[str, Any],
        proven_us: int,
        closed_us: int | None,
        vehicles: Sequence[str],
    ) -> Violation:
        """A violation of this line, open while nothing has closed it, and for review where anything is doubtful.

        That one person drove is what nobody knows where no driver is named: a change of drivers cannot be seen.
        """
        started_us, ended_us = span_us
        doubts = [*doubts, *([] if self.line.driver_id is not None else [_NOT_NAMED])]
        return Violation(
            kind=kind.value,
            rule=self.rule_name(kind, version),
            grade="review" if doubts else "confirmed",
            status="open" if closed_us is None else "closed",
            vehicle_id=self.vehicle_at(started_us),
            driver_id=self.line.driver_id,
            started_us=started_us,
            ended_us=ended_us,
            start=None,
            end=None,
            fixes=None,
            figures=HoursFigures(limit_s=limit_us / 1e6, actual_s=actual_us / 1e6),
            judged_by=dict(judged_by),
            evidence={
                **evidence,
                "vehicles": list(vehicles),
                "law": source,
                **({"review_because": doubts} if doubts else {}),
            },
            proven_us=proven_us,
            closed_us=closed_us,
            ends=(
                self.whereabouts(started_us, self.timeline.piece_at(started_us)),
                self.whereabouts(ended_us, self.timeline.piece_at(ended_us - 1)),
            ),
        )
