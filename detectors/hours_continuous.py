"""Driving between two rests: the limit on it, and rests that were begun and broken off."""

from __future__ import annotations

from typing import NamedTuple

from detectors.hours_findings import Case, Clock, Findings, LimitWarning
from detectors.hours_limits import FAR_US, Moment, Stretch, earliest_us, excess, nearness
from detectors.hours_timeline import Rest, Resting, Timeline
from detectors.rules import Dated
from detectors.rules.driving_time import ContinuousRule, HoursKind
from detectors.violation import Violation, rfc3339


class Stop(NamedTuple):
    """A rest that was broken off, and the one required."""

    rest: Rest
    required_us: int


class Drive(NamedTuple):
    """Driving between two rests, microseconds."""

    begin_us: int
    end_us: int
    """Of the last driving in it."""
    driven_us: int
    rested_us: int | None
    """The moment the rest that ended it was long enough; None while it goes on."""
    kind: str | None
    """Of the vehicle last driven."""
    stops: tuple[Stop, ...]


class _Numbers(NamedTuple):
    """What one version asks of the rest in a vehicle of one kind, microseconds."""

    required_us: int
    first_us: int
    second_us: int
    attempt_us: int


def drives(timeline: Timeline, rules: Dated[ContinuousRule], rest: Resting) -> list[Drive]:
    """Cut the driving at each rest, or pair of rests, that is long enough."""
    found: list[Drive] = []
    first, has_first_part = 0, False
    stops: list[Stop] = []
    numbers: dict[str | None, _Numbers] = {}
    changes_us = -FAR_US
    for each in timeline.rests(rest, _shortest_us(timeline, rules)):
        begin_us, end_us = each
        if begin_us >= changes_us:
            rule, numbers = rules.at(begin_us), {}
            changes_us = rules.next_change_us(begin_us) or FAR_US
        following = timeline.pieces_before(begin_us)
        if following == first:
            continue
        kind = timeline.pieces[following - 1].vehicle_kind
        if kind not in numbers:
            numbers[kind] = _numbers_of(rule, kind)
        required_us, first_us, second_us, attempt_us = numbers[kind]
        enough_us = second_us if has_first_part else required_us
        if end_us - begin_us >= enough_us:
            found.append(_drive(timeline, first, following, begin_us + enough_us, tuple(stops)))
            first, has_first_part, stops = following, False, []
            continue
        if end_us - begin_us > attempt_us:
            stops.append(Stop(each, required_us))
        has_first_part = has_first_part or end_us - begin_us >= first_us
    if first < len(timeline.pieces):
        found.append(_drive(timeline, first, len(timeline.pieces), None, tuple(stops)))
    return found


def _numbers_of(rule: ContinuousRule, kind: str | None) -> _Numbers:
    required_us = rule.rest_us(kind)
    return _Numbers(
        required_us,
        FAR_US if rule.split_first_s is None else round(rule.split_first_s * 1e6),
        required_us if rule.split_second_s is None else min(required_us, round(rule.split_second_s * 1e6)),
        FAR_US if rule.attempt_share is None else round(rule.attempt_share * required_us),
    )


def judge_continuous(case: Case) -> Findings:
    """Violations of the limit on continuous driving, and rests broken off in those drives."""
    rules, rest, timeline = case.rules.continuous, case.rules.breaks, case.timeline
    found = Findings()
    every = drives(timeline, rules, rest)
    passed = _passed(timeline, every, rules)
    least_us = _least_us(rules)
    for drive in every:
        if drive.driven_us < least_us:
            continue
        moment = passed.get(drive)
        warned = _nearness(timeline, drive, rules)
        if warned and (moment is None or warned.at_us < moment.at_us):
            found.warnings.append(_warning(case, drive, warned))
        if moment:
            found.violations.append(_violation(case, drive, moment))
            found.violations += _short_rests(case, drive, moment)
    _stand(case, every[-1] if every else None, found)
    return found


Passed = dict[Drive, Moment[ContinuousRule]]


def _passed(timeline: Timeline, every: list[Drive], rules: Dated[ContinuousRule]) -> Passed:
    """The drives that passed the limit, and when."""
    least_us = _least_us(rules)
    long = [drive for drive in every if drive.driven_us >= least_us]
    moments = ((drive, excess(timeline, _stretch(drive), rules, lambda rule: rule.limit_us)) for drive in long)
    return {drive: moment for drive, moment in moments if moment}


def _least_us(rules: Dated[ContinuousRule]) -> int:
    """With less driving there is nothing to say under any version."""
    return min(rule.limit_us if rule.warn_us is None else rule.warn_us for rule in rules.rules)


def _nearness(timeline: Timeline, drive: Drive, rules: Dated[ContinuousRule]) -> Moment[ContinuousRule] | None:
    # The end itself included: reached there, the warning is due there.
    return nearness(timeline, _stretch(drive, beyond_us=1), rules, lambda rule: rule.warn_us)


def _stretch(drive: Drive, beyond_us: int = 0) -> Stretch:
    return Stretch(drive.begin_us, drive.begin_us, drive.end_us + beyond_us)


def _drive(timeline: Timeline, first: int, following: int, rested_us: int | None, stops: tuple[Stop, ...]) -> Drive:
    last = timeline.pieces[following - 1]
    driven_us = timeline.driven_in_us(first, following)
    return Drive(timeline.pieces[first].begin_us, last.end_us, driven_us, rested_us, last.vehicle_kind, stops)


def _stand(case: Case, latest: Drive | None, found: Findings) -> None:
    """Where the line stands at its end."""
    end_us = case.timeline.end_us
    rule = case.rules.continuous.at(end_us)
    current = latest if latest and latest.rested_us is None else None
    driven_us = current.driven_us if current else 0
    warned = current is not None and _nearness(case.timeline, current, case.rules.continuous) is not None
    found.clocks[HoursKind.CONTINUOUS] = Clock(driven_us, rule.limit_us)
    found.due_us.append(earliest_us(driven_us, end_us, rule.limit_us, rule.warn_us, warned=warned))


def _violation(case: Case, drive: Drive, moment: Moment[ContinuousRule]) -> Violation:
    rule, timeline = moment.rule, case.timeline
    first = timeline.pieces_before(drive.begin_us)
    evidence: dict[str, str | int] = {
        "driving_began_at": rfc3339(drive.begin_us),
        "driving_pieces": timeline.pieces_before(drive.end_us) - first,
    }
    if rule.excuse:
        evidence["may_be_excused"] = rule.excuse
    return case.violation(
        HoursKind.CONTINUOUS,
        rule.valid_from.isoformat(),
        rule.source,
        (),
        (moment.at_us, drive.end_us),
        rule.limit_us,
        drive.driven_us,
        _numbers(rule, drive.kind),
        evidence,
        moment.at_us,
        drive.rested_us,
        case.vehicles(drive.begin_us, drive.end_us),
    )


def _short_rests(case: Case, drive: Drive, moment: Moment[ContinuousRule]) -> list[Violation]:
    found = []
    for stop in drive.stops:
        (begin_us, end_us), rule = stop.rest, case.rules.continuous.at(stop.rest.begin_us)
        resumed_us = case.timeline.next_driving_us(end_us)
        if resumed_us is None or resumed_us >= drive.end_us:
            continue
        proven_us = max(moment.at_us, resumed_us)
        found.append(
            case.violation(
                HoursKind.SHORT_REST,
                rule.valid_from.isoformat(),
                rule.source,
                (),
                (begin_us, end_us),
                stop.required_us,
                end_us - begin_us,
                {
                    **_numbers(rule, case.timeline.piece_at(begin_us).vehicle_kind),
                    "attempt_share": rule.attempt_share or 0.0,
                },
                {"driving_began_at": rfc3339(drive.begin_us)},
                proven_us,
                proven_us,
                case.vehicles(drive.begin_us, drive.end_us),
            )
        )
    return found


def _warning(case: Case, drive: Drive, moment: Moment[ContinuousRule]) -> LimitWarning:
    timeline = case.timeline
    return LimitWarning(
        kind=HoursKind.CONTINUOUS.value,
        rule=case.rule_name(HoursKind.CONTINUOUS, moment.rule.valid_from.isoformat()),
        vehicle_id=case.vehicle_at(moment.at_us),
        driver_id=case.line.driver_id,
        at_us=moment.at_us,
        counted_from_us=drive.begin_us,
        limit_s=moment.rule.limit_s,
        actual_s=(timeline.driven_us(moment.at_us) - timeline.driven_us(drive.begin_us)) / 1e6,
    )


def _numbers(rule: ContinuousRule, kind: str | None) -> dict[str, float]:
    numbers = {"limit_s": rule.limit_s, "rest_s": rule.rest_us(kind) / 1e6}
    if rule.split_first_s is not None and rule.split_second_s is not None:
        numbers |= {"split_first_s": rule.split_first_s, "split_second_s": rule.split_second_s}
    return numbers


def _shortest_us(timeline: Timeline, rules: Dated[ContinuousRule]) -> int:
    """No shorter rest matters under any version, in the vehicles that were driven."""
    kinds = {piece[4] for piece in timeline.pieces}
    shortest_us = FAR_US
    for rule in rules.rules:
        for numbers in [_numbers_of(rule, kind) for kind in kinds]:
            shortest_us = min(shortest_us, *numbers)
    return shortest_us
