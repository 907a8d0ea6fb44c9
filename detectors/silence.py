"""Silence: a vehicle that moved sends nothing to be trusted for longer than the rule allows.

A silence begins at the last trusted fix before it and stands open from the moment it is too long, whenever that was
noticed. The next trusted fix closes it; one that is not that late shows that it never was one, and so does one from
where the vehicle fell silent: it stood there, and its last speed was that of somebody parking. Until it is heard nobody
knows, so an open silence is for review.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.checks import NEVER
from detectors.columns import Code, Int
from detectors.detector import Context, Found, TrustedFixes
from detectors.fleet import FleetState
from detectors.overrides import overridable
from detectors.rule_versions import VersionTable
from detectors.rules import dated
from detectors.violation import HoursFigures, RuleName, Violation

Rows = NDArray[np.intp]

_PERHAPS_PARKED = "it was not heard since: it may stand where it fell silent"
_NONE = np.empty(0, dtype=np.intp)


class Silences:
    """What is a silence by the rules of a pack; remembers nothing.

    A fix without a speed does not show that its vehicle moved.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        names = [each for each in overridable(context.pack) if each.startswith("silence.")]
        rules = dated(context.pack.silence, context.midnight_us)
        self._table = VersionTable(rules, names, context.midnight_us, context.limits.overrides)
        self._longest_us = np.empty(0, np.int64)
        """The longest silence that each version of the rule allows."""
        self._moving_kmh = context.pack.activity.moving_kmh
        self._still_mm = round(context.pack.activity.still_m * 1000)

    def ended(self, fixes: TrustedFixes) -> list[Violation]:
        """The silences that these fixes ended."""
        least_us = self._least_us()
        if least_us is None or not len(fixes.rows):
            return []
        before, rows = fixes.before, fixes.rows
        # Without a fix before, the time before is NEVER and the difference means nothing.
        leg_us = rows.time_us - before.time_us
        long = (leg_us > least_us) & before.there & (before.speed_kmh >= self._moving_kmh)
        long &= fixes.leg_mm >= self._still_mm
        chosen = np.flatnonzero(long)
        chosen = chosen[leg_us[chosen] > self._allowed_us(rows.vehicle[chosen], before.time_us[chosen])]
        return [
            self._violation(
                int(rows.vehicle[row]),
                int(before.driver[row]),
                int(before.time_us[row]),
                float(before.speed_kmh[row]),
                (float(before.lat[row]), float(before.lon[row])),
                closed=(int(rows.time_us[row]), (float(rows.lat[row]), float(rows.lon[row])), int(fixes.leg_mm[row])),
            )
            for row in chosen.tolist()
        ]

    def overdue(self, state: FleetState, known_us: Int, clock_us: int) -> Rows:
        """The codes below `len(known_us)` of vehicles that are silent by the clock.

        Left out is whose silence since its last trusted fix is known already: `known_us` holds since when.
        """
        size, least_us = len(known_us), self._least_us()
        if least_us is None:
            return _NONE
        last_us, speed_kmh = state.last_us[:size], state.last_speed_kmh[:size]
        # Before the first event of all no clock has begun.
        edge_us = max(clock_us, NEVER + least_us) - least_us
        rows = np.flatnonzero((last_us < edge_us) & (speed_kmh >= self._moving_kmh) & (last_us != known_us))
        return self.silent(state, rows[last_us[rows] != NEVER], clock_us)

    def silent(self, state: FleetState, vehicles: Rows, clock_us: Int | int) -> Rows:
        """Those of these vehicles, all moving at their last trusted fix, for whom it is too long ago by the clock.

        The clock may be one for each of them.
        """
        last_us = state.last_us[vehicles]
        late: Rows = vehicles[(clock_us > last_us) & (clock_us - last_us > self._allowed_us(vehicles, last_us))]
        return late

    def opened(self, state: FleetState, vehicle: int) -> Violation:
        """The open silence of a vehicle that is overdue."""
        return self._violation(
            vehicle,
            int(state.last_driver[vehicle]),
            int(state.last_us[vehicle]),
            float(state.last_speed_kmh[vehicle]),
            (float(state.last_lat[vehicle]), float(state.last_lon[vehicle])),
        )

    def open_at(self, state: FleetState, vehicles: int, clock_us: int) -> list[Violation]:
        """All silences that stand open by the clock, of the codes below `vehicles`."""
        rows = self.overdue(state, np.full(min(vehicles, state.size), NEVER, dtype=np.int64), clock_us)
        return [self.opened(state, row) for row in rows.tolist()]

    def _least_us(self) -> int | None:
        """The shortest silence that any vehicle may be held to; None where nobody has a duty to transmit."""
        self._know_versions()
        return int(self._longest_us.min()) if len(self._longest_us) else None

    def _know_versions(self) -> None:
        self._table.refresh()
        new = self._table.versions[len(self._longest_us) :]
        if new:
            longest_us = [round(each.rule.silent_after_s * 1e6) for each in new]
            self._longest_us = np.append(self._longest_us, np.array(longest_us, np.int64))

    def _allowed_us(self, vehicles: Code | Rows, time_us: Int) -> Int:
        self._know_versions()
        allowed: Int = self._longest_us[self._table.at(vehicles, time_us)]
        return allowed

    def _violation(
        self,
        vehicle: int,
        driver: int,
        started_us: int,
        speed_kmh: float,
        start: tuple[float, float],
        closed: tuple[int, tuple[float, float], int] | None = None,
    ) -> Violation:
        """`closed` says when, where and after how many millimetres."""
        context, version = self._context, self._table.one(vehicle, started_us)
        rule, own = version.rule, version.overridden()
        proven_us = started_us + round(rule.silent_after_s * 1e6)
        ended_us, end, leg_mm = closed or (proven_us, None, None)
        judged_by: dict[str, Any] = {
            "silent_after_s": rule.silent_after_s,
            "moving_kmh": self._moving_kmh,
            "still_m": context.pack.activity.still_m,
        }
        if own:
            judged_by["overridden"] = own
        evidence: dict[str, Any] = {"last_speed_kmh": speed_kmh, "law": rule.source}
        if leg_mm is None:
            evidence["review_because"] = [_PERHAPS_PARKED]
        else:
            evidence["distance_m"] = leg_mm / 1000
        return Violation(
            kind="silence",
            rule=RuleName(context.pack.name, "silence", rule.valid_from.isoformat()),
            grade="review" if closed is None else "confirmed",
            status="open" if closed is None else "closed",
            vehicle_id=context.vehicles.names[vehicle],
            driver_id=context.drivers.name(driver),
            started_us=started_us,
            ended_us=ended_us,
            start=start,
            end=end,
            fixes=None,
            figures=HoursFigures(limit_s=rule.silent_after_s, actual_s=(ended_us - started_us) / 1e6),
            judged_by=judged_by,
            evidence=evidence,
            proven_us=proven_us,
            closed_us=None if closed is None else ended_us,
        )


class SilenceDetector:
    """Finds the silences that have ended. Those that go on need a clock: `Silences.open_at`."""

    kinds: Sequence[str] = ("silence",)

    def __init__(self, context: Context) -> None:
        self._silences = Silences(context)

    def forget(self, vehicles: Code) -> None:
        """Nothing is remembered."""

    def advance(self, fixes: TrustedFixes) -> Found:
        """A comparison for each fix; every fix is settled."""
        return Found(self._silences.ended(fixes), np.zeros(len(fixes.rows), dtype=np.bool_))
