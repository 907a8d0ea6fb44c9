"""`hanhtrinh maintain` as a process: one turn, or turns until it is told to stop, any number of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from datetime import UTC, datetime
from urllib.request import urlopen

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from detectors.fix import to_us
from hanhtrinh.driver_packs import DriverPacks
from hanhtrinh.hours_board import HoursBoard
from hanhtrinh.maintenance import Maintainer
from hanhtrinh.metrics import MaintenanceMetrics
from storage.connect import Connection, connect
from storage.retention import KeepFor
from storage.stale_hours import HOUR_US
from storage.upkeep import Upkeep
from tests.running_worker import WorkerRig, journey, make_rig, message, rig
from tests.services.process import free_port

__all__ = ["make_rig", "rig"]

NOW_US = to_us(datetime.now(UTC))
# From a full hour on, and never so old that it is dropped.
FIXES = journey("V1", NOW_US // HOUR_US * HOUR_US - 48 * HOUR_US, [36.0] * 400)


@pytest.fixture
async def stored(rig: WorkerRig) -> WorkerRig:
    await rig.append(message(fix, received_us=NOW_US) for fix in FIXES)
    await rig.work_off()
    return rig


async def start(url: str, *arguments: str, **settings: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "hanhtrinh",
        "maintain",
        *arguments,
        env={**os.environ, "HANHTRINH_DATABASE_URL": url, "HANHTRINH_METRICS_PORT": "0", **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def once(url: str, *arguments: str) -> tuple[int | None, str, str]:
    process = await start(url, "--once", *arguments)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode(), err.decode()


async def test_one_turn_counts_and_says_so(stored: WorkerRig) -> None:
    code, out, _ = await once(stored.url, "--json")
    assert (code, json.loads(out)) == (0, {"hours": 2, "waiting": 1, "dropped": {}})
    assert await stored.one("SELECT sum(fixes) FROM vehicle_days") == 400
    assert await stored.one("SELECT current_to > clock_timestamp() - interval '1 minute' FROM sums_freshness")
    assert await stored.rows("SELECT vehicle_id, driver_id, day_s > 0 FROM panels.drivers_now") == [("V1", None, True)]
    _, out, _ = await once(stored.url)
    assert out == "counted 0 hours of vehicles; 1 may still grow; dropped nothing\n"


async def test_a_schema_that_is_not_there_is_one_line(empty_postgres_url: str) -> None:
    code, out, err = await once(empty_postgres_url)
    assert (code, out) == (2, "")
    assert "run `hanhtrinh migrate`" in err


async def test_two_may_run_and_both_stop_when_told_to(stored: WorkerRig) -> None:
    ports = [free_port() for _ in range(2)]
    processes = [await start(stored.url, HANHTRINH_METRICS_PORT=str(port)) for port in ports]
    connected = "application_name = 'hanhtrinh maintain' AND datname = current_database()"
    try:
        await stored.until(f"SELECT count(*) = 2 FROM pg_stat_activity WHERE {connected}")
        await stored.until("SELECT sums_at IS NOT NULL FROM upkeep")
        await stored.until("SELECT count(*) = 1 FROM driver_now")
        for port in ports:
            assert await asyncio.to_thread(health, port) == "ok"
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(asyncio.gather(*(process.communicate() for process in processes)), 30)
    assert [process.returncode for process in processes] == [0, 0]
    assert await stored.one("SELECT sum(fixes) FROM vehicle_days") == 400


def health(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
        text: bytes = answer.read()
        return text.decode()


async def test_a_database_that_is_away_is_waited_for(stored: WorkerRig) -> None:
    troubles: list[str | None] = []

    async def reach() -> Connection:
        if not troubles:
            troubles.append(maintainer.trouble)
            raise psycopg.OperationalError("the server is away")
        troubles.append(maintainer.trouble)
        return await connect(stored.url)

    maintainer = Maintainer(
        reach,
        KeepFor(400, 1_100, 400, 7),
        HoursBoard(DriverPacks(stored.pack.hours)),
        MaintenanceMetrics(CollectorRegistry()),
    )
    stop = asyncio.Event()
    task = asyncio.create_task(maintainer.run(stop))
    try:
        await stored.until("SELECT sums_at IS NOT NULL FROM upkeep")
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)
    assert troubles == [None, "database: the server is away"]
    assert maintainer.trouble is None


async def test_what_waits_to_be_judged_again_and_the_size_are_told(stored: WorkerRig) -> None:
    upkeep = Upkeep(stored.connection, KeepFor(400, 1_100, 400, 7))
    state = await upkeep.state()
    assert state.database_bytes == await stored.one("SELECT pg_database_size(current_database())")
    assert state[1:] == (0, 0.0)
    await stored.connection.execute(
        "INSERT INTO rejudge_marks (vehicle_id, log_id, partition, from_time, to_time, late_fixes, marked_at)"
        " VALUES ('v1', 'log', 0, now(), now(), 1, now() - interval '90 seconds'),"
        " ('v2', 'log', 0, now(), now(), 1, now())"
    )
    state = await upkeep.state()
    assert state.marks == 2
    assert 90 <= state.oldest_mark_s < 150
