"""The one-minute rule: what a tachograph would have written for each calendar minute.

Regulation (EU) 2016/799 Annex IC, requirements 50 to 52.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from detectors.activity import Activity
from detectors.hours_timeline import Interval, flatten

MINUTE_US = 60_000_000


def whole_minutes(intervals: Sequence[Interval]) -> list[Interval]:
    """The same timeline in whole calendar minutes.

    A minute takes the longest activity without a break in it, the latest of equals (52). A minute between two of
    driving is driving (51). Minutes of which nothing is known stay so, unless driving lies on both sides.
    """
    runs = _by_activity(flatten(intervals))
    if not runs:
        return []
    first = runs[0].begin_us // MINUTE_US
    owners = _longest(runs, first, -(-runs[-1].end_us // MINUTE_US))
    driving = np.array([each.activity == Activity.DRIVING for each in runs] + [False])[owners]
    between = np.flatnonzero(driving[:-2] & driving[2:] & ~driving[1:-1]) + 1
    owners[between] = owners[between - 1]
    result = []
    begin = first
    for owner, minutes in groupby(owners.tolist()):
        end = begin + sum(1 for _ in minutes)
        if owner >= 0:
            result.append(runs[owner]._replace(begin_us=begin * MINUTE_US, end_us=end * MINUTE_US))
        begin = end
    return result


def _by_activity(flat: Sequence[Interval]) -> list[Interval]:
    """One activity without a break is one, whatever the vehicle; it bears the first one's name."""
    runs: list[Interval] = []
    for each in flat:
        if runs and runs[-1].end_us == each.begin_us and runs[-1].activity == each.activity:
            runs[-1] = runs[-1]._replace(end_us=each.end_us)
        else:
            runs.append(each)
    return runs


def _longest(runs: Sequence[Interval], first: int, end: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """For each minute the run that lasts longest in it, the latest of equals; -1 where there is none."""
    owners = np.full(end - first, -1, dtype=np.int64)
    longest_us: dict[int, int] = {}
    for number, (begin_us, end_us, *_) in enumerate(runs):
        first_minute, last_minute = begin_us // MINUTE_US, (end_us - 1) // MINUTE_US
        owners[first_minute + 1 - first : max(0, last_minute - first)] = number
        for minute in (first_minute, last_minute):
            part_us = min(end_us, (minute + 1) * MINUTE_US) - max(begin_us, minute * MINUTE_US)
            if part_us >= longest_us.get(minute, 0):
                longest_us[minute] = part_us
                owners[minute - first] = number
    return owners
