"""The vehicles and drivers a worker knows: names to codes, and what it remembers of each beside the judge's state."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.checks import ALONE, NEVER, Check, Flags
from detectors.columns import UNKNOWN, Bool, Code, Columns, columns_of, grown, room_for
from detectors.journeys import JourneyJudge
from detectors.limits import LimitBook
from detectors.names import Names
from hanhtrinh.garbage import keep_for_good
from hanhtrinh.worker.lines import KnownLines
from storage.activity import ActivityStore
from storage.fixes import FixStore, StoredFix
from storage.vehicles import Anchor, Registered, VehicleStore
from storage.violations import ViolationStore

CLOCKS = Check.CLOCK | Check.ROLLOVER
"""A fix with a wrong clock says nothing about which fixes of its vehicle are new."""

ANCHOR_EVERY_US = 3_600 * 1_000_000
"""An anchor older than this is moved on, those of some vehicles after half of it: a fleet that begins at one moment
must not move all of them at another. Older ones cost little: a vehicle is rebuilt from its newest settled fix, and its
anchor is only where the search for that one ends."""
_PHASES = 64
_ELSEWHERE = -1
"""For a partition: the vehicle's messages came over another log."""

_MANY = 50_000
"""Vehicles of which the names are many to look through."""


class Roster:
    """Loads vehicles at first sight and forgets them when a partition, or a transaction, is lost."""

    def __init__(self, judge: JourneyJudge, vehicles: Names, drivers: Names, limits: LimitBook, log_id: str) -> None:
        """`vehicles` and `drivers`: the names that the judge's detectors know; `log_id`: of the log that is read."""
        self.vehicles = vehicles
        self.drivers = drivers
        self.judge = judge
        self.limits = limits
        self._log_id = log_id
        self.loaded = np.zeros(0, dtype=np.bool_)
        """Whether the rows below, and the judge's, say how the vehicle stands."""
        self.partition = np.zeros(0, dtype=np.int16)
        """Where its messages come from."""
        self.silent_us = np.zeros(0, dtype=np.int64)
        """Since when its open silence lasts, as stored; NEVER when there is none."""
        self.dropped: set[int] = set()
        """Vehicles forgotten one by one, until somebody loads them again."""
        self.generation = 0
        """Rises when all are forgotten."""
        self.unstored: dict[str, Registered | None] = {}
        """Loaded vehicles without a stored fix, as the registry had them: no mark tells when that changes."""
        self.newest_us = np.zeros(0, dtype=np.int64)
        """Newest stored fix with a sound clock."""
        self.newest_flags = np.zeros(0, dtype=np.int16)
        """The flags of that fix."""
        self.unpublished = np.zeros(0, dtype=np.bool_)
        """Whether something was stored or judged since `storage/last_positions.py` wrote where the vehicle is."""
        self.counted_us = np.zeros(0, dtype=np.int64)
        """Begin of the newest hour marked to be counted: more fixes of that hour need no mark of their own."""
        self.lines = KnownLines()
        self._operators = Names()
        self._operator = np.zeros(0, dtype=np.int32)
        self._first_us = np.zeros(0, dtype=np.int64)
        self._anchor_us = np.zeros(0, dtype=np.int64)
        self._settled_us = np.zeros(0, dtype=np.int64)

    def forget(self, codes: Code | None = None) -> None:
        """Forget these vehicles, or all: they are read from storage when they are met again."""
        if codes is None:
            self.loaded[:] = False
            self.generation += 1
            self.dropped.clear()
            self.unstored.clear()
            self.lines.forget_drivers()
            return
        known = codes[codes < len(self.loaded)]
        self.loaded[known] = False
        self.dropped.update(known.tolist())

    def knows(self, vehicle_id: str) -> bool:
        """Whether the vehicle is loaded."""
        code = self.vehicles.code(vehicle_id)
        return code < len(self.loaded) and bool(self.loaded[code])

    def operator_of(self, vehicle_id: str | None) -> str | None:
        """The operator of a vehicle that was loaded; None for others, and for those that have none."""
        code = self.vehicles.known(vehicle_id)
        return self._operators.name(int(self._operator[code])) if UNKNOWN < code < len(self._operator) else None

    async def load(
        self, codes: Code, fixes: FixStore, vehicles: VehicleStore, activity: ActivityStore, violations: ViolationStore
    ) -> None:
        """Know these vehicles: registry, newest fix, and the judge's state rebuilt from stored fixes.

        `codes` in any order, and as often as one likes.
        """
        self._reserve()
        missing = np.unique(codes[~self.loaded[codes]])
        if not len(missing):
            return
        code_of = {self.vehicles.names[code]: code for code in missing.tolist()}
        names = list(code_of)
        self.judge.forget(missing)
        for column in (
            self.newest_us, self.counted_us, self.silent_us, self._anchor_us, self._settled_us,
        ):  # fmt: skip
            column[missing] = NEVER
        self.lines.forget_vehicles(missing)
        self._first_us[missing] = np.iinfo(np.int64).max
        self._operator[missing] = UNKNOWN
        registered = {known.vehicle_id: known for known in await vehicles.registered(names)}
        self._register(registered.values(), code_of)
        anchors = sorted(await vehicles.anchors(names), key=lambda anchor: code_of[anchor.vehicle_id])
        stored = {anchor.vehicle_id for anchor in anchors}
        self.unstored.update((name, registered.get(name)) for name in names if name not in stored)
        if anchors:
            await self._rebuild(anchors, code_of, fixes, activity)
            for name, since_us in (await violations.open_silences(names)).items():
                self.silent_us[code_of[name]] = since_us
        self.loaded[missing] = True
        self.dropped.difference_update(missing.tolist())

    async def register_again(self, vehicle_id: str, vehicles: VehicleStore) -> None:
        """Take what the registry says of a vehicle now. Its state may be that of the entry before: forget it then."""
        code = self.vehicles.code(vehicle_id)
        self._reserve()
        self._register(await vehicles.registered([vehicle_id]), {vehicle_id: code})

    def _register(self, entries: Iterable[Registered], code_of: Mapping[str, int]) -> None:
        for entry in entries:
            code = code_of[entry.vehicle_id]
            self.limits.register(code, entry.limit_kmh, entry.speed_class)
            self.limits.overrides.assign(code, entry.overrides)
            self._operator[code] = self._operators.code(entry.operator_id)

    async def _rebuild(
        self, anchors: Sequence[Anchor], code_of: Mapping[str, int], fixes: FixStore, activity: ActivityStore
    ) -> None:
        """`anchors` are in the order of their vehicles' codes."""
        for anchor in anchors:
            code = code_of[anchor.vehicle_id]
            self._first_us[code] = anchor.first_us
            self.partition[code] = anchor.partition if anchor.log_id == self._log_id else _ELSEWHERE
            if anchor.settled_us is not None:
                self._anchor_us[code] = self._settled_us[code] = anchor.settled_us
        stored = await fixes.since([(anchor.vehicle_id, anchor.since_us) for anchor in anchors])
        await asyncio.sleep(0)
        self.replay(stored)
        await asyncio.sleep(0)
        state = self.judge.state
        for name, change in (await activity.latest([anchor.vehicle_id for anchor in anchors])).items():
            code = code_of[name]
            state.activity[code] = change.activity
            state.activity_driver[code] = self.drivers.code(change.driver_id)

    def replay(self, stored: Sequence[StoredFix]) -> None:
        """Bring the judge to where it stood after these fixes, sorted by (code, time); nothing comes out."""
        columns = columns_of([each.fix for each in stored], self.vehicles, self.drivers)
        flags = np.array([each.flags for each in stored], dtype=np.int32)
        self.judge.advance(columns, flags & ALONE)
        sound = (flags & CLOCKS) == 0
        self._note_newest(columns.vehicle, columns.time_us, flags, sound)
        settled = np.array([each.settled for each in stored], dtype=np.bool_)
        np.maximum.at(self._settled_us, columns.vehicle[settled], columns.time_us[settled])

    def stored(
        self,
        columns: Columns,
        flags: Flags,
        settled: Bool,
        partitions: Code,
        replaced: Sequence[int],
    ) -> list[Anchor]:
        """Note fixes that are now stored, sorted by (code, time); returns the anchors to save with them.

        `replaced` are rows that took the place of another fix of their moment.
        """
        codes, times_us = columns.vehicle, columns.time_us
        moved = self.partition[codes] != partitions
        self.partition[codes] = partitions
        self._note_newest(codes, times_us, flags, (flags & CLOCKS) == 0, replaced)
        np.maximum.at(self._settled_us, codes[settled], times_us[settled])
        before = self._first_us[codes].copy()
        np.minimum.at(self._first_us, codes, times_us)
        older = self._first_us[codes] < before
        wait_us = ANCHOR_EVERY_US // 2 + codes.astype(np.int64) % _PHASES * (ANCHOR_EVERY_US // 2 // _PHASES)
        anchor_us = self._anchor_us[codes]
        overdue = self._settled_us[codes] > np.where(anchor_us == NEVER, NEVER, anchor_us + wait_us)
        touched = np.unique(codes[older | overdue | moved])
        self._anchor_us[touched] = self._settled_us[touched]
        return [
            Anchor(self.vehicles.names[code], None if anchor == NEVER else anchor, first, self._log_id, partition)
            for code, anchor, first, partition in zip(
                touched.tolist(),
                self._anchor_us[touched].tolist(),
                self._first_us[touched].tolist(),
                self.partition[touched].tolist(),
                strict=True,
            )
        ]

    def _note_newest(
        self, codes: Code, times_us: NDArray[np.int64], flags: Flags, sound: Bool, replaced: Sequence[int] = ()
    ) -> None:
        # A doubled fix comes with the flags it earns alone, not with those of the stored one.
        stands = times_us > self.newest_us[codes]
        stands[list(replaced)] = True
        np.maximum.at(self.newest_us, codes[sound], times_us[sound])
        newest = stands & sound & (times_us == self.newest_us[codes])
        self.newest_flags[codes[newest]] = flags[newest]
        self.unpublished[codes] = True

    def _reserve(self) -> None:
        size, old = len(self.vehicles), len(self.loaded)
        self.judge.state.reserve(size)
        self.limits.reserve(size)
        self.lines.reserve(size, len(self.drivers))
        if size <= old:
            return
        new = room_for(size, old)
        for name in (
            "loaded", "partition", "silent_us", "newest_us", "newest_flags", "unpublished", "counted_us",
            "_first_us", "_anchor_us", "_settled_us",
        ):  # fmt: skip
            setattr(self, name, grown(getattr(self, name), new, 0))
        self._operator = grown(self._operator, new, UNKNOWN)
        if new >= _MANY:
            keep_for_good()
