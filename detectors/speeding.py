"""Speeding: from labelled runs of fixes to episodes, and from episodes to what may be a violation.

An episode starts at the first over fix. It ends at the first valid fix at or below the limit, or when fixes stayed
between limit and threshold for more than exit_after_s, or at a gap, or when the driver changes, or when other numbers
come into force. What it proves is what lies between its first and last over fix. Everything is counted in integers
(microseconds, millimetres, thousandths of a km/h), so that no sum depends on where a batch was cut.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from detectors.rule_versions import Version
from detectors.rules import SpeedingRule


class Label(IntEnum):
    """Where a fix stands against its limit."""

    BELOW = 0
    """At or below the limit."""
    GREY = 1
    """Above the limit by less than the excess that counts."""
    OVER = 2
    UNSAID = 3
    """A fix without a speed: proves nothing, ends nothing."""


@dataclass(slots=True)
class Run:
    """A maximal stretch of consecutive trusted fixes of one vehicle with the same labels.

    Speeds are in thousandths of a km/h. `entry_mm` is the leg that leads to the first fix, `inner_mm` the legs after
    it. `gap` says that the leg to the first fix lasted longer than max_gap_s. Row numbers point into the batch, so
    that the exact fix that proves something can be found.
    """

    label: Label
    driver: int
    version: Version[SpeedingRule]
    gap: bool
    first_row: int
    end_row: int
    first_us: int
    last_us: int
    entry_mm: int
    inner_mm: int
    speed_sum: int
    top_speed: int
    top_excess: int
    limit_at_top: int
    on_road: bool
    """The limit is the road's, carried by the fixes."""
    limits: dict[int, int]
    certain: bool
    """No road allows this vehicle more than these limits."""
    start: tuple[float, float]
    end: tuple[float, float]


@dataclass(slots=True)
class Episode:
    """Over fixes joined by the rule's tolerances; becomes a violation when `proven_us` is set."""

    driver: int
    version: Version[SpeedingRule]
    start_us: int
    start: tuple[float, float]
    last_us: int
    end: tuple[float, float]
    fixes: int = 0
    speed_sum: int = 0
    top_speed: int = 0
    top_excess: int = 0
    limit_at_top: int = 0
    on_road_at_top: bool = False
    distance_mm: int = 0
    pending_mm: int = 0
    """Distance since the last over fix: counted only if another over fix follows."""
    grey_since_us: int | None = None
    limits: dict[int, int] = field(default_factory=dict)
    proven_us: int | None = None
    """Time of the fix that made it a violation."""
    closed_us: int | None = None
    """Time of the fix that ended it."""
    certain: bool = True
    """Every limit it was held against is the highest there can be."""
    on_road: bool = True
    """Every limit it was held against is the road's."""
    strictly_proven: bool = False
    """Also a violation against the highest limit that any road allows."""

    @property
    def confirmed(self) -> bool:
        """Over under every reading of the evidence."""
        return self.certain or self.strictly_proven

    def add_over(self, run: Run, times_us: list[int]) -> None:
        """Take in a run of over fixes; `times_us` are the run's own times."""
        before = self.fixes
        if before:
            self.distance_mm += self.pending_mm + run.entry_mm
        self.distance_mm += run.inner_mm
        self.pending_mm = 0
        self.fixes += len(times_us)
        self.speed_sum += run.speed_sum
        self.top_speed = max(self.top_speed, run.top_speed)
        if run.top_excess > self.top_excess:
            self.top_excess, self.limit_at_top = run.top_excess, run.limit_at_top
            self.on_road_at_top = run.on_road
        for limit, count in run.limits.items():
            self.limits[limit] = self.limits.get(limit, 0) + count
        self.certain &= run.certain
        self.on_road &= run.on_road
        self.last_us, self.end = run.last_us, run.end
        self.grey_since_us = None
        if self.proven_us is None:
            self.proven_us = self._proof_us(before, times_us)

    def _proof_us(self, before: int, times_us: list[int]) -> int | None:
        earliest_us = self.start_us + round(self.version.rule.min_duration_s * 1e6)
        for number, time_us in enumerate(times_us, start=before + 1):
            if number >= self.version.rule.min_fixes and time_us >= earliest_us:
                return time_us
        return None


class EpisodeTrack:
    """Follows the episodes of one vehicle against one reading of its limit."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        self.open: Episode | None = None

    def feed(self, run: Run, label: Label, times_us: list[int]) -> tuple[list[Episode], int]:
        """Take in one run. Returns the proven episodes it ended and how many of its rows leave an episode open,
        counted: rows from `first_row + n` on are settled, where n is the second value."""
        ended = self._cut(run)
        rows = len(times_us)
        if label is Label.OVER:
            if self.open is None:
                self.open = Episode(
                    driver=run.driver,
                    version=run.version,
                    start_us=run.first_us,
                    start=run.start,
                    last_us=run.first_us,
                    end=run.start,
                )
            self.open.add_over(run, times_us)
            return ended, rows
        if self.open is None:
            return ended, 0
        if label is Label.BELOW:
            return ended + self._close(run.first_us), 0
        self.open.pending_mm += run.entry_mm + run.inner_mm
        if label is Label.UNSAID:
            return ended, rows
        return self._stay_grey(times_us, ended)

    def _cut(self, run: Run) -> list[Episode]:
        """End the episode where the run cannot continue it: a gap, another driver, other numbers."""
        if self.open is None:
            return []
        if run.gap or run.driver != self.open.driver or run.version is not self.open.version:
            return self._close(run.first_us)
        return []

    def _stay_grey(self, times_us: list[int], ended: list[Episode]) -> tuple[list[Episode], int]:
        assert self.open is not None
        if self.open.grey_since_us is None:
            self.open.grey_since_us = times_us[0]
        latest_us = self.open.grey_since_us + round(self.open.version.rule.exit_after_s * 1e6)
        for number, time_us in enumerate(times_us):
            if time_us > latest_us:
                return ended + self._close(time_us), number
        return ended, len(times_us)

    def _close(self, at_us: int) -> list[Episode]:
        episode, self.open = self.open, None
        if episode is None or episode.proven_us is None:
            return []
        episode.closed_us = at_us
        return [episode]
