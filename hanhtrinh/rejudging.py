"""Stored history judged again on request: first without writing, to show what would change, then by marks.

Workers do the work, as after late fixes. Where nobody reads a partition it is done here, by the same judge and under
the same lock of the partition's position.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import NamedTuple

from detectors.checks import ALONE
from detectors.detector import Factory
from detectors.journeys import JourneyJudge
from detectors.limits import LimitBook
from detectors.names import Names
from hanhtrinh.detectors import context_of
from hanhtrinh.differences import Difference, differences_of
from hanhtrinh.driver_packs import DriverPacks
from hanhtrinh.rule_packs import LoadedPack
from hanhtrinh.rules_as_of import hours_as_of, pack_as_of
from hanhtrinh.worker.hours import HoursKeeper
from hanhtrinh.worker.late import LateJudge, Rejudged
from hanhtrinh.worker.roster import Roster
from storage.activity import ActivityStore
from storage.chosen_vehicles import Choice, Chosen
from storage.connect import Connection
from storage.fixes import FixStore
from storage.hours_warnings import WarningStore
from storage.marks import Mark, MarkStore
from storage.positions import Positions
from storage.vehicles import VehicleStore
from storage.violations import Change, ViolationStore

Advance = Callable[[float], None]
"""Told how much of the stretches is done, in seconds of history."""

_MARKED_AT_ONCE = 500


class Preview(NamedTuple):
    """What judging again would do, and the marks that make it so, each with its log: of vehicles that it changes."""

    differences: list[Difference]
    changed_fixes: int
    """Whose flags, or whether judging may begin at them, would be others."""
    marks: list[tuple[str, Mark]]


class Rejudging:
    """Judges a stretch of the past of vehicles again, on one connection."""

    def __init__(
        self, connection: Connection, pack: LoadedPack, detectors: Sequence[Factory], rules_as_of: date | None = None
    ) -> None:
        """By the pack's rules of each moment, or by those of one day."""
        self._connection = connection
        self._pack, self._packs = pack, DriverPacks(pack.hours)
        if rules_as_of is not None:
            midnight_us = pack.midnight_us(rules_as_of)
            self._pack = pack_as_of(pack, rules_as_of)
            self._packs = DriverPacks(self._pack.hours, lambda hours: hours_as_of(hours, midnight_us))
        self._detectors = detectors
        self._marks = MarkStore(connection)
        self._changes: list[Change] = []
        self._judges: dict[str, tuple[Positions, LateJudge]] = {}

    async def preview(self, vehicles: Sequence[Chosen], choice: Choice, why: str, advance: Advance) -> Preview:
        """Judge, and take every step back: each part of a vehicle in a transaction that is rolled back."""
        self._changes.clear()
        changed_fixes, marks = 0, list[tuple[str, Mark]]()
        for vehicle in vehicles:
            _, judge = self._judge_of(vehicle.log_id)
            begin_us = await judge.begin_before(vehicle.vehicle_id, choice.from_us)
            from_us = vehicle.first_us if begin_us is None else begin_us + 1
            mark = Mark(vehicle.vehicle_id, vehicle.partition, from_us, choice.before_us - 1, 0, (why,))
            left: Mark | None = mark
            before = len(self._changes), changed_fixes
            while left is not None:
                again = await self._tried(vehicle.log_id, left)
                changed_fixes += again.changed_fixes
                ended_us = mark.to_us if again.left_from_us is None else again.left_from_us
                advance(max(0, ended_us - max(left.from_us, choice.from_us)) / 1e6)
                left = None if again.left_from_us is None else left._replace(from_us=again.left_from_us)
            if (len(self._changes), changed_fixes) != before:
                marks.append((vehicle.log_id, mark))
        return Preview(differences_of(self._changes), changed_fixes, marks)

    async def ask(self, preview: Preview) -> None:
        """Write the marks. Those that are there already are widened: asking twice is asking once."""
        for log_id in sorted({log_id for log_id, _ in preview.marks}):
            for some in _pieces([mark for log, mark in preview.marks if log == log_id], _MARKED_AT_ONCE):
                async with self._connection.transaction():
                    await self._marks.ask(log_id, some)

    async def left(self, preview: Preview, why: str) -> list[tuple[str, Mark]]:
        """The marks that still wait."""
        return await self._marks.left([mark.vehicle_id for _, mark in preview.marks], why)

    async def step(self, left: Sequence[tuple[str, Mark]]) -> bool:
        """Judge the next part of one vehicle of each partition that nobody reads; False when there is none."""
        first = {(log_id, mark.partition): mark for log_id, mark in reversed(left)}
        worked = False
        for (log_id, partition), mark in first.items():
            positions, judge = self._judge_of(log_id)
            if not await positions.take(self._connection, partition):
                continue
            try:
                async with self._connection.transaction():
                    await positions.hold_as_it_is(self._connection, partition)
                    await judge.rejudge_held(mark.vehicle_id, partition, time.time_ns() // 1000)
            finally:
                await positions.leave(self._connection, partition)
            worked = True
        return worked

    async def _tried(self, log_id: str, mark: Mark) -> Rejudged:
        positions, judge = self._judge_of(log_id)
        async with self._connection.transaction(force_rollback=True):
            await positions.hold_as_it_is(self._connection, mark.partition)
            # What waits for it already is judged apart, from its own beginning.
            await self._marks.clear(mark.vehicle_id)
            await self._marks.save(log_id, [mark])
            return await judge.rejudge_held(mark.vehicle_id, mark.partition, time.time_ns() // 1000)

    def _judge_of(self, log_id: str) -> tuple[Positions, LateJudge]:
        if log_id not in self._judges:
            connection, vehicles, drivers = self._connection, Names(), Names()
            positions, limits = Positions(log_id, 0), LimitBook(self._pack.pack)
            judge = JourneyJudge(context_of(self._pack, vehicles, drivers, limits), self._detectors)
            roster = Roster(judge, vehicles, drivers, limits, log_id)
            fixes, activity = FixStore(connection, ALONE), ActivityStore(connection)
            violations = ViolationStore(connection, self._changes.append)
            moving_kmh = self._pack.pack.activity.moving_kmh
            warnings = WarningStore(connection)
            hours = HoursKeeper(roster, self._packs, activity, fixes, violations, warnings, moving_kmh, log_id)
            self._judges[log_id] = positions, LateJudge(
                connection, positions, self._pack, self._detectors, roster, hours, fixes, activity,
                VehicleStore(connection), violations, self._marks,
            )  # fmt: skip
        return self._judges[log_id]


def _pieces(marks: Sequence[Mark], size: int) -> Iterator[Sequence[Mark]]:
    return (marks[first : first + size] for first in range(0, len(marks), size))
