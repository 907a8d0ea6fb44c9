"""Reasons to distrust a fix. A flagged fix is stored with its flags; it proves nothing and ends nothing."""

from __future__ import annotations

from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from detectors.columns import Bool, Columns, Float, Int
from detectors.geo import distance_mm
from detectors.rules import CheckNumbers

Flags = NDArray[np.int32]

_WEEK_ROLLOVER_US = 1024 * 7 * 86_400 * 1_000_000
_ROLLOVER_TOLERANCE_US = 2 * 86_400 * 1_000_000


class Check(IntFlag):
    """One bit per failed check, as stored in fixes.flags."""

    NO_FIX = 1
    """The receiver had no satellite fix: valid=false, too few satellites, bad hdop, or 0/0."""
    CLOCK = 2
    """A time before trackers existed, or ahead of its receipt."""
    ROLLOVER = 4
    """A time 1024 weeks before its receipt: the week counter of GPS has wrapped."""
    SPEED = 8
    """No commercial vehicle goes this fast."""
    JUMP = 16
    """Too far from the last trusted fix for the time between them."""


ALONE = Check.NO_FIX | Check.CLOCK | Check.ROLLOVER | Check.SPEED
"""Checks that look at one fix alone; the others also depend on the fixes before it."""


def flags_alone(batch: Columns, numbers: CheckNumbers, received_us: Int | None) -> Flags:
    """The flags each fix earns alone. `received_us` (same length) is None for recordings without receipt times."""
    flags = np.zeros(len(batch), dtype=np.int32)
    few = (batch.satellites >= 0) & (batch.satellites < numbers.min_satellites)
    nowhere = (batch.lat == 0.0) & (batch.lon == 0.0)
    flags[(batch.valid == 0) | few | (batch.hdop > numbers.max_hdop) | nowhere] |= Check.NO_FIX
    flags[batch.speed_kmh > numbers.max_speed_kmh] |= Check.SPEED
    earliest_us = int(np.datetime64(numbers.earliest, "us").astype(np.int64))
    early = batch.time_us < earliest_us
    if received_us is not None:
        early |= batch.time_us > received_us + round(numbers.max_ahead_s * 1e6)
        wrapped = np.abs(received_us - batch.time_us - _WEEK_ROLLOVER_US) < _ROLLOVER_TOLERANCE_US
        flags[wrapped] |= Check.ROLLOVER
        early &= ~wrapped
    flags[early] |= Check.CLOCK
    return flags


def is_jump(leg_mm: Int, leg_us: Int, numbers: CheckNumbers) -> Bool:
    """Whether each leg is too long and too fast to be driven."""
    # 1 mm/us = 3600 km/h; the comparison stays in integers.
    too_fast: Bool = leg_mm * 3600 > round(numbers.jump_kmh) * leg_us
    return too_fast & (leg_mm > round(numbers.jump_min_m * 1000))


class Place:
    """A position at a time, for the scalar walk through suspicious legs."""

    __slots__ = ("lat", "lon", "time_us")

    def __init__(self, time_us: int, lat: float, lon: float) -> None:
        self.time_us, self.lat, self.lon = time_us, lat, lon

    def can_reach(self, other: Place, numbers: CheckNumbers) -> bool:
        """Whether the leg to `other` could have been driven."""
        leg = distance_mm(*(np.array([x]) for x in (self.lat, self.lon, other.lat, other.lon)))
        return not is_jump(leg, np.array([other.time_us - self.time_us]), numbers)[0]


def walk_jumps(
    time_us: Int, lat: Float, lon: Float, trusted: Place | None, suspect: Place | None, numbers: CheckNumbers
) -> tuple[Bool, Place | None]:
    """Which fixes of one vehicle, in time order, are jumps; and the suspect that is left at the end.

    A fix that cannot be reached from the last trusted one is a jump and becomes the suspect; the next fix is trusted
    if either of the two can reach it. So one bad fix condemns no good one after it, and a bad anchor is left behind
    after one good fix.
    """
    jumps = np.zeros(len(time_us), dtype=np.bool_)
    for row in range(len(time_us)):
        here = Place(int(time_us[row]), float(lat[row]), float(lon[row]))
        reached = (
            trusted is None
            or trusted.can_reach(here, numbers)
            or (suspect is not None and suspect.can_reach(here, numbers))
        )
        if reached:
            trusted, suspect = here, None
        else:
            jumps[row] = True
            suspect = here
    return jumps, suspect
