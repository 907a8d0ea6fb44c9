"""Judges a whole recording at once: what the stream and its re-judges must end in, whatever the order of arrival."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from detectors.activity import Activity, ActivityChanges
from detectors.checks import NEVER, Check, flags_alone
from detectors.columns import Columns
from detectors.detector import Context, Factory
from detectors.hours import HoursRules, Interval, Line, judge_hours, shown_driving
from detectors.journeys import JourneyJudge
from detectors.names import Names
from detectors.precedence import standing_rows
from detectors.silence import Silences
from detectors.violation import Violation

_ACTIVITIES = tuple(Activity)
"""By number, at a fraction of what looking one up in the enumeration costs."""


@dataclass(frozen=True, slots=True)
class RecordingJudgement:
    """Violations in order of vehicle and start, and what the fixes were worth."""

    violations: list[Violation]
    fixes: int
    doubled: int
    conflicts: int
    flagged: Mapping[str, int]


def judge_recording(
    columns: Columns,
    context: Context,
    factories: Sequence[Factory],
    hours: HoursRules,
    kinds: Mapping[str, str | None],
    hours_of_driver: Mapping[str, HoursRules] | None = None,
    latest_us: int | None = None,
) -> RecordingJudgement:
    """Judge fixes in any order; their codes are those of the context's names.

    `kinds` gives the kind of each vehicle, which decides the rest, where it is known; `hours_of_driver` the rules of
    drivers that other ones than `hours` apply to. Whoever is silent at the end is so by the time of the newest fix
    that passes the checks on one fix alone, or by `latest_us` if that is earlier: a recording does not say when it was
    received, so its caller says which time nothing in it can be after.
    """
    vehicles, drivers, pack = context.vehicles, context.drivers, context.pack
    alone = flags_alone(columns, pack.checks, None)
    rows, conflicts = standing_rows(columns, alone, drivers)
    standing = columns.take(rows)
    judge = JourneyJudge(context, factories)
    judgement = judge.advance(standing, alone[rows])
    violations = list(judgement.violations)
    if "silence" in judge.kinds:
        now_us = int(standing.time_us[alone[rows] == 0].max(initial=NEVER))
        clock_us = now_us if latest_us is None else min(now_us, latest_us)
        violations += Silences(context).open_at(judge.state, len(vehicles), clock_us)
    places = _Places(standing, judgement.flags, pack.activity.moving_kmh)
    codes = {name: code for code, name in enumerate(vehicles.names)}
    for line, intervals in _lines(judgement.activity, judge, vehicles, drivers, kinds).items():
        rules = (hours_of_driver or {}).get(line.driver_id or "", hours)
        judged = judge_hours(line, intervals, rules)
        if any(violation.grade == "confirmed" for violation in judged.violations):
            shown = [
                piece
                for each in intervals
                for piece in places.shown(each, codes[each.vehicle_id or ""], drivers.code(line.driver_id))
            ]
            judged = judge_hours(line, intervals, rules, shown=shown)
        for violation in judged.violations:
            assert violation.ends is not None
            start, end = (places.at(codes[vehicle_id], time_us) for vehicle_id, time_us in violation.ends)
            violations.append(replace(violation, start=start, end=end))
    violations.sort(key=lambda each: (each.vehicle_id or "", each.started_us, each.kind))
    flagged = {check.name.lower(): int(np.count_nonzero(judgement.flags & check)) for check in Check if check.name}
    return RecordingJudgement(violations, len(rows), len(columns) - len(rows) - conflicts, conflicts, flagged)


def _lines(
    activity: ActivityChanges, judge: JourneyJudge, vehicles: Names, drivers: Names, kinds: Mapping[str, str | None]
) -> dict[Line, list[Interval]]:
    """The intervals of each line; a vehicle's last activity holds until its last trusted fix."""
    lines: dict[Line, list[Interval]] = {}
    codes, begins_us = activity.vehicle.tolist(), activity.time_us.tolist()
    is_last = np.append(activity.vehicle[1:] != activity.vehicle[:-1], True)[: len(codes)]
    ends_us = np.append(activity.time_us[1:], 0)[: len(codes)]
    ends_us[is_last] = judge.state.last_us[activity.vehicle[is_last]]
    columns = (codes, begins_us, ends_us.tolist(), activity.driver.tolist(), activity.activity.tolist())
    for vehicle, begin_us, end_us, driver, done in zip(*columns, strict=True):
        name, driver_id = vehicles.names[vehicle], drivers.name(driver)
        line = Line(driver_id, None if driver_id else name)
        lines.setdefault(line, []).append(Interval(begin_us, end_us, _ACTIVITIES[done], name, kinds.get(name)))
    return lines


class _Places:
    """Where a vehicle was, and how long a driver was seen to drive it: by the trusted fixes at or before a time."""

    def __init__(self, standing: Columns, flags: np.ndarray[tuple[int], np.dtype[np.int32]], moving_kmh: float) -> None:
        self._rows = standing.take(flags == 0)
        self._moving_kmh = moving_kmh

    def at(self, vehicle: int, time_us: int) -> tuple[float, float] | None:
        begin, row = self._last(vehicle, time_us)
        return None if row < begin else (float(self._rows.lat[row]), float(self._rows.lon[row]))

    def shown(self, interval: Interval, vehicle: int, driver: int) -> list[Interval]:
        """The interval with no more driving than fixes show."""
        if interval.activity != Activity.DRIVING:
            return [interval]
        rows = self._rows
        begin, row = self._last(vehicle, interval.end_us)
        while row >= begin and rows.time_us[row] >= interval.begin_us:
            if rows.driver[row] == driver and rows.speed_kmh[row] >= self._moving_kmh:
                return shown_driving(interval, int(rows.time_us[row]))
            row -= 1
        return shown_driving(interval, interval.begin_us)

    def _last(self, vehicle: int, time_us: int) -> tuple[int, int]:
        """The vehicle's first row, and its last one at or before a time."""
        rows = self._rows
        # In the column's own type: it would be converted as a whole otherwise, for each place.
        begin, end = np.searchsorted(rows.vehicle, np.array([vehicle, vehicle + 1], dtype=rows.vehicle.dtype)).tolist()
        return begin, begin + int(np.searchsorted(rows.time_us[begin:end], time_us, side="right")) - 1
