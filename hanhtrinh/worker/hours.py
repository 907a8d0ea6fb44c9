"""Driving time: judges the lines whose deadline a batch passed, or whose past it changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from detectors.columns import UNKNOWN
from detectors.fix import to_us
from detectors.hours import HoursJudgement, HoursRules, LimitWarning, Line, judge_hours, reset_before
from detectors.journeys import Legs
from detectors.violation import Violation
from hanhtrinh.driver_packs import DriverPacks
from hanhtrinh.worker.roster import Roster
from storage.activity import ActivityStore, LineState
from storage.fixes import FixStore
from storage.hours_warnings import WarningStore
from storage.violations import StageCount, ViolationStore

ReceivedUs = Callable[[Violation | LimitWarning], int]
"""When the message that led to something was received."""

_LOOK_BACK_US = tuple(hours * 3_600_000_000 for hours in (12, 48, 336))


class TouchedLine(NamedTuple):
    """A line that a batch added to: from and to where (microseconds)."""

    line: Line
    begin_us: int
    end_us: int


def touched_lines(legs: Legs, roster: Roster) -> list[TouchedLine]:
    """The lines that these legs belong to. Lines of unnamed drivers only when they may be due: nobody else adds
    to them, so the roster knows; a named driver's line may also grow in another worker."""
    if not len(legs.vehicle):
        return []
    unnamed = legs.driver == UNKNOWN
    due = roster.line_due_us[legs.vehicle] <= legs.end_us  # NEVER is before everything
    due |= roster.line_judged_us[legs.vehicle] > legs.begin_us
    chosen = np.flatnonzero(~unnamed | due)
    if not len(chosen):
        return []
    keys = np.where(unnamed, -2 - legs.vehicle.astype(np.int64), legs.driver)[chosen]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    begins = np.minimum.reduceat(legs.begin_us[chosen][order], starts).tolist()
    ends = np.maximum.reduceat(legs.end_us[chosen][order], starts).tolist()
    return [
        TouchedLine(_line(key, roster), begin_us, end_us)
        for key, begin_us, end_us in zip(keys[starts].tolist(), begins, ends, strict=True)
    ]


def _line(key: int, roster: Roster) -> Line:
    return Line(None, roster.vehicles.names[-2 - key]) if key < 0 else Line(roster.drivers.names[key], None)


class HoursKeeper:
    """Keeps the driving-time violations of lines equal to what their stored timelines say."""

    def __init__(
        self,
        roster: Roster,
        packs: DriverPacks,
        activity: ActivityStore,
        fixes: FixStore,
        violations: ViolationStore,
        warnings: WarningStore,
    ) -> None:
        self._roster = roster
        self._packs = packs
        self._activity = activity
        self._fixes = fixes
        self._violations = violations
        self._warnings = warnings

    async def follow(self, touched: Sequence[TouchedLine], received_us: ReceivedUs, why: str) -> list[StageCount]:
        """Judge what is due among the touched lines, inside the caller's transaction.

        The rows of the lines are locked first, in one order, so that of two workers that add to one driver's line the
        second sees what the first wrote (law 1).
        """
        if not touched:
            return []
        states = await self._activity.lock_lines([each.line for each in touched])
        new = [each.line for each in touched if each.line not in states]
        if new:
            await self._activity.open_lines(new)
            states.update(await self._activity.lock_lines(new))
        due = [
            each
            for each in touched
            if each.end_us >= states[each.line].due_us or each.begin_us < states[each.line].judged_to_us
        ]
        return await self._judge(due, states, received_us, why)

    async def _judge(
        self, due: Sequence[TouchedLine], states: dict[Line, LineState], received_us: ReceivedUs, why: str
    ) -> list[StageCount]:
        if not due:
            return []
        rules = await self._rules_of([each.line for each in due])
        since = {}
        for each in due:
            state = states[each.line]
            since[each.line] = state.since_us
            if rules[each.line].reaches_behind(each.begin_us, state.since_us, state.judged_to_us):
                since[each.line] = await self._reset_before(each.line, each.begin_us, rules[each.line])
        timelines = await self._activity.timeline(list(since.items()))
        saved: dict[Line, LineState] = {}
        stages: list[StageCount] = []
        for each in due:
            line, judged_by = each.line, rules[each.line]
            judgement = judge_hours(line, timelines[line], judged_by, since[line])
            standing = await self._standing(line, judged_by, since[line])
            if judgement.violations or standing:
                judged = await self._placed(judgement.violations)
                stages += await self._violations.reconcile(standing, judged, received_us, why)
            new_us = min(each.begin_us, states[line].judged_to_us)
            stages += await self._warnings.add(
                [self._owned(warning) for warning in judgement.warnings if warning.at_us >= new_us], received_us
            )
            saved[line] = self._remember(line, judgement)
        await self._activity.save_lines(saved)
        return stages

    async def _rules_of(self, lines: Sequence[Line]) -> dict[Line, HoursRules]:
        named = [line.driver_id for line in lines if line.driver_id is not None]
        packs = await self._activity.rule_packs(named) if named else {}
        return {line: self._packs.named_or_configured(packs.get(line.driver_id or "")) for line in lines}

    async def _standing(self, line: Line, rules: HoursRules, since_us: int) -> list[dict[str, Any]]:
        """The violations that judging from there must find again."""
        rows = await self._violations.standing_hours(line, since_us)
        return [row for row in rows if rules.is_whole(row["kind"], to_us(row["started_at"]), since_us)]

    async def _reset_before(self, line: Line, time_us: int, rules: HoursRules) -> int:
        reach_us = rules.reach_us(time_us)
        for back_us in _LOOK_BACK_US:
            intervals = (await self._activity.timeline([(line, reach_us - back_us)]))[line]
            reset_us = reset_before(intervals, time_us, rules)
            if reset_us is not None:
                return reset_us
        return 0

    def _owned(self, warning: LimitWarning) -> LimitWarning:
        return replace(warning, operator_id=self._roster.operator_of(warning.vehicle_id))

    async def _placed(self, violations: Sequence[Violation]) -> list[Violation]:
        """With the places of start and end, and the operator."""
        moments = [end for each in violations for end in each.ends or ()]
        places = await self._fixes.places(moments) if moments else []
        return [
            replace(
                each,
                start=places[2 * number],
                end=places[2 * number + 1],
                operator_id=self._roster.operator_of(each.vehicle_id),
            )
            for number, each in enumerate(violations)
        ]

    def _remember(self, line: Line, judgement: HoursJudgement) -> LineState:
        if line.driver_id is None:
            assert line.vehicle_id is not None
            code = self._roster.vehicles.code(line.vehicle_id)
            if code < len(self._roster.line_due_us):
                self._roster.line_due_us[code] = judgement.due_us
                self._roster.line_judged_us[code] = judgement.judged_to_us
        return LineState(judgement.since_us, judgement.judged_to_us, judgement.due_us, judgement.two_vehicles_us)
