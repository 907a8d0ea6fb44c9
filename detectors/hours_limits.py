"""A stretch of time with a limit on the driving in it: when the limit was passed, and when to warn of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from detectors.hours_timeline import Timeline
from detectors.rules import Dated
from detectors.rules.driving_time import ContinuousRule, PeriodRule

FAR_US = 2**62
"""Later than any time."""

Limited = TypeVar("Limited", ContinuousRule, PeriodRule)


class Stretch(NamedTuple):
    """Driving counts from `counted_from_us`; the limit can be passed from `begin_us` on and before `end_us`."""

    counted_from_us: int
    begin_us: int
    end_us: int


class Moment(NamedTuple, Generic[Limited]):
    """When something was so, and the version of the rule in force then."""

    at_us: int
    rule: Limited


def excess(
    timeline: Timeline, stretch: Stretch, rules: Dated[Limited], limit_us: Callable[[Limited], int]
) -> Moment[Limited] | None:
    """When the driving of a stretch became more than the limit in force; None if it did not."""
    before_us = timeline.driven_us(stretch.counted_from_us)
    return _first(timeline, stretch, rules, lambda rule: timeline.passed_us(before_us + limit_us(rule)))


def nearness(
    timeline: Timeline, stretch: Stretch, rules: Dated[Limited], warn_us: Callable[[Limited], int | None]
) -> Moment[Limited] | None:
    """When the driving of a stretch reached the amount to warn at; None if it did not, or there is none."""
    before_us = timeline.driven_us(stretch.counted_from_us)

    def reached_us(rule: Limited) -> int | None:
        enough_us = warn_us(rule)
        return None if enough_us is None else timeline.reached_us(before_us + enough_us)

    return _first(timeline, stretch, rules, reached_us)


def _first(
    timeline: Timeline, stretch: Stretch, rules: Dated[Limited], moment_us: Callable[[Limited], int | None]
) -> Moment[Limited] | None:
    for begin_us, end_us, rule in rules.spans(stretch.begin_us, stretch.end_us):
        at_us = moment_us(rule)
        if at_us is not None and at_us < begin_us:
            # It was so before this stretch, or this version, began: it counts from the first driving in it.
            at_us = timeline.next_driving_us(begin_us)
        if at_us is not None and at_us < end_us:
            return Moment(at_us, rule)
    return None


def earliest_us(driven_us: int, end_us: int, limit_us: int, warn_us: int | None, *, warned: bool) -> int:
    """When, with nothing but driving from `end_us` on, the next warning or violation could come at the earliest."""
    next_us = limit_us if warn_us is None or warned else warn_us
    return end_us + max(0, next_us - driven_us)
