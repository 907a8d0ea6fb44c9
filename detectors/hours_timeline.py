"""A driver's timeline: what was done when, across vehicles, and how much of it was driving."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, compress, pairwise
from operator import eq, itemgetter, le, lt, sub
from typing import NamedTuple

from detectors.activity import Activity


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


class Rest(NamedTuple):
    """A stretch of the timeline: of nothing but rest, unless it is said to be of something else."""

    begin_us: int
    end_us: int


Resting = tuple[bool, ...]
"""For each activity whether it counts as rest."""

_STRENGTH = {
    Activity.DRIVING: 6,
    Activity.WORK: 5,
    Activity.AVAILABLE: 4,
    Activity.UNKNOWN: 3,
    Activity.SLEEPER: 2,
    Activity.REST: 1,
    Activity.STOPPED: 0,
}
# Columns of intervals without a step of Python for each: four weeks of a driver are judged in about a millisecond.
_BEGIN, _END, _DOING = itemgetter(0), itemgetter(1), itemgetter(2)
_IS_DRIVING = tuple(activity == Activity.DRIVING for activity in sorted(Activity))
_STRENGTHS = tuple(_STRENGTH[activity] for activity in sorted(Activity))


def resting(names: Iterable[str]) -> Resting:
    """Rest is what bears one of these names."""
    wanted = set(names)
    return tuple(activity.name.lower() in wanted for activity in sorted(Activity))


def with_unknown(rest: Resting) -> Resting:
    """The same, and what is unknown is rest too: the reading that favours the driver."""
    return tuple(each or activity == Activity.UNKNOWN for activity, each in enumerate(rest))


def flatten(intervals: Sequence[Interval]) -> list[Interval]:
    """Intervals of all a driver's vehicles as one sequence without overlap: driving wins, then work, then unknown.

    What no vehicle knows of is absent; between two intervals the driver was away, which is rest. How a stretch was cut
    into intervals, and their order, change nothing.
    """
    begins_us, ends_us = list(map(_BEGIN, intervals)), list(map(_END, intervals))
    if not all(map(lt, begins_us, ends_us)) or not all(map(le, ends_us, begins_us[1:])):
        return _merged(_without_overlap(_merged(intervals)))
    doing = list(map(_DOING, intervals))
    return _merged(intervals) if any(map(eq, doing, doing[1:])) else list(intervals)


def _merged(intervals: Sequence[Interval]) -> list[Interval]:
    """Neighbours that touch and say the same are one; what has no length is gone."""
    merged: list[Interval] = []
    what: tuple[object, ...] = ()
    until_us = 0
    for interval in intervals:
        begin_us, end_us, says = interval[0], interval[1], interval[2:]
        if end_us <= begin_us:
            continue
        if begin_us == until_us and says == what:
            merged[-1] = merged[-1]._replace(end_us=end_us)
        else:
            merged.append(interval)
            what = says
        until_us = end_us
    return merged


def _without_overlap(intervals: Sequence[Interval]) -> list[Interval]:
    ordered = sorted(_joined(intervals), key=lambda each: (*each[:3], each.vehicle_id or ""))
    edges = sorted({edge for each in ordered for edge in each[:2]})
    flat: list[Interval] = []
    active: list[Interval] = []
    following = iter(ordered)
    upcoming = next(following, None)
    for begin_us, end_us in pairwise(edges):
        active = [each for each in active if each.end_us > begin_us]
        while upcoming is not None and upcoming.begin_us <= begin_us:
            active.append(upcoming)
            upcoming = next(following, None)
        if active:
            strongest = max(active, key=lambda each: _STRENGTHS[each.activity])
            flat.append(strongest._replace(begin_us=begin_us, end_us=end_us))
    return flat


def _overlap(intervals: Sequence[Interval]) -> bool:
    """Whether two of these overlap, whatever their order."""
    if all(map(le, map(_END, intervals), map(_BEGIN, intervals[1:]))):
        return False
    return any(before[1] > after[0] for before, after in pairwise(sorted(each[:2] for each in intervals)))


def _joined(intervals: Iterable[Interval]) -> list[Interval]:
    """Intervals that say the same of one vehicle and touch are one: where two vehicles overlap, the older one wins."""
    joined: list[Interval] = []
    for each in sorted(
        intervals, key=lambda each: (each.vehicle_id or "", each.vehicle_kind or "", each[2], *each[:2])
    ):
        if joined and joined[-1][2:] == each[2:] and joined[-1].end_us >= each.begin_us:
            joined[-1] = joined[-1]._replace(end_us=max(joined[-1].end_us, each.end_us))
        else:
            joined.append(each)
    return joined


def in_two_vehicles(intervals: Sequence[Interval], longer_than_us: int) -> list[Rest]:
    """Stretches longer than that in which one driver drives two vehicles or more at once: the id is no person's."""
    edges: list[tuple[int, int, str]] = []
    for each in _joined(each for each in intervals if each.activity == Activity.DRIVING):
        edges += [(each.begin_us, 1, each.vehicle_id or ""), (each.end_us, -1, each.vehicle_id or "")]
    driven: dict[str, int] = {}
    found: list[Rest] = []
    since_us: int | None = None
    for time_us, step, vehicle_id in sorted(edges, key=lambda edge: (edge[0], -edge[1])):
        driven[vehicle_id] = driven.get(vehicle_id, 0) + step
        several = sum(count > 0 for count in driven.values()) > 1
        if several and since_us is None:
            since_us = time_us
        elif not several and since_us is not None:
            if time_us - since_us > longer_than_us:
                found.append(Rest(since_us, time_us))
            since_us = None
    return found


def _doubted(intervals: Sequence[Interval], doubtful: Sequence[Rest]) -> list[Interval]:
    """The intervals with what lies in the doubtful stretches as unknown."""
    told: list[Interval] = []
    for each in intervals:
        begin_us = each.begin_us
        for doubt in doubtful:
            if doubt.end_us <= begin_us or doubt.begin_us >= each.end_us:
                continue
            told.append(each._replace(begin_us=begin_us, end_us=max(begin_us, doubt.begin_us)))
            begin_us = min(each.end_us, doubt.end_us)
            told.append(Interval(max(each.begin_us, doubt.begin_us), begin_us, Activity.UNKNOWN))
        told.append(each._replace(begin_us=begin_us))
    return told


def _long_unknown_stopped(flat: list[Interval], resets_us: int) -> list[Interval]:
    """With the unknown as stopped wherever from one driving to the next, or to the end, it was so long."""
    if not any(each[2] == Activity.UNKNOWN for each in flat):
        return flat
    driving = [number for number, each in enumerate(flat) if each[2] == Activity.DRIVING]
    told = list(flat)
    for number, following in pairwise([*driving, len(flat)]):
        until_us = flat[following].begin_us if following < len(flat) else flat[-1].end_us
        if until_us - flat[number].end_us >= resets_us:
            told[number + 1 : following] = [
                each._replace(activity=Activity.STOPPED) if each.activity == Activity.UNKNOWN else each
                for each in flat[number + 1 : following]
            ]
    return told


class Timeline:
    """Intervals without overlap, and the driving in them."""

    def __init__(
        self,
        intervals: Sequence[Interval],
        two_vehicles_us: int | None = None,
        unknown_resets_us: int | None = None,
        doubtful: Sequence[Rest] = (),
    ) -> None:
        """Driving in two vehicles at once for longer than `two_vehicles_us` counts as unknown: whoever drove, it was
        not this one driver alone; `doubtful` are stretches of which that is known already. Where nothing was driven
        for `unknown_resets_us`, what is unknown counts as stopped."""
        self._told = intervals if _overlap(intervals) else ()
        self._unknown_resets_us = unknown_resets_us
        self.doubtful = doubtful if two_vehicles_us is None else in_two_vehicles(self._told, two_vehicles_us)
        """Stretches in which the driver drove two vehicles at once."""
        flat = flatten(_doubted(intervals, self.doubtful) if self.doubtful else intervals)
        self.intervals = flat if unknown_resets_us is None else _long_unknown_stopped(flat, unknown_resets_us)
        self._doing: list[Activity] = list(map(_DOING, self.intervals))
        self.pieces = list(compress(self.intervals, map(_IS_DRIVING.__getitem__, self._doing)))
        """The driving."""
        self._begins_us: list[int] = list(map(_BEGIN, self.pieces))
        self._driven_us: list[int] = [0, *accumulate(map(sub, map(_END, self.pieces), self._begins_us))]
        self._gaps: dict[Resting, tuple[list[int], list[int]]] = {}

    def read_again(self, intervals: Sequence[Interval]) -> Timeline:
        """Another reading of the same line: a driver in two vehicles at once stays one."""
        return Timeline(intervals, None, self._unknown_resets_us, self.doubtful)

    def overlapping(self, rest: Resting) -> list[Interval]:
        """Where any overlap, the intervals as they were told that are no rest; else none."""
        return [each for each in self._told if not rest[each.activity]]

    @property
    def begin_us(self) -> int:
        """Where it begins."""
        return self.intervals[0].begin_us

    @property
    def end_us(self) -> int:
        """Where it ends."""
        return self.intervals[-1].end_us

    @property
    def has_unknown(self) -> bool:
        """Whether any of it is unknown."""
        return Activity.UNKNOWN in self._doing

    def driven_us(self, time_us: int) -> int:
        """How much driving there was before a time."""
        number = bisect_left(self._begins_us, time_us)
        if not number:
            return 0
        return self._driven_us[number] - max(0, self.pieces[number - 1].end_us - time_us)

    def reached_us(self, driven_us: int) -> int | None:
        """The first moment at which there was so much driving; None if there never was."""
        number = bisect_left(self._driven_us, driven_us)
        if number == 0 or number == len(self._driven_us):
            return None if number else (self._begins_us[0] if self.pieces else None)
        return self.pieces[number - 1].begin_us + driven_us - self._driven_us[number - 1]

    def passed_us(self, driven_us: int) -> int | None:
        """The moment from which there was more driving than that; None if there never was."""
        number = bisect_right(self._driven_us, driven_us)
        if number == len(self._driven_us):
            return None
        return self.pieces[number - 1].begin_us + driven_us - self._driven_us[number - 1]

    def driven_in_us(self, first: int, following: int) -> int:
        """How much driving there was in the pieces from one to before another."""
        return self._driven_us[following] - self._driven_us[first]

    def next_driving_us(self, time_us: int) -> int | None:
        """The first moment of driving at a time or after it."""
        number = self.pieces_before(time_us)
        if number and self.pieces[number - 1].end_us > time_us:
            return time_us
        if number < len(self.pieces):
            return self._begins_us[number]
        return None

    def pieces_before(self, time_us: int) -> int:
        """How many pieces of driving begin before a time."""
        return bisect_left(self._begins_us, time_us)

    def piece_at(self, time_us: int) -> Interval:
        """The driving at a moment, or the last before it."""
        return self.pieces[max(0, bisect_right(self._begins_us, time_us) - 1)]

    def rests(self, rest: Resting, at_least_us: int) -> list[Rest]:
        """The rests of at least that length after the first thing that was none."""
        least_us = max(1, at_least_us)
        return [
            Rest(begin_us, end_us)
            for begin_us, end_us in zip(*self._rested(rest), strict=True)
            if end_us - begin_us >= least_us
        ]

    def latest_rests(self, rest: Resting, at_least_us: int) -> Iterator[Rest]:
        """The same, the latest first, looked for as they are asked for."""
        least_us = max(1, at_least_us)
        begins_us, ends_us = self._rested(rest)
        for begin_us, end_us in zip(reversed(begins_us), reversed(ends_us), strict=True):
            if end_us - begin_us >= least_us:
                yield Rest(begin_us, end_us)

    def _rested(self, rest: Resting) -> tuple[list[int], list[int]]:
        """Where each rest begins and ends, those of no length among them."""
        gaps = self._gaps.get(rest)
        if gaps is None:
            no_rest = [not each for each in rest]
            busy = list(compress(self.intervals, map(no_rest.__getitem__, self._doing)))
            ends_us = [*map(_BEGIN, busy[1:]), self.end_us] if busy else []
            gaps = self._gaps[rest] = (list(map(_END, busy)), ends_us)
        return gaps
