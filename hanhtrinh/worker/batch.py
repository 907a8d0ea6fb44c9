"""One batch of the log: decoded, checked, judged, and committed as one transaction with its position."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from detectors.activity import Activity
from detectors.checks import Flags, flags_alone
from detectors.columns import Bool, Code, Columns
from detectors.fix import Fix
from detectors.fix_table import FixTable
from detectors.hours import LimitWarning
from detectors.journeys import Judgement
from detectors.precedence import precedence, same_moment
from detectors.rules import RulePack
from detectors.violation import Violation
from hanhtrinh.worker.hours import HoursKeeper, ReceivedUs, touched_lines
from hanhtrinh.worker.intake import Intake, letter_of
from hanhtrinh.worker.roster import CLOCKS, Roster
from hanhtrinh.worker.silence import SilenceKeeper
from storage.activity import ActivityChange, ActivityStore
from storage.connect import Connection
from storage.fix_packing import Judged
from storage.fixes import FixStore, rows_of
from storage.letters import DeadLetter, refusal, store_letters
from storage.marks import Mark, MarkStore
from storage.positions import Fenced, Positions
from storage.stale_hours import HOUR_US, mark_stale
from storage.vehicles import VehicleStore
from storage.violations import StageCount, ViolationStore

STREAM = "judged on the stream"

Storing = Callable[[Intake], None]


@dataclass(slots=True)
class BatchResult:
    """What one committed batch did: for the metrics and the summary."""

    messages: int
    fixes: int
    late: int
    doubled: int
    letters: Mapping[str, int]
    stages: list[StageCount]
    marks: list[Mark]
    event_us: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


@dataclass(slots=True)
class _Rows:
    """The batch's standing rows in (vehicle, time) order, and what was put aside on the way."""

    order: NDArray[np.intp]
    columns: Columns
    flags: Flags
    late: Bool
    doubled: list[int]
    lost: list[tuple[int, Fix]]
    """Row that stands in the batch's place of the loser's message, and the loser."""
    partitions: Code
    received_us: NDArray[np.int64]
    newest_us: dict[int, int]
    """Of each partition, over all its fixes: what moves the event time of the stream."""


class BatchProcessor:
    """Does the work of one batch. After any exception the caller must `forget` and read the log again."""

    def __init__(
        self, connection: Connection, positions: Positions, pack: RulePack, roster: Roster, hours: HoursKeeper,
        silences: SilenceKeeper, fixes: FixStore, activity: ActivityStore, vehicles: VehicleStore,
        violations: ViolationStore, marks: MarkStore,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._positions = positions
        self._pack = pack
        self._roster = roster
        self._hours = hours
        self._silences = silences
        self._fixes = fixes
        self._activity = activity
        self._vehicles = vehicles
        self._violations = violations
        self._marks = marks

    async def know(self, codes: Code) -> None:
        """Load these vehicles if they are not known."""
        await self._roster.load(codes, self._fixes, self._vehicles, self._activity, self._violations)

    async def process(self, intake: Intake, storing: Storing | None = None, *, careful: bool = False) -> BatchResult:
        """Judge and commit. Fenced when another worker owns a partition by now; psycopg errors as they come.

        `storing` is called when there is little left to do here but to wait for the database.
        `careful` takes no fix for new without asking the database: after a UniqueViolation.
        """
        rows = await self._arrange(intake)
        sound = (rows.flags & CLOCKS) == 0
        await self._fixes.make_room(_months(rows.columns.time_us[sound]))
        await asyncio.sleep(0)
        judgement = self._judge(rows)
        await asyncio.sleep(0)
        async with self._connection.transaction():
            return await self._commit(intake, rows, judgement, storing, careful=careful)

    async def _arrange(self, intake: Intake) -> _Rows:
        """One row for each (vehicle, time), its vehicle known, late ones told apart."""
        roster = self._roster
        columns = intake.fixes.columns(roster.vehicles, roster.drivers)
        await asyncio.sleep(0)
        await self.know(columns.vehicle)
        received_us = intake.received_us
        flags = flags_alone(columns, self._pack.checks, received_us)
        partitions, usable = intake.partitions(), flags == 0
        newest_us = _newest(partitions[usable], np.minimum(columns.time_us, received_us)[usable])
        order, groups = same_moment(columns.vehicle, columns.time_us)
        doubled: list[int] = []
        lost: list[tuple[int, Fix]] = []
        dropped = np.zeros(len(order), dtype=np.bool_)
        for first, end in groups:
            rivals = [(row, intake.fixes.fix(row)) for row in order[first:end].tolist()]
            rivals.sort(key=lambda rival: precedence(rival[1], int(flags[rival[0]])))
            seen = {rivals[0][1]}
            for row, fix in rivals[1:]:
                if fix in seen:
                    doubled.append(row)
                else:
                    lost.append((row, fix))
                    seen.add(fix)
            order[first] = rivals[0][0]
            dropped[first + 1 : end] = True
        order = order[~dropped]
        standing, flags = columns.take(order), flags[order]
        late = (flags == 0) & (standing.time_us <= roster.judge.state.seen_us[standing.vehicle])
        return _Rows(order, standing, flags, late, doubled, lost, partitions[order], received_us[order], newest_us)

    def _judge(self, rows: _Rows) -> Judgement:
        """Judge what is in order; late rows keep the flags they earned alone until their past is judged again."""
        if not rows.late.any():
            return self._roster.judge.advance(rows.columns, rows.flags)
        current = ~rows.late
        judgement = self._roster.judge.advance(rows.columns.take(current), rows.flags[current])
        size = len(rows.flags)
        flags, settled = rows.flags.copy(), np.zeros(size, dtype=np.bool_)
        leg_mm, driving_us = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
        flags[current], settled[current] = judgement.flags, judgement.settled
        leg_mm[current], driving_us[current] = judgement.leg_mm, judgement.leg_driving_us
        return replace(judgement, flags=flags, settled=settled, leg_mm=leg_mm, leg_driving_us=driving_us)

    async def _commit(
        self, intake: Intake, rows: _Rows, judgement: Judgement, storing: Storing | None, *, careful: bool
    ) -> BatchResult:
        roster, columns = self._roster, rows.columns
        # The position is taken first: its row lock keeps a competing worker out until this transaction ends.
        await self._positions.hold(self._connection, {piece.partition: piece.start for piece in intake.slices})
        await self._demand_newest_registry()
        sound = (rows.flags & CLOCKS) == 0
        fresh = sound & ~rows.late & (columns.time_us > roster.newest_us[columns.vehicle]) & (not careful)
        known = np.flatnonzero(~fresh).tolist()
        # Not sooner: what is begun then would have its turn before each answer that is waited for until here, and a
        # worker that is frozen while the database waits for its rows holds its partitions for as long.
        ready = None if storing is None else partial(storing, intake)
        await self._fixes.add_table(*_chosen(intake, rows, judgement, np.flatnonzero(fresh)), ready)
        perhaps = rows_of(*_chosen(intake, rows, judgement, np.flatnonzero(~fresh)))
        settled = await self._fixes.settle(perhaps)
        doubled = rows.doubled + [int(rows.order[known[n]]) for n in settled.doubled]
        lost = rows.lost + [(int(rows.order[known[n]]), perhaps[n].fix) for n in settled.lost]
        displaced = [(int(rows.order[known[n]]), loser) for n, loser in settled.replaced]
        letters = [*intake.letters, *(intake.conflict_letter(row, loser) for row, loser in lost + displaced)]
        await store_letters(self._connection, self._positions.log_id, letters)
        replaced = [known[n] for n, _ in settled.replaced]
        anchors = roster.stored(columns, judgement.flags, judgement.settled, rows.partitions, replaced)
        await self._vehicles.save_anchors(anchors)
        changed = [known[n] for n in settled.added] + replaced
        # Judged here as new and trusted, but what is stored at that moment stays, distrusted: a clock that was ahead
        # when its fix first came. What stands is judged, so the vehicle's past is judged again.
        misjudged = [row for row in (known[n] for n in settled.doubled + settled.lost) if rows.flags[row] == 0]
        again = [row for row in changed if rows.late[row]] + [row for row in misjudged if not rows.late[row]]
        await mark_stale(self._connection, self._stale_hours(columns, fresh, changed))
        marks = _marks_of(intake, rows, again, roster)
        await self._marks.save(self._positions.log_id, marks)
        stages = await self._judged(intake, rows, judgement)
        # A displaced fix was counted when it was stored: its row stays, its letter is new.
        steps = intake.steps(doubled, letters, [row for row, _ in lost + displaced], rows.newest_us)
        await self._positions.advance(self._connection, steps, held=True)
        roster.unstored.clear()
        return BatchResult(
            messages=intake.messages,
            fixes=len(intake.fixes) - len(doubled) - len(lost) - len(displaced),
            late=sum(mark.late_fixes for mark in marks),
            doubled=len(doubled),
            letters=Counter(letter.reason for letter in letters),
            stages=stages,
            marks=marks,
            event_us=columns.time_us[fresh],
        )

    async def _judged(self, intake: Intake, rows: _Rows, judgement: Judgement) -> list[StageCount]:
        roster = self._roster
        received_us = _newest_receipt(intake, rows, roster)
        changes = [
            ActivityChange(roster.vehicles.names[vehicle], time_us, roster.drivers.name(driver), Activity(activity))
            for vehicle, time_us, driver, activity in zip(*(c.tolist() for c in judgement.activity), strict=True)
        ]
        await self._activity.add(changes)
        found = [replace(each, operator_id=roster.operator_of(each.vehicle_id)) for each in judgement.violations]
        stages = await self._silences.spoken(rows.columns.vehicle, found, received_us)
        stages += await self._violations.record(found, received_us, STREAM)
        return stages + await self._hours.follow(touched_lines(judgement.legs, roster), received_us, STREAM)

    def _stale_hours(self, columns: Columns, fresh: Bool, changed: Sequence[int]) -> list[tuple[str, int]]:
        """The hours to be counted: new ones of a vehicle, and those in which something else came to be stored."""
        hour_us = columns.time_us // HOUR_US * HOUR_US
        begun = np.flatnonzero(fresh & (hour_us > self._roster.counted_us[columns.vehicle]))
        if not len(begun) and not changed:
            return []
        np.maximum.at(self._roster.counted_us, columns.vehicle[begun], hour_us[begun])
        stale = np.append(begun, np.array(changed, dtype=np.intp))
        pairs = set(zip(columns.vehicle[stale].tolist(), hour_us[stale].tolist(), strict=True))
        return [(self._roster.vehicles.names[vehicle], begin_us) for vehicle, begin_us in sorted(pairs)]

    async def _demand_newest_registry(self) -> None:
        """Fenced when the registry has changed for a vehicle that is about to be stored for the first time."""
        unstored = self._roster.unstored
        if not unstored:
            return
        now = {entry.vehicle_id: entry for entry in await self._vehicles.registered(list(unstored))}
        changed = [name for name, entry in unstored.items() if now.get(name) != entry]
        if changed:
            raise Fenced(f"the registry's entry of {changed[0]} has changed since it was read")


def _marks_of(intake: Intake, rows: _Rows, changed: Sequence[int], roster: Roster) -> list[Mark]:
    """One mark for each vehicle whose past these late rows changed."""
    marks: dict[str, Mark] = {}
    for row in changed:
        name = roster.vehicles.names[int(rows.columns.vehicle[row])]
        time_us = int(rows.columns.time_us[row])
        partition = intake.partition_of(int(rows.order[row]))
        old = marks.get(name, Mark(name, partition, time_us, time_us, 0))
        marks[name] = Mark(name, partition, min(old.from_us, time_us), max(old.to_us, time_us), old.late_fixes + 1)
    return list(marks.values())


def _chosen(intake: Intake, rows: _Rows, judgement: Judgement, chosen: NDArray[np.intp]) -> tuple[FixTable, Judged]:
    """The fixes of these rows, and what was made of them."""
    return intake.fixes.take(rows.order[chosen]), Judged(
        judgement.flags[chosen],
        judgement.settled[chosen],
        rows.received_us[chosen],
        judgement.leg_mm[chosen],
        judgement.leg_driving_us[chosen],
    )


def _newest_receipt(intake: Intake, rows: _Rows, roster: Roster) -> ReceivedUs:
    """When the newest message of a violation's vehicle in this batch was received; looked up when asked."""

    def received_us(violation: Violation | LimitWarning) -> int:
        code = roster.vehicles.known(violation.vehicle_id)
        first, end = np.searchsorted(rows.columns.vehicle, [code, code + 1]).tolist()
        here = rows.received_us[first:end]
        return int(here.max()) if len(here) else int(intake.received_us.max())

    return received_us


def _newest(partitions: Code, times_us: NDArray[np.int64]) -> dict[int, int]:
    here = np.flatnonzero(np.bincount(partitions))
    return {each: int(times_us[partitions == each].max()) for each in here.tolist()}


def _months(times_us: NDArray[np.int64]) -> set[str]:
    if not len(times_us):
        return set()
    ends = np.array([times_us.min(), times_us.max()]).astype("datetime64[us]").astype("datetime64[M]")
    # Nearly always of one month, and then nothing else is looked at.
    months = ends[:1] if ends[0] == ends[1] else np.unique(times_us.astype("datetime64[us]").astype("datetime64[M]"))
    return {str(month) for month in months}


def refused_letters(intake: Intake, error: Exception) -> list[DeadLetter]:
    """Letters for messages that the database refused."""
    detail = refusal(error)
    return [
        letter_of(piece.partition, record.offset, record.message, "refused_by_database", detail)
        for piece in intake.slices
        for record in piece.records
    ]
