"""Rules as data: what a rule pack holds. The numbers live in the .toml files beside this one (law 6).

Parsing and checking a pack is the application's work (`hanhtrinh.rule_packs`); detectors are handed the result.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Generic, NamedTuple, Protocol, TypeVar

from detectors.rules.bounds import demand_ascending, demand_sensible

_STRICT = {"extra": "forbid", "allow_inf_nan": False}
"""For whoever parses a pack with pydantic: a misspelt number must not be silently unused."""


@dataclass(frozen=True, slots=True)
class CheckNumbers:
    """Bounds beyond which a fix is distrusted."""

    __pydantic_config__ = _STRICT

    min_satellites: int
    max_hdop: float
    earliest: date
    """No tracker fix is older: an earlier time is a clock that was not set."""
    max_ahead_s: float
    """How far a fix may lie ahead of its receipt."""
    max_speed_kmh: float
    jump_kmh: float
    """A leg that needs more than this to the last trusted fix is a jump..."""
    jump_min_m: float
    """... if it is also longer than this: trackers hold a position for seconds and then catch up."""
    acceleration_kmh_per_s: float
    """A change of speed beyond this is no driving..."""
    acceleration_within_s: float
    """... between fixes no further apart than this."""
    frozen_after_s: float
    """A position held for longer than this..."""
    frozen_kmh: float
    """... at this speed or more is frozen."""
    contradiction_kmh: float
    """Where both ends of a leg claim this speed or more..."""
    contradiction_share: float
    """... and it is shorter than this share of what the slower of the two would cover..."""
    contradiction_within_s: float
    """... in no longer than this, the speed contradicts the distance."""

    def __post_init__(self) -> None:
        demand_sensible(self)


@dataclass(frozen=True, slots=True)
class ActivityNumbers:
    """When a vehicle counts as driving."""

    __pydantic_config__ = _STRICT

    moving_kmh: float
    max_silence_s: float
    still_m: float

    def __post_init__(self) -> None:
        demand_sensible(self)


@dataclass(frozen=True, slots=True)
class Band:
    """A band of excess over the limit, in km/h."""

    __pydantic_config__ = _STRICT

    name: str
    over_kmh: float
    """Lower edge."""
    inclusive: bool
    """Whether exactly `over_kmh` belongs to this band or to the one below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedingRule:
    """One dated version of the speeding rule; `valid_from` is its version. `valid_to` is exclusive."""

    __pydantic_config__ = _STRICT

    valid_from: date
    valid_to: date | None = None
    source: str
    min_excess_kmh: float
    exit_after_s: float
    max_gap_s: float
    min_fixes: int
    min_duration_s: float
    fine_bands: tuple[Band, ...]
    report_bands: tuple[Band, ...]

    def __post_init__(self) -> None:
        demand_sensible(self)
        demand_ascending("fine_bands", [band.over_kmh for band in self.fine_bands])
        demand_ascending("report_bands", [band.over_kmh for band in self.report_bands])


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceRule:
    """One dated version of the duty to transmit while driving."""

    __pydantic_config__ = _STRICT

    valid_from: date
    valid_to: date | None = None
    source: str
    silent_after_s: float
    """A vehicle that moved at its last trusted fix is silent after more than this."""

    def __post_init__(self) -> None:
        demand_sensible(self)


@dataclass(frozen=True, slots=True)
class SpeedClass:
    """The limit of a class of vehicle where no sign says otherwise, and the highest any road allows it."""

    __pydantic_config__ = _STRICT

    default_kmh: float
    highest_kmh: float

    def __post_init__(self) -> None:
        demand_sensible(self)
        if self.highest_kmh < self.default_kmh:
            raise ValueError(f"highest_kmh is {self.highest_kmh:g}, expected at least default_kmh {self.default_kmh:g}")


@dataclass(frozen=True, slots=True)
class ReportNumbers:
    """What the monthly reports count by."""

    __pydantic_config__ = _STRICT

    source: str
    badge_per_1000_km: float
    """So many speeding violations per 1,000 km in a month, or more, cost a vehicle its badge."""
    badge_least_km: float
    """Below it the rate says nothing."""
    stop_least_s: float
    """A shorter stop is not counted."""

    def __post_init__(self) -> None:
        demand_sensible(self)


@dataclass(frozen=True, slots=True)
class RulePack:
    """One country's rules on fixes and speed; those on driving time are a `HoursPack`. Dated versions are in order."""

    __pydantic_config__ = _STRICT

    name: str
    title: str
    time_zone: str
    checks: CheckNumbers
    activity: ActivityNumbers
    speeding: tuple[SpeedingRule, ...]
    speed_classes: Mapping[str, SpeedClass]
    unregistered_class: str
    """Class of a vehicle that no registry knows."""
    class_default_confirms: bool = False
    """Whether being over a class default is proof enough, as the state system takes it; else it is for review."""
    silence: tuple[SilenceRule, ...] = ()
    """None: nobody has a duty to transmit."""
    reports: ReportNumbers | None = None
    """None: no office reports by this pack."""
    detectors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Numbers of further detectors, by the detector's name."""

    def __post_init__(self) -> None:
        if not self.speeding:
            raise ValueError("speeding has no version, expected at least one")


class Versioned(Protocol):
    """A rule that is in force from a local day on."""

    @property
    def valid_from(self) -> date: ...
    @property
    def valid_to(self) -> date | None: ...


Rule = TypeVar("Rule", bound=Versioned)


class Span(NamedTuple, Generic[Rule]):
    """A stretch of time in which one version is in force; the end is exclusive."""

    begin_us: int
    end_us: int
    rule: Rule


@dataclass(frozen=True, slots=True)
class Dated(Generic[Rule]):
    """Versions of one rule with the moment each begins, microseconds UTC."""

    begins_us: Sequence[int]
    rules: Sequence[Rule]
    ended_us: int | None = None
    """When the last version went out of force; None if it has not."""

    def at(self, time_us: int) -> Rule:
        """The version in force; before the first one, the first."""
        return self.rules[max(0, bisect_right(self.begins_us, time_us) - 1)]

    def spans(self, begin_us: int, end_us: int) -> list[Span[Rule]]:
        """The versions in force within a stretch, each with its part of it."""
        found = []
        for number, rule in enumerate(self.rules):
            following = self.begins_us[number + 1] if number + 1 < len(self.rules) else self.ended_us
            first_us = max(begin_us, self.begins_us[number])
            last_us = end_us if following is None else min(end_us, following)
            if first_us < last_us:
                found.append(Span(first_us, last_us, rule))
        return found

    def next_change_us(self, time_us: int) -> int | None:
        """When another version comes into force after a time, or the last goes out of it."""
        later = [moment for moment in (*self.begins_us, self.ended_us) if moment is not None and moment > time_us]
        return min(later, default=None)


def dated(rules: Sequence[Rule], midnight_us: Callable[[date], int]) -> Dated[Rule]:
    """The versions of a rule in order. ValueError where one does not end when the next begins."""
    ordered = sorted(rules, key=lambda rule: rule.valid_from)
    for earlier, later in pairwise(ordered):
        if earlier.valid_to != later.valid_from:
            raise ValueError(
                f"rule valid from {earlier.valid_from}: valid_to is {earlier.valid_to},"
                f" expected {later.valid_from}, when the next version begins"
            )
    ended = ordered[-1].valid_to if ordered else None
    return Dated(
        [midnight_us(rule.valid_from) for rule in ordered], ordered, None if ended is None else midnight_us(ended)
    )
