"""From the plan of a vehicle to its fixes, a stretch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from detectors.fix import Fix
from ingest.simulator.places import Road, long_road, town_road
from ingest.simulator.plan import SECOND_US, Doing, Stretch
from ingest.simulator.roster import Vehicle

Floats = npt.NDArray[np.float64]

_PULL_KMH_PER_S = 4.0
_LEAST_KMH = 4.0
"""Nothing that moves is slower: below 3 km/h it would count as standing."""
_LEAST_EXCESS_KMH = 6.0


def speeds_of(stretch: Stretch, vehicle: Vehicle, before: Stretch | None, after: Stretch | None) -> Floats:
    """The speed at each fix of a stretch, in tenths of a km/h; equal for equal arguments."""
    count = -((stretch.begin_us - stretch.end_us) // stretch.interval_us)
    seconds = np.arange(count) * (stretch.interval_us / SECOND_US)
    if not stretch.doing.moves:
        return np.zeros(len(seconds))
    rng = np.random.default_rng(stretch.salt)
    if stretch.doing is Doing.OVER:
        return _over_speeds(stretch.speed_kmh, vehicle.careful_kmh, len(seconds))
    jam = stretch.doing is Doing.JAM
    speeds = stretch.speed_kmh + rng.normal(0.0, 4.0 if jam else 1.2, len(seconds))
    speeds = np.minimum(speeds, vehicle.careful_kmh - 2)
    if before is not None:
        speeds = np.minimum(speeds, before.speed_kmh + _PULL_KMH_PER_S * (seconds + before.interval_us / SECOND_US))
    if after is not None:
        left_s = (stretch.end_us - stretch.begin_us) / SECOND_US - seconds
        speeds = np.minimum(speeds, after.speed_kmh + _PULL_KMH_PER_S * left_s)
    rounded: Floats = np.round(np.maximum(speeds, _LEAST_KMH), 1)
    return rounded


def _over_speeds(top_kmh: float, limit_kmh: float, count: int) -> Floats:
    swell = np.sin(np.pi * np.arange(1, count + 1) / (count + 1))
    excess = _LEAST_EXCESS_KMH + (top_kmh - limit_kmh - _LEAST_EXCESS_KMH) * swell / swell.max()
    rounded: Floats = np.round(limit_kmh + excess, 1)
    return rounded


class Track:
    """The fixes of one vehicle, in order of time. What it remembers between stretches is its place on the road."""

    def __init__(self, vehicle: Vehicle, seed: int) -> None:
        self._vehicle = vehicle
        self._rng = np.random.default_rng([seed, 2, vehicle.number])
        self._road: Road = town_road(self._rng) if vehicle.kind.town else long_road(self._rng)
        self._driven_m = float(self._rng.uniform(0, self._road.length_m))
        self._odometer_km = float(self._rng.uniform(10_000, 400_000))

    def fixes(self, stretches: Iterable[Stretch]) -> Iterator[list[Fix]]:
        """The fixes of each stretch, with what a bad antenna adds between them."""
        before: Stretch | None = None
        pending: Stretch | None = None
        for after in stretches:
            if pending is not None:
                yield self._stretch(pending, before, after)
                before = pending
            pending = after
        if pending is not None:
            yield self._stretch(pending, before, None)

    def _stretch(self, stretch: Stretch, before: Stretch | None, after: Stretch | None) -> list[Fix]:
        vehicle, rng = self._vehicle, self._rng
        speeds = speeds_of(stretch, vehicle, before, after)
        count = len(speeds)
        interval_s = stretch.interval_us / SECOND_US
        following = np.append(speeds[1:], speeds[-1])
        legs_m = (speeds + following) / 2 * (interval_s / 3.6)
        driven_m = self._driven_m + np.concatenate([[0.0], np.cumsum(legs_m)])
        places = self._road.at(driven_m[:-1])
        odometer_km = self._odometer_km + (driven_m[:-1] - self._driven_m) / 1000
        self._odometer_km += (driven_m[-1] - self._driven_m) / 1000
        self._driven_m = float(driven_m[-1])
        noise = rng.normal(0.0, 2e-5, (2, count))
        fixes = [
            Fix(vehicle.vehicle_id, *values)
            for values in zip(
                range(stretch.begin_us, stretch.end_us, stretch.interval_us),
                np.round(places.lat + noise[0], 6).tolist(),
                np.round(places.lon + noise[1], 6).tolist(),
                speeds.tolist(),
                [stretch.driver_id] * count,
                np.round(places.heading_deg, 1).tolist(),
                [stretch.doing is not Doing.PARK] * count,
                [stretch.doing is Doing.STOP and vehicle.kind.town] * count,
                np.round(odometer_km, 2).tolist(),
                rng.integers(7, 15, count).tolist(),
                np.round(rng.uniform(0.6, 1.8, count), 1).tolist(),
                [True] * count,
                strict=True,
            )
        ]
        if before is not None and count >= 4:
            self._add_bad_fixes(fixes, stretch.interval_us)
        return fixes

    def _add_bad_fixes(self, fixes: list[Fix], interval_us: int) -> None:
        """Extra fixes halfway between two good ones; every check distrusts them, so the plan stays what it is."""
        rng, luck = self._rng, self._rng.random()
        if luck > 0.12:
            return
        place = int(rng.integers(1, len(fixes) - 2))
        good = fixes[place]
        between = good._replace(time_us=good.time_us + interval_us // 2)
        if luck < 0.04:
            # Tens of kilometres away within half an interval: no road vehicle does that.
            sign = 1 if rng.random() < 0.5 else -1
            bad = between._replace(lat=round(good.lat + sign * float(rng.uniform(0.2, 0.6)), 6))
        elif luck < 0.08:
            bad = between._replace(valid=False, satellites=int(rng.integers(4)), speed_kmh=150.0)
        else:
            bad = between._replace(
                lat=0.0, lon=0.0, valid=None, satellites=int(rng.integers(3)), hdop=25.5, speed_kmh=0.0
            )
        fixes.insert(place + 1, bad)
