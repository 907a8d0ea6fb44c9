"""Grades of driving time: a violation is confirmed when it stands under every reading of the evidence.

One reading favours the driver in all things at once: what is unknown was rest, and whoever drove did so from the first
to the last fix that shows it, no longer. What is not a violation by it is for review.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from detectors.activity import Activity
from detectors.hours_findings import Case
from detectors.hours_timeline import Interval
from detectors.violation import Violation

_MAY_HIDE_REST = "a silence, or the time between two fixes, may hide rest enough"


def graded(
    case: Case,
    violations: Sequence[Violation],
    shown: Sequence[Interval] | None,
    judge: Callable[[Case], Sequence[Violation]],
) -> list[Violation]:
    """The violations of a case, each for review where the reading that favours the driver has none in its place.

    `shown` are the intervals with no more driving than fixes show; None: as they were judged. `judge` finds all
    violations of a case.
    """
    sure = any(each.grade == "confirmed" for each in violations)
    if not sure or (shown is None and not case.timeline.has_unknown):
        return list(violations)
    timeline = case.timeline if shown is None else case.timeline.read_again(shown)
    favoured = [] if not timeline.pieces else judge(Case(case.line, timeline, case.rules.favouring_the_driver()))
    return [each if _stands(each, favoured) else _doubted(each) for each in violations]


def _stands(violation: Violation, favoured: Sequence[Violation]) -> bool:
    """It may be shorter by the other reading, or fall into two, but not lie elsewhere."""
    return any(
        each.kind == violation.kind and each.started_us <= violation.ended_us and violation.started_us <= each.ended_us
        for each in favoured
    )


def _doubted(violation: Violation) -> Violation:
    doubts = [*violation.evidence.get("review_because", ()), _MAY_HIDE_REST]
    return replace(violation, grade="review", evidence={**violation.evidence, "review_because": doubts})


def shown_driving(interval: Interval, last_moving_us: int) -> list[Interval]:
    """Driving with what no fix shows of it as unknown: after the last fix at which its driver moved."""
    # That it moved at the first is known: two stops are not one, however short the driving between them.
    until_us = min(max(last_moving_us, interval.begin_us + 1), interval.end_us)
    rest = Interval(until_us, interval.end_us, Activity.UNKNOWN, interval.vehicle_id, interval.vehicle_kind)
    return [interval._replace(end_us=until_us), rest] if until_us < interval.end_us else [interval]
