"""Continuous driving, judged from a line: the activity of one driver across vehicles.

A line is what one driver did, or what one vehicle did while nobody was named. Judging is a pure function of its
intervals; the stream calls it when a line's deadline passes or its past changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from detectors.activity import Activity
from detectors.rules import ContinuousRule, Dated
from detectors.violation import HoursFigures, RuleName, Violation, rfc3339


class Interval(NamedTuple):
    """What a driver did in one vehicle between two times (microseconds UTC)."""

    begin_us: int
    end_us: int
    activity: Activity
    vehicle_id: str | None = None
    vehicle_kind: str | None = None


class Line(NamedTuple):
    """Whose hours: a driver, or a vehicle without a named one."""

    driver_id: str | None
    vehicle_id: str | None


class Drive(NamedTuple):
    """Driving between two rests: how much there was before each piece, and how long it went on."""

    pieces: list[tuple[Interval, int]]
    """Driving intervals with the driving done before each, microseconds."""
    driven_us: int
    rested_us: int | None
    """The moment the rest that ended it was long enough; None while it goes on."""
    kind: str | None


@dataclass(frozen=True, slots=True)
class HoursJudgement:
    """Violations of a line and how to go on with it (microseconds UTC)."""

    violations: list[Violation]
    since_us: int
    """The next judgement may begin here: a rest was complete, or the latest drive began."""
    judged_to_us: int
    due_us: int
    """No further violation is possible before, whatever is driven from `judged_to_us` on."""


def flatten(intervals: Sequence[Interval]) -> list[Interval]:
    """Intervals of all a driver's vehicles as one sequence without overlap: driving wins, then unknown.

    What no vehicle knows of is absent; between two intervals the driver was away, which is rest.
    """
    ordered = sorted(intervals, key=lambda each: (each.begin_us, each.end_us, each.activity, each.vehicle_id or ""))
    if all(a.end_us <= b.begin_us for a, b in pairwise(ordered)):
        return ordered
    edges = sorted({edge for each in ordered for edge in (each.begin_us, each.end_us)})
    flat: list[Interval] = []
    active: list[Interval] = []
    following = iter(ordered)
    upcoming = next(following, None)
    for begin_us, end_us in pairwise(edges):
        active = [each for each in active if each.end_us > begin_us]
        while upcoming is not None and upcoming.begin_us <= begin_us:
            if upcoming.end_us > begin_us:
                active.append(upcoming)
            upcoming = next(following, None)
        if active:
            strongest = max(active, key=_strength)
            flat.append(strongest._replace(begin_us=begin_us, end_us=end_us))
    return flat


def _strength(interval: Interval) -> int:
    return {Activity.DRIVING: 2, Activity.UNKNOWN: 1, Activity.STOPPED: 0}[interval.activity]


def drives(intervals: Sequence[Interval], rest_us: Dated[ContinuousRule], unknown_rests: bool) -> Iterator[Drive]:
    """Cut a flat line into drives at each rest that is long enough.

    `unknown_rests` reads a silence in which the vehicle moved as rest: the reading that favours the driver.
    """
    pieces: list[tuple[Interval, int]] = []
    driven_us = 0
    rest_since_us: int | None = None
    kind: str | None = None
    for interval in intervals:
        resting = interval.activity is Activity.STOPPED or (unknown_rests and interval.activity is Activity.UNKNOWN)
        if pieces and not resting and rest_since_us is not None:
            # Away between two intervals counts as rest and joins the stop before it.
            needed_us = rest_us.at(rest_since_us).rest_us(kind)
            if interval.begin_us - rest_since_us >= needed_us:
                yield Drive(pieces, driven_us, rest_since_us + needed_us, kind)
                pieces, driven_us = [], 0
        if interval.activity is Activity.DRIVING:
            pieces.append((interval, driven_us))
            driven_us += interval.end_us - interval.begin_us
            kind = interval.vehicle_kind
        if not resting:
            rest_since_us = interval.end_us
        elif rest_since_us is None:
            rest_since_us = interval.begin_us
    if pieces:
        rested_us = None
        if rest_since_us is not None:
            needed_us = rest_us.at(rest_since_us).rest_us(kind)
            if intervals[-1].end_us - rest_since_us >= needed_us:
                rested_us = rest_since_us + needed_us
        yield Drive(pieces, driven_us, rested_us, kind)


def judge_hours(line: Line, intervals: Sequence[Interval], rules: Dated[ContinuousRule], pack: str) -> HoursJudgement:
    """Violations of the limit on continuous driving in a line that begins after a rest.

    `intervals` may come in any order and from any vehicles. More than the limit is a violation, the limit is not.
    """
    flat = flatten(intervals)
    if not flat:
        return HoursJudgement([], 0, 0, 0)
    violations = []
    excused = [(drive, _passed_us(drive, rules)) for drive in drives(flat, rules, unknown_rests=True)]
    certain = [drive for drive, passed_us in excused if passed_us is not None]
    latest: Drive | None = None
    for drive in drives(flat, rules, unknown_rests=False):
        latest = drive
        passed_us = _passed_us(drive, rules)
        if passed_us is not None:
            violations.append(_violation(line, drive, passed_us, certain, rules, pack))
    end_us = flat[-1].end_us
    return HoursJudgement(violations, _since_us(latest, end_us), end_us, _due_us(latest, end_us, rules))


def reset_before(intervals: Sequence[Interval], time_us: int, rules: Dated[ContinuousRule]) -> int | None:
    """The latest moment at or before a time at which a rest was complete, whatever came before these intervals.

    None when they show none: the line must be read from further back.
    """
    rested = (drive.rested_us for drive in drives(flatten(intervals), rules, unknown_rests=False))
    return max((moment for moment in rested if moment is not None and moment <= time_us), default=None)


def _since_us(latest: Drive | None, end_us: int) -> int:
    if latest is None:
        return end_us
    return latest.pieces[0][0].begin_us if latest.rested_us is None else latest.rested_us


def _passed_us(drive: Drive, rules: Dated[ContinuousRule]) -> int | None:
    """The moment the limit was passed; None if it was kept. The rule is the one in force at that moment."""
    for interval, before_us in drive.pieces:
        limit_us = round(rules.at(interval.begin_us).limit_s * 1e6)
        if before_us + interval.end_us - interval.begin_us > limit_us:
            return max(interval.begin_us, interval.begin_us + limit_us - before_us)
    return None


def _due_us(drive: Drive | None, end_us: int, rules: Dated[ContinuousRule]) -> int:
    """When the limit could be passed at the earliest if the line goes on with driving alone."""
    rule = rules.at(end_us)
    limit_us = round(rule.limit_s * 1e6)
    if drive is None or drive.rested_us is not None:
        return end_us + limit_us
    if drive.driven_us > limit_us:
        return end_us  # an open violation grows with every fix
    return end_us + limit_us - drive.driven_us


def _violation(
    line: Line, drive: Drive, passed_us: int, certain: list[Drive], rules: Dated[ContinuousRule], pack: str
) -> Violation:
    rule = rules.at(passed_us)
    first, last = drive.pieces[0][0], drive.pieces[-1][0]
    at_limit = next(piece for piece, _ in drive.pieces if piece.begin_us <= passed_us < piece.end_us)
    begin_us, end_us = first.begin_us, last.end_us
    stands = any(begin_us <= each.pieces[0][0].begin_us and each.pieces[-1][0].end_us <= end_us for each in certain)
    vehicles = sorted({piece.vehicle_id for piece, _ in drive.pieces if piece.vehicle_id})
    return Violation(
        kind="continuous_driving",
        rule=RuleName(pack, "continuous_driving", rule.valid_from.isoformat()),
        grade="confirmed" if stands else "review",
        status="open" if drive.rested_us is None else "closed",
        vehicle_id=line.vehicle_id or at_limit.vehicle_id,
        driver_id=line.driver_id,
        started_us=passed_us,
        ended_us=end_us,
        start=None,
        end=None,
        fixes=None,
        figures=HoursFigures(limit_s=rule.limit_s, actual_s=drive.driven_us / 1e6),
        judged_by={"limit_s": rule.limit_s, "rest_s": rule.rest_us(drive.kind) / 1e6},
        evidence={
            "driving_began_at": rfc3339(begin_us),
            "driving_pieces": len(drive.pieces),
            "vehicles": vehicles,
            "law": rule.source,
        },
        proven_us=passed_us,
        closed_us=drive.rested_us,
    )
