"""Driving time: judges the lines whose deadline a batch passed, or whose past it changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from detectors.activity import Activity
from detectors.columns import UNKNOWN
from detectors.fix import to_us
from detectors.hours import HoursRules, Interval, LimitWarning, Line, judge_hours, reset_before
from detectors.journeys import Legs
from detectors.violation import Violation
from hanhtrinh.driver_packs import DriverPacks
from hanhtrinh.worker.lines import TouchedLine
from hanhtrinh.worker.roster import Roster
from storage.activity import ActivityStore, LineOwner, LineState
from storage.fixes import FixStore
from storage.hours_warnings import WarningStore
from storage.violations import StageCount, ViolationStore

ReceivedUs = Callable[[Violation | LimitWarning], int]
"""When the message that led to something was received."""

FOREVER_US = 10**17
"""Beyond the times of all fixes, and still one that the database can hold."""
_MINUTE_US = 60_000_000
_LOOK_BACK_US = tuple(hours * 3_600_000_000 for hours in (12, 48, 336))


def touched_lines(legs: Legs, roster: Roster) -> list[TouchedLine]:
    """The lines that these legs belong to, without those of which the roster knows that they cannot be due."""
    if not len(legs.vehicle):
        return []
    roster.lines.reserve(len(roster.vehicles), len(roster.drivers))
    partitions = roster.partition[legs.vehicle]
    chosen = np.flatnonzero(roster.lines.perhaps_due(legs, partitions))
    if not len(chosen):
        return []
    keys = np.where(legs.driver == UNKNOWN, -2 - legs.vehicle.astype(np.int64), legs.driver)[chosen]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    begins = np.minimum.reduceat(legs.begin_us[chosen][order], starts).tolist()
    ends = np.maximum.reduceat(legs.end_us[chosen][order], starts).tolist()
    lowest = np.minimum.reduceat(partitions[chosen][order], starts).tolist()
    highest = np.maximum.reduceat(partitions[chosen][order], starts).tolist()
    return [
        TouchedLine(_line(key, roster), begin_us, end_us, low if low == high else None)
        for key, begin_us, end_us, low, high in zip(keys[starts].tolist(), begins, ends, lowest, highest, strict=True)
    ]


def _line(key: int, roster: Roster) -> Line:
    return Line(None, roster.vehicles.names[-2 - key]) if key < 0 else Line(roster.drivers.names[key], None)


def _unjudged(rules: HoursRules, begin_us: int) -> LineState:
    """The state of a line of which nothing is known before a time."""
    nothing_driven = Interval(begin_us - 1, begin_us, Activity.STOPPED, "")
    return LineState(0, begin_us, judge_hours(Line(None, ""), [nothing_driven], rules).due_us)


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
        moving_kmh: float,
        log_id: str,
    ) -> None:
        """`log_id` names the log whose partitions the touched lines name."""
        self._log_id = log_id
        self._roster = roster
        self._moving_kmh = moving_kmh
        self._packs = packs
        self._activity = activity
        self._fixes = fixes
        self._violations = violations
        self._warnings = warnings

    async def follow(
        self, touched: Sequence[TouchedLine], received_us: ReceivedUs, why: str, *, claim: bool = True
    ) -> list[StageCount]:
        """Judge what is due among the touched lines, inside the caller's transaction.

        The rows of the lines are locked first, in one order, so that of two workers that add to one driver's line the
        second sees what the first wrote (law 1). The worker that owns a line does not come here before it may be due;
        when another one does, it takes the line from its owner and leaves it a notice: whatever the owner has added
        beside it is judged again then (`LineWatch`). With `claim` a judged line that has no owner gets one.
        """
        if not touched:
            return []
        states = await self._lock(touched)
        new = [each for each in touched if each.line in states and states[each.line] is None]
        if new:
            await self._open(new)
            states |= await self._lock(new)
        known = {line: state for line, state in states.items() if state is not None}
        taken = {each.line for each in touched if each.line in known and self._is_foreign(each, known[each.line])}
        if taken:
            await self._activity.take_lines(list(taken))
            known |= {line: known[line]._replace(owner=None) for line in taken}
        due = []
        for each in touched:
            state = known.get(each.line)
            if state is not None and (each.end_us >= state.due_us or each.begin_us < state.judged_to_us):
                due.append(each)
            else:
                self._remember(each, state)
        claimed = {each.line: self._owner_of(each) for each in due if claim and each.line not in taken}
        return await self._judge(due, known, claimed, received_us, why)

    def _owner_of(self, touched: TouchedLine) -> LineOwner | None:
        """Who may own the line from now on. That of a vehicle needs no owner."""
        if touched.line.driver_id is None or touched.partition is None:
            return None
        return LineOwner(self._log_id, touched.partition)

    def _is_foreign(self, touched: TouchedLine, state: LineState) -> bool:
        return state.owner is not None and state.owner != self._owner_of(touched)

    async def _lock(self, touched: Sequence[TouchedLine]) -> dict[Line, LineState | None]:
        """The states of those that may be due, None for those never seen."""
        begin_us, end_us = min(each.begin_us for each in touched), max(each.end_us for each in touched)
        return await self._activity.lock_lines([each.line for each in touched], begin_us, end_us)

    async def _open(self, new: Sequence[TouchedLine]) -> None:
        """Lines never seen stand as if judged when they began, with nothing driven: a morning begins a whole fleet's
        lines at once, and none of them can have passed a limit yet."""
        rules = await self._rules_of([each.line for each in new])
        begun: dict[tuple[str, int], LineState] = {}
        opened = {}
        for each in new:
            minute_us = each.begin_us - each.begin_us % _MINUTE_US
            key = rules[each.line].pack, minute_us
            if key not in begun:
                begun[key] = _unjudged(rules[each.line], minute_us)
            opened[each.line] = begun[key]._replace(owner=self._owner_of(each))
        await self._activity.open_lines(opened)

    async def _judge(
        self, due: Sequence[TouchedLine], states: dict[Line, LineState], claimed: Mapping[Line, LineOwner | None],
        received_us: ReceivedUs, why: str,
    ) -> list[StageCount]:  # fmt: skip
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
            if any(violation.grade == "confirmed" for violation in judgement.violations):
                # What fixes show of it is read only where something hangs on it: violations are few.
                shown = (await self._activity.timeline([(line, since[line])], self._moving_kmh))[line]
                judgement = judge_hours(line, timelines[line], judged_by, since[line], shown)
            standing = await self._standing(line, judged_by, since[line])
            if judgement.violations or standing:
                judged = await self._placed(judgement.violations)
                stages += await self._violations.reconcile(standing, judged, received_us, why)
            new_us = min(each.begin_us, states[line].judged_to_us)
            stages += await self._warnings.add(
                [self._owned(warning) for warning in judgement.warnings if warning.at_us >= new_us], received_us
            )
            # A driver in two vehicles at once is a placeholder for many: their partitions would take it in turns.
            owner = None if judgement.two_vehicles_us is not None else claimed.get(line)
            saved[line] = LineState(
                judgement.since_us, judgement.judged_to_us, judgement.due_us, judgement.two_vehicles_us,
                states[line].owner or owner,
            )  # fmt: skip
            self._remember(each, saved[line])
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

    def _remember(self, touched: TouchedLine, state: LineState | None) -> None:
        """A line that nobody else adds to need not be looked up again before its deadline."""
        (driver_id, vehicle_id), lines = touched.line, self._roster.lines
        if driver_id is None:
            assert vehicle_id is not None
            if state is not None:
                lines.of_vehicle(self._roster.vehicles.code(vehicle_id), state.due_us, state.judged_to_us)
            return
        code = self._roster.drivers.code(driver_id)
        if state is None or state.owner is None or state.owner != self._owner_of(touched):
            lines.is_shared(code)
        else:
            lines.of_driver(code, state.due_us, state.judged_to_us, state.owner.partition)
