"""Reasons to distrust a fix. A flagged fix is stored with its flags; it proves nothing and ends nothing."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntFlag
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.columns import Bool, Columns, Int
from detectors.geo import distance_mm
from detectors.rules import CheckNumbers

Flags = NDArray[np.int32]

NEVER = int(np.iinfo(np.int64).min)
"""Stands for "no such time"."""

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
    ACCELERATION = 32
    """Too fast or too slow against the last trusted fix for the time between them."""
    FROZEN = 64
    """The position stands still while the speed goes on."""
    CONTRADICTION = 128
    """The speed is far above what the distance travelled allows."""


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


class Seen(NamedTuple):
    """Usable fixes beside the usable one before each (trusted or not); rows without one have `there` False."""

    there: Bool
    leg_us: Int
    leg_mm: Int
    speed: Int
    """Thousandths of a km/h, -1 unknown."""
    speed_before: Int


def holds(same_place: Bool, first: Bool, seen: Seen, time_us: Int, hold_before: Int, numbers: CheckNumbers) -> Int:
    """Since when each fix stands at its position with the speed going on; its own time where that begins with it.

    `hold_before` is what holds at the fix before each vehicle's first row (NEVER: nothing does), `same_place` says
    that a fix repeats the position before it. NEVER for fixes below the speed that counts.
    """
    moving = seen.speed >= round(numbers.frozen_kmh * 1000)
    moving_before = seen.speed_before >= round(numbers.frozen_kmh * 1000)
    goes_on = seen.there & same_place & moving & moving_before
    since = np.where(goes_on, NEVER, time_us)
    resumed = first & goes_on
    since[resumed] = hold_before[resumed]
    # Times rise within a vehicle, and a vehicle's first row never goes on from another vehicle's.
    begins = np.where(goes_on & ~resumed, 0, np.arange(len(time_us)))
    since = since[np.maximum.accumulate(begins)]
    since[~moving] = NEVER
    return since


def flags_in_sequence(since: Int, hold_before: Int, time_us: Int, seen: Seen, numbers: CheckNumbers) -> Flags:
    """The flags that fixes earn against the usable fix before them: a held position, a speed without a distance.

    `hold_before` is for each row the hold of the row before it: the distance is taken from when the position before
    was new, because trackers repeat a position for seconds and then catch up.
    """
    flags = np.zeros(len(time_us), dtype=np.int32)
    flags[(since != NEVER) & (time_us - since > round(numbers.frozen_after_s * 1e6))] |= Check.FROZEN
    lasted_us = np.where(hold_before != NEVER, time_us - hold_before, seen.leg_us)
    slower = np.minimum(seen.speed, seen.speed_before)
    claimed = seen.there & (slower >= round(numbers.contradiction_kmh * 1000))
    claimed &= (seen.leg_mm > 0) & (lasted_us <= round(numbers.contradiction_within_s * 1e6))
    # Thousandths of a km/h times microseconds over 3.6e6 are millimetres.
    covered_mm = numbers.contradiction_share * slower * lasted_us / 3.6e6
    flags[claimed & (seen.leg_mm < covered_mm)] |= Check.CONTRADICTION
    return flags


def is_jump(leg_mm: Int, leg_us: Int, numbers: CheckNumbers) -> Bool:
    """Whether each leg is too long and too fast to be driven."""
    # 1 mm/us = 3600 km/h.
    too_fast: Bool = leg_mm * 3600.0 > numbers.jump_kmh * leg_us
    return too_fast & (leg_mm > round(numbers.jump_min_m * 1000))


def is_leap(speed: Int, speed_before: Int, leg_us: Int, numbers: CheckNumbers) -> Bool:
    """Whether each change of speed (thousandths of a km/h, -1 unknown) is more than any vehicle can."""
    known = (speed >= 0) & (speed_before >= 0) & (leg_us <= round(numbers.acceleration_within_s * 1e6))
    # Thousandths of a km/h in microseconds against km/h in a second.
    too_much: Bool = np.abs(speed - speed_before) * 1000.0 > numbers.acceleration_kmh_per_s * leg_us
    return known & too_much


class Place:
    """A position and a speed at a time, for the scalar walk through suspicious legs."""

    __slots__ = ("lat", "lon", "speed", "time_us")

    def __init__(self, time_us: int, lat: float, lon: float, speed: int) -> None:
        self.time_us, self.lat, self.lon, self.speed = time_us, lat, lon, speed

    def why_not(self, other: Place, numbers: CheckNumbers) -> Check | None:
        """Why the leg to `other` cannot have been driven; None if it can."""
        leg_mm = distance_mm(*(np.array([x]) for x in (self.lat, self.lon, other.lat, other.lon)))
        leg_us = np.array([other.time_us - self.time_us])
        if is_jump(leg_mm, leg_us, numbers)[0]:
            return Check.JUMP
        if is_leap(np.array([other.speed]), np.array([self.speed]), leg_us, numbers)[0]:
            return Check.ACCELERATION
        return None


def walk(
    places: Iterable[Place], direct: Iterable[int], trusted: Place | None, suspect: Place | None, numbers: CheckNumbers
) -> tuple[list[int], Place | None]:
    """The flag (0 for none) of each place of one vehicle, in time order, and the suspect that is left at the end.

    A fix that cannot be reached from the last trusted one is flagged and becomes the suspect; the next fix is trusted
    if either of the two can reach it. So one bad fix condemns no good one after it, and a bad anchor is left behind
    after one good fix. `direct` holds for each place the flag it earns against the place before it, for the first
    against `trusted`.
    """
    flags: list[int] = []
    before = trusted

    def flag_against(origin: Place, here: Place, flag_of_before: int) -> int:
        return flag_of_before if origin is before else origin.why_not(here, numbers) or 0

    for here, flag_of_before in zip(places, direct, strict=True):
        flag = 0 if trusted is None else flag_against(trusted, here, flag_of_before)
        if flag and suspect is not None and not flag_against(suspect, here, flag_of_before):
            flag = 0
        if flag:
            suspect = here
        else:
            trusted, suspect = here, None
        flags.append(flag)
        before = here
    return flags, suspect
