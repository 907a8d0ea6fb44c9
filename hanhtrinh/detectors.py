"""Which detectors judge vehicles: our own, and those that installed packages offer as entry points."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import cast

from detectors.detector import Context, Factory
from detectors.limits import LimitBook
from detectors.names import Names
from detectors.silence import SilenceDetector
from detectors.speeding_detector import SpeedingDetector
from hanhtrinh.rule_packs import LoadedPack

GROUP = "hanhtrinh.detectors"
OWN: tuple[Factory, ...] = (SpeedingDetector, SilenceDetector)


class DetectorError(Exception):
    """A detector cannot be loaded; the message names it and its package."""


def detector_factories() -> list[Factory]:
    """The factories of all detectors: our own, then the others by name. DetectorError names one that does not load."""
    factories = list(OWN)
    for entry in sorted(entry_points(group=GROUP), key=lambda each: each.name):
        try:
            factories.append(cast(Factory, entry.load()))
        except (ImportError, AttributeError) as error:
            package = entry.dist.name if entry.dist else "unknown package"
            raise DetectorError(f"detector {entry.name} of {package} cannot be loaded: {error}") from error
    return factories


def context_of(pack: LoadedPack, vehicles: Names, drivers: Names, limits: LimitBook) -> Context:
    """What detectors are given."""
    return Context(pack.pack, pack.midnight_us, vehicles, drivers, limits)
