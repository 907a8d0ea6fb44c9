"""How a line stands against its limits, for whoever wants to know between two judgements of it."""

from __future__ import annotations

from detectors.hours import HoursJudgement
from detectors.hours_rules import HoursRules

_SOONEST_US = 60_000_000
_LATEST_US = 1_800_000_000
_SHARE_OF_LEFT = 10
"""A line is looked at again after a tenth of what is left: the nearer the limit, the fresher the figures."""


def left_us(judgement: HoursJudgement) -> int | None:
    """The driving left until the nearest limit, microseconds; None while none is in force."""
    return min((left for clock in judgement.clocks.values() if (left := clock.left_us) is not None), default=None)


def look_again_us(judgement: HoursJudgement, rules: HoursRules) -> int:
    """When the figures of `judgement` are to be taken anew, microseconds UTC: soon near a limit, and by midnight."""
    at_us, left = judgement.judged_to_us, left_us(judgement)
    wait_us = _LATEST_US if left is None else min(max(left // _SHARE_OF_LEFT, _SOONEST_US), _LATEST_US)
    return min(at_us + wait_us, rules.calendar.day_end(at_us))
