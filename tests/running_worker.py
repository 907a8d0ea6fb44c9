"""Workers at work inside a test, on the embedded log, and the log filled as a bridge would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Protocol

import pytest
from prometheus_client import CollectorRegistry

from detectors.fix import Fix
from hanhtrinh.commands.work import build_worker
from hanhtrinh.metrics import WorkerMetrics
from hanhtrinh.rule_packs import LoadedPack, load_pack
from hanhtrinh.settings import Settings
from hanhtrinh.worker.intake import encode
from ingest.embedded_log import EmbeddedLogWriter
from ingest.formats import FormatRegistry
from ingest.raw import RawMessage
from ingest.simulator import write_registry
from ingest.simulator.roster import Roster
from storage.connect import Connection, connect
from storage.registry import import_file
from tests.offline import offline_differences
from tests.services.postgres import DatabaseServer, drop_database, make_database
from tests.table_state import broken_invariants

PARTITIONS = 4
RECEIVED_US = 1_780_000_000_000_000


def message(*fixes: Fix, received_us: int = RECEIVED_US) -> RawMessage:
    """One message of one vehicle in our own format: an object, or a list of several."""
    documents = [encode(fix) for fix in fixes]
    payload = documents[0] if len(documents) == 1 else b"[" + b",".join(documents) + b"]"
    return RawMessage(f"hanhtrinh/{fixes[0].vehicle_id}", payload, received_us)


def journey(vehicle_id: str, begin_us: int, speeds_kmh: Sequence[float | None], **same: Any) -> list[Fix]:
    """A fix every ten seconds with these speeds, the vehicle going north as fast as it says."""
    fixes, lat = [], 21.0
    for number, speed_kmh in enumerate(speeds_kmh):
        fixes.append(Fix(vehicle_id, begin_us + number * 10_000_000, round(lat, 6), 105.8, speed_kmh, **same))
        lat += (speed_kmh or 0.0) * 10 / 3600 / 111.2
    return fixes


class WorkerRig:
    """A migrated database with the embedded log in it."""

    def __init__(self, url: str, connection: Connection, pack: LoadedPack | None = None) -> None:
        self.url = url
        self.connection = connection
        self.pack = pack or load_pack()

    async def append(self, messages: Iterable[RawMessage]) -> None:
        """Put these into the log, in order."""
        formats = FormatRegistry()
        writer = EmbeddedLogWriter(lambda: connect(self.url), PARTITIONS)
        await writer.open()
        try:
            await writer.append_many([(formats.device_id(each.topic) or each.topic, each) for each in messages])
        finally:
            await writer.close()

    async def imports(self, text: str) -> None:
        """Import a CSV file with this text into the registry."""
        with NamedTemporaryFile("w", suffix=".csv", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            assert not (await import_file(self.connection, Path(file.name))).bad_rows

    @asynccontextmanager
    async def worker(self, *, only: Sequence[int] | None = None, **settings: Any) -> AsyncIterator[asyncio.Task[None]]:
        """A worker at work inside the block, stopped cleanly at its end; its failure is raised there."""
        given = Settings(**{"log_partitions": PARTITIONS, "late_settle_ms": 0, "batch_max_wait_ms": 20, **settings})
        worker = build_worker(given, self.url, self.pack, WorkerMetrics(CollectorRegistry()), only=only)
        stop = asyncio.Event()
        task = asyncio.create_task(worker.run(stop))
        try:
            yield task
        finally:
            stop.set()
            await asyncio.wait_for(task, 30)

    async def work_off(self, within_s: float = 60.0, **settings: Any) -> None:
        """Start a worker and stop it when the log is worked off and nothing waits to be judged again."""
        async with self.worker(**settings) as task:
            await self.worked_off(within_s, task)

    async def worked_off(self, within_s: float = 60.0, *tasks: asyncio.Task[None]) -> None:
        """Return when the log is worked off; at once with the error of a worker that ended."""
        deadline = asyncio.get_running_loop().time() + within_s
        while not await self._is_worked_off():
            for task in tasks:
                if task.done():
                    task.result()
            if asyncio.get_running_loop().time() > deadline:
                rows = await self.rows("SELECT * FROM log_positions") + await self.rows("SELECT * FROM rejudge_marks")
                raise AssertionError(f"not worked off within {within_s} s: {rows}")
            await asyncio.sleep(0.02)

    async def _is_worked_off(self) -> bool:
        rows = await self.rows(
            "SELECT NOT EXISTS (SELECT FROM rejudge_marks) AND NOT EXISTS (SELECT FROM line_notices)"
            " AND NOT EXISTS (SELECT FROM log_positions WHERE"
            " next_offset > 0 AND silences_judged_to IS DISTINCT FROM (SELECT max(newest_event_at) FROM log_positions))"
            " AND NOT EXISTS (SELECT FROM embedded_log_partitions l"
            " LEFT JOIN log_positions p USING (partition) WHERE p.next_offset IS DISTINCT FROM l.next_offset)"
        )
        return bool(rows[0][0])

    async def until(self, query: str, within_s: float = 30.0) -> None:
        """Return when the query's one answer is true."""
        deadline = asyncio.get_running_loop().time() + within_s
        while not await self.one(query):
            assert asyncio.get_running_loop().time() < deadline, f"not within {within_s} s: {query}"
            await asyncio.sleep(0.01)

    async def rows(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        return await (await self.connection.execute(query, arguments)).fetchall()

    async def one(self, query: str, *arguments: Any) -> Any:
        (row,) = await self.rows(query, *arguments)
        return row[0]

    async def is_sound(self) -> None:
        """Fails unless every invariant holds and the offline judge agrees."""
        broken = await broken_invariants(self.connection)
        assert not broken, broken
        differences = await offline_differences(self.connection, self.pack)
        assert not differences, differences


class RigMaker(Protocol):
    """Makes rigs, each with a database of its own, with this registry imported; all are gone after the test."""

    async def __call__(self, roster: Roster | None = None, pack: LoadedPack | None = None) -> WorkerRig: ...


async def import_roster(connection: Connection, roster: Roster, folder: Path) -> None:
    """Write the registry of a simulated fleet into the folder and import it."""
    write_registry(roster, folder)
    for name in ("operators", "vehicles", "drivers"):
        assert not (await import_file(connection, folder / f"{name}.csv")).bad_rows


@pytest.fixture
async def make_rig(postgres: DatabaseServer, tmp_path: Path) -> AsyncIterator[RigMaker]:
    rigs: list[WorkerRig] = []

    async def make(roster: Roster | None = None, pack: LoadedPack | None = None) -> WorkerRig:
        url = await make_database(postgres)
        rig = WorkerRig(url, await connect(url), pack)
        rigs.append(rig)
        if roster is not None:
            await import_roster(rig.connection, roster, tmp_path)
        return rig

    yield make
    for rig in rigs:
        await rig.connection.close()
        await drop_database(postgres, rig.url)


@pytest.fixture
async def rig(make_rig: RigMaker) -> WorkerRig:
    """One rig without a registry."""
    return await make_rig()


def shifted(fixes: Iterable[Fix], seconds: float) -> list[Fix]:
    """The same fixes at other times."""
    return [fix._replace(time_us=fix.time_us + round(seconds * 1e6)) for fix in fixes]
