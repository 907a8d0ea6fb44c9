"""Which of several different fixes with one vehicle and time stands: settled by content, never by arrival (law 1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.checks import Flags
from detectors.columns import Code, Columns, Int
from detectors.fix import Fix
from detectors.names import Names


def precedence(fix: Fix, flags_alone: int) -> tuple[Any, ...]:
    """A total order on content, the smallest stands: trusted before flagged, then what is judged, then the rest."""
    judged = (fix.lat, fix.lon, fix.speed_kmh, fix.driver_id, fix.satellites, fix.hdop, fix.valid)
    rest = (fix.heading_deg, fix.ignition, fix.door_open, fix.odometer_km)
    return (flags_alone != 0, *(_sortable(value) for value in judged + rest))


def _sortable(value: Any) -> tuple[bool, Any]:
    return (value is None, 0 if value is None else value)


Rows = NDArray[np.intp]


def same_moment(vehicle: Code, time_us: Int) -> tuple[Rows, list[tuple[int, int]]]:
    """The rows in (vehicle, time) order, and where in it more than one row stands for the same pair: (first, end)."""
    order = np.lexsort((time_us, vehicle))
    vehicle, time_us = vehicle[order], time_us[order]
    again = np.zeros(len(order) + 1, dtype=np.bool_)
    again[1:-1] = (vehicle[1:] == vehicle[:-1]) & (time_us[1:] == time_us[:-1])
    if not again.any():
        return order, []
    firsts = np.flatnonzero(again[1:] & ~again[:-1])
    lasts = np.flatnonzero(again[:-1] & ~again[1:])
    return order, list(zip(firsts.tolist(), (lasts + 1).tolist(), strict=True))


def standing_rows(batch: Columns, flags: Flags, drivers: Names) -> tuple[Rows, int]:
    """Rows in (vehicle, time) order, one for each pair: the one that stands. Also how many others differed from it.

    The others are the doubled fixes (alike) and the losers of a conflict (different).
    """
    order, groups = same_moment(batch.vehicle, batch.time_us)
    dropped = np.zeros(len(order), dtype=np.bool_)
    conflicts = 0
    for first, end in groups:
        keys = {int(row): _row_key(batch, int(row), int(flags[row]), drivers) for row in order[first:end]}
        order[first] = min(keys, key=lambda row: keys[row])
        dropped[first + 1 : end] = True
        conflicts += len(set(keys.values())) - 1
    return order[~dropped], conflicts


def _row_key(batch: Columns, row: int, flags: int, drivers: Names) -> tuple[Any, ...]:
    """`precedence` of a row of a recording, as far as it is judged."""
    speed, hdop = float(batch.speed_kmh[row]), float(batch.hdop[row])
    satellites, valid = int(batch.satellites[row]), int(batch.valid[row])
    fix = Fix(
        "",
        0,
        float(batch.lat[row]),
        float(batch.lon[row]),
        None if np.isnan(speed) else speed,
        drivers.name(int(batch.driver[row])),
        satellites=None if satellites < 0 else satellites,
        hdop=None if np.isnan(hdop) else hdop,
        valid=None if valid < 0 else bool(valid),
    )
    road = float(batch.limit_kmh[row])
    return (*precedence(fix, flags), *_sortable(None if np.isnan(road) else road))
