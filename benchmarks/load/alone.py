"""What storing the fixes alone costs, and what state and position in the same transaction add to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

import psutil

from benchmarks.load.traffic import EVERY_S, Traffic
from benchmarks.servers import Servers
from benchmarks.workload import PARTITIONS
from detectors.checks import ALONE
from hanhtrinh.worker.roster import ANCHOR_EVERY_US
from ingest.formats import FormatRegistry
from ingest.raw import RawMessage
from storage.connect import Connection, connect
from storage.fixes import FixRow, FixStore
from storage.positions import Positions, Step
from storage.vehicles import Anchor, VehicleStore

_BATCH = 5_000
_ANCHOR_EVERY_FIXES = ANCHOR_EVERY_US * 3 // 4 // 1_000_000 // EVERY_S
"""A vehicle's anchor is moved after half the time to all of it."""
_LOG = "benchmark/alone"


class Cost(NamedTuple):
    """CPU microseconds for each fix, ours and PostgreSQL's."""

    ours_us: float
    postgres_us: float

    @property
    def total_us(self) -> float:
        return self.ours_us + self.postgres_us


class Costs(NamedTuple):
    """Without, and with anchors and positions."""

    alone: Cost
    with_state: Cost


def run(servers: Servers, *, vehicles: int, fixes: int) -> Costs:
    """Batches of a country's fixes, in turn without and with state and position, each batch one durable commit."""
    with servers.database() as url:
        return asyncio.run(_run(url, _batches(vehicles, fixes)))


def _batches(vehicles: int, fixes: int) -> list[list[FixRow]]:
    """As the worker has them: mixed vehicles, sorted by vehicle."""
    traffic, formats, rows = Traffic(vehicles, PARTITIONS, 0.0), FormatRegistry(), list[FixRow]()
    number, began_us = 0, time.time_ns() // 1_000
    while len(rows) < fixes:
        time_us = began_us + number * 100_000
        for record in (record for part in traffic.slot(number, time_us) for record in part):
            decoded = formats.decode(RawMessage(record.topic.decode(), record.payload, time_us))
            rows += [FixRow(fix, 0, True, time_us, 0, 0) for fix in decoded.fixes[-1:]]
        number += 1
    one_each = list({(row.fix.vehicle_id, row.fix.time_us): row for row in rows}.values())
    return [
        sorted(one_each[begin : begin + _BATCH], key=lambda row: row.fix.vehicle_id)
        for begin in range(0, len(one_each) - _BATCH + 1, _BATCH)
    ]


async def _run(url: str, batches: Sequence[list[FixRow]]) -> Costs:
    connection = await connect(url)
    try:
        positions, store, vehicles = Positions(_LOG, PARTITIONS), FixStore(connection, ALONE), VehicleStore(connection)
        await positions.register(connection)
        await store.make_room({row.fix.time.strftime("%Y-%m") for batch in batches for row in batch[:1]})
        backend = psutil.Process(connection.info.backend_pid)
        spent = {False: [0.0, 0.0, 0], True: [0.0, 0.0, 0]}
        for number, batch in enumerate(batches):
            with_state = number % 2 == 1
            before = time.process_time(), _cpu_s(backend)
            await _store(connection, positions, store, vehicles, batch, number if with_state else None)
            # The first two warm up: plans, partitions, the connection's caches.
            if number >= 2:
                spent[with_state][0] += time.process_time() - before[0]
                spent[with_state][1] += _cpu_s(backend) - before[1]
                spent[with_state][2] += len(batch)
    finally:
        await connection.close()
    alone, both = (Cost(*(part / max(1, each[2]) * 1e6 for part in each[:2])) for each in spent.values())
    return Costs(alone, both)


async def _store(
    connection: Connection,
    positions: Positions,
    store: FixStore,
    vehicles: VehicleStore,
    batch: list[FixRow],
    number: int | None,
) -> None:
    async with connection.transaction():
        if number is not None:
            start = (number // 2) * _BATCH
            parts = range(PARTITIONS)
            await positions.hold(connection, dict.fromkeys(parts, start))
        await store.add_new(batch)
        if number is not None:
            moved = batch[::_ANCHOR_EVERY_FIXES]
            await vehicles.save_anchors(
                [Anchor(row.fix.vehicle_id, row.fix.time_us, row.fix.time_us, _LOG, 0) for row in moved]
            )
            steps = [
                Step(part, start, start + _BATCH, _BATCH, 0, _BATCH, newest_us=batch[0].fix.time_us) for part in parts
            ]
            await positions.advance(connection, steps)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
