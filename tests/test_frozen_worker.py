"""A worker that is frozen while the database awaits its rows keeps nobody waiting for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from hanhtrinh.commands.work import build_worker
from hanhtrinh.metrics import WorkerMetrics
from hanhtrinh.settings import Settings
from storage.blockers import end_silent_blockers
from storage.connect import Connection, connect
from storage.positions import Positions
from tests.running_worker import PARTITIONS, WorkerRig, journey, make_rig, message, rig

__all__ = ["make_rig", "rig"]

BEGIN_US = 1_780_000_000_000_000
HOLD = "SELECT FROM log_positions FOR UPDATE"


@asynccontextmanager
async def frozen_in_copy(url: str, *, name: str = "hanhtrinh work") -> AsyncIterator[Connection]:
    """A session that holds every position and has begun a COPY, of which it sends nothing."""
    connection = await connect(url, application_name=name)
    try:
        await connection.execute("BEGIN")
        await connection.execute(HOLD)
        connection.pgconn.send_query(b"COPY fixes FROM STDIN")
        yield connection
    finally:
        await connection.close()


async def wait_behind(waiting: Connection, watching: Connection) -> asyncio.Task[object]:
    """A session that waits for the positions, once the server says so."""
    task: asyncio.Task[object] = asyncio.create_task(waiting.execute(HOLD))
    query = "SELECT cardinality(pg_blocking_pids(%s))"
    for _ in range(500):
        if (await (await watching.execute(query, (waiting.info.backend_pid,))).fetchone() or (0,))[0]:
            return task
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


async def test_another_worker_ends_its_session_and_goes_on(rig: WorkerRig, caplog: pytest.LogCaptureFixture) -> None:
    fixes = journey("29B-1", BEGIN_US, [40.0] * 20)
    await rig.append([message(fix) for fix in fixes[:10]])
    await rig.work_off()
    await rig.append([message(fix) for fix in fixes[10:]])

    given: dict[str, Any] = {"log_partitions": PARTITIONS, "late_settle_ms": 0, "batch_max_wait_ms": 20}
    worker = build_worker(Settings(**given), rig.url, rig.pack, WorkerMetrics(CollectorRegistry()), silent_s=1)
    stop = asyncio.Event()
    async with frozen_in_copy(rig.url) as frozen:
        task = asyncio.create_task(worker.run(stop))
        try:
            await rig.worked_off(30.0, task)
        finally:
            stop.set()
        await asyncio.wait_for(task, 20)
        alive = await rig.one("SELECT count(*) FROM pg_stat_activity WHERE pid = " + str(frozen.info.backend_pid))
    assert alive == 0
    assert "ended the session of a frozen worker" in caplog.text
    assert await rig.one("SELECT count(*) FROM fixes") == 20


@pytest.mark.parametrize(
    ("name", "silent_s"), [("hanhtrinh work", 30.0), ("psql", 0.1)], ids=["not silent for long", "something else"]
)
async def test_another_session_is_left_alone(rig: WorkerRig, name: str, silent_s: float) -> None:
    waiting, watching = [await connect(rig.url, application_name="hanhtrinh work") for _ in range(2)]
    await Positions("log", PARTITIONS).register(watching)
    async with frozen_in_copy(rig.url, name=name):
        task = await wait_behind(waiting, watching)
        await asyncio.sleep(0.2)
        assert await end_silent_blockers(watching, waiting.info.backend_pid, silent_s) == []
        assert not task.done()
    await task
    await waiting.close()
    await watching.close()
