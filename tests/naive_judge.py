"""Speeding and continuous driving as DESIGN.md words them, fix by fix and as slow as one likes.

Shares no code with detectors/ on purpose: it is what they, and the simulator's list, are held against.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple

from detectors.fix import Fix

SECOND_US = 1_000_000
MIN_EXCESS_KMH = 5.0
EXIT_AFTER_S = 10
MAX_GAP_S = 90
MIN_DURATION_S = 20
MIN_FIXES = 2
MOVING_KMH = 3.0
MAX_SILENCE_S = 300
LIMIT_S = 4 * 3600


class Found(NamedTuple):
    """What is compared: figures that the kind does not have are None."""

    kind: str
    vehicle_id: str
    driver_id: str | None
    started_us: int
    ended_us: int
    top_speed_kmh: float | None
    actual_s: float | None


def judge(fixes: Iterable[Fix], limits: Mapping[str, float], rest_s: Mapping[str, int]) -> set[Found]:
    """Everything wrong in fixes that come in any order, doubled or not. Limits and rests are by vehicle."""
    journeys: dict[str, dict[int, Fix]] = defaultdict(dict)
    for fix in fixes:
        journeys[fix.vehicle_id][fix.time_us] = fix
    found: set[Found] = set()
    driving: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for vehicle_id, by_time in journeys.items():
        trusted = _trusted([by_time[time_us] for time_us in sorted(by_time)])
        found |= _speeding(trusted, limits[vehicle_id])
        for fix, following in pairwise(trusted):
            moves = (fix.speed_kmh or 0.0) >= MOVING_KMH
            if moves and following.time_us - fix.time_us <= MAX_SILENCE_S * SECOND_US:
                line = f"driver {fix.driver_id}" if fix.driver_id else f"vehicle {vehicle_id}"
                driving[line].append((fix.time_us, following.time_us, vehicle_id))
    for line, legs in driving.items():
        driver_id = line.removeprefix("driver ") if line.startswith("driver ") else None
        found |= _continuous(driver_id, sorted(legs), rest_s)
    return found


def _trusted(fixes: list[Fix]) -> list[Fix]:
    kept: list[Fix] = []
    for fix in fixes:
        few = fix.satellites is not None and fix.satellites < 4
        if fix.valid is False or few or (fix.lat, fix.lon) == (0.0, 0.0):
            continue
        if kept:
            hours = (fix.time_us - kept[-1].time_us) / SECOND_US / 3600
            if distance_km(kept[-1], fix) > 0.3 and distance_km(kept[-1], fix) / hours > 250:
                continue
        kept.append(fix)
    return kept


def _speeding(fixes: list[Fix], limit_kmh: float) -> set[Found]:
    found: set[Found] = set()
    over: list[Fix] = []
    grey_since_us: int | None = None
    before: Fix | None = None

    def close() -> None:
        nonlocal over, grey_since_us
        if len(over) >= MIN_FIXES and over[-1].time_us - over[0].time_us >= MIN_DURATION_S * SECOND_US:
            top_kmh = max(fix.speed_kmh or 0.0 for fix in over)
            first, last = over[0], over[-1]
            found.add(Found("speeding", first.vehicle_id, first.driver_id, first.time_us, last.time_us, top_kmh, None))
        over, grey_since_us = [], None

    for fix in fixes:
        excess_kmh = round((fix.speed_kmh or 0.0) - limit_kmh, 6)
        gap = before is not None and fix.time_us - before.time_us > MAX_GAP_S * SECOND_US
        if over and (gap or fix.driver_id != over[0].driver_id):
            close()
        if excess_kmh >= MIN_EXCESS_KMH:
            over.append(fix)
            grey_since_us = None
        elif over and excess_kmh <= 0:
            close()
        elif over:
            grey_since_us = fix.time_us if grey_since_us is None else grey_since_us
            if fix.time_us - grey_since_us > EXIT_AFTER_S * SECOND_US:
                close()
        before = fix
    close()
    return found


def _continuous(driver_id: str | None, legs: list[tuple[int, int, str]], rest_s: Mapping[str, int]) -> set[Found]:
    found: set[Found] = set()
    driven_us, ended_us = 0, 0
    passed: tuple[int, str] | None = None
    vehicle_id = ""

    def close() -> None:
        if passed is not None:
            found.add(
                Found("continuous_driving", passed[1], driver_id, passed[0], ended_us, None, driven_us / SECOND_US)
            )

    for begin_us, end_us, leg_vehicle_id in legs:
        if vehicle_id and begin_us - ended_us >= rest_s[vehicle_id] * SECOND_US:
            close()
            driven_us, passed = 0, None
        missing_us = LIMIT_S * SECOND_US - driven_us
        driven_us += end_us - begin_us
        if passed is None and driven_us > LIMIT_S * SECOND_US:
            passed = (begin_us + missing_us, leg_vehicle_id)
        ended_us, vehicle_id = end_us, leg_vehicle_id
    close()
    return found


def distance_km(one: Fix, other: Fix) -> float:
    """Between two positions not far from each other."""
    north = math.radians(other.lat - one.lat)
    east = math.radians(other.lon - one.lon) * math.cos(math.radians((one.lat + other.lat) / 2))
    return 6371.0 * math.hypot(north, east)
