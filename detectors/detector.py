"""The contract of a detector that judges vehicles fix by fix, and what it is given.

Detectors are found through the entry points "hanhtrinh.detectors": each names a factory that takes a `Context`.
docs/add-a-detector.md shows one from start to end. What every detector must keep to:

- `advance` is called with trusted fixes newer than any given before of their vehicle, sorted by (vehicle, time).
  However they are cut into calls, the violations that stand at the end are the same.
- A row is unsettled when what the detector remembers after it does not follow from that row alone. Judging may begin
  at any settled row with nothing remembered: that is how state is rebuilt after a crash and how late fixes are judged.
- A violation that starts at a settled fix follows from that fix and later ones alone.
- What is remembered of a vehicle is bounded and can be forgotten at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import NamedTuple, Protocol

from detectors.columns import Bool, Code, Columns, Float, Int
from detectors.limits import LimitBook
from detectors.names import Names
from detectors.rules import RulePack
from detectors.violation import Violation


class Context(NamedTuple):
    """What a detector may know of the world."""

    pack: RulePack
    midnight_us: Callable[[date], int]
    """When a local day of the pack's time zone begins, microseconds UTC."""
    vehicles: Names
    drivers: Names
    limits: LimitBook


class Before(NamedTuple):
    """For each row the trusted fix before it of its vehicle."""

    there: Bool
    """Whether there is one; without one the other columns say nothing."""
    time_us: Int
    lat: Float
    lon: Float
    speed_kmh: Float
    driver: Code

    def take(self, rows: Bool) -> Before:
        """The chosen rows."""
        there, time_us, lat, lon, speed_kmh, driver = self
        return Before(there[rows], time_us[rows], lat[rows], lon[rows], speed_kmh[rows], driver[rows])


class TrustedFixes(NamedTuple):
    """Fixes that passed every check, in (vehicle, time) order, each with the fix before it and the leg between."""

    rows: Columns
    before: Before
    leg_mm: Int
    """0 where there is no fix before."""


class Found(NamedTuple):
    """What one call found."""

    violations: list[Violation]
    """Violations that this call opened, changed or ended, as they stand now; the latest of each counts."""
    unsettled: Bool
    """Row by row: what is remembered after this fix does not follow from this fix alone."""


class Detector(Protocol):
    """Judges vehicles; one object for all of them."""

    @property
    def kinds(self) -> Sequence[str]:
        """The kinds of violation it finds: nobody else may find them."""
        ...

    def advance(self, fixes: TrustedFixes) -> Found:
        """Judge these fixes."""
        ...

    def forget(self, vehicles: Code) -> None:
        """Remember nothing of these vehicles."""
        ...


Factory = Callable[[Context], Detector]
