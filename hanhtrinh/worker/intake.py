"""First step of the worker: bytes of a batch become fixes, and dead letters for what cannot."""

from __future__ import annotations

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


@dataclass(slots=True)
class Intake:
    """The decoded batch. `received_us` and `source` run beside `fixes`; `source` points into `origins`."""

    slices: Sequence[LogSlice]
    fixes: list[Fix] = field(default_factory=list)
    received_us: list[int] = field(default_factory=list)
    source: list[int] = field(default_factory=list)
    origins: list[tuple[int, int]] = field(default_factory=list)
    """Partition and offset of each message that held fixes."""
    letters: list[DeadLetter] = field(default_factory=list)
    ignored: dict[int, int] = field(default_factory=dict)
    """Messages by partition that are no position by design."""

    @property
    def messages(self) -> int:
        return sum(len(piece.records) for piece in self.slices)

    def partitions(self) -> NDArray[np.int32]:
        """The partition of each fix."""
        of_message = np.array([partition for partition, _ in self.origins], dtype=np.int32)
        return of_message[np.array(self.source, dtype=np.intp)]

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
        counts: dict[int, dict[str, int]] = {
            piece.partition: dict.fromkeys(("fixes", "doubled", "letters"), 0) for piece in self.slices
        }
        for message in self.source:
            counts[self.origins[message][0]]["fixes"] += 1
        for row in doubled_rows:
            partition = self.origins[self.source[row]][0]
            counts[partition]["fixes"] -= 1
            counts[partition]["doubled"] += 1
        for row in lost_rows:
            counts[self.origins[self.source[row]][0]]["fixes"] -= 1
        for letter in letters:
            counts[letter.partition]["letters"] += 1
        return [
            Step(
                partition=piece.partition,
                start=piece.start,
                next=piece.next,
                messages=len(piece.records),
                ignored=self.ignored.get(piece.partition, 0),
                newest_us=newest_us.get(piece.partition),
                **counts[piece.partition],
            )
            for piece in self.slices
        ]

    def conflict_letter(self, row: int, loser: Fix) -> DeadLetter:
        """The letter of a fix that lost to another of its vehicle and time."""
        partition, offset = self.origins[self.source[row]]
        return DeadLetter(
            partition,
            offset,
            f"hanhtrinh/{loser.vehicle_id}",
            self.received_us[row],
            "conflict",
            f"another fix of {loser.vehicle_id} at {loser.time.isoformat()} stands; this one as decoded",
            encode(loser),
        )


def take_in(slices: Sequence[LogSlice], formats: FormatRegistry) -> Intake:
    """Decode every message of the slices."""
    intake = Intake(slices)
    fixes, received, source, origins = intake.fixes, intake.received_us, intake.source, intake.origins
    decode = formats.decode
    for piece in slices:
        partition = piece.partition
        for offset, message in piece.records:
            found, rejects, ignored = decode(message)
            if found:
                if len(found) == 1:
                    fixes.append(found[0])
                    received.append(message.received_us)
                    source.append(len(origins))
                else:
                    fixes.extend(found)
                    received.extend([message.received_us] * len(found))
                    source.extend([len(origins)] * len(found))
                origins.append((partition, offset))
            if rejects:
                intake.letters += [letter_of(partition, offset, message, *reject) for reject in rejects]
            if ignored:
                intake.ignored[partition] = intake.ignored.get(partition, 0) + 1
    return intake


def letter_of(partition: int, offset: int, message: RawMessage, reason: str, detail: str) -> DeadLetter:
    """The letter of a message that could not be used, or not in whole."""
    return DeadLetter(partition, offset, message.topic, message.received_us, reason, detail, message.payload)


def encode(fix: Fix) -> bytes:
    """A fix in our own format: what it says, in the order of the fields, unknown ones left out."""
    document = {name: value for name, value in fix._asdict().items() if value is not None and name != "time_us"}
    document["time"] = from_us(fix.time_us).isoformat()
    return msgspec.json.encode(document)
