"""What a crew does in a day, as stretches of one activity each: the clean plan that fixes are drawn from.

Every stretch lasts a whole number of fix intervals and begins with a fix, so the plan and the fixes say the same to
the microsecond: the driving of a stretch that moves is exactly its duration.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

import numpy as np

from ingest.simulator.roster import Crew, Vehicle

DAY_US = 86_400_000_000
SECOND_US = 1_000_000
PARKED_S = 180
"""Between fixes while parked: below the silence that would make the past unknown."""
_HOME_BY_S = 23 * 3600


class Doing(Enum):
    """What the vehicle does during a stretch."""

    CRUISE = "cruise"
    JAM = "jam"
    OVER = "over"
    STOP = "stop"
    PARK = "park"

    @property
    def moves(self) -> bool:
        return self in (Doing.CRUISE, Doing.JAM, Doing.OVER)


class Stretch(NamedTuple):
    """One activity of one vehicle with one driver; fixes at begin, begin + interval, ... before end."""

    begin_us: int
    end_us: int
    interval_us: int
    doing: Doing
    speed_kmh: float
    """Speed that is aimed at; while OVER the largest one, which is reached."""
    driver_id: str | None
    salt: int
    """Seed of what is random within the stretch."""

    def clipped(self, begin_us: int, end_us: int) -> Stretch | None:
        """The part between two times, still beginning with a fix; None when no fix is left."""
        skipped = max(0, -((self.begin_us - begin_us) // self.interval_us))
        first_us = self.begin_us + skipped * self.interval_us
        last_us = min(self.end_us, end_us)
        return self._replace(begin_us=first_us, end_us=last_us) if first_us < last_us else None

    @property
    def last_fix_us(self) -> int:
        """Time of the last fix in it."""
        return self.begin_us + (self.end_us - 1 - self.begin_us) // self.interval_us * self.interval_us


class Writer:
    """Puts stretches of one vehicle one after the other."""

    def __init__(
        self, begin_us: int, interval_s: int, rng: np.random.Generator, vehicle: Vehicle, longest_s: int = 1200
    ) -> None:
        """`longest_s` bounds a stretch that moves, and with it the fixes that must be in memory at once."""
        self.now_us = begin_us
        self.stretches: list[Stretch] = []
        self.interval_s = interval_s
        self._rng = rng
        self._vehicle = vehicle
        self._longest = max(3, longest_s // interval_s)

    def add(self, doing: Doing, seconds: float, speed_kmh: float, driver_id: str | None) -> None:
        """One stretch of about so many seconds: rounded to whole intervals, at least one."""
        slow = doing is Doing.PARK
        count = max(1, round(seconds / self.interval_s))
        end_us = self.now_us + count * self.interval_s * SECOND_US
        interval_s = max(PARKED_S, self.interval_s) if slow else self.interval_s
        self.stretches.append(
            Stretch(
                self.now_us, end_us, interval_s * SECOND_US, doing, speed_kmh, driver_id, int(self._rng.integers(2**62))
            )
        )
        self.now_us = end_us

    def park_until(self, end_us: int, driver_id: str | None = None) -> None:
        """Parked until a time (rounded to whole intervals); nothing when it has passed."""
        seconds = (end_us - self.now_us) / SECOND_US
        if seconds >= self.interval_s:
            self.add(Doing.PARK, seconds, 0.0, driver_id)

    def drive(self, seconds: float, driver_id: str | None, over: int = 0) -> None:
        """So much driving, with the stops and jams of the road in between; `over` times above the limit."""
        rng, limit_kmh, kind = self._rng, self._vehicle.careful_kmh, self._vehicle.kind
        self.add(Doing.STOP, self.interval_s, 0.0, driver_id)
        left = max(1, round(seconds / self.interval_s))
        piece = max(1, left // (over + 1))
        while left > 0:
            top_kmh = limit_kmh - float(rng.uniform(5, 12))
            minutes = rng.uniform(2, 5) if kind.town else rng.uniform(6, 20)
            wanted = max(1, round(minutes * 60 / self.interval_s))
            steps = min(left, wanted, self._longest)
            self.add(Doing.CRUISE, steps * self.interval_s, round(top_kmh, 1), driver_id)
            left -= steps
            if over and left <= piece * over and self._exceed(left, driver_id):
                left -= self._steps_of_last()
                over -= 1
            elif left and rng.random() * wanted < steps:
                left -= self._obstacle(left, driver_id)
        self.add(Doing.STOP, 2 * self.interval_s, 0.0, driver_id)

    def _exceed(self, left: int, driver_id: str | None) -> bool:
        """A stretch above the limit, when enough driving is left to come back below it."""
        rng = self._rng
        steps = min(left - 3, self._longest, max(3, round(float(rng.uniform(40, 240)) / self.interval_s)))
        if (steps - 1) * self.interval_s < 20:
            return False
        excess_kmh = 20.0 if rng.random() < 0.1 else round(float(rng.uniform(8, 42)), 1)
        self.add(Doing.OVER, steps * self.interval_s, self._vehicle.careful_kmh + excess_kmh, driver_id)
        return True

    def _steps_of_last(self) -> int:
        last = self.stretches[-1]
        return (last.end_us - last.begin_us) // (self.interval_s * SECOND_US)

    def _obstacle(self, left: int, driver_id: str | None) -> int:
        """A light, a jam or a short stop; returns the intervals of driving that it took."""
        rng, kind = self._rng, self._vehicle.kind
        luck = rng.random()
        if luck < 0.15:
            steps = min(left, self._longest, max(1, round(float(rng.uniform(120, 600)) / self.interval_s)))
            self.add(Doing.JAM, steps * self.interval_s, round(float(rng.uniform(8, 18)), 1), driver_id)
            return steps
        if luck < 0.3 and not kind.town:
            self.add(Doing.STOP, float(rng.uniform(120, 540)), 0.0, driver_id)
        elif luck < 0.8:
            self.add(Doing.STOP, float(rng.uniform(15, 75)), 0.0, driver_id)
        return 0


def plan_day(crew: Crew, day_us: int, interval_s: int, rng: np.random.Generator) -> list[list[Stretch]]:
    """The day of each vehicle of the crew: from within `interval_s` after `day_us` to 24 hours after `day_us`."""
    writers = [
        Writer(day_us + int(rng.integers(interval_s * 1000)) * 1000, interval_s, rng, vehicle)
        for vehicle in crew.vehicles
    ]
    out_us = day_us + int(rng.uniform(4.5, 7.5) * 3600) * SECOND_US
    if len(writers) == 2:
        _shared_day(crew, writers, out_us, rng)
    else:
        _single_day(crew, writers[0], out_us, day_us + _HOME_BY_S * SECOND_US, rng)
    for writer in writers:
        writer.park_until(day_us + DAY_US)
        writer.stretches[-1] = writer.stretches[-1]._replace(end_us=day_us + DAY_US)
    return [writer.stretches for writer in writers]


def _single_day(crew: Crew, writer: Writer, out_us: int, home_us: int, rng: np.random.Generator) -> None:
    first, second = crew.drivers
    kind = crew.vehicles[0].kind
    writer.park_until(out_us)
    writer.add(Doing.STOP, 60, 0.0, first)
    turns = int(rng.integers(3, 5)) if not kind.town else int(rng.integers(5, 8))
    tired_turn = int(rng.integers(2)) if crew.tires else -1
    change_turn = 2 if not crew.tires and rng.random() < 0.6 else turns
    for turn in range(turns):
        driver_id = first if turn < change_turn else second
        over = int(rng.integers(1, 3)) if crew.speeds and turn != tired_turn and rng.random() < 0.7 else 0
        hours = (4.15, 4.8) if turn == tired_turn else (0.6, 1.6) if kind.town else (1.6, 3.4)
        seconds = float(rng.uniform(*hours)) * 3600
        if turn and writer.now_us + int(1.5 * seconds) * SECOND_US > home_us:
            break
        writer.drive(seconds, driver_id, over)
        writer.add(Doing.PARK, _rest_s(crew.vehicles[0], rng), 0.0, driver_id if turn + 1 < turns else None)


def _shared_day(crew: Crew, writers: list[Writer], out_us: int, rng: np.random.Generator) -> None:
    """One driver in two vehicles, changing over in minutes (tired crews) or after a proper rest."""
    first, second = crew.drivers
    one, two = writers
    over = 1 if crew.speeds else 0
    one.park_until(out_us)
    one.add(Doing.STOP, 60, 0.0, first)
    one.drive(float(rng.uniform(2.2, 2.6)) * 3600, first, over)
    away_s = 360.0 if crew.tires else _rest_s(crew.vehicles[0], rng)
    two.park_until(one.now_us + int(away_s) * SECOND_US)
    two.drive(float(rng.uniform(2.0, 2.3)) * 3600, first, over)
    one.park_until(one.now_us + int(rng.uniform(3, 4) * 3600) * SECOND_US)
    one.drive(float(rng.uniform(2.0, 3.3)) * 3600, second)


def _rest_s(vehicle: Vehicle, rng: np.random.Generator) -> float:
    return float(rng.uniform(1.6, 4.0) * vehicle.rest_s)


def stretches_of(
    crew: Crew, position: int, seed: int, interval_s: int, begin_us: int, end_us: int | None
) -> Iterator[Stretch]:
    """Everything the crew's vehicle at `position` does between two times, in order; endless without an end."""
    offset_us = (14 if crew.by_night else 0) * 3600 * SECOND_US - 7 * 3600 * SECOND_US
    day = (begin_us - offset_us) // DAY_US
    while end_us is None or day * DAY_US + offset_us < end_us:
        rng = np.random.default_rng([seed, 1, crew.number, day])
        for stretch in plan_day(crew, day * DAY_US + offset_us, interval_s, rng)[position]:
            clipped = stretch.clipped(begin_us, end_us if end_us is not None else stretch.end_us)
            if clipped is not None:
                yield clipped
        day += 1
