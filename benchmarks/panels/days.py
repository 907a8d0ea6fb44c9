"""A working day of the fleet as columns: drives and stops, some too fast, some too long, some unheard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from benchmarks.panels.fleet import Fleet
from detectors.columns import UNKNOWN, Bool, Columns, Float, Int
from detectors.fix import to_us

EVERY_S = 60
"""Between two fixes of a moving vehicle: 100 million then are two months of ten thousand vehicles."""
_STANDING_S = 600
_DRIVES = 4
_HOUR_US = 3_600_000_000
_DRIVEN_H = ((3.0, 1.2), (5.0, 1.5), (8.0, 1.5))
"""In a short, usual and long day: mean and spread."""
_AT_WORK = 0.72
_SPEEDING_PER_FIX = 0.0014
_DEAD_ZONES = 0.002
"""Of drives."""
_BAD = 0.001
"""Of fixes."""
_METRES_PER_DEGREE = 111_195.0


@dataclass(slots=True)
class Day:
    """Fixes sorted by vehicle and time: what is judged, and what is stored beside."""

    columns: Columns
    heading_deg: Float
    ignition: Bool
    odometer_km: Float

    def take(self, rows: NDArray[np.intp] | Bool) -> Day:
        return Day(self.columns.take(rows), self.heading_deg[rows], self.ignition[rows], self.odometer_km[rows])


@dataclass(slots=True)
class _Pieces:
    """Drives and the stops after them, in order of vehicle and time."""

    vehicle: NDArray[np.intp]
    begin_us: Int
    count: NDArray[np.intp]
    moving: Bool
    shift: NDArray[np.intp]
    """0 or 1: which of the vehicle's drivers."""


def day_of(fleet: Fleet, begins_at: datetime, until_us: int, seed: int = 1) -> Day:
    """The local day that begins then, up to a moment. Days must be asked for in their order: vehicles drive on."""
    begin_us = to_us(begins_at)
    number = begin_us // (24 * _HOUR_US)
    rng = np.random.default_rng([seed, number])
    pieces = _pieces(fleet, begin_us, number, rng)
    piece = np.repeat(np.arange(len(pieces.count)), pieces.count)
    vehicle = pieces.vehicle[piece]
    moving = pieces.moving[piece]
    in_piece = np.arange(len(piece)) - np.repeat(np.cumsum(pieces.count) - pieces.count, pieces.count)
    step_us = np.where(moving, EVERY_S, _STANDING_S) * 1_000_000
    time_us = pieces.begin_us[piece] + in_piece * step_us
    speed_kmh = _speeds(fleet, vehicle, moving, piece, in_piece, rng)
    driven_m = _driven(fleet, vehicle, time_us, speed_kmh)
    along = np.abs((driven_m / fleet.road_m[vehicle]) % 2 - 1) * fleet.road_m[vehicle] / _METRES_PER_DEGREE
    noise = rng.normal(0.0, 2e-5, (2, len(piece)))
    lat = fleet.lat[vehicle] + along * np.cos(fleet.heading[vehicle]) + noise[0]
    lon = fleet.lon[vehicle] + along * np.sin(fleet.heading[vehicle]) + noise[1]
    satellites = rng.integers(7, 15, len(piece)).astype(np.int16)
    bad = rng.random(len(piece)) < _BAD
    satellites[bad] = 2
    far = np.flatnonzero(bad)[::3]
    satellites[far] = 9
    lat[far] += 0.4
    driver = np.where(fleet.named[vehicle], 2 * vehicle + pieces.shift[piece], UNKNOWN)
    day = Day(
        Columns(
            vehicle=vehicle.astype(np.int32),
            time_us=time_us,
            lat=np.round(lat, 6),
            lon=np.round(lon, 6),
            speed_kmh=speed_kmh,
            driver=driver.astype(np.int32),
            satellites=satellites,
            hdop=np.round(rng.uniform(0.6, 1.8, len(piece)), 1),
            valid=np.ones(len(piece), dtype=np.int8),
            limit_kmh=np.full(len(piece), np.nan),
        ),
        heading_deg=fleet.heading_deg[vehicle],
        ignition=moving | (in_piece == 0),
        odometer_km=np.round(driven_m / 1000, 2),
    )
    return day.take(~_unheard(pieces, piece, in_piece, moving, rng) & (time_us <= until_us))


def _pieces(fleet: Fleet, begin_us: int, number: int, rng: np.random.Generator) -> _Pieces:
    vehicles = np.flatnonzero(rng.random(len(fleet)) < _AT_WORK)
    at_work = len(vehicles)
    mean, spread = np.array(_DRIVEN_H)[fleet.work[vehicles]].T
    driven_h = np.clip(rng.normal(mean, spread), 0.5, 11.5)
    share = rng.uniform(0.5, 1.5, (at_work, _DRIVES))
    drive_s = driven_h[:, None] * 3600 * share / share.sum(axis=1, keepdims=True)
    drives = np.maximum(2, (drive_s / EVERY_S).astype(np.intp))
    # A fifth of the stops is too short to end a drive; the last one is the end of the day.
    stop_s = rng.choice([420, 1500, 3000, 4800], (at_work, _DRIVES), p=[0.2, 0.3, 0.3, 0.2])
    stops = np.ceil(stop_s / _STANDING_S).astype(np.intp)
    counts = np.stack([drives, stops], axis=2).reshape(at_work, -1)
    lasts_s = np.stack([drives * EVERY_S, stop_s], axis=2).reshape(at_work, -1)
    starts_h = np.where(fleet.by_night[vehicles], 20.0, np.clip(rng.normal(6.6, 1.2, at_work), 3.5, 10.0))
    start_us = begin_us + (starts_h * 3600).astype(np.int64) * 1_000_000 + rng.integers(0, 1000, at_work) * 1000
    after_s = np.cumsum(lasts_s, axis=1) - lasts_s
    changes = (rng.random(at_work) < 0.3)[:, None] & (np.arange(2 * _DRIVES) >= _DRIVES)[None, :]
    return _Pieces(
        vehicle=np.repeat(vehicles, 2 * _DRIVES),
        begin_us=(start_us[:, None] + after_s * 1_000_000).reshape(-1),
        count=counts.reshape(-1),
        moving=np.tile(np.array([True, False]), at_work * _DRIVES),
        shift=((number + changes) % 2).reshape(-1),
    )


def _speeds(
    fleet: Fleet,
    vehicle: NDArray[np.intp],
    moving: Bool,
    piece: NDArray[np.intp],
    in_piece: NDArray[np.intp],
    rng: np.random.Generator,
) -> Float:
    rows = len(vehicle)
    speed: Float = fleet.cruise_kmh[vehicle] + rng.normal(0.0, 4.0, rows)
    speed[in_piece == 0] *= 0.4
    begins = np.flatnonzero(moving & (rng.random(rows) < _SPEEDING_PER_FIX * fleet.haste[vehicle]))
    lasts = rng.integers(2, 6, len(begins))
    excess = np.minimum(5.0 + rng.exponential(8.0, len(begins)), 70.0)
    for after in range(5):
        chosen = (lasts > after) & (begins + after < rows)
        row = begins[chosen] + after
        same = piece[row] == piece[begins[chosen]]
        row = row[same]
        speed[row] = fleet.limit_kmh[vehicle[row]] + excess[chosen][same] + rng.uniform(0.0, 3.0, len(row))
    speed[~moving] = 0.0
    return np.maximum(np.round(speed, 1), 0.0)


def _driven(fleet: Fleet, vehicle: NDArray[np.intp], time_us: Int, speed_kmh: Float) -> Float:
    """Metres driven by each fix since the vehicle was new; the fleet remembers where it is."""
    first = np.append(True, vehicle[1:] != vehicle[:-1])
    leg_m = np.zeros(len(vehicle))
    leg_m[1:] = speed_kmh[:-1] / 3.6 * np.diff(time_us) / 1e6
    leg_m[first] = 0.0
    total = np.cumsum(leg_m)
    starts = np.flatnonzero(first)
    driven = fleet.driven_m[vehicle] + total - np.repeat(total[starts], np.diff(np.append(starts, len(vehicle))))
    ends = np.append(starts[1:], len(vehicle)) - 1
    fleet.driven_m[vehicle[ends]] = driven[ends]
    return driven


def _unheard(
    pieces: _Pieces, piece: NDArray[np.intp], in_piece: NDArray[np.intp], moving: Bool, rng: np.random.Generator
) -> Bool:
    """Fixes that never come: from some minute of a drive on, for a quarter to three quarters of an hour."""
    silent = rng.random(len(pieces.count)) < _DEAD_ZONES
    begin, lasts = rng.integers(5, 60, len(silent)), rng.integers(15, 45, len(silent))
    within: Bool = (in_piece >= begin[piece]) & (in_piece < (begin + lasts)[piece])
    return silent[piece] & moving & within
