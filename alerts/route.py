"""Who gets which alerts, and how many at once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from alerts.channel import Channel, PeopleChannel
from alerts.hours import Hours
from alerts.pace import Pace


@dataclass(frozen=True, slots=True)
class Audience:
    """Which alerts a channel gets: those that pass every field; None lets all pass."""

    kinds: Collection[str] | None = None
    stages: Collection[str] | None = None
    grades: Collection[str] | None = None
    """Warnings have no grade and pass."""
    bands: Collection[str] | None = None
    """Bands of the fine; only speeding has one, all else passes."""
    operators: Collection[str] | None = None
    provinces: Collection[str] | None = None
    """Of the operator, by the registry."""
    hours: Hours | None = None
    """By the local time of the event."""
    to_operator: bool = False
    """Only alerts whose operator has an address of its own in the registry."""

    def as_filter(self) -> dict[str, Any]:
        """For the outbox: plain lists and times as text, absent where all pass."""
        lists = {
            name: sorted(values)
            for name in ("kinds", "stages", "grades", "bands", "operators", "provinces")
            if (values := getattr(self, name)) is not None
        }
        span = {"begins": self.hours.begin.isoformat(), "ends": self.hours.end.isoformat()} if self.hours else {}
        return {**lists, **span, "to_operator": self.to_operator}


@dataclass(frozen=True, slots=True)
class Route:
    """A channel and whom it serves."""

    channel: Channel
    audience: Audience = field(default=Audience())


@dataclass(frozen=True, slots=True)
class PacedRoute:
    """A channel of people, whom it serves, and how fast it may tell them."""

    channel: PeopleChannel
    audience: Audience
    pace: Pace
