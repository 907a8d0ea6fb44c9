"""The speeding detector: trusted fixes of all vehicles in, violations out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.columns import Bool, Code, Int
from detectors.detector import Context, Found, TrustedFixes
from detectors.limits import speeds, thousandths
from detectors.rules import dated
from detectors.runs import LabelledFixes, label_of, runs_of
from detectors.speeding import Episode, EpisodeTrack, Label
from detectors.verdict import speeding_violation
from detectors.violation import Violation


class _Tracks(NamedTuple):
    """The episodes of one vehicle against its limit, and against the highest limit any road allows its class."""

    limit: EpisodeTrack
    highest: EpisodeTrack


class SpeedingDetector:
    """Keeps an object only for vehicles with an open episode."""

    kinds = ("speeding",)

    def __init__(self, context: Context) -> None:
        self._context = context
        self._rules = dated(context.pack.speeding, context.midnight_us)
        self._tracks: dict[int, _Tracks] = {}

    def forget(self, vehicles: Code) -> None:
        """Drop their open episodes."""
        if self._tracks:
            for vehicle in vehicles.tolist():
                self._tracks.pop(vehicle, None)

    def advance(self, fixes: TrustedFixes) -> Found:
        """Only vehicles that are over, or have an open episode, cost more than a comparison a fix."""
        rows = fixes.rows
        limit, highest = self._context.limits.limits(rows)
        speed = speeds(rows.speed_kmh)
        rule = self._rule_at(rows.time_us)
        numbers = self._rules.rules
        min_excess = np.array([thousandths(each.min_excess_kmh) for each in numbers])[rule]
        max_gap_us = np.array([round(each.max_gap_s * 1e6) for each in numbers])[rule]
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
        for vehicle, strict_label, run in runs_of(fixes, self._rules.rules):
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

    def _rule_at(self, time_us: Int) -> NDArray[np.intp]:
        begins = np.array(self._rules.begins_us, dtype=np.int64)
        return np.maximum(np.searchsorted(begins, time_us, side="right") - 1, 0)
