"""Stored fixes: what goes in comes back to the bit, what cannot be stored is refused and never wrapped."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime

import numpy as np
import psycopg
import pytest

from detectors.checks import ALONE, Check
from detectors.fix import Fix, to_us
from detectors.fix_table import FixTable
from ingest.formats.checked import HDOP, HEADING_DEG, LAT, LON, ODOMETER_KM, SATELLITES, SPEED_KMH, TIME_US, Bounds
from storage.connect import Connection
from storage.fix_packing import Judged
from storage.fixes import FixRow, FixStore, Remark, Settled

TIME = to_us(datetime(2026, 3, 4, 1, 2, 3, 456_789, tzinfo=UTC))
FIX = Fix("29B-1", TIME, 21.0285, 105.8542, 61.7, "D1", 12.5, True, False, 1234.56, 9, 0.8, True)
BARE = Fix("29B-2", TIME, -90.0, 180.0)


@pytest.fixture
def store(connection: Connection) -> FixStore:
    return FixStore(connection, ALONE)


def changed(name: str, value: float) -> Fix:
    return Fix(**{**FIX._asdict(), name: value})


def row(fix: Fix, flags: int = 0, *, settled: bool = True) -> FixRow:
    return FixRow(fix, flags, settled, TIME + 1_500_000, 7, 8)


async def stored(connection: Connection) -> list[tuple[Fix, int, bool]]:
    vehicles = await (await connection.execute("SELECT DISTINCT vehicle_id FROM fixes ORDER BY 1")).fetchall()
    store = FixStore(connection, ALONE)
    read = [each for (name,) in vehicles for each in (await store.stretch(name, None, 0, 1_000))[0]]
    return [(each.fix, each.flags, each.settled) for each in read]


async def test_a_vehicle_is_rebuilt_from_its_newest_settled_fix_or_its_anchor(
    connection: Connection, store: FixStore
) -> None:
    def fixes(vehicle_id: str, settled: list[bool]) -> list[FixRow]:
        return [
            row(BARE._replace(vehicle_id=vehicle_id, time_us=TIME + n * 1_000_000), settled=each)
            for n, each in enumerate(settled)
        ]

    await store.add_new([
        *fixes("calm", [True, True, True]), *fixes("doubted", [True, True, False, False]), *fixes("never", [False] * 3)
    ])  # fmt: skip
    read = await store.since([("never", TIME + 1_000_000), ("calm", TIME), ("doubted", TIME), ("unheard of", TIME)])
    assert [(each.fix.vehicle_id, (each.fix.time_us - TIME) // 1_000_000) for each in read] == [
        ("never", 1), ("never", 2), ("calm", 2), ("doubted", 1), ("doubted", 2), ("doubted", 3),
    ]  # fmt: skip


@pytest.mark.parametrize("staged", [False, True], ids=["new", "staged"])
async def test_a_fix_comes_back_to_the_bit(connection: Connection, store: FixStore, staged: bool) -> None:
    fixes = [
        FIX,
        BARE,
        BARE._replace(vehicle_id="v" * 64, lat=math.nextafter(21.0, 22), lon=-0.0, speed_kmh=5e-324, odometer_km=1e8),
        BARE._replace(vehicle_id="xe số 1 🚚", driver_id="tài xế", satellites=100, hdop=1e3, heading_deg=360.0),
        BARE._replace(time_us=0),
        BARE._replace(time_us=int(TIME_US.high)),
    ]
    rows = [row(fix, flags=n, settled=n % 2 == 0) for n, fix in enumerate(fixes)]
    if staged:
        async with connection.transaction():
            assert await store.settle(rows) == Settled(list(range(6)), [], [], [])
    else:
        await store.add_new(rows)
    expected = sorted(((each.fix, each.flags, each.settled) for each in rows), key=repr)
    assert sorted(await stored(connection), key=repr) == expected
    received = await (await connection.execute("SELECT DISTINCT received_at FROM fixes")).fetchall()
    assert [to_us(each[0]) for each in received] == [TIME + 1_500_000]


OUT_OF_RANGE = [
    FIX._replace(lat=math.nextafter(90, 91)),
    FIX._replace(lat=math.nextafter(-90, -91)),
    FIX._replace(lon=math.nextafter(180, 181)),
    FIX._replace(lon=math.nextafter(-180, -181)),
    FIX._replace(speed_kmh=-5e-324),
    FIX._replace(heading_deg=math.nextafter(360, 361)),
    FIX._replace(heading_deg=-1.0),
    FIX._replace(odometer_km=-1.0),
    FIX._replace(hdop=-1.0),
    *(changed(name, value) for name in ("lat", "lon", "speed_kmh", "heading_deg", "odometer_km", "hdop")
      for value in (math.nan, math.inf)),
    FIX._replace(vehicle_id="a\0b"),
    FIX._replace(driver_id="a\0b"),
    FIX._replace(vehicle_id="\ud800"),
]  # fmt: skip


@pytest.mark.parametrize("staged", [False, True], ids=["new", "staged"])
async def test_a_value_outside_its_column_is_refused_with_its_batch(
    connection: Connection, store: FixStore, staged: bool
) -> None:
    taken = []
    for fix in OUT_OF_RANGE:
        with suppress(psycopg.IntegrityError, psycopg.DataError, UnicodeEncodeError):
            async with connection.transaction():
                await (store.settle([row(BARE), row(fix)]) if staged else store.add_new([row(BARE), row(fix)]))
            taken.append(fix)
    assert taken == []
    assert await stored(connection) == []


async def test_both_ends_of_what_the_formats_let_through_can_be_stored(connection: Connection, store: FixStore) -> None:
    bounds: dict[str, Bounds] = {
        "lat": LAT, "lon": LON, "speed_kmh": SPEED_KMH, "heading_deg": HEADING_DEG, "odometer_km": ODOMETER_KM,
        "hdop": HDOP,
    }  # fmt: skip
    ends = [changed(name, float(end)) for name, both in bounds.items() for end in both]
    ends += [FIX._replace(satellites=int(end)) for end in SATELLITES]
    ends += [FIX._replace(time_us=int(end)) for end in TIME_US]
    fixes = [fix._replace(vehicle_id=f"V{number:02}") for number, fix in enumerate(ends)]
    all_checks = int(sum(Check))
    await store.add_new([row(fix, flags=all_checks) for fix in fixes])
    assert await stored(connection) == [(fix, all_checks, True) for fix in fixes]


async def test_a_fix_that_is_there_already_is_doubled_lost_or_takes_its_place(
    connection: Connection, store: FixStore
) -> None:
    later = FIX._replace(time_us=TIME + 1)
    flagged = FIX._replace(vehicle_id="29B-3", valid=False)
    await store.add_new([row(FIX), row(later), row(flagged, flags=1, settled=False)])
    async with connection.transaction():
        settled = await store.settle(
            [
                row(FIX._replace(lat=22.0)),
                row(later),
                row(FIX._replace(time_us=TIME + 2)),
                row(flagged._replace(valid=True)),
            ]
        )
    assert settled == Settled(added=[2], doubled=[1], replaced=[(3, flagged)], lost=[0])
    assert await stored(connection) == [
        (FIX, 0, True),
        (later, 0, True),
        (FIX._replace(time_us=TIME + 2), 0, True),
        (flagged._replace(valid=True), 0, True),
    ]


async def test_staged_rows_are_gone_after_each_transaction(connection: Connection, store: FixStore) -> None:
    for number in range(3):
        async with connection.transaction():
            settled = await store.settle([row(FIX._replace(time_us=TIME + number))])
        assert settled.added == [0]
    async with connection.transaction(force_rollback=True):
        await store.settle([row(BARE)])
    async with connection.transaction():
        assert (await store.settle([row(BARE)])).added == [0]


async def test_a_month_gets_its_partition_and_takes_in_rows_that_waited(
    connection: Connection, store: FixStore
) -> None:
    if not await _is_partitioned(connection):
        pytest.skip("TimescaleDB makes its own chunks")
    begin, end = (to_us(datetime(2026, month, 1, tzinfo=UTC)) for month in (3, 4))
    edges = [FIX._replace(time_us=time_us) for time_us in (begin - 1, begin, end - 1, end)]
    await store.add_new([row(fix) for fix in edges])
    assert await _places(connection) == ["fixes_elsewhen"] * 4
    await store.make_room(["2026-03"])
    await store.make_room(["2026-03"])
    assert await _places(connection) == ["fixes_elsewhen", "fixes_2026_03", "fixes_2026_03", "fixes_elsewhen"]
    await FixStore(connection, ALONE).make_room(["2026-03", "2026-04", "2026-02", "1969-12"])
    assert await _places(connection) == ["fixes_2026_02", "fixes_2026_03", "fixes_2026_03", "fixes_2026_04"]
    assert [each[0] for each in await stored(connection)] == edges
    with pytest.raises(psycopg.errors.UniqueViolation):
        await store.add_new([row(edges[1])])
    with pytest.raises(psycopg.errors.CheckViolation):
        await store.add_new([row(edges[1]._replace(time_us=begin + 1, lat=91.0))])


async def test_a_stretch_and_the_settled_fix_before_it_are_read_back(connection: Connection, store: FixStore) -> None:
    fixes = [FIX._replace(time_us=TIME + n) for n in range(6)]
    await store.add_new([row(fix, settled=n in (1, 3)) for n, fix in enumerate(fixes)])
    for begin_us, end_us, beyond, expected, complete in (
        (TIME + 2, TIME + 3, 1, fixes[2:5], False),
        (TIME + 2, TIME + 3, 2, fixes[2:], False),
        (TIME + 2, TIME + 3, 3, fixes[2:], True),
        (None, TIME + 1, 100, fixes, True),
        (TIME + 2, TIME + 1, 2, fixes[2:4], False),
        (None, TIME + 9, 1, fixes, True),
    ):
        stretch, is_complete = await store.stretch(FIX.vehicle_id, begin_us, end_us, beyond)
        assert ([each.fix for each in stretch], is_complete) == (expected, complete)
    assert [await store.settled_before(FIX.vehicle_id, TIME + n) for n in (0, 1, 2, 3, 4)] == [
        None, None, TIME + 1, TIME + 1, TIME + 3,
    ]  # fmt: skip
    remarks = [Remark(TIME + 1, 16, False, 0, 0), Remark(TIME + 4, 0, True, 5_000_000_000, 6_000_000_000)]
    await store.mark(FIX.vehicle_id, remarks)
    legs = [(each.leg_mm, each.leg_driving_us) for each in (await store.stretch(FIX.vehicle_id, None, TIME, 100))[0]]
    assert legs == [(7, 8), (0, 0), (7, 8), (7, 8), (5_000_000_000, 6_000_000_000), (7, 8)]
    assert [(flags, settled) for _, flags, settled in await stored(connection)] == [
        (0, False), (16, False), (0, False), (0, True), (0, True), (0, False),
    ]  # fmt: skip
    moments = [(FIX.vehicle_id, TIME + 1), (FIX.vehicle_id, TIME - 1), ("nobody", TIME)]
    assert await store.places(moments) == [(FIX.lat, FIX.lon), None, None]


async def _is_partitioned(connection: Connection) -> bool:
    cursor = await connection.execute("SELECT to_regclass('fixes_elsewhen') IS NOT NULL")
    return (await cursor.fetchone()) == (True,)


async def _places(connection: Connection) -> list[str]:
    cursor = await connection.execute("SELECT tableoid::regclass::text FROM fixes ORDER BY time")
    return [name for (name,) in await cursor.fetchall()]


async def test_whoever_waits_is_told_once_the_database_takes_the_rows(connection: Connection, store: FixStore) -> None:
    states: list[int] = []

    def ready() -> None:
        states.append(connection.pgconn.transaction_status)

    nothing = np.zeros(1, np.int64)
    judged = Judged(np.zeros(1, np.int32), np.zeros(1, np.bool_), nothing, nothing, nothing)
    await store.add_table(FixTable.of([]), judged, ready)
    assert states == []
    await store.add_table(FixTable.of([FIX]), judged, ready)
    # In the middle of the COPY: sooner, a worker that is frozen would hold its partitions (docs/faults.md, zombies).
    assert states == [psycopg.pq.TransactionStatus.ACTIVE]
    assert [each[0] for each in await stored(connection)] == [FIX]
