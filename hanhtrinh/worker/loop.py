"""The worker's loop: fetch, process, judge late fixes again; and what to do when something fails.

Three kinds of failure are never mixed. A lost connection or a conflict is tried again from the stored position. A
row that the database refuses is isolated by halving the batch and becomes a dead letter. Anything else is a broken
invariant and stops the worker.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import psycopg

from detectors.detector import Factory
from hanhtrinh.detectors import detector_factories
from hanhtrinh.metrics import WorkerMetrics
from hanhtrinh.rule_packs import LoadedPack
from hanhtrinh.worker.batch import BatchResult, refused_letters
from hanhtrinh.worker.guard import Guard
from hanhtrinh.worker.inlet import Inlet
from hanhtrinh.worker.intake import Intake, take_in
from hanhtrinh.worker.session import Session, new_session
from ingest.formats import FormatRegistry
from ingest.log import AssignmentChanged, LoadPositions, LogReader
from ingest.raw import LogIdentity, LogSlice
from storage.connect import Connection, is_transient
from storage.letters import store_letters
from storage.marks import Mark
from storage.positions import Fenced, Positions
from storage.violations import StageCount

log = logging.getLogger(__name__)

Connect = Callable[[], Awaitable[Connection]]
MakeReader = Callable[[LoadPositions, AssignmentChanged], LogReader]
OnBatch = Callable[[BatchResult], None]

_LOOK_EVERY_S = 1.0
_LOOK_AFTER_S = 5.0
"""A turn of so many seconds may wait for somebody who is frozen."""
_MOST_ASKED = 500
"""Marks of others that a worker takes up at once; the rest wait in the database."""
_REJUDGE_FOR_S = 0.5
"""In one turn, and one stretch more: the past of many vehicles must not hold up the live ones."""
_RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """How much at once, and how long to wait."""

    max_messages: int
    max_wait_s: float
    late_settle_s: float
    silent_s: float
    """For how long a frozen worker may hold what others wait for."""


class Worker:
    """Works off the partitions its reader is assigned until told to stop."""

    def __init__(
        self,
        connect: Connect,
        make_reader: MakeReader,
        pack: LoadedPack,
        limits: WorkerLimits,
        metrics: WorkerMetrics,
        on_batch: OnBatch | None = None,
        *,
        detectors: Sequence[Factory] | None = None,
    ) -> None:
        """`detectors` are those that are installed, unless given."""
        self._detectors = detector_factories() if detectors is None else detectors
        self._connect = connect
        self._reader = make_reader(self._load_positions, self._assigned)
        self._pack = pack
        self._limits = limits
        self._guard = Guard(connect, limits.silent_s, min(_LOOK_AFTER_S, limits.silent_s))
        self._metrics = metrics
        self._on_batch = on_batch
        self._formats = FormatRegistry()
        self._inlet = Inlet(self._reader, self._formats, limits.max_messages)
        self._positions: Positions | None = None
        self._assignment: frozenset[int] = frozenset()
        self._assignment_changed = True
        self._next: dict[int, int] = {}
        self._committed_s = time.monotonic()
        self._looked_s = -_LOOK_EVERY_S
        self.trouble: str | None = "starting"
        """Why the worker cannot work just now; None while it can. For the health check."""

    @property
    def stopped(self) -> Mapping[int, str]:
        """Partitions that cannot be read from their stored position, and why; the others are worked off."""
        return self._reader.stopped

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. LogError, and database errors that no retry mends, raise."""
        failures = 0
        try:
            while not stop.is_set():
                connection: Connection | None = None
                guard: asyncio.Task[None] | None = None
                try:
                    connection = await self._connect()
                    guard = asyncio.create_task(self._guard.watch(connection.info.backend_pid))
                    session = await self._begin(connection)
                    while not stop.is_set():
                        await self._turn(session)
                        failures, self.trouble = 0, next(iter(self.stopped.values()), None)
                    await session.board.flush()
                except psycopg.Error as error:
                    if not is_transient(error, connection):
                        raise
                    failures = await self._wait_out(error, failures, stop)
                finally:
                    if guard is not None:
                        guard.cancel()
                    if connection is not None:
                        await connection.close()
        finally:
            await self._inlet.drop()
            await self._reader.close()

    async def _load_positions(self, identity: LogIdentity, partitions: Sequence[int]) -> dict[int, int]:
        """For the reader. On a connection of its own: it may be called in the middle of a transaction of the batch."""
        connection = await self._connect()
        try:
            positions = Positions(*identity)
            await positions.register(connection)
            return await positions.load(connection, partitions)
        finally:
            await connection.close()

    async def lag(self) -> tuple[int, float]:
        """Messages in the log beyond what is committed, and seconds since the last commit while there are any."""
        ends = await self._reader.end_offsets()
        behind = sum(max(0, end - self._next.get(partition, end)) for partition, end in ends.items())
        return behind, time.monotonic() - self._committed_s if behind else 0.0

    def _assigned(self, partitions: frozenset[int]) -> None:
        self._assignment = partitions
        self._assignment_changed = True

    async def _wait_out(self, error: Exception, failures: int, stop: asyncio.Event) -> int:
        self.trouble = f"database: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        wait_s = _RETRY_S[min(failures, len(_RETRY_S) - 1)]
        log.warning("database lost, trying again in %.1f s: %s", wait_s, self.trouble)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait_s)
        return failures + 1

    async def _begin(self, connection: Connection) -> Session:
        """On a new connection: read again from the stored positions, with nothing remembered."""
        if self._positions is None:
            identity = await self._reader.open()
            self._positions = Positions(*identity)
        else:
            await self._inlet.rewind()
        self._assignment_changed = True
        ends = self._reader.end_offsets
        return new_session(connection, self._positions, self._pack, self._detectors, ends, self._limits.late_settle_s)

    async def _turn(self, session: Session) -> None:
        self._guard.turns += 1
        wait_s = self._limits.max_wait_s if not len(session.pending) else min(self._limits.max_wait_s, 0.05)
        intake = await self._inlet.next(wait_s)
        if self._assignment_changed:
            # What was read belongs to partitions, or to positions, that may be others now.
            await self._inlet.rewind()
            await self._take_over(session)
            return
        await session.plans.look()
        try:
            if intake is not None:
                await self._process(session, intake)
            await self._look_for_marks(session)
            await self._rejudge_due(session)
            self._metrics.violations(_counted(await session.lines.look(self._next)))
            opened = await session.silences.look(self._next, session.pending.late, idle=intake is None)
            self._metrics.violations(_counted(opened))
            await session.board.look()
        except Fenced as fenced:
            log.warning("another worker has moved on: %s", fenced)
            session.roster.forget()
            await self._inlet.rewind()
            self._assignment_changed = True

    async def _take_over(self, session: Session) -> None:
        """New partitions: forget all vehicles, know the positions and the marks that wait."""
        assert self._positions is not None
        self._assignment_changed = False
        partitions = sorted(self._assignment)
        session.roster.forget()
        await self._positions.own(session.connection, partitions)
        self._next = await self._positions.load(session.connection, partitions)
        marks = await session.marks.late(self._positions.log_id, partitions)
        session.pending.replace(marks)
        self._looked_s = -_LOOK_EVERY_S
        log.info("assigned partitions=%s positions=%s marks=%d", partitions, self._next, len(marks))

    async def _process(self, session: Session, intake: Intake, *, careful: bool = False) -> None:
        began_s = time.perf_counter()
        await self._catch_up(session, intake)
        try:
            result = await session.batch.process(intake, self._read_ahead, careful=careful)
        except psycopg.errors.UniqueViolation as error:
            # Stored once by a clock that ran ahead, and new to a state that knows sound clocks only.
            session.roster.forget()
            await (self._isolate(session, intake, error) if careful else self._process(session, intake, careful=True))
            return
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            session.roster.forget()
            await self._isolate(session, intake, error)
            return
        except BaseException:
            session.roster.forget()
            raise
        for piece in intake.slices:
            self._next[piece.partition] = piece.next
        self._committed_s = time.monotonic()
        session.pending.add(result.marks)
        self._count(result, time.perf_counter() - began_s)

    def _read_ahead(self, intake: Intake) -> None:
        self._inlet.read_ahead(intake, self._limits.max_wait_s)

    async def _catch_up(self, session: Session, intake: Intake) -> None:
        """Judge vehicles with late fixes again before they are rebuilt."""
        if not len(session.pending):
            return
        for vehicle_id in sorted(set(intake.fixes.vehicle_ids).intersection(session.pending.late)):
            while not session.roster.knows(vehicle_id) and (mark := session.pending.mark_of(vehicle_id)) is not None:
                await self._rejudge(session, mark)

    async def _isolate(self, session: Session, refused: Intake, error: Exception) -> None:
        """Halve until the message that the database refuses is alone; it becomes a dead letter."""
        if refused.messages > 1:
            for half in _halves(refused.slices):
                intake, _ = await take_in(half, self._formats)
                await self._process(session, intake)
            return
        assert self._positions is not None
        slices = refused.slices
        intake = Intake(slices, first_rows=[0] * len(slices))
        intake.letters.extend(refused_letters(intake, error))
        log.error("the database refuses a message: %s", error)
        async with session.connection.transaction():
            await store_letters(session.connection, self._positions.log_id, intake.letters)
            await self._positions.advance(session.connection, intake.steps([], intake.letters, [], {}))
        for piece in slices:
            self._next[piece.partition] = piece.next
        self._metrics.dead_letters({"refused_by_database": len(intake.letters)})

    async def _look_for_marks(self, session: Session) -> None:
        """Marks that others have written: an import that changed the registry, somebody who asked."""
        assert self._positions is not None
        now_s = time.monotonic()
        if now_s - self._looked_s < _LOOK_EVERY_S or len(session.pending) >= _MOST_ASKED or not self._next:
            return
        self._looked_s = now_s
        session.pending.ask(await session.marks.asked(self._positions.log_id, sorted(self._next), _MOST_ASKED))

    async def _rejudge_due(self, session: Session) -> None:
        """Vehicles whose late fixes have stopped coming, or have come for long enough, and those asked for."""
        due = session.pending.due()
        if not due:
            return
        began_s, vehicles = time.perf_counter(), 0
        for mark in due:
            await self._rejudge(session, mark)
            vehicles += 1
            if time.perf_counter() - began_s > _REJUDGE_FOR_S:
                break
        self._metrics.rejudged(vehicles, time.perf_counter() - began_s)

    async def _rejudge(self, session: Session, mark: Mark) -> None:
        code = np.array([session.roster.vehicles.code(mark.vehicle_id)], dtype=np.int32)
        try:
            again = await session.late.rejudge(
                mark.vehicle_id, mark.partition, self._next[mark.partition], time.time_ns() // 1000
            )
        finally:
            session.roster.forget(code)
        if again.left_from_us is None:
            session.pending.done(mark.vehicle_id)
        self._metrics.violations(_counted(again.stages))

    def _count(self, result: BatchResult, seconds: float) -> None:
        metrics = self._metrics
        metrics.batch(result.messages, result.fixes, result.late, result.doubled, seconds)
        metrics.dead_letters(result.letters)
        metrics.violations(_counted(result.stages))
        sample = result.event_us[:: max(1, len(result.event_us) // 20)]
        metrics.event_to_store(((time.time_ns() // 1000 - sample) / 1e6).tolist())
        if self._on_batch is not None:
            self._on_batch(result)


def _counted(stages: Sequence[StageCount]) -> dict[tuple[str, str], int]:
    return Counter((each.kind, each.stage) for each in stages)


def _halves(slices: Sequence[LogSlice]) -> list[list[LogSlice]]:
    """Two parts with half of the records each; positions stay without a gap."""
    if len(slices) > 1:
        middle = len(slices) // 2
        return [list(slices[:middle]), list(slices[middle:])]
    piece = slices[0]
    return [[half] for half in piece.split(len(piece.records) // 2)]
