"""The month counted again from single rows of `fixes`: numpy only, nothing of the product's own arithmetic.

A vehicle at a time, so that a month of a large fleet fits into memory. Whole numbers throughout: millimetres,
microseconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.connect import Connection

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US
LOCAL_US = 7 * HOUR_US
"""Vietnam is seven hours ahead, all year round."""

_EARTH_RADIUS_MM = 6_371_008_771.4
_MOVING_KMH = 3.0
_SILENCE_US = 300 * SECOND_US
_STILL_MM = 200_000
_MAX_GAP_US = 90 * SECOND_US
_LEAST_OVER_US = 20 * SECOND_US
_LEAST_EXCESS_KMH = 5.0
STOP_US = 300 * SECOND_US


class Sums(NamedTuple):
    """Of a vehicle and hour, or of a vehicle and local day."""

    fixes: int
    trusted_fixes: int
    flags: int
    distance_mm: int
    driving_us: int
    top_speed_kmh: float | None
    first_us: int
    last_us: int


class Speeding(NamedTuple):
    """An episode over the limit."""

    vehicle_id: str
    driver_id: str | None
    started_us: int
    ended_us: int
    fixes: int
    top_speed_kmh: float
    distance_mm: int


class Stop(NamedTuple):
    """Standing with one driver, from a fix to a fix."""

    vehicle_id: str
    driver_id: str | None
    begins_us: int
    ends_us: int
    place: str


class Place(NamedTuple):
    """A trusted fix."""

    time_us: int
    lat: float
    lon: float


@dataclass
class Recount:
    """What the stored fixes add up to. Days and hours by the microsecond at which they begin."""

    hours: dict[tuple[str, int], Sums] = field(default_factory=dict)
    days: dict[tuple[str, int], Sums] = field(default_factory=dict)
    driver_mm: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By driver and day."""
    driving_us: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By line (a driver, or the vehicle where nobody is named) and day, a leg over midnight shared between its days."""
    speeding: list[Speeding] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    drives: dict[str, tuple[int, Place | None]] = field(default_factory=dict)
    """Of each drive asked for: its millimetres, and the trusted fix at which it began."""


class Drive(NamedTuple):
    """What a violation of driving time was proven by: a driver in some vehicles between two moments."""

    violation_id: str
    vehicle_ids: tuple[str, ...]
    driver_id: str | None
    begins_us: int
    ends_us: int


class Track(NamedTuple):
    """The rows of one vehicle in order of time."""

    vehicle_id: str
    time_us: NDArray[np.int64]
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    speed_kmh: NDArray[np.float64]
    flags: NDArray[np.int64]
    driver: NDArray[np.object_]


async def tracks(connection: Connection) -> AsyncIterator[Track]:
    """Every vehicle's rows, one vehicle after the other."""
    vehicles = await (await connection.execute("SELECT DISTINCT vehicle_id FROM fixes ORDER BY 1")).fetchall()
    for (vehicle_id,) in vehicles:
        cursor = await connection.execute(
            "SELECT time, lat, lon, speed_kmh, flags, driver_id FROM fixes WHERE vehicle_id = %s ORDER BY time",
            (vehicle_id,),
        )
        time, lat, lon, speed_kmh, flags, driver = zip(*await cursor.fetchall(), strict=True)
        naive = np.array([moment.replace(tzinfo=None) for moment in time], dtype="datetime64[us]")
        yield Track(
            vehicle_id, naive.astype(np.int64), np.array(lat), np.array(lon),
            np.array([np.nan if each is None else each for each in speed_kmh]), np.array(flags),
            np.array(driver, dtype=object),
        )  # fmt: skip


def add_track(recount: Recount, track: Track, limit_kmh: float | None, drives: list[Drive]) -> None:
    """Count one vehicle; `limit_kmh` None: nobody knows its limit, and it must keep to every road's."""
    sound = track.flags == 0
    leg_mm, driving_us = np.zeros(len(sound), np.int64), np.zeros(len(sound), np.int64)
    rows = np.flatnonzero(sound)
    assert not np.isnan(track.speed_kmh[rows]).any(), "the simulator's trackers always tell a speed"
    length, duration = _legs(track, rows)
    moves = track.speed_kmh[rows[:-1]] >= _MOVING_KMH
    leg_mm[rows[1:]] = length
    driving_us[rows[1:]] = np.where(moves & (duration <= _SILENCE_US), duration, 0)
    for begins, sums in ((0, recount.hours), (LOCAL_US, recount.days)):
        unit = DAY_US if begins else HOUR_US
        for begin_us, part in _parts((track.time_us + begins) // unit * unit - begins):
            sums[track.vehicle_id, begin_us] = _sums(track, part, leg_mm, driving_us)
            if unit == DAY_US:
                for driver in set(track.driver[part]) - {None}:
                    recount.driver_mm[driver, begin_us] += int(leg_mm[part][track.driver[part] == driver].sum())
    _add_driving(recount, track, rows, driving_us)
    if limit_kmh is not None:
        recount.speeding += _episodes(track, rows, leg_mm, limit_kmh)
    recount.stops += _stops(track, rows, length, duration, moves)
    for drive in drives:
        if track.vehicle_id in drive.vehicle_ids:
            _add_drive(recount, track, rows, leg_mm, drive)


def _legs(track: Track, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Great circle and time from each trusted fix to the next."""
    phi, theta = np.radians(track.lat[rows]), track.lon[rows]
    half = np.sin(np.diff(phi) / 2) ** 2
    half += np.cos(phi[:-1]) * np.cos(phi[1:]) * np.sin(np.radians(np.diff(theta)) / 2) ** 2
    return np.rint(2 * _EARTH_RADIUS_MM * np.arcsin(np.sqrt(half))).astype(np.int64), np.diff(track.time_us[rows])


def _parts(keys: NDArray[np.int64]) -> Iterator[tuple[int, slice]]:
    """Neighbours with the same key."""
    borders = [0, *(np.flatnonzero(np.diff(keys)) + 1).tolist(), len(keys)]
    for begin, end in pairwise(borders):
        yield int(keys[begin]), slice(begin, end)


def _sums(track: Track, part: slice, leg_mm: NDArray[np.int64], driving_us: NDArray[np.int64]) -> Sums:
    flags = track.flags[part]
    speeds = track.speed_kmh[part][flags == 0]
    return Sums(
        len(flags), int((flags == 0).sum()), int(np.bitwise_or.reduce(flags)), int(leg_mm[part].sum()),
        int(driving_us[part].sum()), float(speeds.max()) if len(speeds) else None, int(track.time_us[part][0]),
        int(track.time_us[part][-1]),
    )  # fmt: skip


def _add_driving(recount: Recount, track: Track, rows: NDArray[np.int64], driving_us: NDArray[np.int64]) -> None:
    """The driving of a leg is that of the driver at its earlier end."""
    begins, ends, names = track.time_us[rows[:-1]], track.time_us[rows[1:]], track.driver[rows[:-1]]
    for begin_us, end_us, name, driven_us in zip(
        begins.tolist(), ends.tolist(), names.tolist(), driving_us[rows[1:]].tolist(), strict=True
    ):
        if driven_us:
            line, midnight_us = name or track.vehicle_id, (end_us + LOCAL_US) // DAY_US * DAY_US - LOCAL_US
            before_us = max(0, midnight_us - begin_us)
            recount.driving_us[line, midnight_us] += driven_us - before_us
            if before_us:
                recount.driving_us[line, midnight_us - DAY_US] += before_us


def _episodes(track: Track, rows: NDArray[np.int64], leg_mm: NDArray[np.int64], limit_kmh: float) -> Iterator[Speeding]:
    """Where the simulator's fleet speeds every fix is well over the limit, and its neighbours are well below."""
    over = np.round(track.speed_kmh[rows] - limit_kmh, 6) >= _LEAST_EXCESS_KMH
    time_us, driver = track.time_us[rows], track.driver[rows]
    goes_on = over[1:] & over[:-1] & (np.diff(time_us) <= _MAX_GAP_US) & (driver[1:] == driver[:-1])
    begins = np.flatnonzero(over & ~np.concatenate([[False], goes_on]))
    ends = np.flatnonzero(over & ~np.concatenate([goes_on, [False]]))
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        if end > begin and time_us[end] - time_us[begin] >= _LEAST_OVER_US:
            yield Speeding(
                track.vehicle_id, driver[begin], int(time_us[begin]), int(time_us[end]), end - begin + 1,
                float(track.speed_kmh[rows[begin : end + 1]].max()),
                int(leg_mm[rows[begin + 1 : end + 1]].sum()),
            )  # fmt: skip


def _stops(
    track: Track,
    rows: NDArray[np.int64],
    length: NDArray[np.int64],
    duration: NDArray[np.int64],
    moves: NDArray[np.bool_],
) -> Iterator[Stop]:
    silent = duration > _SILENCE_US
    stands = np.where(silent, length < _STILL_MM, ~moves)
    # What is neither standing nor driving ends a stop all the same.
    driver = track.driver[rows[:-1]]
    begins = np.ones(len(stands), np.bool_)
    begins[1:] = (stands[1:] != stands[:-1]) | (driver[1:] != driver[:-1])
    borders = [*np.flatnonzero(begins).tolist(), len(stands)]
    for begin, end in pairwise(borders):
        begins_us, ends_us = int(track.time_us[rows[begin]]), int(track.time_us[rows[end]])
        if stands[begin]:
            place = f"{track.lat[rows[begin]]:.5f}, {track.lon[rows[begin]]:.5f}"
            yield Stop(track.vehicle_id, driver[begin], begins_us, ends_us, place)


def _add_drive(
    recount: Recount, track: Track, rows: NDArray[np.int64], leg_mm: NDArray[np.int64], drive: Drive
) -> None:
    within = (track.time_us > drive.begins_us) & (track.time_us <= drive.ends_us)
    within &= np.array([name == drive.driver_id for name in track.driver])
    millimetres, place = recount.drives.get(drive.violation_id, (0, None))
    before = rows[track.time_us[rows] <= drive.begins_us]
    if len(before):
        row = before[-1]
        # The vehicle that the driver was driving at that moment, on the leg that begins with this fix.
        if track.driver[row] == drive.driver_id and track.speed_kmh[row] >= _MOVING_KMH:
            place = Place(int(track.time_us[row]), float(track.lat[row]), float(track.lon[row]))
    recount.drives[drive.violation_id] = millimetres + int(leg_mm[within].sum()), place


def local_day(at_us: int) -> int:
    """When its day began in Vietnam."""
    return (at_us + LOCAL_US) // DAY_US * DAY_US - LOCAL_US


def of_line(row: Mapping[str, Any]) -> str:
    """Whose hours a violation of driving time is about."""
    return str(row["driver_id"] or row["vehicle_id"])
