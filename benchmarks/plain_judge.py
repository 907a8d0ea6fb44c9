"""The judgement of one vehicle written fix by fix in plain Python: what the engine and a peer are measured beside.

Checks, speeding and activity as DESIGN.md words them, and the clock of continuous driving for the peer. It leaves out
grades and rules by date, so it does a little less than the engine. Standard library only: it runs in the peer's
environment as well.
"""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt
from typing import Any, NamedTuple

_SECOND_US = 1_000_000
STOPPED, DRIVING, UNKNOWN = 0, 1, 2


class Numbers(NamedTuple):
    """The numbers of the rule pack that are used here."""

    min_satellites: int
    max_hdop: float
    max_speed_kmh: float
    earliest_us: int
    jump_kmh: float
    jump_min_m: float
    acceleration_kmh_per_s: float
    acceleration_within_s: float
    frozen_kmh: float
    frozen_after_s: float
    contradiction_kmh: float
    contradiction_within_s: float
    contradiction_share: float
    moving_kmh: float
    max_silence_s: float
    still_m: float
    min_excess_kmh: float
    exit_after_s: float
    max_gap_s: float
    min_fixes: int
    min_duration_s: float
    driving_limit_s: float
    rest_s: float


class Position(NamedTuple):
    """What is remembered of a fix."""

    time_us: int
    lat: float
    lon: float
    speed_kmh: float
    driver_id: str | None


class Speeding(NamedTuple):
    """A violation as far as it is compared."""

    vehicle_id: str
    started_us: int
    ended_us: int
    fixes: int
    top_speed_kmh: float


class Vehicle:
    """The state of one vehicle. Its slots in order are what `to_list` gives and the constructor takes."""

    __slots__ = (
        "activity", "before", "below_us", "driven_us", "driver_id", "excess_kmh", "fixes", "held_us", "last_us",
        "metres", "pending_m", "rested_since_us", "started_us", "suspect", "top_kmh", "trusted",
    )  # fmt: skip

    def __init__(self) -> None:
        self.before: Position | None = None
        self.held_us: int | None = None
        self.trusted: Position | None = None
        self.suspect: Position | None = None
        self.activity: int | None = None
        self.started_us: int | None = None
        self.driver_id: str | None = None
        self.last_us = 0
        self.fixes = 0
        self.top_kmh = 0.0
        self.excess_kmh = 0.0
        self.metres = 0.0
        self.pending_m = 0.0
        self.below_us: int | None = None
        self.driven_us = 0
        self.rested_since_us: int | None = None

    def to_list(self) -> list[Any]:
        """The state as a store keeps it."""
        values = [getattr(self, name) for name in self.__slots__]
        return [list(value) if isinstance(value, Position) else value for value in values]

    @classmethod
    def of_list(cls, values: list[Any]) -> Vehicle:
        """The state as a store gave it back."""
        vehicle = cls.__new__(cls)
        for name, value in zip(cls.__slots__, values, strict=True):
            setattr(vehicle, name, Position(*value) if isinstance(value, list) else value)
        return vehicle


class Judge:
    """Judges one fix after the other; the caller keeps the vehicles."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def step(self, vehicle_id: str, vehicle: Vehicle, limit_kmh: float, fix: Any) -> list[Speeding]:
        """Take in a fix newer than any before of its vehicle; the speeding violations that it ended."""
        numbers = self._numbers
        speed_kmh = -1.0 if fix.speed_kmh is None else fix.speed_kmh
        if self._fails_alone(fix, speed_kmh):
            return []
        here = Position(fix.time_us, fix.lat, fix.lon, speed_kmh, fix.driver_id)
        if self._fails_in_sequence(vehicle, here):
            return []
        before = vehicle.trusted
        metres = 0.0
        if before is not None:
            metres = _metres(before, here)
            if self._out_of_reach(before, here, metres):
                suspect = vehicle.suspect
                if suspect is None or self._out_of_reach(suspect, here, _metres(suspect, here)):
                    vehicle.suspect = here
                    return []
            self._act(vehicle, before, here, metres)
        vehicle.suspect, vehicle.trusted = None, here
        over = speed_kmh - limit_kmh >= numbers.min_excess_kmh - 1e-9
        if vehicle.started_us is None and not over:
            return []
        return self._speed(vehicle_id, vehicle, before, here, speed_kmh - limit_kmh, metres, over=over)

    def drive(self, vehicle: Vehicle, since_us: int, activity: int, until_us: int) -> bool:
        """Move the clock of continuous driving on by a leg; whether this passed the limit."""
        numbers = self._numbers
        if activity == DRIVING:
            vehicle.rested_since_us = None
            before_us, limit_us = vehicle.driven_us, numbers.driving_limit_s * _SECOND_US
            vehicle.driven_us += until_us - since_us
            return before_us <= limit_us < vehicle.driven_us
        if activity == STOPPED:
            if vehicle.rested_since_us is None:
                vehicle.rested_since_us = since_us
            if until_us - vehicle.rested_since_us >= numbers.rest_s * _SECOND_US:
                vehicle.driven_us = 0
        return False

    def close(self, vehicle_id: str, vehicle: Vehicle) -> list[Speeding]:
        """End the open episode: the violation it was, if it was one."""
        started_us, vehicle.started_us = vehicle.started_us, None
        if started_us is None:
            return []
        lasted_us = vehicle.last_us - started_us
        if vehicle.fixes < self._numbers.min_fixes or lasted_us < self._numbers.min_duration_s * _SECOND_US:
            return []
        return [Speeding(vehicle_id, started_us, vehicle.last_us, vehicle.fixes, vehicle.top_kmh)]

    def _fails_alone(self, fix: Any, speed_kmh: float) -> bool:
        numbers = self._numbers
        return (
            fix.valid is False
            or (fix.satellites is not None and fix.satellites < numbers.min_satellites)
            or (fix.hdop is not None and fix.hdop > numbers.max_hdop)
            or (fix.lat == 0.0 and fix.lon == 0.0)
            or speed_kmh > numbers.max_speed_kmh
            or fix.time_us < numbers.earliest_us
        )

    def _fails_in_sequence(self, vehicle: Vehicle, here: Position) -> bool:
        numbers, before = self._numbers, vehicle.before
        vehicle.before = here
        held_before = vehicle.held_us
        if here.speed_kmh < numbers.frozen_kmh:
            vehicle.held_us = None
        elif held_before is None or before is None or (before.lat, before.lon) != (here.lat, here.lon):
            vehicle.held_us = here.time_us
        fails = False
        if vehicle.held_us is not None:
            fails = here.time_us - vehicle.held_us > numbers.frozen_after_s * _SECOND_US
        if before is None:
            return fails
        slower_kmh = min(before.speed_kmh, here.speed_kmh)
        since_us = before.time_us if held_before is None else held_before
        lasted_s = (here.time_us - since_us) / _SECOND_US
        if slower_kmh >= numbers.contradiction_kmh and lasted_s <= numbers.contradiction_within_s:
            moved_m = _metres(before, here)
            fails |= 0.0005 <= moved_m < numbers.contradiction_share * slower_kmh / 3.6 * lasted_s
        return fails

    def _out_of_reach(self, origin: Position, here: Position, metres: float) -> bool:
        numbers = self._numbers
        lasted_s = (here.time_us - origin.time_us) / _SECOND_US
        if metres > numbers.jump_min_m and metres > numbers.jump_kmh / 3.6 * lasted_s:
            return True
        if origin.speed_kmh < 0 or here.speed_kmh < 0 or lasted_s > numbers.acceleration_within_s:
            return False
        return abs(here.speed_kmh - origin.speed_kmh) > numbers.acceleration_kmh_per_s * lasted_s

    def _act(self, vehicle: Vehicle, before: Position, here: Position, metres: float) -> None:
        numbers = self._numbers
        lasted_s = (here.time_us - before.time_us) / _SECOND_US
        if lasted_s > numbers.max_silence_s:
            vehicle.activity = STOPPED if metres < numbers.still_m else UNKNOWN
        else:
            speed_kmh = before.speed_kmh if before.speed_kmh >= 0 else metres / lasted_s * 3.6
            vehicle.activity = DRIVING if speed_kmh >= numbers.moving_kmh else STOPPED

    def _speed(
        self, vehicle_id: str, vehicle: Vehicle, before: Position | None, here: Position, excess_kmh: float,
        metres: float, *, over: bool,
    ) -> list[Speeding]:  # fmt: skip
        numbers, ended = self._numbers, []
        if vehicle.started_us is not None and before is not None:
            gap = here.time_us - before.time_us > numbers.max_gap_s * _SECOND_US
            if gap or here.driver_id != vehicle.driver_id:
                ended = self.close(vehicle_id, vehicle)
        if over:
            if vehicle.started_us is None:
                vehicle.started_us, vehicle.driver_id = here.time_us, here.driver_id
                vehicle.fixes, vehicle.top_kmh, vehicle.excess_kmh = 0, 0.0, 0.0
                vehicle.metres, vehicle.pending_m, metres = 0.0, 0.0, 0.0
            vehicle.metres += vehicle.pending_m + metres
            vehicle.pending_m = 0.0
            vehicle.last_us = here.time_us
            vehicle.fixes += 1
            vehicle.top_kmh = max(vehicle.top_kmh, here.speed_kmh)
            vehicle.excess_kmh = max(vehicle.excess_kmh, excess_kmh)
            vehicle.below_us = None
        elif vehicle.started_us is not None:
            vehicle.pending_m += metres
            if here.speed_kmh >= 0:
                vehicle.below_us = here.time_us if vehicle.below_us is None else vehicle.below_us
                if excess_kmh <= 1e-9 or here.time_us - vehicle.below_us > numbers.exit_after_s * _SECOND_US:
                    ended += self.close(vehicle_id, vehicle)
        return ended


def _metres(one: Position, other: Position) -> float:
    phi, other_phi = radians(one.lat), radians(other.lat)
    chord = sin((other_phi - phi) / 2) ** 2 + cos(phi) * cos(other_phi) * sin(radians(other.lon - one.lon) / 2) ** 2
    return 2 * 6_371_008.7714 * asin(sqrt(min(1.0, chord)))
