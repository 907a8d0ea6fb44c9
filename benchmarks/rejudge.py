"""rejudge: late fixes at both ends of a vehicle's day; the whole day is judged again from the database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from benchmarks.measure import Figure, Report, at_most
from benchmarks.servers import Servers
from benchmarks.workload import START
from detectors.fix import Fix, to_us
from hanhtrinh.commands.work import build_worker
from hanhtrinh.metrics import WorkerMetrics
from hanhtrinh.rule_packs import load_pack
from hanhtrinh.settings import Settings
from ingest.embedded_log import EmbeddedLogWriter
from ingest.raw import RawMessage
from ingest.simulator import message_of
from ingest.simulator.delivery import Delivery
from storage.connect import Connection, connect

_PARTITIONS = 1
_IN_A_MESSAGE = 200
_PATIENCE_S = 120


def run(servers: Servers, *, quick: bool) -> Report:
    """One vehicle after the other, by the worker that the command runs, timed by its own metric."""
    fixes, repeats = (600, 1) if quick else (8_640, 15)
    with servers.database() as url:
        seconds = asyncio.run(_measure(url, fixes, repeats))
    return Report(
        "rejudge",
        "a vehicle-day judged again, reading its fixes and writing what changed, to the commit",
        sizes={"fixes": fixes, "runs": repeats},
        figures=[Figure("by the clock", "ms", [each * 1e3 for each in seconds], at_most(150))],
        notes=["two late fixes, one at each end of the day, so that no settled fix shortens the stretch"],
    )


async def _measure(url: str, fixes: int, repeats: int) -> list[float]:
    registry = CollectorRegistry()
    given: dict[str, Any] = {"log_partitions": _PARTITIONS, "late_settle_ms": 0, "batch_max_wait_ms": 20}
    settings = Settings(**given)
    worker = build_worker(settings, url, load_pack(), WorkerMetrics(registry))
    writer = EmbeddedLogWriter(lambda: connect(url), _PARTITIONS)
    await writer.open()
    stop, connection = asyncio.Event(), await connect(url)
    task = asyncio.create_task(worker.run(stop))
    seconds, before_s = [], 0.0
    try:
        for number in range(repeats):
            day = _day(f"late-{number}", fixes)
            held_back = [day[5], day[-5]]
            await writer.append_many(_messages([fix for fix in day if fix not in held_back]))
            await _stored(connection, task, (number + 1) * fixes - len(held_back))
            await writer.append_many(_messages(held_back))
            await _stored(connection, task, (number + 1) * fixes)
            total_s = registry.get_sample_value("hanhtrinh_worker_rejudge_seconds_sum") or 0.0
            seconds.append(total_s - before_s)
            before_s = total_s
    finally:
        stop.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(task, 30)
        await connection.close()
        await writer.close()
    return seconds


def _day(vehicle_id: str, fixes: int) -> list[Fix]:
    """Ten seconds apart, driving and stopping by turns, with a quarter of an hour's speeding in each hour."""
    begin_us = to_us(START)
    number = np.arange(fixes)
    speed_kmh = np.where(number % 180 < 130, 55.0 + 5 * np.sin(number / 9), 0.0)
    speed_kmh = np.where(number % 360 < 90, 88.0 + 4 * np.sin(number / 5), speed_kmh).round(1)
    # Up and down the same road: no day leaves the map.
    metres = np.cumsum((speed_kmh + np.append(0.0, speed_kmh[:-1])) / 2 / 3.6 * 10)
    lat = 20.0 + np.abs((metres / 111_195 + 1) % 2 - 1)
    return [
        Fix(
            vehicle_id,
            begin_us + place * 10_000_000,
            at,
            105.8,
            kmh,
            f"D-{vehicle_id}",
            satellites=9,
            hdop=0.9,
            valid=True,
        )
        for place, (at, kmh) in enumerate(zip(lat.round(6).tolist(), speed_kmh.tolist(), strict=True))
    ]


def _messages(fixes: Sequence[Fix]) -> list[tuple[str, RawMessage]]:
    lists = [fixes[begin : begin + _IN_A_MESSAGE] for begin in range(0, len(fixes), _IN_A_MESSAGE)]
    found = []
    for part in lists:
        out = message_of(Delivery(part[-1].time_us, part[0].vehicle_id, list(part)))
        found.append((part[0].vehicle_id, RawMessage(out.topic, out.payload, part[-1].time_us + 90_000_000_000)))
    return found


async def _stored(connection: Connection, worker: asyncio.Task[None], fixes: int) -> None:
    """Return when so many fixes are stored and nothing waits to be judged again."""
    query = "SELECT (SELECT count(*) FROM fixes) >= %s AND NOT EXISTS (SELECT FROM rejudge_marks)"
    for _ in range(_PATIENCE_S * 20):
        if worker.done():
            worker.result()
        row = await (await connection.execute(query, (fixes,))).fetchone()
        if row is not None and row[0]:
            await asyncio.sleep(0.05)
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(f"{fixes} fixes were not stored and judged within {_PATIENCE_S} s")
