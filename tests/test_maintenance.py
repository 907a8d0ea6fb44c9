"""The maintainer at work: it drops what is old while it runs, comes to its turn, and gives up where no retry helps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from hanhtrinh.driver_packs import DriverPacks
from hanhtrinh.hours_board import HoursBoard
from hanhtrinh.maintenance import Maintainer
from hanhtrinh.metrics import MaintenanceMetrics
from hanhtrinh.rule_packs import load_pack
from storage.connect import Connection, connect
from storage.retention import KeepFor
from storage.upkeep import LOCK
from tests.chain import until
from tests.running_worker import WorkerRig, make_rig, rig

__all__ = ["make_rig", "rig"]

OLD_LETTER = (
    "INSERT INTO dead_letters (dead_letter_id, log_id, partition, log_offset, topic, received_at, reason, detail,"
    " payload) VALUES ('old', 'x', 0, 0, 't', now() - interval '401 days', 'bad_json', '', '')"
)
NONE_LEFT = "SELECT count(*) = 0 FROM dead_letters"


def maintainer(reach: Callable[[], Awaitable[Connection]], registry: CollectorRegistry | None = None) -> Maintainer:
    board = HoursBoard(DriverPacks(load_pack().hours))
    return Maintainer(reach, KeepFor(400, 1_100, 400, 7), board, MaintenanceMetrics(registry or CollectorRegistry()))


@asynccontextmanager
async def at_work(rig: WorkerRig, registry: CollectorRegistry | None = None) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(maintainer(lambda: connect(rig.url), registry).run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)


async def test_what_is_old_is_dropped_while_it_runs_and_counted(rig: WorkerRig) -> None:
    registry = CollectorRegistry()
    await rig.connection.execute(OLD_LETTER)
    async with at_work(rig, registry):
        await rig.until(NONE_LEFT)
    assert registry.get_sample_value("hanhtrinh_maintenance_dropped_total", {"table": "dead_letters"}) == 1


async def test_a_turn_that_another_process_had_is_made_up_for_at_the_next_and_not_in_an_hour(
    rig: WorkerRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hanhtrinh.maintenance._TURN_S", 0.1)
    monkeypatch.setattr("hanhtrinh.maintenance._CONTINUOUS_TURN_S", 0.1)
    caplog.set_level(logging.DEBUG, "hanhtrinh.maintenance")
    await rig.connection.execute(OLD_LETTER)
    async with await connect(rig.url) as other:
        await other.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        async with at_work(rig):
            await until(lambda: asyncio.sleep(0, "another process is at work" in caplog.text), "it was turned away", 30)
            assert not await rig.one(NONE_LEFT)
            await other.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
            await rig.until(NONE_LEFT)


async def test_one_turn_by_hand_comes_after_any_that_is_under_way_and_drops_what_is_old(rig: WorkerRig) -> None:
    await rig.connection.execute(OLD_LETTER)
    async with await connect(rig.url) as other:
        await other.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        turn = asyncio.create_task(maintainer(lambda: connect(rig.url)).once())
        await rig.until("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
        assert not await rig.one(NONE_LEFT)
        await other.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
        assert (await asyncio.wait_for(turn, 30)).dropped == {"dead_letters": 1}
    assert await rig.one(NONE_LEFT)


async def test_an_error_that_no_retry_mends_ends_it(empty_postgres_url: str) -> None:
    """Nothing is there to be kept: waiting for a lost database would hide that."""
    with pytest.raises(psycopg.errors.UndefinedTable):
        await asyncio.wait_for(maintainer(lambda: connect(empty_postgres_url)).run(asyncio.Event()), 10)
