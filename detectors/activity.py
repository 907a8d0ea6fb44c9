"""What a driver does, and what a vehicle did between two consecutive trusted fixes: driving, stopped or unknown."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from detectors.columns import Bool, Code, Float, Int, Small
from detectors.rules import ActivityNumbers


class Activity(IntEnum):
    """Stored by its name in lower case."""

    STOPPED = 0
    DRIVING = 1
    UNKNOWN = 2
    """Silent while it moved."""
    WORK = 3
    """This and those below are known from a tachograph or a logbook, never from positions."""
    AVAILABLE = 4
    REST = 5
    SLEEPER = 6


class ActivityChanges(NamedTuple):
    """Moments at which a vehicle's activity or driver became another, in (vehicle, time) order."""

    vehicle: Code
    time_us: Int
    driver: Code
    activity: Small


def activity_of_legs(leg_us: Int, leg_mm: Int, speed_kmh: Float, numbers: ActivityNumbers) -> Small:
    """The activity on each leg, from the speed at its earlier end, its duration and its length.

    Where the tracker gave no speed, the leg's own mean speed stands in.
    """
    mean_kmh = leg_mm * 3600.0 / np.maximum(leg_us, 1)
    moving = np.where(np.isnan(speed_kmh), mean_kmh, speed_kmh) >= numbers.moving_kmh
    activity = moving.astype(np.int8)
    silent = leg_us > round(numbers.max_silence_s * 1e6)
    if silent.any():
        displaced = leg_mm >= round(numbers.still_m * 1000)
        activity[silent] = np.where(displaced[silent], Activity.UNKNOWN, Activity.STOPPED)
    return activity


def changes(
    vehicle: Code, first: Bool, begin_us: Int, driver: Code, activity: Small, before: Small, driver_before: Code
) -> Bool:
    """Which pieces begin something new: another activity or driver than the piece before them.

    Pieces are in (vehicle, time) order, `first` marks the first of each vehicle, whose predecessor's activity and
    driver are given in `before` and `driver_before` (rows of other pieces are ignored).
    """
    new = np.ones(len(vehicle), dtype=np.bool_)
    new[1:] = (activity[1:] != activity[:-1]) | (driver[1:] != driver[:-1])
    new[first] = (activity[first] != before[first]) | (driver[first] != driver_before[first])
    return new
