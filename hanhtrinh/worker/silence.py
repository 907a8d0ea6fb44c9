"""Silences that go on: opened by the event time of the stream, ended when the vehicle is heard again.

The event time is the newest of all partitions, each capped by receipt, so that one wrong clock silences nobody. A
vehicle whose messages still wait in the log is not silent: a partition that is not read to its end lives by its own
newest event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detectors.checks import NEVER
from detectors.columns import Code
from detectors.silence import Silences
from detectors.violation import Violation
from hanhtrinh.worker.roster import Roster
from ingest.log import LogError
from storage.connect import Connection
from storage.positions import EventTimes, Positions
from storage.vehicles import VehicleStore
from storage.violations import StageCount, ViolationStore

_EVERY_S = 2.0
_MOST_OPENED = 200
"""In one transaction: it holds the partitions."""
_SWEEP = 2_000
"""Stored vehicles looked at in one turn after all were forgotten."""
_MOST_LOADED = 500
_PATIENCE_S = 2.0

SILENT = "nothing was received"
SPOKEN = "it was heard again: its fixes came later, or it had stood where it fell silent"


class SilenceKeeper:
    """Ends the open silences of vehicles that are heard again, inside the transaction that stores their fixes."""

    def __init__(self, roster: Roster, violations: ViolationStore) -> None:
        self._roster = roster
        self._violations = violations

    async def spoken(
        self, codes: Code, found: Sequence[Violation], received_us: Callable[[Violation], int]
    ) -> list[StageCount]:
        """Reconcile the open silences of these vehicles with what a batch found, where a newer fix is trusted."""
        roster = self._roster
        silent = np.unique(codes[roster.silent_us[codes] != NEVER])
        heard = silent[roster.judge.state.last_us[silent] != roster.silent_us[silent]]
        if not len(heard):
            return []
        names = {roster.vehicles.names[code] for code in heard.tolist()}
        standing = await self._violations.standing_silences(sorted(names))
        judged = [each for each in found if each.kind == "silence" and each.vehicle_id in names]
        roster.silent_us[heard] = NEVER
        return await self._violations.reconcile(standing, judged, received_us, SPOKEN)


class SilenceWatch:
    """Opens silences. What it needs to know of vehicles that stay silent after a restart it reads from storage."""

    def __init__(
        self, connection: Connection, positions: Positions, silences: Silences, moving_kmh: float, roster: Roster,
        vehicles: VehicleStore, violations: ViolationStore, know: Callable[[Code], Awaitable[None]],
        ends: Callable[[], Awaitable[Mapping[int, int]]],
    ) -> None:  # fmt: skip
        """`know` loads vehicles into the roster; `ends` tells the offset after the newest record of each partition."""
        self._connection = connection
        self._positions = positions
        self._silences = silences
        self._moving_kmh = moving_kmh
        self._roster = roster
        self._vehicles = vehicles
        self._violations = violations
        self._know = know
        self._ends = ends
        self._generation = -1
        self._swept_to: str | None = ""
        """Name of the last stored vehicle looked at since all were forgotten; None when all are."""
        self._looked_s = -_EVERY_S
        self._complete = False
        self._looked_at: Mapping[int, int] = {}

    async def look(self, owned: Mapping[int, int], waiting: Collection[str], *, idle: bool) -> list[StageCount]:
        """Open what is due, every few seconds, and at once when idle and something has moved.

        `owned` holds the next offset of each partition; Fenced when one stands elsewhere. `waiting` are vehicles that
        are about to be judged again, and must not be loaded before.
        """
        now_s = time.monotonic()
        moved = not self._complete or owned != self._looked_at or bool(self._roster.dropped - self._codes(waiting))
        if not owned or (now_s - self._looked_s < _EVERY_S and not (idle and moved)):
            return []
        self._looked_s, self._looked_at = now_s, dict(owned)
        known = await self._load(sorted(owned), waiting)
        event_times = await self._positions.event_times(self._connection)
        if event_times.stream_us is None:
            self._complete = known
            return []
        ends = await self._known_ends()
        read = [partition for partition in owned if partition in ends and owned[partition] >= ends[partition]]
        due = self._due(owned, read, event_times)
        self._complete = known and len(due) <= _MOST_OPENED
        return await self._open(owned, read, due[:_MOST_OPENED], event_times)

    async def _known_ends(self) -> Mapping[int, int]:
        """Nothing while the log does not answer: then no partition is known to be read to its end."""
        with suppress(LogError, TimeoutError):
            return await asyncio.wait_for(self._ends(), _PATIENCE_S)
        return {}

    def _due(self, owned: Mapping[int, int], read: Sequence[int], event_times: EventTimes) -> NDArray[np.intp]:
        """The codes of loaded vehicles whose silence is to be opened."""
        assert event_times.stream_us is not None
        roster = self._roster
        state, size = roster.judge.state, min(len(roster.vehicles), len(roster.loaded), roster.judge.state.size)
        due = self._silences.overdue(state, roster.silent_us[:size], event_times.stream_us)
        due = due[roster.loaded[due]]
        if not len(due) or len(read) == len(owned):
            return due
        clocks_us = np.full(max(owned) + 1, NEVER, dtype=np.int64)
        for partition in owned:
            own_us = event_times.newest_us.get(partition, NEVER)
            clocks_us[partition] = event_times.stream_us if partition in read else own_us
        return self._silences.silent(state, due, clocks_us[roster.partition[due]])

    async def _open(
        self, owned: Mapping[int, int], read: Sequence[int], due: NDArray[np.intp], event_times: EventTimes
    ) -> list[StageCount]:
        stream_us, judged_us = event_times.stream_us, event_times.silences_judged_us
        assert stream_us is not None
        judged = [each for each in read if self._complete and judged_us.get(each) != stream_us]
        if not len(due) and not judged:
            return []
        roster, now_us = self._roster, time.time_ns() // 1000
        opened = [self._silences.opened(roster.judge.state, code) for code in due.tolist()]
        opened = [replace(each, operator_id=roster.operator_of(each.vehicle_id)) for each in opened]
        async with self._connection.transaction():
            await self._positions.hold(self._connection, dict(owned))
            # A backlog that comes in pieces ends a silence and leaves a later one: people know already.
            gone = await self._violations.withdrawn_silences([each.vehicle_id or "" for each in opened])
            stages = await self._violations.succeed(gone, opened, lambda _: now_us, SILENT)
            if judged:
                await self._positions.silences_judged(self._connection, judged, stream_us)
        roster.silent_us[due] = roster.judge.state.last_us[due]
        return stages

    async def _load(self, partitions: Sequence[int], waiting: Collection[str]) -> bool:
        """Load some vehicles that are not known but may be silent; whether that were all."""
        roster = self._roster
        if self._generation != roster.generation:
            self._generation, self._swept_to = roster.generation, ""
        later = self._codes(waiting)
        dropped = sorted(roster.dropped - later)[:_MOST_LOADED]
        await self._know(np.array(dropped, dtype=np.int32))
        if self._swept_to is not None:
            moved, last = await self._vehicles.moved_at_last(
                self._positions.log_id, partitions, self._swept_to, _SWEEP, self._moving_kmh
            )
            codes = [roster.vehicles.code(name) for name in moved if name not in waiting]
            await self._know(np.array(codes, dtype=np.int32))
            self._swept_to = last
        return self._swept_to is None and not roster.dropped

    def _codes(self, names: Collection[str]) -> set[int]:
        return {self._roster.vehicles.code(name) for name in names}
