"""size: the bytes of a fleet's day in the database, and what that comes to for 1,000 vehicles and a year."""

from __future__ import annotations

import asyncio
import os

import numpy as np

from benchmarks.measure import Figure, Report
from benchmarks.servers import Servers
from benchmarks.workload import fleet_fixes
from detectors.checks import ALONE
from detectors.columns import columns_of
from detectors.fix import Fix
from detectors.journeys import JourneyJudge
from detectors.limits import LimitBook
from detectors.names import Names
from hanhtrinh.detectors import context_of, detector_factories
from hanhtrinh.rule_packs import load_pack
from storage.connect import Connection, connect
from storage.fixes import FixRow, FixStore
from storage.sums import Sums, is_continuous
from tests.services.postgres import DatabaseServer, GivenPostgres, drop_database, make_database

_AT_ONCE = 5_000
_GIB = 2**30
_BYTES = {
    "fixes": "SELECT sum(pg_table_size(relid))::int8, sum(pg_indexes_size(relid))::int8"
    " FROM pg_partition_tree('fixes')",
    "sums": "SELECT sum(pg_total_relation_size(name::regclass))::int8, 0"
    " FROM unnest(ARRAY['hour_sums', 'day_sums', 'driver_hour_sums', 'waypoints']) AS t (name)",
}
_BYTES_TIMESCALE = {
    "fixes": "SELECT table_bytes + coalesce(toast_bytes, 0), index_bytes FROM hypertable_detailed_size('fixes')",
    "sums": "SELECT sum(hypertable_size(format('%I.%I', materialization_hypertable_schema,"
    " materialization_hypertable_name)::regclass))::int8 + pg_total_relation_size('waypoints'), 0"
    " FROM timescaledb_information.continuous_aggregates",
}


def run(servers: Servers, *, quick: bool) -> Report:
    """On the embedded PostgreSQL, or on the server that HANHTRINH_TEST_DATABASE_URL names, such as a TimescaleDB."""
    given = os.environ.get("HANHTRINH_TEST_DATABASE_URL")
    server: DatabaseServer = GivenPostgres(given) if given else servers.postgres
    vehicles, hours = (4, 2) if quick else (50, 24)
    return asyncio.run(_measure(server, vehicles, hours))


async def _measure(server: DatabaseServer, vehicles: int, hours: int) -> Report:
    url = await make_database(server)
    try:
        connection = await connect(url)
        try:
            return await _fill_and_weigh(connection, vehicles, hours)
        finally:
            await connection.close()
    finally:
        await drop_database(server, url)


async def _fill_and_weigh(connection: Connection, vehicles: int, hours: int) -> Report:
    _, fixes = fleet_fixes(vehicles, hours * 60)
    await _store(connection, fixes)
    await connection.execute(
        "INSERT INTO stale_hours (vehicle_id, hour)"
        " SELECT DISTINCT vehicle_id, date_trunc('hour', time, 'UTC') FROM fixes"
    )
    await Sums(connection).bring_up_to_date()
    packs = await is_continuous(connection)
    queries = _BYTES_TIMESCALE if packs else _BYTES
    rows, index = await _two(connection, queries["fixes"])
    sums, _ = await _two(connection, queries["sums"])
    count = len(fixes)
    a_year = count / vehicles * 24 / hours * 365 * 1_000
    figures = [
        Figure("a fix: row", "bytes", [rows / count]),
        Figure("a fix: key", "bytes", [index / count]),
        Figure("fixes of 1,000 vehicles in a year", "GiB", [(rows + index) / count * a_year / _GIB]),
        Figure("sums and waypoints of 1,000 vehicles in a year", "GiB", [sums / count * a_year / _GIB]),
    ]
    if packs:
        await connection.execute("SELECT compress_chunk(c) FROM show_chunks('fixes') AS c")
        rows, index = await _two(connection, queries["fixes"])
        figures += [
            Figure("a fix in the columnstore", "bytes", [(rows + index) / count]),
            Figure("the same in the columnstore", "GiB", [(rows + index) / count * a_year / _GIB]),
        ]
    return Report(
        "size",
        f"bytes in {'TimescaleDB' if packs else 'PostgreSQL'}, a simulated fleet on a working day",
        sizes={"vehicles": vehicles, "fixes": count, "hours": hours},
        figures=figures,
        notes=["a year: every day as this one, at a fix every 10 s of a moving vehicle"],
    )


async def _store(connection: Connection, fixes: list[Fix]) -> None:
    """As workers do: batch by batch as time goes on, each in the order of vehicles."""
    pack, vehicles, drivers = load_pack(), Names(), Names()
    judge = JourneyJudge(context_of(pack, vehicles, drivers, LimitBook(pack.pack)), detector_factories())
    store = FixStore(connection, ALONE)
    await store.make_room({f"{np.datetime64(fix.time_us, 'us').astype('datetime64[M]')}" for fix in fixes[::1_000]})
    for begin in range(0, len(fixes), _AT_ONCE):
        batch = fixes[begin : begin + _AT_ONCE]
        columns = columns_of(batch, vehicles, drivers)
        order = np.lexsort((columns.time_us, columns.vehicle))
        judged = judge.advance(columns.take(order), np.zeros(len(batch), dtype=np.int32))
        found = (judged.flags, judged.settled, judged.leg_mm, judged.leg_driving_us)
        rows = [
            FixRow(batch[row], flags, settled, batch[row].time_us + 2_000_000, leg_mm, driving_us)
            for row, flags, settled, leg_mm, driving_us in zip(
                order.tolist(), *(column.tolist() for column in found), strict=True
            )
        ]
        await store.add_new(rows)


async def _two(connection: Connection, query: str) -> tuple[int, int]:
    row = await (await connection.execute(query.encode())).fetchone()
    assert row is not None
    return row[0], row[1]
