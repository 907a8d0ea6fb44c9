"""What storing the fixes alone costs, and what state and position in the same transaction add to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import psutil

from benchmarks.load.database import BATCH_MAX_MESSAGES
from benchmarks.load.traffic import EVERY_S, Traffic
from benchmarks.servers import Servers
from benchmarks.workload import PARTITIONS
from detectors.checks import ALONE
from detectors.fix_table import FixTable
from hanhtrinh.worker.roster import ANCHOR_EVERY_US
from ingest.formats import FormatRegistry
from ingest.raw import RawMessage
from storage.connect import Connection, connect
from storage.fix_packing import Judged
from storage.fixes import FixRow, FixStore, judged_of
from storage.positions import Positions, Step
from storage.vehicles import Anchor, VehicleStore

_BATCH = BATCH_MAX_MESSAGES
_ANCHOR_EVERY_FIXES = ANCHOR_EVERY_US * 3 // 4 // 1_000_000 // EVERY_S
"""A vehicle's anchor is moved after half the time to all of it."""
_LOG = "benchmark/alone"


class Batch(NamedTuple):
    """Fixes as the worker hands them to the database."""

    fixes: FixTable
    judged: Judged
    month: str


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


def _batches(vehicles: int, fixes: int) -> list[Batch]:
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
    return [_batch(one_each[begin : begin + _BATCH]) for begin in range(0, len(one_each) - _BATCH + 1, _BATCH)]


def _batch(rows: list[FixRow]) -> Batch:
    rows.sort(key=lambda row: row.fix.vehicle_id)
    return Batch(FixTable.of([row.fix for row in rows]), judged_of(rows), rows[0].fix.time.strftime("%Y-%m"))


async def _run(url: str, batches: Sequence[Batch]) -> Costs:
    connection = await connect(url)
    try:
        positions, store, vehicles = Positions(_LOG, PARTITIONS), FixStore(connection, ALONE), VehicleStore(connection)
        await positions.register(connection)
        await store.make_room({batch.month for batch in batches})
        backend = psutil.Process(connection.info.backend_pid)
        spent: dict[bool, list[Cost]] = {False: [], True: []}
        for number, batch in enumerate(batches):
            # In turn, and the first of each two pairs the other way round: what grows with the table falls on both.
            with_state = number % 4 in (1, 2)
            before = time.process_time(), _cpu_s(backend)
            await _store(connection, positions, store, vehicles, batch, len(spent[True]) if with_state else None)
            after = time.process_time(), _cpu_s(backend)
            spent[with_state].append(Cost(*((b - a) / _BATCH * 1e6 for a, b in zip(before, after, strict=True))))
    finally:
        await connection.close()
    # The first of each warms up: plans, partitions, the connection's caches.
    return Costs(*(_usual(costs[1:]) for costs in spent.values()))


def _usual(costs: Sequence[Cost]) -> Cost:
    """The mean without the dearest fifth, beside which the server tidied up."""
    cheapest = sorted(costs, key=lambda cost: cost.total_us)[: max(1, len(costs) * 4 // 5)]
    return Cost(*map(fmean, zip(*cheapest, strict=True)))


async def _store(
    connection: Connection,
    positions: Positions,
    store: FixStore,
    vehicles: VehicleStore,
    batch: Batch,
    number: int | None,
) -> None:
    """With state: as the `number`th that the position counts."""
    async with connection.transaction():
        if number is not None:
            start = number * _BATCH
            parts = range(PARTITIONS)
            await positions.hold(connection, dict.fromkeys(parts, start))
        await store.add_table(batch.fixes, batch.judged)
        if number is not None:
            moved = range(0, _BATCH, _ANCHOR_EVERY_FIXES)
            times_us = batch.fixes.time_us.tolist()
            await vehicles.save_anchors(
                [Anchor(batch.fixes.vehicle_ids[row], times_us[row], times_us[row], _LOG, 0) for row in moved]
            )
            steps = [Step(part, start, start + _BATCH, _BATCH, 0, _BATCH, newest_us=times_us[0]) for part in parts]
            await positions.advance(connection, steps, held=True)


def _cpu_s(process: psutil.Process) -> float:
    """To the nanosecond: a batch takes two of the ticks that the system's usual clock goes by."""
    try:
        return int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9
    except FileNotFoundError:
        # Not Linux.
        times = process.cpu_times()
        return float(times.user + times.system)
