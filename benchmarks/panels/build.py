"""Builds the database: fixes judged by the product's own judge, and every row that follows from them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.types.json import set_json_dumps

from benchmarks.panels.days import Day, day_of
from benchmarks.panels.findings import FindingsWriter, dumped, earlier
from benchmarks.panels.fleet import Fleet
from benchmarks.panels.lines import judged_lines
from benchmarks.panels.sums import store_sums
from detectors.activity import Activity, ActivityChanges
from detectors.checks import NEVER, flags_alone
from detectors.columns import UNKNOWN
from detectors.fix import from_us, to_us
from detectors.hours import LimitWarning, Line
from detectors.journeys import JourneyJudge, Judgement
from detectors.names import Names
from detectors.silence import Silences
from detectors.violation import Violation
from hanhtrinh.detectors import context_of, detector_factories
from hanhtrinh.rule_packs import load_pack
from storage.activity import ActivityChange, ActivityStore, LineState
from storage.connect import Connection, connect
from storage.copy_rows import COPY_END, COPY_HEADER, POSTGRES_EPOCH_US
from storage.fix_packing import FIELDS, Layout, rows_of
from storage.fixes import FixStore
from storage.last_positions import LastPosition, save_last_positions
from storage.registry import import_file
from storage.reports.scope import ZONE
from storage.sums import is_continuous

Tell = Callable[[str, float], None]
"""What is being done, and how much of it is done (0 to 1)."""

PER_VEHICLE_AND_DAY = 190
"""Fixes of a vehicle on a day, over days of work and rest: benchmarks/panels/days.py."""
_LOG_ID, _PARTITIONS = "bench", 8
_RECEIVED_US = 2_000_000
_WEEK_US = 7 * 24 * 3_600_000_000
_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Size:
    """How large a database is to be, and until when it goes."""

    fixes: int
    violations: int
    until: datetime

    @property
    def vehicles(self) -> int:
        """Ten thousand for a hundred million fixes."""
        return max(40, self.fixes // (PER_VEHICLE_AND_DAY * self._longest))

    @property
    def days(self) -> int:
        """From the first of the month before, so that one month is whole; fewer where the fixes do not last."""
        return max(1, min(self._longest, round(self.fixes / self.vehicles / PER_VEHICLE_AND_DAY)))

    @property
    def _longest(self) -> int:
        local = self.until.astimezone(ZONE).date()
        before = (local.replace(day=1) - timedelta(days=1)).replace(day=1)
        return (local - before).days + 1

    def begins_at(self) -> list[datetime]:
        """When each day begins."""
        midnight = self.until.astimezone(ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
        return [midnight - timedelta(days=back) for back in reversed(range(self.days))]


@dataclass(slots=True)
class Built:
    """What is in the database."""

    vehicles: int
    days: int
    fixes: int
    violations: int
    violations_from: str
    until: str
    seconds: float


async def build(url: str, size: Size, tell: Tell) -> Built:
    """Fill a migrated database in which nothing is yet."""
    set_json_dumps(dumped)
    began_s = asyncio.get_running_loop().time()
    connection = await connect(url)
    try:
        if await is_continuous(connection):
            raise RuntimeError("the database of this benchmark is built on plain PostgreSQL only")
        builder = _Builder(url, connection, size, tell)
        built = await builder.build()
    finally:
        await connection.close()
    return replace(built, seconds=round(asyncio.get_running_loop().time() - began_s, 1))


class _Builder:
    def __init__(self, url: str, connection: Connection, size: Size, tell: Tell) -> None:
        self._url, self._connection, self._size, self._tell = url, connection, size, tell
        self._fleet = Fleet(size.vehicles)
        self._pack = load_pack()
        vehicles, drivers = Names(), Names()
        vehicles.codes(self._fleet.vehicle_ids)
        drivers.codes(self._fleet.driver_ids)
        self._limits = self._fleet.limits(self._pack)
        self._context = context_of(self._pack, vehicles, drivers, self._limits)
        self._judge = JourneyJudge(self._context, detector_factories())
        self._violations: dict[str, Violation] = {}
        self._activity: list[ActivityChanges] = []
        shape = len(self._fleet)
        self._first_us = np.full(shape, NEVER, dtype=np.int64)
        self._settled_us = np.full(shape, NEVER, dtype=np.int64)
        self._newest_us = np.full(shape, NEVER, dtype=np.int64)
        self._newest_flags = np.zeros(shape, dtype=np.int32)
        self._fixes = 0

    async def build(self) -> Built:
        connection = self._connection
        # Everything is made from one seed: what a crash would leave is built again.
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("SET synchronous_commit = off")
        await self._register()
        await self._store_fixes()
        await self._store_state()
        await connection.execute("ANALYZE fixes")
        self._tell("sums", 0.0)
        await store_sums(connection)
        count, first_us = await self._store_findings()
        self._tell("vacuum", 0.0)
        await connection.execute("VACUUM ANALYZE")
        return Built(
            len(self._fleet), self._size.days, self._fixes, count, from_us(first_us).isoformat(),
            self._size.until.isoformat(), 0.0,
        )  # fmt: skip

    async def _register(self) -> None:
        self._tell("registry", 0.0)
        with tempfile.TemporaryDirectory() as folder:
            self._fleet.write_registry(Path(folder))
            for table in ("operators", "vehicles", "drivers"):
                report = await import_file(self._connection, Path(folder) / f"{table}.csv")
                assert not report.bad_rows, report.bad_rows[:3]

    async def _store_fixes(self) -> None:
        """The database takes one day while the next one is made."""
        begins, until_us = self._size.begins_at(), to_us(self._size.until)
        months = {at.astimezone(UTC).strftime("%Y-%m") for at in (*begins, self._size.until)}
        await FixStore(self._connection, 0).make_room(sorted(months))
        activity, writer = ActivityStore(self._connection), FixWriter(self._url)
        try:
            under_way: asyncio.Future[None] | None = None
            for number, begins_at in enumerate(begins):
                self._tell("fixes", number / len(begins))
                day = await asyncio.to_thread(day_of, self._fleet, begins_at, until_us)
                judged = await asyncio.to_thread(self._judged, day)
                if under_way is not None:
                    await under_way
                under_way = asyncio.ensure_future(asyncio.to_thread(writer.add, self._fleet, day, judged))
                await activity.add(self._changes(judged.activity))
            if under_way is not None:
                await under_way
            await asyncio.to_thread(writer.finish)
        finally:
            writer.close()

    def _judged(self, day: Day) -> Judgement:
        columns = day.columns
        alone = flags_alone(columns, self._pack.pack.checks, columns.time_us + _RECEIVED_US)
        judged = self._judge.advance(columns, alone)
        self._violations |= {each.violation_id: each for each in judged.violations}
        self._activity.append(judged.activity)
        self._fixes += len(columns)
        first = np.flatnonzero(np.append(True, columns.vehicle[1:] != columns.vehicle[:-1])[: len(columns)])
        last = np.append(first[1:], len(columns))[: len(first)] - 1
        codes = columns.vehicle[first]
        unmet = self._first_us[codes] == NEVER
        self._first_us[codes[unmet]] = columns.time_us[first][unmet]
        self._newest_us[codes], self._newest_flags[codes] = columns.time_us[last], judged.flags[last]
        np.maximum.at(self._settled_us, columns.vehicle[judged.settled], columns.time_us[judged.settled])
        return judged

    def _changes(self, changes: ActivityChanges) -> list[ActivityChange]:
        names, drivers = self._fleet.vehicle_ids, self._context.drivers
        return [
            ActivityChange(names[code], time_us, drivers.name(driver), Activity(done))
            for code, time_us, driver, done in zip(*(column.tolist() for column in changes), strict=True)
        ]

    async def _store_state(self) -> None:
        """What a worker keeps beside the fixes: anchors, its position in the log, where everybody is."""
        self._tell("state", 0.0)
        connection, until = self._connection, self._size.until
        met = np.flatnonzero(self._first_us != NEVER)
        await connection.execute("INSERT INTO logs (log_id, partitions) VALUES (%s, %s)", (_LOG_ID, _PARTITIONS))
        await connection.execute(
            "INSERT INTO log_positions (log_id, partition, next_offset, messages, fixes, newest_event_at)"
            " SELECT %s, p - 1, n, n, n, %s FROM unnest(%s::int8[]) WITH ORDINALITY AS u(n, p)",
            (_LOG_ID, until, [(self._fixes + partition) // _PARTITIONS for partition in range(_PARTITIONS)]),
        )
        statement = "COPY vehicle_anchors (vehicle_id, settled_at, first_at, log_id, partition) FROM STDIN"
        async with connection.cursor() as cursor, cursor.copy(statement) as copy:
            for code in met.tolist():
                settled_us = int(self._settled_us[code])
                settled_at = None if settled_us == NEVER else from_us(settled_us)
                first_at = from_us(int(self._first_us[code]))
                await copy.write_row((self._fleet.vehicle_ids[code], settled_at, first_at, _LOG_ID, code % _PARTITIONS))
        state = self._judge.state
        trusted = met[state.last_us[met] != NEVER]
        positions = [
            LastPosition(
                self._fleet.vehicle_ids[code],
                int(state.last_us[code]),
                float(state.last_lat[code]),
                float(state.last_lon[code]),
                float(state.last_speed_kmh[code]),
                self._context.drivers.name(int(state.last_driver[code])),
                None if state.activity[code] == UNKNOWN else Activity(int(state.activity[code])).name.lower(),
                float(self._limits.of(np.array([code], dtype=np.int32))[0]),
                self._limits.source(code).name.lower(),
                int(self._newest_us[code]),
                int(self._newest_flags[code]),
            )
            for code in trusted.tolist()
        ]
        await save_last_positions(connection, positions)

    async def _store_findings(self) -> tuple[int, int]:
        """Violations of the stored fixes; the older ones are the same some weeks earlier, until there are enough.

        Returns how many, and when the first began.
        """
        found, warnings = await self._judged_lines()
        now_us = to_us(self._size.until)
        found += Silences(self._context).open_at(self._judge.state, len(self._fleet), now_us)
        operator_of = self._fleet.operator_of()
        found = [replace(each, operator_id=operator_of.get(each.vehicle_id)) for each in found]
        found.sort(key=lambda each: (each.started_us, each.violation_id))
        if not found:
            raise AssertionError("no violation was found: more fixes are needed")
        shift_us = -(-self._size.days // 7) * _WEEK_US
        closed = [each for each in found if each.status == "closed"]
        missing = max(0, self._size.violations - len(found))
        ages = range(-(-missing // len(closed)), 0, -1)
        writer, first_us = FindingsWriter(self._connection), found[0].started_us
        async with self._connection.transaction():
            for age in ages:
                self._tell("violations", writer.count / self._size.violations)
                wanted = min(len(closed), missing - (age - 1) * len(closed))
                older = [earlier(each, age * shift_us) for each in closed[-wanted:]]
                first_us = min(first_us, older[0].started_us)
                await writer.add(older)
            self._tell("violations", writer.count / self._size.violations)
            await writer.add(found)
            await writer.warn(warnings)
        return writer.count, first_us

    async def _judged_lines(self) -> tuple[list[Violation], list[LimitWarning]]:
        self._tell("driving time", 0.0)
        found, warnings = list(self._violations.values()), []
        states: dict[Line, LineState] = {}
        hours: list[Violation] = []
        lines = judged_lines(self._fleet, self._activity, self._judge.state.last_us, self._pack.hours)
        for line, judgement in lines:
            hours += judgement.violations
            warnings += judgement.warnings
            states[line] = LineState(
                judgement.since_us, judgement.judged_to_us, judgement.due_us, judgement.two_vehicles_us
            )
        await ActivityStore(self._connection).open_lines(states)
        self._tell("driving time", 0.6)
        fixes = FixStore(self._connection, 0)
        for begin in range(0, len(hours), _AT_ONCE):
            part = hours[begin : begin + _AT_ONCE]
            places = await fixes.places([end for each in part for end in each.ends or ()])
            found += [
                replace(each, start=places[2 * number], end=places[2 * number + 1]) for number, each in enumerate(part)
            ]
        operator_of = self._fleet.operator_of()
        return found, [replace(each, operator_id=operator_of.get(each.vehicle_id)) for each in warnings]


class FixWriter:
    """Fills the partitions month by month, each in one COPY that needs no write-ahead log."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._month: np.datetime64 | None = None
        self._copying: AbstractContextManager[psycopg.Copy] | None = None
        self._copy: psycopg.Copy | None = None
        self._later: list[bytes] = []
        """Of the month after the one being filled."""

    def add(self, fleet: Fleet, day: Day, judged: Judgement) -> None:
        """The rows of a day in the order in which they came."""
        order = np.argsort(day.columns.time_us, kind="stable")
        months = day.columns.time_us[order].astype("datetime64[us]").astype("datetime64[M]")
        for month in np.unique(months):
            if self._month is None or (month > self._month and month == months[0]):
                self._open(month)
            assert self._month is not None
            for block in _packed(fleet, day, judged, order[months == month]):
                if month > self._month:
                    self._later.append(block)
                else:
                    self._write(block)

    def finish(self) -> None:
        """Commit the last month, and the beginning of one after it."""
        if self._later and self._month is not None:
            self._open(self._month + np.timedelta64(1, "M"))
        self._end()

    def close(self) -> None:
        self._connection.close()

    def _open(self, month: np.datetime64) -> None:
        self._end()
        self._month = month
        name = f"fixes_{str(month).replace('-', '_')}"
        self._connection.execute("BEGIN")
        self._connection.execute(f"TRUNCATE {name}".encode())
        cursor = self._connection.cursor()
        self._copying = cursor.copy(f"COPY {name} ({', '.join(FIELDS)}) FROM STDIN (FORMAT binary, FREEZE)".encode())
        self._copy = self._copying.__enter__()
        self._write(COPY_HEADER)
        later, self._later = self._later, []
        for block in later:
            self._write(block)

    def _write(self, block: bytes) -> None:
        assert self._copy is not None
        self._copy.write(block)

    def _end(self) -> None:
        if self._copying is not None:
            self._write(COPY_END)
            self._copying.__exit__(None, None, None)
            self._connection.execute("COMMIT")
        self._copying = self._copy = None


def _packed(fleet: Fleet, day: Day, judged: Judgement, rows: NDArray[np.intp]) -> Iterator[bytes]:
    """Rows that name a driver, and those that do not, in pieces of a few minutes each."""
    for begin in range(0, len(rows), _AT_ONCE):
        some = rows[begin : begin + _AT_ONCE]
        named = day.columns.driver[some] != UNKNOWN
        for chosen, driver_bytes in ((some[named], fleet.driver_bytes.itemsize), (some[~named], -1)):
            if len(chosen):
                yield rows_of(
                    Layout(fleet.vehicle_bytes.itemsize, driver_bytes, 0), _stored(fleet, day, judged, chosen)
                )


def _stored(fleet: Fleet, day: Day, judged: Judgement, rows: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    fixes = day.columns
    time_us = fixes.time_us[rows]
    return {
        "vehicle_id": fleet.vehicle_bytes[fixes.vehicle[rows]],
        "time": time_us - POSTGRES_EPOCH_US,
        "driver_id": fleet.driver_bytes[fixes.driver[rows]],
        "lat": fixes.lat[rows],
        "lon": fixes.lon[rows],
        "speed_kmh": fixes.speed_kmh[rows],
        "heading_deg": day.heading_deg[rows],
        "ignition": day.ignition[rows],
        "door_open": np.zeros(len(rows), dtype=np.bool_),
        "odometer_km": day.odometer_km[rows],
        "satellites": fixes.satellites[rows],
        "hdop": fixes.hdop[rows],
        "valid": np.ones(len(rows), dtype=np.bool_),
        "flags": judged.flags[rows],
        "settled": judged.settled[rows],
        "received_at": time_us + _RECEIVED_US - POSTGRES_EPOCH_US,
        "leg_mm": judged.leg_mm[rows],
        "leg_driving_us": judged.leg_driving_us[rows],
    }
