"""The speeding detector: trusted fixes of all vehicles in, violations out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.columns import Bool, Code, Int
from detectors.detector import Context, Found, TrustedFixes
from detectors.limits import NOT_SET, speeds, thousandths
from detectors.overrides import CLASS_CONFIRMS, LIMIT, overridable
from detectors.rule_versions import Version, VersionTable
from detectors.rules import SpeedingRule, dated
from detectors.runs import LabelledFixes, label_of, runs_of
from detectors.speeding import Episode, EpisodeTrack, Label
from detectors.verdict import speeding_violation
from detectors.violation import Violation


class _Tracks(NamedTuple):
    """The episodes of one vehicle against its limit, and against the highest limit any road allows its class."""

    limit: EpisodeTrack
    highest: EpisodeTrack


class _Numbers(NamedTuple):
    """The numbers of each version, as columns."""

    min_excess: Int
    max_gap_us: Int
    limit: Int
    """What the office set, NOT_SET where it did not."""

    def with_more(self, versions: Sequence[Version[SpeedingRule]]) -> _Numbers:
        own = [each.overrides.get(LIMIT) for each in versions]
        more = (
            [thousandths(each.rule.min_excess_kmh) for each in versions],
            [round(each.rule.max_gap_s * 1e6) for each in versions],
            [NOT_SET if each is None else thousandths(each.value) for each in own],
        )
        return _Numbers(*(np.append(old, np.array(new, np.int64)) for old, new in zip(self, more, strict=True)))


class SpeedingDetector:
    """Keeps an object only for vehicles with an open episode."""

    kinds = ("speeding",)

    def __init__(self, context: Context) -> None:
        self._context = context
        names = [CLASS_CONFIRMS, LIMIT, *(each for each in overridable(context.pack) if each.startswith("speeding."))]
        rules = dated(context.pack.speeding, context.midnight_us)
        self._table = VersionTable(rules, names, context.midnight_us, context.limits.overrides)
        self._numbers = _Numbers(*[np.empty(0, np.int64)] * 3)
        self._limits_overridden = False
        self._tracks: dict[int, _Tracks] = {}

    def forget(self, vehicles: Code) -> None:
        """Drop their open episodes."""
        if self._tracks:
            for vehicle in vehicles.tolist():
                self._tracks.pop(vehicle, None)

    def advance(self, fixes: TrustedFixes) -> Found:
        """Only vehicles that are over, or have an open episode, cost more than a comparison a fix."""
        rows = fixes.rows
        rule = self._table.at(rows.vehicle, rows.time_us)
        numbers = self._known_numbers()
        own_limit = numbers.limit[rule] if self._limits_overridden else None
        limit, highest = self._context.limits.limits(rows, own_limit)
        speed = speeds(rows.speed_kmh)
        min_excess, max_gap_us = numbers.min_excess[rule], numbers.max_gap_us[rule]
        over = speed - limit >= min_excess
        unsettled = np.zeros(len(rows), dtype=np.bool_)
        concerned = np.union1d(rows.vehicle[over], np.array(list(self._tracks), dtype=np.int32))
        if not len(concerned):
            return Found([], unsettled)
        chosen = np.flatnonzero(np.isin(rows.vehicle, concerned))
        labelled = LabelledFixes(
            rows=rows.take(chosen),
            leg_mm=fixes.leg_mm[chosen],
            gap=(~fixes.before.there | (rows.time_us - fixes.before.time_us > max_gap_us))[chosen],
            speed=speed[chosen],
            limit=limit[chosen],
            highest=highest[chosen],
            on_road=~np.isnan(rows.limit_kmh[chosen]),
            rule=rule[chosen],
            label=label_of(speed[chosen], limit[chosen], min_excess[chosen]),
            strict_label=label_of(speed[chosen], highest[chosen], min_excess[chosen]),
        )
        return Found(self._follow(labelled, chosen, unsettled), unsettled)

    def _follow(self, fixes: LabelledFixes, chosen: NDArray[np.intp], unsettled: Bool) -> list[Violation]:
        found: list[Violation] = []
        touched: dict[int, _Tracks] = {}
        for vehicle, strict_label, run in runs_of(fixes, self._table.versions):
            tracks = self._tracks.get(vehicle)
            if tracks is None:
                if run.label is not Label.OVER:
                    continue
                tracks = self._tracks[vehicle] = _Tracks(EpisodeTrack(), EpisodeTrack())
            touched[vehicle] = tracks
            times_us = fixes.rows.time_us[run.first_row : run.end_row].tolist()
            ended, open_rows = tracks.limit.feed(run, run.label, times_us)
            tracks.highest.feed(run, strict_label, times_us)
            found += [self._violation(vehicle, episode) for episode in ended]
            if open_rows:
                unsettled[chosen[run.first_row : run.first_row + open_rows]] = True
            if tracks.limit.open is None:
                del self._tracks[vehicle]
            elif tracks.highest.open is not None and tracks.highest.open.proven_us is not None:
                tracks.limit.open.strictly_proven = True
        for vehicle, tracks in touched.items():
            episode = tracks.limit.open
            if episode is not None and episode.proven_us is not None:
                found.append(self._violation(vehicle, episode))
        return found

    def _violation(self, vehicle: int, episode: Episode) -> Violation:
        context = self._context
        name, driver = context.vehicles.names[vehicle], context.drivers.name(episode.driver)
        return speeding_violation(episode, vehicle, name, driver, context.limits, context.pack)

    def _known_numbers(self) -> _Numbers:
        """Those of all versions there are by now."""
        new = self._table.versions[len(self._numbers.limit) :]
        if new:
            self._numbers = self._numbers.with_more(new)
            self._limits_overridden |= any(LIMIT in each.overrides for each in new)
        return self._numbers
