"""The judge of vehicles: columns of fixes in; flags, activity changes and violations out.

One class serves the stream (a micro-batch at a time), the re-judge (a stretch read back from storage) and the
offline check (a whole recording at once). However the fixes are cut into calls, what comes out together is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from detectors.activity import Activity, ActivityChanges, activity_of_legs, changes
from detectors.checks import NEVER, Check, Flags, Place, Seen, flags_in_sequence, holds, is_jump, is_leap, walk
from detectors.columns import Bool, Code, Columns, Int
from detectors.detector import Before, Context, Factory, TrustedFixes
from detectors.fleet import FleetState
from detectors.geo import distance_mm
from detectors.limits import speeds
from detectors.violation import Violation

Rows = NDArray[np.intp]
Column = TypeVar("Column", Int, NDArray[np.float64], NDArray[np.int32])


class Legs(NamedTuple):
    """Pieces of journey that this call completed: each from a trusted fix to the next of its vehicle."""

    vehicle: NDArray[np.int32]
    driver: NDArray[np.int32]
    """The driver named by the earlier fix."""
    begin_us: Int
    end_us: Int


@dataclass(slots=True)
class Judgement:
    """What one call found out. Arrays are row by row those of the columns given."""

    flags: Flags
    settled: Bool
    """The judge's state after this fix follows from this fix alone: judging may begin here."""
    leg_mm: Int
    """Length of the leg that ends at this fix, from the trusted fix before it; 0 for a flagged fix or the first."""
    leg_driving_us: Int
    """How long this leg was driving: its whole duration or nothing."""
    activity: ActivityChanges
    legs: Legs
    violations: list[Violation]
    """Violations that this call opened, changed or ended, as they stand now."""


class _Distances(NamedTuple):
    """The length of the leg that leads to each row, and the time of the fix that it comes from."""

    mm: Int
    from_us: Int


class JourneyJudge:
    """Judges fixes vehicle by vehicle in time order, remembering what it must in a `FleetState`."""

    def __init__(self, context: Context, factories: Sequence[Factory]) -> None:
        self._pack = context.pack
        self._limits = context.limits
        self._detectors = [make(context) for make in factories]
        self.state = FleetState()

    @property
    def kinds(self) -> list[str]:
        """The kinds of violation that are judged vehicle by vehicle."""
        return [kind for detector in self._detectors for kind in detector.kinds]

    def forget(self, vehicles: Code) -> None:
        """Remember nothing of these vehicles."""
        self.state.forget(vehicles)
        for detector in self._detectors:
            detector.forget(vehicles)

    def advance(self, batch: Columns, flags: Flags) -> Judgement:
        """Judge fixes newer than any judged before of their vehicle.

        `batch` is sorted by (vehicle, time) without two rows alike in both; `flags` are those each fix earned alone.
        """
        if len(batch):
            size = int(batch.vehicle[-1]) + 1
            self.state.reserve(size)
            self._limits.reserve(size)
        flags = flags.copy()
        settled = np.zeros(len(batch), dtype=np.bool_)
        all_mm, all_driving_us = np.zeros(len(batch), dtype=np.int64), np.zeros(len(batch), dtype=np.int64)
        usable = np.flatnonzero(flags == 0)
        rows = batch if len(usable) == len(batch) else batch.take(usable)
        if not len(rows):
            return Judgement(flags, settled, all_mm, all_driving_us, *_NOTHING, [])
        first = _firsts(rows)
        seen_flags, held, legs = self._against_seen(rows, first)
        self._see(rows, first, held)
        rows, usable, held, legs = _drop(rows, usable, held, legs, flags, seen_flags)
        first = _firsts(rows)
        previous = self._previous(rows, first)
        legs = _legs(rows, previous, legs)
        out_of_reach = self._out_of_reach(rows, first, previous, legs.mm)
        if out_of_reach.any():
            rows, usable, held, legs = _drop(rows, usable, held, legs, flags, out_of_reach)
            first = _firsts(rows)
            previous = self._previous(rows, first)
            legs = _legs(rows, previous, legs)
        leg_mm = legs.mm
        activity, completed, driving_us = self._activity(rows, first, previous, leg_mm)
        all_mm[usable], all_driving_us[usable] = leg_mm, driving_us
        violations, unsettled = self._judge(TrustedFixes(rows, previous, leg_mm))
        settled[usable] = ~unsettled & ((held == NEVER) | (held == rows.time_us))
        self._remember(rows, first)
        return Judgement(flags, settled, all_mm, all_driving_us, activity, completed, violations)

    def _against_seen(self, rows: Columns, first: Bool) -> tuple[Flags, Int, _Distances]:
        """The flags against the usable fix before each, since when each position is held, and the legs' lengths."""
        state, starts, numbers = self.state, np.flatnonzero(first), self._pack.checks
        heads = rows.vehicle[starts]
        before_us = _shifted(rows.time_us, starts, state.seen_us[heads])
        lat, lon = _shifted(rows.lat, starts, state.seen_lat[heads]), _shifted(rows.lon, starts, state.seen_lon[heads])
        there = before_us != NEVER
        legs = distance_mm(lat, lon, rows.lat, rows.lon)
        legs[~there] = 0
        seen = Seen(
            there,
            np.where(there, rows.time_us - before_us, 0),
            legs,
            speeds(rows.speed_kmh),
            speeds(_shifted(rows.speed_kmh, starts, state.seen_speed_kmh[heads])),
        )
        hold_before = state.hold_us[rows.vehicle]
        held = holds((lat == rows.lat) & (lon == rows.lon), first, seen, rows.time_us, hold_before, numbers)
        before = _shifted(held, starts, state.hold_us[heads])
        return flags_in_sequence(held, before, rows.time_us, seen, numbers), held, _Distances(legs, before_us)

    def _see(self, rows: Columns, first: Bool, held: Int) -> None:
        last, state = _lasts(first), self.state
        codes = rows.vehicle[last]
        state.seen_us[codes] = rows.time_us[last]
        state.seen_lat[codes] = rows.lat[last]
        state.seen_lon[codes] = rows.lon[last]
        state.seen_speed_kmh[codes] = rows.speed_kmh[last]
        state.hold_us[codes] = held[last]

    def _previous(self, rows: Columns, first: Bool) -> Before:
        state, starts = self.state, np.flatnonzero(first)
        heads = rows.vehicle[starts]
        time_us = _shifted(rows.time_us, starts, state.last_us[heads])
        return Before(
            time_us != NEVER,
            time_us,
            _shifted(rows.lat, starts, state.last_lat[heads]),
            _shifted(rows.lon, starts, state.last_lon[heads]),
            _shifted(rows.speed_kmh, starts, state.last_speed_kmh[heads]),
            _shifted(rows.driver, starts, state.last_driver[heads]),
        )

    def _out_of_reach(self, rows: Columns, first: Bool, previous: Before, leg_mm: Int) -> Flags:
        """The flags of fixes that cannot have been reached from the last trusted one."""
        numbers, state = self._pack.checks, self.state
        flags = np.zeros(len(rows), dtype=np.int32)
        if not len(rows):
            return flags
        leg_us = np.where(previous.there, rows.time_us - previous.time_us, 0)
        speed = speeds(rows.speed_kmh)
        direct = np.zeros(len(rows), dtype=np.int32)
        direct[previous.there & is_leap(speed, speeds(previous.speed_kmh), leg_us, numbers)] = Check.ACCELERATION
        direct[previous.there & is_jump(leg_mm, leg_us, numbers)] = Check.JUMP
        suspicious = direct != 0
        suspicious |= first & state.suspected[rows.vehicle]
        suspects = np.unique(rows.vehicle[suspicious])
        begins = np.searchsorted(rows.vehicle, suspects).tolist()
        ends = np.searchsorted(rows.vehicle, suspects, side="right").tolist()
        for vehicle, begin, end in zip(suspects.tolist(), begins, ends, strict=True):
            here = slice(begin, end)
            places = map(
                Place,
                rows.time_us[here].tolist(),
                rows.lat[here].tolist(),
                rows.lon[here].tolist(),
                speed[here].tolist(),
            )
            trusted, suspect = state.trusted_place(vehicle), state.suspect(vehicle)
            flags[here], suspect = walk(places, direct[here].tolist(), trusted, suspect, numbers)
            state.set_suspect(vehicle, suspect)
        return flags

    def _activity(self, rows: Columns, first: Bool, previous: Before, leg_mm: Int) -> tuple[ActivityChanges, Legs, Int]:
        """Pieces begin at the previous fix: what a vehicle did is known when the leg is complete.

        Also how long it was driving on the leg to each row.
        """
        leg_us = np.where(previous.there, rows.time_us - previous.time_us, 0)
        activity = activity_of_legs(leg_us, leg_mm, previous.speed_kmh, self._pack.activity)
        pieces = previous.there
        driving_us = np.where(pieces & (activity == Activity.DRIVING), leg_us, 0)
        if not pieces.all():
            rows, first, activity = rows.take(pieces), _after_drop(first, pieces), activity[pieces]
            previous = previous.take(pieces)
        state = self.state
        before, driver_before = state.activity[rows.vehicle], state.activity_driver[rows.vehicle]
        new = changes(rows.vehicle, first, previous.time_us, previous.driver, activity, before, driver_before)
        last = _lasts(first)
        state.activity[rows.vehicle[last]] = activity[last]
        state.activity_driver[rows.vehicle[last]] = previous.driver[last]
        begin_us, driver = previous.time_us, previous.driver
        return (
            ActivityChanges(rows.vehicle[new], begin_us[new], driver[new], activity[new]),
            Legs(rows.vehicle, driver, begin_us, rows.time_us),
            driving_us,
        )

    def _judge(self, fixes: TrustedFixes) -> tuple[list[Violation], Bool]:
        violations: list[Violation] = []
        unsettled = np.zeros(len(fixes.rows), dtype=np.bool_)
        for detector in self._detectors:
            found = detector.advance(fixes)
            violations += found.violations
            unsettled |= found.unsettled
        return violations, unsettled

    def _remember(self, rows: Columns, first: Bool) -> None:
        last, state = _lasts(first), self.state
        codes = rows.vehicle[last]
        state.last_us[codes] = rows.time_us[last]
        state.last_lat[codes] = rows.lat[last]
        state.last_lon[codes] = rows.lon[last]
        state.last_speed_kmh[codes] = rows.speed_kmh[last]
        state.last_driver[codes] = rows.driver[last]


def _shifted(now: Column, starts: Rows, before: Column) -> Column:
    """Each row's predecessor in the column: the row above, or for a vehicle's first what the state remembers."""
    column = np.empty_like(now)
    column[1:] = now[:-1]
    column[starts] = before
    return column


def _firsts(rows: Columns) -> Bool:
    first = np.ones(len(rows), dtype=np.bool_)
    first[1:] = rows.vehicle[1:] != rows.vehicle[:-1]
    return first


def _lasts(first: Bool) -> Rows:
    return np.append(np.flatnonzero(first), len(first))[1:] - 1


def _after_drop(first: Bool, kept: Bool) -> Bool:
    """The firsts of what is left when some firsts were dropped: only a vehicle's first can lack a predecessor."""
    moved = first.copy()
    moved[1:] |= first[:-1] & ~kept[:-1]
    return moved[kept]


def _legs(rows: Columns, previous: Before, known: _Distances) -> _Distances:
    """The legs from the trusted fix before each row; computed only where that is not the fix of the known leg."""
    other = np.flatnonzero(previous.time_us != known.from_us)
    if not len(other):
        return known
    leg_mm = known.mm.copy()
    leg_mm[other] = distance_mm(previous.lat[other], previous.lon[other], rows.lat[other], rows.lon[other])
    leg_mm[~previous.there] = 0
    return _Distances(leg_mm, previous.time_us)


def _drop(
    rows: Columns, usable: Rows, held: Int, legs: _Distances, flags: Flags, found: Flags
) -> tuple[Columns, Rows, Int, _Distances]:
    """Note the flags found and leave their rows out."""
    keep = np.flatnonzero(found == 0)
    if len(keep) == len(found):
        return rows, usable, held, legs
    flags[usable] |= found
    return rows.take(keep), usable[keep], held[keep], _Distances(legs.mm[keep], legs.from_us[keep])


_NO_CODES, _NO_TIMES = np.empty(0, np.int32), np.empty(0, np.int64)
_NOTHING = (
    ActivityChanges(_NO_CODES, _NO_TIMES, _NO_CODES, np.empty(0, np.int8)),
    Legs(_NO_CODES, _NO_CODES, _NO_TIMES, _NO_TIMES),
)
