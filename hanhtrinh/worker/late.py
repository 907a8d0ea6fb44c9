"""What a mark says has changed is judged again from stored fixes, by the same judge: late fixes came, the registry
changed, or somebody asked.

A stretch runs from a settled fix before the first change to a settled fix after the last one: before it nothing
changed, and after it the judge's state is what it was, because a settled fix alone decides it. A long one is judged in
parts, each in a transaction of its own that moves the mark on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np

from detectors.activity import Activity
from detectors.checks import ALONE, NEVER
from detectors.columns import Bool, Columns, columns_of
from detectors.detector import Factory
from detectors.fix import from_us
from detectors.hours import Line
from detectors.journeys import JourneyJudge, Judgement
from detectors.limits import LimitBook
from detectors.names import Names
from detectors.silence import Silences
from detectors.violation import Violation
from hanhtrinh.detectors import context_of
from hanhtrinh.rule_packs import LoadedPack
from hanhtrinh.worker.hours import FOREVER_US, HoursKeeper
from hanhtrinh.worker.lines import TouchedLine
from hanhtrinh.worker.roster import Roster
from storage.activity import ActivityChange, ActivityStore
from storage.connect import Connection
from storage.fixes import FixStore, Remark, StoredFix
from storage.marks import Mark, MarkStore
from storage.positions import Positions
from storage.stale_hours import HOUR_US, mark_stale
from storage.vehicles import Anchor, VehicleStore
from storage.violations import StageCount, Stretch, ViolationStore

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_PART_US = 24 * 3_600_000_000
"""Judged in one transaction, and on to the next settled fix: what the partition is held for is bounded."""

_MANY = 2_000
"""Fixes that take about 20 ms to be judged again."""

_LOOK_BACK_US = tuple(hours * 3_600_000_000 for hours in (1, 6, 24, 72))

_FIRST_BEYOND = 1_000
"""Fixes read beyond the mark at first; where no settled end is among them, ten times as many."""


@dataclass(slots=True)
class _Judged:
    """A stretch judged again. `end_row` is the settled fix that ends it; None when it reaches the newest fix."""

    stored: list[StoredFix]
    columns: Columns
    was_settled: Bool
    judgement: Judgement
    judge: JourneyJudge
    silences: Silences
    drivers: Names
    end_row: int | None = None

    @property
    def rows(self) -> int:
        return len(self.stored) if self.end_row is None else self.end_row + 1

    @property
    def end_us(self) -> int | None:
        return None if self.end_row is None else self.stored[self.end_row].fix.time_us

    def violations(self) -> list[Violation]:
        """Those that start in the stretch. One that starts with the fix that ends it follows from that fix on."""
        end_us = self.end_us
        return [each for each in self.judgement.violations if end_us is None or each.started_us < end_us]

    def open_silences(self, clock_us: int) -> list[Violation]:
        """The silence at the end of the data by a clock, if there is one."""
        return [] if self.end_row is not None else self.silences.open_at(self.judge.state, 1, clock_us)


class Rejudged(NamedTuple):
    """What judging a part again did."""

    stages: list[StageCount]
    changed_fixes: int
    """Whose flags, or whether they are settled, are others now."""
    left_from_us: int | None
    """From where the mark goes on; None when there is none any more."""


class LateJudge:
    """Judges again what marks say has changed, one part of one vehicle and one transaction at a time."""

    def __init__(
        self, connection: Connection, positions: Positions, pack: LoadedPack, detectors: Sequence[Factory],
        roster: Roster, hours: HoursKeeper, fixes: FixStore, activity: ActivityStore, vehicles: VehicleStore,
        violations: ViolationStore, marks: MarkStore,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._positions = positions
        self._pack = pack
        self._detectors = detectors
        self._roster = roster
        self._hours = hours
        self._fixes = fixes
        self._activity = activity
        self._vehicles = vehicles
        self._violations = violations
        self._marks = marks

    async def rejudge(self, vehicle_id: str, partition: int, position: int, now_us: int) -> Rejudged:
        """Judge a vehicle's marked stretch again, or its next part. Fenced when the partition no longer stands at
        `position`. What the roster knows of the vehicle must be forgotten after it."""
        async with self._connection.transaction():
            await self._positions.hold(self._connection, {partition: position})
            return await self.rejudge_held(vehicle_id, partition, now_us)

    async def rejudge_held(self, vehicle_id: str, partition: int, now_us: int) -> Rejudged:
        """The same inside the caller's transaction, which holds the partition."""
        mark = await self._marks.locked(vehicle_id)
        if mark is None or mark.partition != partition:
            return Rejudged([], 0, None)
        await self._roster.register_again(vehicle_id, self._vehicles)
        begin_us = await self._fixes.settled_before(vehicle_id, mark.from_us)
        if begin_us is None and (lost_us := await self._fixes.lost_to(vehicle_id)) is not None:
            # Judged without them, what they proved would be withdrawn.
            begin_us = await self._fixes.settled_after(vehicle_id, lost_us)
            log.warning(
                "vehicle %s: its fixes up to %s are no longer stored: what was judged from them stands (%s)",
                vehicle_id, from_us(lost_us).isoformat(), mark.why,
            )  # fmt: skip
            if begin_us is None or begin_us > mark.to_us:
                await self._marks.clear(vehicle_id)
                return Rejudged([], 0, None)
        part = mark._replace(to_us=min(mark.to_us, max(mark.from_us, begin_us or mark.from_us) + _PART_US))
        judged = await self._judge(part, begin_us)
        changed = await _apart(judged.rows, _changed, judged, begin_us)
        await self._fixes.mark(vehicle_id, changed)
        hours_us = {each.time_us // HOUR_US * HOUR_US for each in changed}
        await mark_stale(self._connection, [(vehicle_id, hour_us) for hour_us in sorted(hours_us)])
        await self._positions.silences_judged(self._connection, [partition], None)
        stages = await self._violations_again(vehicle_id, begin_us, judged, now_us, mark.why)
        lines = await self._activity_again(vehicle_id, partition, begin_us, judged)
        stages += await self._hours.follow(lines, lambda _: now_us, mark.why)
        await self._move_anchor(vehicle_id, partition, begin_us, judged)
        left_from_us = None if judged.end_us is None or judged.end_us >= mark.to_us else judged.end_us + 1
        if left_from_us is None:
            await self._marks.clear(vehicle_id)
        else:
            await self._marks.advance(vehicle_id, left_from_us)
        return Rejudged(stages, len(changed), left_from_us)

    async def begin_before(self, vehicle_id: str, time_us: int) -> int | None:
        """A settled fix before a time that is settled by the rules and limits of today too.

        Beginning at one that was settled only as it was judged then would cut an episode of today's in two. None when
        there is none: judging must begin with the vehicle's first fix.
        """
        await self._roster.register_again(vehicle_id, self._vehicles)
        for back_us in _LOOK_BACK_US:
            begin_us = await self._fixes.settled_before(vehicle_id, time_us - back_us)
            if begin_us is None:
                break
            stored = await self._fixes.between(vehicle_id, begin_us, time_us)
            judged = await _apart(len(stored), self._judge_alone, vehicle_id, stored)
            both = np.flatnonzero(judged.judgement.settled & judged.was_settled)
            if len(both) and both[-1] > 0:
                return stored[int(both[-1])].fix.time_us
        return begin_us

    async def _judge(self, mark: Mark, begin_us: int | None) -> _Judged:
        beyond = _FIRST_BEYOND
        while True:
            stored, complete = await self._fixes.stretch(mark.vehicle_id, begin_us, mark.to_us, beyond)
            judged = await _apart(len(stored), self._judge_stored, mark, begin_us, stored, complete)
            if judged is not None:
                return judged
            beyond *= 10

    def _judge_stored(
        self, mark: Mark, begin_us: int | None, stored: list[StoredFix], complete: bool
    ) -> _Judged | None:
        """None when the end of the stretch lies beyond what was read."""
        judged = self._judge_alone(mark.vehicle_id, stored)
        settled = judged.judgement.settled
        if begin_us is not None:
            # Judging began here with nothing remembered, whatever rules or limits settled it before: so it does again.
            settled[0] = True
        ends = np.flatnonzero(settled & judged.was_settled & (judged.columns.time_us > mark.to_us))
        # The leg after the end decides whether an activity change stands there: it must have been read too.
        followed = bool(len(ends)) and np.any(judged.judgement.flags[ends[0] + 1 :] == 0)
        if followed:
            judged.end_row = int(ends[0])
        return judged if followed or complete else None

    def _judge_alone(self, vehicle_id: str, stored: list[StoredFix]) -> _Judged:
        """Judge these fixes of a vehicle with nothing remembered."""
        vehicles, drivers, limits = Names(), Names(), LimitBook(self._pack.pack)
        columns = columns_of([each.fix for each in stored], vehicles, drivers)
        limits.copy_from(self._roster.limits, self._roster.vehicles.code(vehicle_id), 0)
        context = context_of(self._pack, vehicles, drivers, limits)
        judge, silences = JourneyJudge(context, self._detectors), Silences(context)
        flags = np.array([each.flags for each in stored], dtype=np.int32)
        was_settled = np.array([each.settled for each in stored], dtype=np.bool_)
        return _Judged(stored, columns, was_settled, judge.advance(columns, flags & ALONE), judge, silences, drivers)

    async def _violations_again(
        self, vehicle_id: str, begin_us: int | None, judged: _Judged, now_us: int, why: str
    ) -> list[StageCount]:
        stretch = Stretch(begin_us, judged.end_us)
        standing = await self._violations.standing_of_vehicle(vehicle_id, judged.judge.kinds, stretch)
        operator_id = self._roster.operator_of(vehicle_id)
        found = judged.violations()
        if any(row["kind"] == "silence" and row["status"] == "open" for row in standing):
            # Only what the watch has opened already: whether the log is read far enough to open one is its to know.
            clock_us = (await self._positions.event_times(self._connection)).stream_us
            found += judged.open_silences(NEVER if clock_us is None else clock_us)
        again = [replace(each, operator_id=operator_id) for each in found]
        return await self._violations.reconcile(standing, again, lambda _: now_us, why)

    async def _activity_again(
        self, vehicle_id: str, partition: int, begin_us: int | None, judged: _Judged
    ) -> list[TouchedLine]:
        """Put the changes of the stretch in place; returns the lines whose timeline this touched."""
        if not judged.stored:
            return []
        since_us = judged.stored[0].fix.time_us if begin_us is None else begin_us
        before = None if begin_us is None else await self._activity.before(vehicle_id, begin_us)
        changes = [
            ActivityChange(vehicle_id, time_us, judged.drivers.name(driver), Activity(activity))
            for _, time_us, driver, activity in zip(*(c.tolist() for c in judged.judgement.activity), strict=True)
            if judged.end_us is None or time_us <= judged.end_us
        ]
        if before and changes and changes[0][2:] == before[2:]:
            changes = changes[1:]
        drivers = await self._activity.replace(vehicle_id, since_us, judged.end_us, changes)
        if before:
            drivers.add(before.driver_id)
        # Without an end they are due whatever their deadline: what began in the stretch may last until now.
        return [
            TouchedLine(Line(driver, None if driver else vehicle_id), since_us - 1, FOREVER_US, partition)
            for driver in sorted(drivers, key=lambda name: name or "")
        ]

    async def _move_anchor(self, vehicle_id: str, partition: int, begin_us: int | None, judged: _Judged) -> None:
        """The anchor may lie on a fix of the stretch that is settled no longer: move it to one that is now."""
        if not judged.stored:
            return
        anchors = await self._vehicles.anchors([vehicle_id])
        if judged.end_us is not None and anchors and (anchors[0].settled_us or NEVER) >= judged.end_us:
            return
        settled = np.flatnonzero(judged.judgement.settled[: judged.rows])
        settled_us = judged.stored[int(settled[-1])].fix.time_us if len(settled) else begin_us
        first_us = judged.stored[0].fix.time_us
        await self._vehicles.save_anchors([Anchor(vehicle_id, settled_us, first_us, self._positions.log_id, partition)])


async def _apart(fixes: int, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """Do the work on so many fixes in a thread if it is long: the event loop goes on meanwhile.

    It may touch nothing that other tasks change; the worker itself waits for it.
    """
    return await asyncio.to_thread(work, *given, **named) if fixes > _MANY else work(*given, **named)


def _changed(judged: _Judged, begin_us: int | None) -> list[Remark]:
    """What differs from what is stored."""
    judgement, stored = judged.judgement, judged.stored[: judged.rows]
    columns = (judgement.flags, judgement.settled, judgement.leg_mm, judgement.leg_driving_us)
    again = [column[: judged.rows].tolist() for column in columns]
    now = [Remark(each.fix.time_us, *row) for each, *row in zip(stored, *again, strict=True)]
    if now and begin_us is not None:
        # The leg to the first fix comes from before the stretch, where nothing changed.
        now[0] = now[0]._replace(leg_mm=stored[0].leg_mm, leg_driving_us=stored[0].leg_driving_us)
    return [remark for each, remark in zip(stored, now, strict=True) if each[1:] != remark[1:]]
