"""Drivers' hours over the whole time, judged line by line as the offline check does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.panels.days import EVERY_S
from benchmarks.panels.fleet import Fleet
from detectors.activity import Activity, ActivityChanges
from detectors.columns import UNKNOWN
from detectors.hours import HoursJudgement, HoursRules, Interval, Line, judge_hours, shown_driving


class JudgedLine(NamedTuple):
    """A driver, or a vehicle whose drivers nobody names, with what was found."""

    line: Line
    judgement: HoursJudgement


def judged_lines(
    fleet: Fleet, parts: Sequence[ActivityChanges], last_us: NDArray[np.int64], rules: HoursRules
) -> Iterator[JudgedLine]:
    """Every line; `parts` are the activity changes day by day, `last_us` the newest trusted fix of each vehicle."""
    vehicle, time_us, driver, activity = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.lexsort((time_us, vehicle))
    vehicle, time_us, driver, activity = vehicle[order], time_us[order], driver[order], activity[order]
    is_last = np.append(vehicle[1:] != vehicle[:-1], True)
    end_us = np.append(time_us[1:], 0)
    end_us[is_last] = last_us[vehicle[is_last]]
    key = np.where(driver == UNKNOWN, -1 - vehicle.astype(np.int64), driver)
    order = np.argsort(key, kind="stable")
    bounds = np.flatnonzero(np.append(True, key[order][1:] != key[order][:-1])).tolist()
    kinds, activities = fleet.kinds(), tuple(Activity)
    for begin, end in zip(bounds, [*bounds[1:], len(order)], strict=True):
        rows = order[begin:end]
        first = int(key[rows[0]])
        line = Line(None, fleet.vehicle_ids[-1 - first]) if first < 0 else Line(fleet.driver_ids[first], None)
        columns = (vehicle[rows], time_us[rows], end_us[rows], activity[rows])
        intervals = [
            Interval(begin_us, until_us, activities[done], fleet.vehicle_ids[code], kinds.get(fleet.vehicle_ids[code]))
            for code, begin_us, until_us, done in zip(*(column.tolist() for column in columns), strict=True)
            if until_us > begin_us
        ]
        if intervals:
            yield JudgedLine(line, _judged(line, intervals, rules))


def _judged(line: Line, intervals: Sequence[Interval], rules: HoursRules) -> HoursJudgement:
    judgement = judge_hours(line, intervals, rules)
    if not any(violation.grade == "confirmed" for violation in judgement.violations):
        return judgement
    # The fix before the one that ends a drive is the last to show it.
    shown = [
        piece
        for each in intervals
        for piece in (
            shown_driving(each, each.end_us - EVERY_S * 1_000_000) if each.activity == Activity.DRIVING else [each]
        )
    ]
    return judge_hours(line, intervals, rules, shown=shown)
