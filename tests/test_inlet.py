"""How batches are cut and read ahead, and that the event loop gets its turn on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

from hanhtrinh.worker.inlet import Inlet
from hanhtrinh.worker.intake import Intake, take_in
from ingest.formats import FormatRegistry
from ingest.raw import LogIdentity, LogRecord, LogRecords, LogSlice, RawMessage

TIME_MS = 1_772_327_730_000


class Shelf:
    """A log of slices that are handed out one fetch at a time."""

    def __init__(self, *fetches: list[LogSlice]) -> None:
        self.fetches = list(fetches)
        self.rewound = 0
        self.stopped: Mapping[int, str] = {}

    async def open(self) -> LogIdentity:
        return LogIdentity("shelf", 2)

    async def fetch(self, max_records: int, wait_s: float) -> list[LogSlice]:
        await asyncio.sleep(0)
        return self.fetches.pop(0) if self.fetches else []

    async def rewind(self) -> None:
        self.rewound += 1

    async def end_offsets(self) -> dict[int, int]:
        return {}

    async def close(self) -> None: ...


def record(offset: int, fixes: int) -> LogRecord:
    documents = [{"time": TIME_MS + offset * 1_000_000 + n, "lat": 10.5, "lon": 106.5} for n in range(fixes)]
    payload = json.dumps(documents[0] if fixes == 1 else documents).encode()
    return LogRecord(offset, RawMessage("hanhtrinh/29B-00001", payload, 0))


def piece(partition: int, begin: int, *fixes: int) -> LogSlice:
    """A slice whose messages hold so many fixes each."""
    records = LogRecords.of(record(begin + n, each) for n, each in enumerate(fixes))
    return LogSlice(partition, begin, begin + len(fixes), records)


def extent(intake: Intake | None) -> list[tuple[int, int, int]]:
    assert intake is not None
    return [(each.partition, each.start, each.next) for each in intake.slices]


async def batches_of(inlet: Inlet) -> list[Intake]:
    found = []
    while (intake := await inlet.next(0.0)) is not None:
        found.append(intake)
    return found


async def test_messages_with_many_fixes_are_spread_over_batches_that_follow_each_other() -> None:
    inlet = Inlet(Shelf([piece(0, 7, 40, 50, 1, 60), piece(1, 3, 1, 1, 200)]), FormatRegistry(), 100)
    batches = await batches_of(inlet)
    assert [extent(each) for each in batches] == [[(0, 7, 11)], [(1, 3, 6)]]
    inlet = Inlet(Shelf([piece(0, 7, 700, 50), piece(1, 3, 1)]), FormatRegistry(), 100)
    batches = await batches_of(inlet)
    assert [extent(each) for each in batches] == [[(0, 7, 8)], [(0, 8, 9), (1, 3, 4)]]
    assert [len(each.fixes) for each in batches] == [700, 51]
    last = batches[-1]
    assert [last.partition_of(row) for row in (0, 49, 50)] == [0, 0, 1]
    assert last.partitions().tolist() == [0] * 50 + [1]
    assert last.offsets.tolist() == [8] * 50 + [3]


async def test_a_batch_of_large_messages_lets_the_loop_go_between_them() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    await asyncio.sleep(0)
    before = turns
    await take_in([piece(0, 0, *[500] * 10), piece(1, 0, *[1] * 2_500)], FormatRegistry())
    beside.cancel()
    # Once for each 500 fixes that come together, and for each 1,000 that come one by one: both take about 3 ms.
    assert turns - before >= 13


async def test_under_load_the_next_batch_is_there_when_the_one_before_is_stored() -> None:
    shelf = Shelf([piece(0, 0, *[1] * 4)], [piece(0, 4, *[1] * 4)])
    inlet = Inlet(shelf, FormatRegistry(), 4)
    first = await inlet.next(0.0)
    assert first is not None
    inlet.read_ahead(first, 0.0)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not shelf.fetches
    assert extent(await inlet.next(0.0)) == [(0, 4, 8)]


async def test_a_small_batch_is_not_followed_by_one_that_came_too_early() -> None:
    shelf = Shelf([piece(0, 0, 1)], [piece(0, 1, 1)])
    inlet = Inlet(shelf, FormatRegistry(), 4)
    first = await inlet.next(0.0)
    assert first is not None
    inlet.read_ahead(first, 0.0)
    await asyncio.sleep(0)
    assert len(shelf.fetches) == 1


async def test_what_was_read_ahead_is_forgotten_before_the_log_is_read_again() -> None:
    shelf = Shelf([piece(0, 0, 600, 600)], [piece(0, 0, 1)])
    inlet = Inlet(shelf, FormatRegistry(), 4)
    first = await inlet.next(0.0)
    assert first is not None
    inlet.read_ahead(first, 0.0)
    await inlet.rewind()
    assert shelf.rewound == 1
    assert extent(await inlet.next(0.0)) == [(0, 0, 1)]
    assert await inlet.next(0.0) is None
