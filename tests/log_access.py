"""What tests of the logs write, and how they read it again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ingest.log import LogReader
from ingest.raw import LogIdentity, LogSlice, RawMessage

PARTITIONS = 4


class Positions:
    """The worker's stored positions."""

    def __init__(self) -> None:
        self.next: dict[int, int] = {}

    async def load(self, _identity: LogIdentity, partitions: Sequence[int]) -> dict[int, int]:
        await asyncio.sleep(0)
        return {partition: self.next[partition] for partition in partitions if partition in self.next}

    def store(self, slices: Sequence[LogSlice]) -> None:
        self.next.update({part.partition: part.next for part in slices})


def message(number: int, device: str = "51B-1", retained: bool = False) -> RawMessage:
    return RawMessage(f"hanhtrinh/{device}", b'{"n":%d}' % number, 1_700_000_000_000_000 + number, retained)


async def read(reader: LogReader, count: int, within_s: float = 20.0) -> list[LogSlice]:
    """Slices until `count` records are there."""
    slices: list[LogSlice] = []
    async with asyncio.timeout(within_s):
        while sum(len(part.records) for part in slices) < count:
            slices += await reader.fetch(1_000, 0.2)
    return slices


def messages_of(slices: Sequence[LogSlice]) -> list[RawMessage]:
    return [record.message for part in slices for record in part.records]
