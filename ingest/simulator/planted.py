"""The violations that a plan contains, told from the plan and not from its fixes.

Why this is exact. A stretch that is OVER has every one of its fixes at least 6 km/h above the limit, the fixes around
it are at least 2 km/h below the limit, they are as far apart as the interval, far less than max_gap_s, and one driver
drives all of them: so its first and last fix are the episode's first and last over fix, and its largest speed the
episode's. Each fix of a stretch that moves has 4 km/h or more, each fix of another has 0; a stretch begins with a
fix and the next one with another: so the driving between them is the duration of the moving stretches to the
microsecond, and the moment at which it adds up to four hours lies as far into a stretch as was missing at its
beginning. Stops within a drive are at most two thirds of the rest that the law asks for, rests at least one and a half
times as long, so which of them is a rest does not depend on where fixes fall. Bad fixes are extra ones that fail
the checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from detectors.fix import from_us
from ingest.simulator.plan import SECOND_US, Doing, Stretch
from ingest.simulator.roster import Vehicle
from ingest.simulator.track import speeds_of

CONTINUOUS_LIMIT_S = 4 * 3600
MIN_DURATION_S = 20

_Stint = tuple[Stretch, Vehicle]


@dataclass(frozen=True)
class PlantedViolation:
    """What must be found; figures that the other kind has are None."""

    kind: str
    vehicle_id: str
    """For continuous driving the vehicle that was driven when the limit was passed."""
    driver_id: str | None
    started_us: int
    ended_us: int
    fixes: int | None = None
    limit_kmh: float | None = None
    top_speed_kmh: float | None = None
    excess_kmh: float | None = None
    limit_s: int | None = None
    actual_s: float | None = None

    def to_wire(self) -> dict[str, Any]:
        """The fields it shares with a violation on the wire, by the same names."""
        wire: dict[str, Any] = {
            name: value
            for name, value in vars(self).items()
            if value is not None and name not in ("started_us", "ended_us")
        }
        wire["started_at"] = from_us(self.started_us).isoformat().replace("+00:00", "Z")
        wire["ended_at"] = from_us(self.ended_us).isoformat().replace("+00:00", "Z")
        return wire


def planted_speeding(vehicle: Vehicle, stretches: Iterable[Stretch]) -> list[PlantedViolation]:
    """The speeding in one vehicle's plan."""
    found = []
    for stretch in stretches:
        if stretch.doing is not Doing.OVER or stretch.last_fix_us - stretch.begin_us < MIN_DURATION_S * SECOND_US:
            continue
        speeds = speeds_of(stretch, vehicle, None, None)
        top_kmh = float(speeds.max())
        assert vehicle.limit_kmh is not None
        found.append(
            PlantedViolation(
                kind="speeding",
                vehicle_id=vehicle.vehicle_id,
                driver_id=stretch.driver_id,
                started_us=stretch.begin_us,
                ended_us=stretch.last_fix_us,
                fixes=len(speeds),
                limit_kmh=vehicle.limit_kmh,
                top_speed_kmh=top_kmh,
                excess_kmh=round(top_kmh - vehicle.limit_kmh, 1),
            )
        )
    return found


def planted_continuous(plans: Sequence[tuple[Vehicle, Sequence[Stretch]]]) -> list[PlantedViolation]:
    """The continuous driving in the plans of a crew, whose drivers drive no other vehicle."""
    driving: dict[str, list[_Stint]] = {}
    for vehicle, stretches in plans:
        for stretch in stretches:
            if stretch.doing.moves and stretch.driver_id is not None:
                # After the last fix of all nothing is known, so the leg that would follow it is none.
                end_us = stretch.end_us if stretch is not stretches[-1] else stretch.last_fix_us
                driving.setdefault(stretch.driver_id, []).append((stretch._replace(end_us=end_us), vehicle))
    return [
        violation
        for driver_id, stints in driving.items()
        for violation in _of_driver(driver_id, sorted(stints, key=lambda stint: stint[0].begin_us))
    ]


def _of_driver(driver_id: str, stints: list[_Stint]) -> list[PlantedViolation]:
    found = []
    for drive in _drives(stints):
        driven_us = 0
        passed: tuple[int, str] | None = None
        for stretch, vehicle in drive:
            missing_us = CONTINUOUS_LIMIT_S * SECOND_US - driven_us
            driven_us += stretch.end_us - stretch.begin_us
            if passed is None and driven_us > CONTINUOUS_LIMIT_S * SECOND_US:
                passed = (stretch.begin_us + missing_us, vehicle.vehicle_id)
        if passed is not None:
            found.append(
                PlantedViolation(
                    kind="continuous_driving",
                    vehicle_id=passed[1],
                    driver_id=driver_id,
                    started_us=passed[0],
                    ended_us=drive[-1][0].end_us,
                    limit_s=CONTINUOUS_LIMIT_S,
                    actual_s=driven_us / SECOND_US,
                )
            )
    return found


def _drives(stints: list[_Stint]) -> Iterator[list[_Stint]]:
    """Driving between two rests."""
    drive: list[_Stint] = []
    for stretch, vehicle in stints:
        if drive:
            (last, last_vehicle) = drive[-1]
            if stretch.begin_us - last.end_us >= last_vehicle.rest_s * SECOND_US:
                yield drive
                drive = []
        drive.append((stretch, vehicle))
    if drive:
        yield drive
