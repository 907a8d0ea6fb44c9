"""First step of the worker: bytes of a batch become fixes, and dead letters for what cannot."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.columns import Int
from detectors.fix import Fix, from_us
from detectors.fix_table import FixTable, empty_table, joined
from ingest.formats import FormatRegistry
from ingest.raw import LogRecords, LogSlice, RawMessage
from storage.letters import DeadLetter
from storage.positions import Step

_AT_ONCE = 1_000
"""Messages: about 3 ms between two turns of the event loop."""
_FIXES_AT_ONCE = 500
"""Of messages that hold several."""
_BYTES_AT_ONCE = 250_000
"""Of payloads that are looked at together: where each holds a list of fixes, few are."""


@dataclass(slots=True)
class Intake:
    """The decoded batch. `received_us` and `offsets` run beside `fixes`."""

    slices: Sequence[LogSlice]
    fixes: FixTable = field(default_factory=empty_table)
    received_us: Int = field(default_factory=lambda: np.empty(0, np.int64))
    offsets: Int = field(default_factory=lambda: np.empty(0, np.int64))
    """Of the message of each fix."""
    first_rows: list[int] = field(default_factory=list)
    """Of each slice the row of its first fix: they follow each other."""
    letters: list[DeadLetter] = field(default_factory=list)
    ignored: dict[int, int] = field(default_factory=dict)
    """Messages by partition that are no position by design."""

    @property
    def messages(self) -> int:
        return sum(len(piece.records) for piece in self.slices)

    def partitions(self) -> NDArray[np.int32]:
        """The partition of each fix."""
        of_slice = np.array([piece.partition for piece in self.slices], dtype=np.int32)
        return np.repeat(of_slice, self._counts())

    def _counts(self) -> NDArray[np.intp]:
        """Fixes of each slice."""
        bounds = np.array([*self.first_rows, len(self.fixes)], dtype=np.intp)
        return bounds[1:] - bounds[:-1]

    def partition_of(self, row: int) -> int:
        """The partition of one fix."""
        return self.slices[bisect_right(self.first_rows, row) - 1].partition

    def steps(
        self,
        doubled_rows: Sequence[int],
        letters: Sequence[DeadLetter],
        lost_rows: Sequence[int],
        newest_us: Mapping[int, int],
    ) -> list[Step]:
        """The bookkeeping of each partition, once it is known which fixes were doubled and which lost a conflict.

        `newest_us` is the time of the newest sound fix by partition.
        """
        doubled = Counter(map(self.partition_of, doubled_rows))
        lost = Counter(map(self.partition_of, lost_rows))
        lettered = Counter(letter.partition for letter in letters)
        return [
            Step(
                partition=piece.partition,
                start=piece.start,
                next=piece.next,
                messages=len(piece.records),
                ignored=self.ignored.get(piece.partition, 0),
                fixes=fixes - doubled[piece.partition] - lost[piece.partition],
                doubled=doubled[piece.partition],
                letters=lettered[piece.partition],
                newest_us=newest_us.get(piece.partition),
            )
            for piece, fixes in zip(self.slices, self._counts().tolist(), strict=True)
        ]

    def conflict_letter(self, row: int, loser: Fix) -> DeadLetter:
        """The letter of a fix that lost to another of its vehicle and time."""
        return DeadLetter(
            self.partition_of(row),
            int(self.offsets[row]),
            f"hanhtrinh/{loser.vehicle_id}",
            int(self.received_us[row]),
            "conflict",
            f"another fix of {loser.vehicle_id} at {loser.time.isoformat()} stands; this one as decoded",
            encode(loser),
        )


class _Taken:
    """What was taken in so far, in pieces."""

    def __init__(self) -> None:
        self._fixes: list[FixTable] = []
        self._received_us: list[Int] = []
        self._offsets: list[Int] = []
        self.size = 0

    def add(self, fixes: FixTable, received_us: Int, offsets: Int) -> None:
        self._fixes.append(fixes)
        self._received_us.append(received_us)
        self._offsets.append(offsets)
        self.size += len(fixes)

    def fill(self, intake: Intake) -> None:
        if self._fixes:
            intake.fixes = joined(self._fixes)
            intake.received_us, intake.offsets = np.concatenate(self._received_us), np.concatenate(self._offsets)


async def take_in(
    slices: Sequence[LogSlice], formats: FormatRegistry, max_fixes: int | None = None
) -> tuple[Intake, list[LogSlice]]:
    """Decode the messages of the slices; once there are `max_fixes`, what is left of the slices is returned with them.

    Heartbeats and health checks get their turn on the way.
    """
    pieces: list[LogSlice] = []
    left: list[LogSlice] = []
    intake, taken = Intake(pieces), _Taken()
    for number, piece in enumerate(slices):
        intake.first_rows.append(taken.size)
        at, end, full = 0, len(piece.records), False
        while at < end and not full:
            at = _take_some(intake, taken, piece, at, formats)
            full = max_fixes is not None and taken.size >= max_fixes
            await asyncio.sleep(0)
        if at < end:
            piece, rest = piece.split(at)
            left.append(rest)
        pieces.append(piece)
        if full:
            left += slices[number + 1 :]
            break
    taken.fill(intake)
    return intake, left


def _take_some(intake: Intake, taken: _Taken, piece: LogSlice, begin: int, formats: FormatRegistry) -> int:
    """Decode messages of a slice from one on; returns which one is next."""
    records = _some_of(piece.records, begin)
    table, rows = formats.single_fixes(records.topics, records.payloads)
    received_us, offsets = records.received_us, np.array(records.offsets, dtype=np.int64)
    if len(rows) == len(records):
        taken.add(table, received_us, offsets)
        return begin + len(records)
    enough, done = taken.size + _FIXES_AT_ONCE, 0
    others: list[int] = np.setdiff1d(np.arange(len(records)), rows).tolist()
    for other in others:
        # In the order of the messages: where this ends is a position in the log.
        done, before = int(np.searchsorted(rows, other)), done
        here = np.arange(before, done)
        taken.add(table.take(here), received_us[rows[here]], offsets[rows[here]])
        found = _take_one(intake, piece.partition, records.offsets[other], records.message(other), formats)
        taken.add(FixTable.of(found), received_us[[other] * len(found)], offsets[[other] * len(found)])
        if taken.size >= enough:
            return begin + other + 1
    here = np.arange(done, len(rows))
    taken.add(table.take(here), received_us[rows[here]], offsets[rows[here]])
    return begin + len(records)


def _some_of(records: LogRecords, begin: int) -> LogRecords:
    """As many of the records from one on as are decoded in one go, at least one."""
    some = records.part(begin, begin + _AT_ONCE)
    sizes = list(map(len, some.payloads))
    if sum(sizes) <= _BYTES_AT_ONCE:
        return some
    return some.part(0, max(1, bisect_right(list(accumulate(sizes)), _BYTES_AT_ONCE)))


def _take_one(
    intake: Intake, partition: int, offset: int, message: RawMessage, formats: FormatRegistry
) -> Sequence[Fix]:
    fixes, rejects, ignored = formats.decode(message)
    if rejects:
        intake.letters += [letter_of(partition, offset, message, *reject) for reject in rejects]
    if ignored:
        intake.ignored[partition] = intake.ignored.get(partition, 0) + 1
    return fixes


def letter_of(partition: int, offset: int, message: RawMessage, reason: str, detail: str) -> DeadLetter:
    """The letter of a message that could not be used, or not in whole."""
    return DeadLetter(partition, offset, message.topic, message.received_us, reason, detail, message.payload)


def encode(fix: Fix) -> bytes:
    """A fix in our own format: what it says, in the order of the fields, unknown ones left out."""
    document = {name: value for name, value in fix._asdict().items() if value is not None and name != "time_us"}
    document["time"] = from_us(fix.time_us).isoformat()
    return msgspec.json.encode(document)
