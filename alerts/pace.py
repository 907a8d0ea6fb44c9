"""How fast a channel of people may be told: one by one, many at once in a summary, or not now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol
from zoneinfo import ZoneInfo

from alerts.hours import Hours

_DIGEST_EVERY_S = 60.0


class Pressure(Protocol):
    """What waits for a channel and what it was sent lately, at one moment of the database's clock."""

    @property
    def now(self) -> datetime: ...
    @property
    def waiting(self) -> int: ...
    @property
    def oldest_at(self) -> datetime | None: ...
    @property
    def sent_in_last_minute(self) -> int: ...
    @property
    def last_digest_at(self) -> datetime | None: ...
    @property
    def unfinished_digests(self) -> int: ...


class Step(Enum):
    """What to do next."""

    HOLD = "hold"
    ONE_BY_ONE = "one by one"
    TOGETHER = "together"


@dataclass(frozen=True, slots=True)
class Pace:
    """Nothing in quiet hours: what came in them, or waited when they began, is told together afterwards. More than
    `most_per_minute` is told together too, at most once a minute."""

    zone: ZoneInfo
    most_per_minute: int
    quiet: Hours | None = None

    def is_quiet(self, moment: datetime) -> bool:
        """Whether quiet hours hold at a moment."""
        return self.quiet is not None and self.quiet.contains(moment.astimezone(self.zone).time())

    def last_quiet(self, moment: datetime) -> tuple[datetime, datetime] | None:
        """Begin and end of the quiet hours that hold at a moment, or were the last before it."""
        if self.quiet is None:
            return None
        local = moment.astimezone(self.zone)
        begin = datetime.combine(local.date(), self.quiet.begin, self.zone)
        if begin > local:
            begin -= timedelta(days=1)
        return begin, begin + self.quiet.length

    def step(self, pressure: Pressure) -> Step:
        """What to do under this pressure."""
        if not pressure.waiting or self.is_quiet(pressure.now):
            return Step.HOLD
        quiet = self.last_quiet(pressure.now)
        held = quiet is not None and pressure.oldest_at is not None and pressure.oldest_at < quiet[1]
        crowded = pressure.waiting + pressure.sent_in_last_minute > self.most_per_minute
        if not (held or crowded or pressure.unfinished_digests):
            return Step.ONE_BY_ONE
        last = pressure.last_digest_at
        due = last is None or pressure.now - last >= timedelta(seconds=_DIGEST_EVERY_S)
        return Step.TOGETHER if due or held else Step.HOLD
