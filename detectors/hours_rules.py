"""The driving-time rules of one pack, ready to judge with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from detectors.hours_timeline import Resting, with_unknown
from detectors.local_time import LocalCalendar
from detectors.rules import Dated
from detectors.rules.driving_time import ContinuousRule, HoursKind, PeriodRule

NO_RULE: Dated[PeriodRule] = Dated((), ())


@dataclass(frozen=True, slots=True)
class HoursRules:
    """What applies to a line of drivers under one pack. A kind of period without versions is not judged."""

    pack: str
    calendar: LocalCalendar
    breaks: Resting
    """What counts towards the rest that ends a drive."""
    daily_rests: Resting
    """What counts towards the rest between two days."""
    continuous: Dated[ContinuousRule]
    daily: Dated[PeriodRule] = NO_RULE
    weekly: Dated[PeriodRule] = NO_RULE
    fortnight: Dated[PeriodRule] = NO_RULE
    two_vehicles_us: int | None = None
    """Driving two vehicles at once for longer shows an id that is no person's; None does not look."""
    unknown_resets_us: int | None = None
    """A drive ends where nothing but the unknown and rest followed it for so long; None: the unknown ends nothing."""

    def favouring_the_driver(self) -> HoursRules:
        """The same, and what is unknown is rest too."""
        return replace(self, breaks=with_unknown(self.breaks), daily_rests=with_unknown(self.daily_rests))

    @property
    def days_between_rests(self) -> bool:
        """Whether a day runs from one long rest to the next, not from midnight to midnight."""
        return bool(self.daily.rules) and self.daily.rules[0].rest_s is not None

    @property
    def common_rests(self) -> Resting:
        """What counts as rest by every rule."""
        if not self.days_between_rests:
            return self.breaks
        return tuple(each and daily for each, daily in zip(self.breaks, self.daily_rests, strict=True))

    @property
    def shortest_rest_us(self) -> int:
        """The shortest rest that ends a drive of any vehicle under any version, microseconds."""
        return round(min(min([rule.rest_s, *rule.rest_s_by_kind.values()]) for rule in self.continuous.rules) * 1e6)

    @property
    def periods(self) -> tuple[Dated[PeriodRule], ...]:
        """The rules on days, weeks and fortnights."""
        return self.daily, self.weekly, self.fortnight

    def reach_us(self, time_us: int) -> int:
        """The earliest moment whose driving counts for what is judged at a time, drives apart."""
        reach_us = time_us
        if self.daily.rules and not self.days_between_rests:
            reach_us = min(reach_us, self.calendar.day_begin(time_us))
        if self.weekly.rules or any(rule.extended_limit_s for rule in self.daily.rules):
            reach_us = min(reach_us, self.calendar.week_begin(time_us))
        if self.fortnight.rules:
            reach_us = min(reach_us, self.calendar.week_begin(time_us, -1))
        return reach_us

    def reaches_behind(self, begin_us: int, since_us: int, judged_to_us: int) -> bool:
        """Whether what changed from a time on may count for more than a judgement from `since_us` on would see."""
        return begin_us < judged_to_us and (self.days_between_rests or self.reach_us(begin_us) < since_us)

    def is_whole(self, kind: str, moment_us: int, since_us: int) -> bool:
        """Whether all that counts for a violation or warning at a moment happened at `since_us` or later."""
        match kind:
            case HoursKind.DAILY if not self.days_between_rests:
                return self.calendar.day_begin(moment_us) >= since_us
            case HoursKind.WEEKLY | HoursKind.EXTENSION:
                return self.calendar.week_begin(moment_us) >= since_us
            case HoursKind.FORTNIGHT:
                return self.calendar.week_begin(moment_us, -1) >= since_us
            case _:
                return moment_us >= since_us
