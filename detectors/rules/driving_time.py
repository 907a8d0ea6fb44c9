"""The few kinds of rule on driving time. A pack names their numbers; nothing here belongs to one country."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Literal

from detectors.rules.bounds import demand_sensible

_STRICT = {"extra": "forbid", "allow_inf_nan": False}

ActivityName = Literal["stopped", "unknown", "work", "available", "rest", "sleeper"]
"""What may count as rest: everything but driving."""


class HoursKind(StrEnum):
    """Kinds of driving-time violation, as they stand on the wire. A pack's tables carry the same names."""

    CONTINUOUS = "continuous_driving"
    SHORT_REST = "short_rest"
    """A rest that was begun and broken off, in a drive that passed its limit. Part of the continuous rule."""
    DAILY = "daily_driving"
    WEEKLY = "weekly_driving"
    FORTNIGHT = "fortnight_driving"
    EXTENSION = "daily_extension"
    """A longer day than the week still allowed. Part of the daily rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuousRule:
    """One dated version of the limit on driving between two rests."""

    __pydantic_config__ = _STRICT

    valid_from: date
    valid_to: date | None = None
    source: str
    limit_s: float
    rest_s: float
    rest_s_by_kind: Mapping[str, float] = field(default_factory=dict)
    """By kind of the vehicle last driven."""
    split_first_s: float | None = None
    """A shorter rest of at least this, followed by one of `split_second_s`, ends a drive too."""
    split_second_s: float | None = None
    attempt_share: float | None = None
    """A stop longer than this share of the rest, and still too short, is a rest that was broken off."""
    warn_before_s: float | None = None
    excuse: str | None = None
    """What the law excuses. It is said with the violation; whether it was so is a person's to decide."""

    def __post_init__(self) -> None:
        demand_sensible(self)

    def rest_us(self, kind: str | None) -> int:
        """The rest that ends a drive in a vehicle of this kind, microseconds."""
        return round(self.rest_s_by_kind.get(kind or "", self.rest_s) * 1e6)

    @property
    def limit_us(self) -> int:
        """The limit, microseconds."""
        return round(self.limit_s * 1e6)

    @property
    def warn_us(self) -> int | None:
        """The driving after which to warn, microseconds."""
        return _warn_us(self.limit_s, self.warn_before_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodRule:
    """One dated version of the limit on driving in a day, a week, or two weeks in a row."""

    __pydantic_config__ = _STRICT

    valid_from: date
    valid_to: date | None = None
    source: str
    basis: Literal["law", "assumed"] = "law"
    """Of the limit. An assumed one only advises: what passes it is for a person to review."""
    limit_s: float
    rest_s: float | None = None
    """For days: they run between two rests of at least this, not from midnight to midnight."""
    extended_limit_s: float | None = None
    """For days: the limit of a few of them in a week."""
    extensions_per_week: int = 0
    warn_before_s: float | None = None

    def __post_init__(self) -> None:
        demand_sensible(self)

    @property
    def limit_us(self) -> int:
        """The limit of an ordinary period, microseconds."""
        return round(self.limit_s * 1e6)

    @property
    def highest_us(self) -> int:
        """The limit of the longest period allowed, microseconds."""
        return round((self.extended_limit_s or self.limit_s) * 1e6)

    @property
    def rest_us(self) -> int:
        """The rest between two days, microseconds; 0 where days follow the calendar."""
        return round((self.rest_s or 0) * 1e6)

    @property
    def warn_us(self) -> int | None:
        """The driving after which to warn of the ordinary limit, microseconds."""
        return _warn_us(self.limit_s, self.warn_before_s)

    @property
    def warn_highest_us(self) -> int | None:
        """The driving after which to warn of the highest limit, microseconds."""
        return _warn_us(self.extended_limit_s or self.limit_s, self.warn_before_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class HoursPack:
    """One country's rules on driving time. Rules of a kind are dated versions in order, without overlap."""

    __pydantic_config__ = _STRICT

    name: str
    title: str
    time_zone: str
    """Where days and weeks begin."""
    two_vehicles_s: float
    """A driver who drives two vehicles at once for longer is a placeholder: that driving is nobody's."""
    unknown_resets_s: float | None = None
    """A drive ends where for so long there was nothing but the unknown and rest; None: the unknown ends nothing."""
    break_activities: tuple[ActivityName, ...]
    """What counts towards the rest that ends a drive."""
    daily_rest_activities: tuple[ActivityName, ...] = ()
    """What counts towards the rest between two days."""
    continuous_driving: tuple[ContinuousRule, ...]
    daily_driving: tuple[PeriodRule, ...] = ()
    weekly_driving: tuple[PeriodRule, ...] = ()
    fortnight_driving: tuple[PeriodRule, ...] = ()


def _warn_us(limit_s: float, warn_before_s: float | None) -> int | None:
    if warn_before_s is None or warn_before_s >= limit_s:
        return None
    return round((limit_s - warn_before_s) * 1e6)
