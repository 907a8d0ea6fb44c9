"""Driving in a day, a week or two weeks in a row, and days that may be longer a few times a week."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from detectors.hours_findings import Case, Clock, Findings, LimitWarning
from detectors.hours_limits import FAR_US, Moment, Stretch, earliest_us, excess, nearness
from detectors.hours_timeline import Resting
from detectors.rules import Dated
from detectors.rules.driving_time import HoursKind, PeriodRule
from detectors.violation import Violation, rfc3339

_ASSUMED = "the limit is assumed: no law read here gives it"

Limit = Callable[[PeriodRule], int]
WarnAt = Callable[[PeriodRule], int | None]


class _Bound(NamedTuple):
    """A limit as one kind of violation reads it from the rule."""

    kind: HoursKind
    limit_us: Limit
    warn_us: WarnAt


_ORDINARY = (lambda rule: rule.limit_us), (lambda rule: rule.warn_us)
_LONGEST = _Bound(HoursKind.DAILY, lambda rule: rule.highest_us, lambda rule: rule.warn_highest_us)
_EXTENSION = _Bound(HoursKind.EXTENSION, *_ORDINARY)


def judge_days(case: Case) -> Findings:
    """Violations of the daily limit, and longer days beyond those that the week allows."""
    rules, found = case.rules.daily, Findings()
    if not rules.rules:
        return found
    days = between_rests(case, case.rules.daily_rests) if case.rules.days_between_rests else _calendar_days(case)
    _judge(case, rules, _LONGEST, days, found)
    used = _extensions(case, days, found)
    _stand_in_day(case, days, used, found)
    return found


def judge_weeks(case: Case) -> Findings:
    """Violations of the weekly limit and of that on two weeks in a row."""
    found = Findings()
    calendar = case.rules.calendar
    for kind, rules, weeks in (
        (HoursKind.WEEKLY, case.rules.weekly, 1),
        (HoursKind.FORTNIGHT, case.rules.fortnight, 2),
    ):
        if not rules.rules:
            continue
        stretches = [
            Stretch(calendar.week_begin(begin_us, 1 - weeks), begin_us, end_us)
            for begin_us, end_us in _with_driving(case, calendar.week_begin, calendar.week_end)
        ]
        _judge(case, rules, _Bound(kind, *_ORDINARY), stretches, found)
        _stand_in_week(case, kind, rules, weeks, found)
    return found


def between_rests(case: Case, rest: Resting) -> list[Stretch]:
    """Days from the end of one long rest to the end of the next; the last is open."""
    timeline, rules = case.timeline, case.rules.daily
    days: list[Stretch] = []
    begin_us = timeline.begin_us
    for each in timeline.rests(rest, min(rule.rest_us for rule in rules.rules)):
        rest_us = rules.at(each.begin_us).rest_us
        if each.end_us - each.begin_us >= rest_us:
            days.append(Stretch(begin_us, begin_us, each.begin_us + rest_us))
            begin_us = each.begin_us + rest_us
    return [*days, Stretch(begin_us, begin_us, FAR_US)]


def _calendar_days(case: Case) -> list[Stretch]:
    calendar = case.rules.calendar
    return [Stretch(begin, begin, end) for begin, end in _with_driving(case, calendar.day_begin, calendar.day_end)]


def _with_driving(
    case: Case, begin_of: Callable[[int], int], end_of: Callable[[int], int]
) -> Iterator[tuple[int, int]]:
    """The calendar periods in which something was driven."""
    moment_us = case.timeline.next_driving_us(case.timeline.begin_us)
    while moment_us is not None:
        begin_us, end_us = begin_of(moment_us), end_of(moment_us)
        yield begin_us, end_us
        moment_us = case.timeline.next_driving_us(end_us)


def _judge(case: Case, rules: Dated[PeriodRule], bound: _Bound, stretches: list[Stretch], found: Findings) -> None:
    """Violations of a bound and the warnings before them."""
    timeline, least_us = case.timeline, _least_us(rules, bound)
    for stretch in stretches:
        if _driven_us(case, stretch) < least_us:
            continue
        moment = excess(timeline, stretch, rules, bound.limit_us)
        warned = nearness(timeline, stretch, rules, bound.warn_us)
        if warned and (moment is None or warned.at_us < moment.at_us):
            found.warnings.append(_warning(case, bound, stretch, warned))
        if moment:
            found.violations.append(_violation(case, bound, stretch, moment))


def _driven_us(case: Case, stretch: Stretch) -> int:
    return case.timeline.driven_us(stretch.end_us) - case.timeline.driven_us(stretch.counted_from_us)


def _least_us(rules: Dated[PeriodRule], bound: _Bound) -> int:
    """With less driving there is nothing to say under any version."""
    bounds = [each for rule in rules.rules for each in (bound.limit_us(rule), bound.warn_us(rule))]
    return min(each for each in bounds if each is not None)


def _extensions(case: Case, days: list[Stretch], found: Findings) -> Counter[int]:
    """Judge the longer days; returns how many each week had, by the Monday that began it."""
    rules, timeline, used = case.rules.daily, case.timeline, Counter[int]()
    if not any(rule.extended_limit_s for rule in rules.rules):
        return used
    least_us = _least_us(rules, _EXTENSION)
    for day in days:
        if _driven_us(case, day) < least_us:
            continue
        near = nearness(timeline, day, rules, lambda rule: rule.warn_us)
        moment = excess(timeline, day, rules, lambda rule: rule.limit_us)
        if near and near.rule.extended_limit_s and (moment is None or near.at_us < moment.at_us):
            week_us = case.rules.calendar.week_begin(near.at_us)
            if used[week_us] >= near.rule.extensions_per_week:
                found.warnings.append(_warning(case, _EXTENSION, day, near))
        if moment is None or not moment.rule.extended_limit_s:
            continue
        week_us = case.rules.calendar.week_begin(moment.at_us)
        used[week_us] += 1
        if used[week_us] > moment.rule.extensions_per_week:
            found.violations.append(_violation(case, _EXTENSION, day, moment, extensions=used[week_us]))
    return used


def _stand_in_day(case: Case, days: list[Stretch], used: Counter[int], found: Findings) -> None:
    timeline, rules, calendar = case.timeline, case.rules.daily, case.rules.calendar
    end_us = timeline.end_us
    today = days[-1] if case.rules.days_between_rests else _today(case)
    driven_us = timeline.driven_us(end_us) - timeline.driven_us(today.begin_us)
    rule = _in_force(rules, end_us)
    found.clocks[HoursKind.DAILY] = Clock(driven_us, rule.highest_us if rule else None)
    if rule is None:
        return
    due = [_earliest_us(case, rules, rule, today, _LONGEST)]
    if rule.extended_limit_s:
        found.extensions_used = used[calendar.week_begin(end_us)]
        if driven_us <= rule.limit_us:
            due.append(_earliest_us(case, rules, rule, today, _EXTENSION))
    found.due_us.append(_within(min(due), today.end_us, _soonest_us(rule)))


def _stand_in_week(case: Case, kind: HoursKind, rules: Dated[PeriodRule], weeks: int, found: Findings) -> None:
    timeline, calendar = case.timeline, case.rules.calendar
    end_us = timeline.end_us
    monday_us, sunday_us = calendar.week_begin(end_us), calendar.week_end(end_us)
    stretch = Stretch(calendar.week_begin(end_us, 1 - weeks), monday_us, sunday_us)
    driven_us = timeline.driven_us(end_us)
    rule = _in_force(rules, end_us)
    counted_us = driven_us - timeline.driven_us(stretch.counted_from_us)
    found.clocks[kind] = Clock(counted_us, rule.limit_us if rule else None)
    if rule is None:
        return
    # What is driven until Sunday counts in the next two weeks as well.
    carried_us = 0 if weeks == 1 else driven_us - timeline.driven_us(monday_us) + sunday_us - end_us
    due_us = _earliest_us(case, rules, rule, stretch, _Bound(kind, *_ORDINARY))
    found.due_us.append(_within(due_us, sunday_us, max(0, _soonest_us(rule) - carried_us)))


def _today(case: Case) -> Stretch:
    calendar, end_us = case.rules.calendar, case.timeline.end_us
    begin_us = calendar.day_begin(end_us)
    return Stretch(begin_us, begin_us, calendar.day_end(end_us))


def _earliest_us(case: Case, rules: Dated[PeriodRule], rule: PeriodRule, stretch: Stretch, bound: _Bound) -> int:
    timeline, end_us = case.timeline, case.timeline.end_us
    driven_us = timeline.driven_us(end_us) - timeline.driven_us(stretch.counted_from_us)
    warned = nearness(timeline, stretch, rules, bound.warn_us) is not None
    return earliest_us(driven_us, end_us, bound.limit_us(rule), bound.warn_us(rule), warned=warned)


def _within(due_us: int, period_end_us: int, soonest_us: int) -> int:
    """Not in this period: so long into the next one at the earliest."""
    return due_us if due_us < period_end_us else period_end_us + soonest_us


def _soonest_us(rule: PeriodRule) -> int:
    """The driving after which the first warning or violation of a period may come."""
    bounds = (rule.warn_us, rule.limit_us, rule.warn_highest_us, rule.highest_us)
    return min(bound for bound in bounds if bound is not None)


def _in_force(rules: Dated[PeriodRule], time_us: int) -> PeriodRule | None:
    return next((span.rule for span in rules.spans(time_us, time_us + 1)), None)


def _counted_from_us(case: Case, stretch: Stretch) -> int:
    """The first driving that counts: the same wherever judging began."""
    return case.timeline.next_driving_us(stretch.counted_from_us) or stretch.counted_from_us


def _violation(
    case: Case, bound: _Bound, stretch: Stretch, moment: Moment[PeriodRule], extensions: int = 0
) -> Violation:
    rule, timeline = moment.rule, case.timeline
    end_us = min(stretch.end_us, timeline.end_us)
    counted_from_us = _counted_from_us(case, stretch)
    last = timeline.pieces[timeline.pieces_before(end_us) - 1]
    judged_by = {
        name: value for name in ("limit_s", "rest_s", "extended_limit_s") if (value := getattr(rule, name)) is not None
    }
    evidence: dict[str, str | int] = {"driving_began_at": rfc3339(counted_from_us), "basis": rule.basis}
    if extensions:
        judged_by["extensions_per_week"] = rule.extensions_per_week
        evidence["extensions"] = extensions
    return case.violation(
        bound.kind,
        rule.valid_from.isoformat(),
        rule.source,
        () if rule.basis == "law" else (_ASSUMED,),
        (moment.at_us, min(last.end_us, end_us)),
        bound.limit_us(rule),
        timeline.driven_us(end_us) - timeline.driven_us(stretch.counted_from_us),
        judged_by,
        evidence,
        moment.at_us,
        stretch.end_us if timeline.end_us >= stretch.end_us else None,
        case.vehicles(counted_from_us, end_us),
    )


def _warning(case: Case, bound: _Bound, stretch: Stretch, moment: Moment[PeriodRule]) -> LimitWarning:
    timeline, kind = case.timeline, bound.kind
    return LimitWarning(
        kind=kind.value,
        rule=case.rule_name(kind, moment.rule.valid_from.isoformat()),
        vehicle_id=case.vehicle_at(moment.at_us),
        driver_id=case.line.driver_id,
        at_us=moment.at_us,
        counted_from_us=_counted_from_us(case, stretch),
        limit_s=bound.limit_us(moment.rule) / 1e6,
        actual_s=(timeline.driven_us(moment.at_us) - timeline.driven_us(stretch.counted_from_us)) / 1e6,
    )
