"""Driving time, judged from a line: the activity of one driver across vehicles.

A line is what one driver did, or what one vehicle did while nobody was named. Judging is a pure function of its
intervals; the stream calls it when a line's deadline passes or its past changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from detectors.activity import Activity
from detectors.hours_continuous import judge_continuous
from detectors.hours_findings import Case, Clock, Findings, LimitWarning
from detectors.hours_grades import graded, shown_driving
from detectors.hours_periods import judge_days, judge_weeks
from detectors.hours_rules import HoursRules
from detectors.hours_timeline import Interval, Line, Timeline, flatten
from detectors.rules.driving_time import HoursKind
from detectors.violation import Violation

__all__ = ["Clock", "HoursJudgement", "HoursRules", "Interval", "LimitWarning", "Line", "flatten", "judge_hours",
           "reset_before", "shown_driving"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class HoursJudgement:
    """Violations and warnings of a line and how to go on with it (microseconds UTC)."""

    violations: list[Violation]
    since_us: int
    """The next judgement may begin here, of all rules: a rest was complete, and all that still counts came later."""
    judged_to_us: int
    due_us: int
    """No further violation or warning is possible before, whatever is driven from `judged_to_us` on."""
    warnings: list[LimitWarning] = field(default_factory=list)
    clocks: Mapping[HoursKind, Clock] = field(default_factory=dict)
    """Where the line stands at `judged_to_us`."""
    extensions_used: int = 0
    """Longer days in the week of `judged_to_us`."""
    two_vehicles_us: int | None = None
    """When the driver was last driving two vehicles at once: a placeholder, whose driving then is not counted."""


def judge_hours(
    line: Line,
    intervals: Sequence[Interval],
    rules: HoursRules,
    since_us: int = 0,
    shown: Sequence[Interval] | None = None,
) -> HoursJudgement:
    """Judge a line that begins after a rest: the `since_us` of an earlier judgement, or its very beginning.

    `intervals` may come in any order and from any vehicles. More than a limit is a violation, the limit is not. What
    counts driving from before `since_us` is left out: it stands as it was judged. `shown` are the same intervals with
    no more driving than fixes show (`shown_driving`), which decide the grade; None: the intervals are exact.
    """
    timeline = _timeline(intervals, rules)
    if not timeline.intervals:
        return HoursJudgement([], since_us, 0, 0)
    case = Case(line, timeline, rules)
    found = _find(case)
    violations = [
        each for part in found for each in part.violations if rules.is_whole(each.kind, each.started_us, since_us)
    ]
    violations = graded(case, violations, shown, lambda other: [v for part in _find(other) for v in part.violations])
    warnings = [each for part in found for each in part.warnings if rules.is_whole(each.kind, each.at_us, since_us)]
    violations.sort(key=lambda each: (each.started_us, each.kind))
    warnings.sort(key=lambda each: (each.at_us, each.kind))
    due_us = min(due for part in found for due in part.due_us)
    if any(each.status == "open" or _may_rise(each, shown) for each in violations):
        due_us = timeline.end_us  # it grows with every fix
    changes = [rules.continuous.next_change_us(timeline.end_us)]
    changes += [dated.next_change_us(timeline.end_us) for dated in rules.periods]
    return HoursJudgement(
        violations,
        _since_us(timeline, rules, since_us),
        timeline.end_us,
        min([due_us, *(each for each in changes if each is not None)]),
        warnings,
        {kind: clock for part in found for kind, clock in part.clocks.items()},
        sum(part.extensions_used for part in found),
        timeline.doubtful[-1].end_us if timeline.doubtful else None,
    )


def _timeline(intervals: Sequence[Interval], rules: HoursRules) -> Timeline:
    return Timeline(intervals, rules.two_vehicles_us, rules.unknown_resets_us)


def _find(case: Case) -> tuple[Findings, ...]:
    return judge_continuous(case), judge_days(case), judge_weeks(case)


def _may_rise(violation: Violation, shown: Sequence[Interval] | None) -> bool:
    """Whether it closed in the last driving, of which the next fix may show more."""
    if not shown or violation.closed_us is None:
        return False
    latest = max(shown, key=lambda each: each.end_us)
    return latest.activity == Activity.UNKNOWN and violation.closed_us > latest.begin_us


def reset_before(intervals: Sequence[Interval], time_us: int, rules: HoursRules) -> int | None:
    """Where judging what changed at a time may begin, whatever came before these intervals.

    None when they show no such rest: the line must be read from further back.
    """
    timeline = _timeline(intervals, rules)
    horizon_us = _horizon_us(timeline, rules, time_us)
    return None if horizon_us is None else _complete_rest_us(timeline, rules, horizon_us)


def _since_us(timeline: Timeline, rules: HoursRules, since_us: int) -> int:
    horizon_us = _horizon_us(timeline, rules, timeline.end_us)
    if horizon_us is None:
        horizon_us = rules.reach_us(timeline.begin_us)
    rested_us = _complete_rest_us(timeline, rules, horizon_us) or since_us
    # From a rest to the next driving there is nothing that could still count.
    driving_us = timeline.next_driving_us(rested_us)
    begins_us = [horizon_us] if driving_us is None else [horizon_us, driving_us]
    # What another vehicle does may begin before that driving and outlast it.
    begins_us += [each.begin_us for each in timeline.overlapping(rules.common_rests) if each.begin_us >= rested_us]
    return max(since_us, min(begins_us))


def _horizon_us(timeline: Timeline, rules: HoursRules, time_us: int) -> int | None:
    """The earliest moment that counts for what is judged at a time; None where the timeline does not show it."""
    if not rules.days_between_rests:
        return rules.reach_us(time_us)
    # The day of that time counts in the week in which it grew long, and may have begun long ago.
    begun_us = _complete_rest_us(timeline, rules, time_us)
    return None if begun_us is None else rules.reach_us(begun_us)


def _complete_rest_us(timeline: Timeline, rules: HoursRules, to_us: int) -> int | None:
    """The latest moment up to a time at which a rest was complete by every rule, after some driving."""
    if not timeline.intervals:
        return None
    rest, longest = rules.common_rests, rules.days_between_rests
    busy = timeline.overlapping(rest)
    least_us = min(rule.rest_us for rule in rules.daily.rules) if longest else rules.shortest_rest_us
    for begin_us, end_us in timeline.latest_rests(rest, least_us):
        if begin_us >= to_us:
            continue
        before = timeline.pieces_before(begin_us)
        if not before:
            return None
        required_us = rules.continuous.at(begin_us).rest_us(timeline.pieces[before - 1].vehicle_kind)
        if longest:
            required_us = max(required_us, rules.daily.at(begin_us).rest_us)
        complete_us = begin_us + required_us
        if complete_us > min(end_us, to_us):
            continue
        # No place to begin in the midst of what a vehicle does, even where another one hides it.
        if not any(each.begin_us < complete_us < each.end_us for each in busy):
            return complete_us
    return None
