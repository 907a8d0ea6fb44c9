"""First step of the worker: bytes of a batch become fixes, and dead letters for what cannot."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.fix import Fix, from_us
from ingest.formats import FormatRegistry
from ingest.raw import LogSlice, RawMessage
from storage.letters import DeadLetter
from storage.positions import Step

_AT_ONCE = 500
"""Messages, or fixes where they hold several: about 3 ms between two turns of the event loop."""


@dataclass(slots=True)
class Intake:
    """The decoded batch. `received_us` and `offsets` run beside `fixes`."""

    slices: Sequence[LogSlice]
    fixes: list[Fix] = field(default_factory=list)
    received_us: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
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
            self.offsets[row],
            f"hanhtrinh/{loser.vehicle_id}",
            self.received_us[row],
            "conflict",
            f"another fix of {loser.vehicle_id} at {loser.time.isoformat()} stands; this one as decoded",
            encode(loser),
        )


async def take_in(
    slices: Sequence[LogSlice], formats: FormatRegistry, max_fixes: int | None = None
) -> tuple[Intake, list[LogSlice]]:
    """Decode the messages of the slices; once there are `max_fixes`, what is left of the slices is returned with them.

    Heartbeats and health checks get their turn on the way.
    """
    taken: list[LogSlice] = []
    intake = Intake(taken)
    for number, piece in enumerate(slices):
        intake.first_rows.append(len(intake.fixes))
        at, end = 0, len(piece.records)
        while at < end:
            at = _take_some(intake, piece, at, formats)
            await asyncio.sleep(0)
            if at < end and max_fixes is not None and len(intake.fixes) >= max_fixes:
                first, rest = piece.split(at)
                taken.append(first)
                return intake, [rest, *slices[number + 1 :]]
        taken.append(piece)
        if max_fixes is not None and len(intake.fixes) >= max_fixes:
            return intake, list(slices[number + 1 :])
    return intake, []


def _take_some(intake: Intake, piece: LogSlice, begin: int, formats: FormatRegistry) -> int:
    """Decode messages of a slice from one on; returns which one is next."""
    fixes, received, offsets = intake.fixes, intake.received_us, intake.offsets
    single, decode, partition = formats.single_fix, formats.decode, piece.partition
    enough, at = len(fixes) + _AT_ONCE, begin
    for offset, message in piece.records[begin : begin + _AT_ONCE]:
        at += 1
        fix = single(message)
        if fix is not None:
            fixes.append(fix)
            received.append(message.received_us)
            offsets.append(offset)
            continue
        found, rejects, ignored = decode(message)
        fixes += found
        received += [message.received_us] * len(found)
        offsets += [offset] * len(found)
        if rejects:
            intake.letters += [letter_of(partition, offset, message, *reject) for reject in rejects]
        if ignored:
            intake.ignored[partition] = intake.ignored.get(partition, 0) + 1
        if len(fixes) >= enough:
            break
    return at


def letter_of(partition: int, offset: int, message: RawMessage, reason: str, detail: str) -> DeadLetter:
    """The letter of a message that could not be used, or not in whole."""
    return DeadLetter(partition, offset, message.topic, message.received_us, reason, detail, message.payload)


def encode(fix: Fix) -> bytes:
    """A fix in our own format: what it says, in the order of the fields, unknown ones left out."""
    document = {name: value for name, value in fix._asdict().items() if value is not None and name != "time_us"}
    document["time"] = from_us(fix.time_us).isoformat()
    return msgspec.json.encode(document)
