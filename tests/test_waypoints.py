"""Waypoints: those of the stored fixes, whatever came late, and reports say the same without them."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from detectors.fix import to_us
from hanhtrinh.rule_packs import load_pack
from storage.connect import connect
from storage.migrate import known_migrations, migrate
from storage.reports.catalogue import KINDS
from storage.reports.scope import Scope
from storage.sums import Sums, is_continuous
from tests.running_worker import WorkerRig, journey, make_rig, message, rig
from tests.test_worker_order import hostile_journeys, in_pieces, shuffled, with_conflicts

__all__ = ["make_rig", "rig"]

BEGIN = datetime(2026, 3, 4, 15, 30, tzinfo=UTC)
_FIX = "vehicle_id, time, lat, lon, speed_kmh"
FIRST = f"""
    SELECT DISTINCT ON (vehicle_id, date_trunc('hour', time, 'UTC')) {_FIX}, leg_driving_us > 0 FROM fixes
    WHERE flags = 0 ORDER BY vehicle_id, date_trunc('hour', time, 'UTC'), time
"""
TURNS = f"""
    SELECT {_FIX}, leg_driving_us > 0 FROM fixes JOIN activity_changes a USING (vehicle_id, time) WHERE flags = 0
"""
CHOSEN = f"SELECT {_FIX}, driving FROM waypoints"


async def count(rig: WorkerRig) -> None:
    connection = await connect(rig.url)
    try:
        await Sums(connection).bring_up_to_date()
    finally:
        await connection.close()


async def differences(rig: WorkerRig) -> list[tuple[Any, ...]]:
    """What is chosen and should not be, or says what no fix says; and what is missing."""
    both = f"({FIRST}) UNION ({TURNS})"
    return [
        row
        for one, other in ((CHOSEN, both), (both, CHOSEN))
        for row in await rig.rows(f"(({one}) EXCEPT ({other})) ORDER BY 1, 2")
    ]


@pytest.mark.parametrize("seed", range(3))
async def test_any_order_of_the_same_fixes_ends_in_the_same_waypoints(rig: WorkerRig, seed: int) -> None:
    rng = random.Random(seed)
    for piece in in_pieces(list(shuffled(with_conflicts(hostile_journeys(rng), rng), rng)), rng):
        await rig.append(piece)
        await rig.work_off(batch_max_messages=rng.choice((10, 100, 5_000)))
        if rng.random() < 0.3:
            await count(rig)
    await count(rig)
    assert len(await rig.rows(TURNS)) > 100
    assert await differences(rig) == []


async def test_a_stop_that_begins_with_the_last_fix_of_an_hour_is_found_when_the_next_hour_shows_it(
    rig: WorkerRig,
) -> None:
    begin_us = to_us(BEGIN.replace(minute=50))
    # The last fix of the hour, at 15:59:50, stands; that it does is known by the first one of the next.
    fixes = journey("V1", begin_us, [36.0] * 59 + [0.0] * 40)
    await rig.append(message(fix) for fix in fixes[:60])
    await rig.work_off()
    await count(rig)
    assert [time for (time,) in await rig.rows("SELECT time FROM waypoints")] == [BEGIN.replace(minute=50)]
    await rig.append(message(fix) for fix in fixes[60:])
    await rig.work_off()
    await count(rig)
    times = [time for (time,) in await rig.rows("SELECT time FROM waypoints ORDER BY 1")]
    stands_at = BEGIN.replace(minute=59, second=50)
    assert times == [BEGIN.replace(minute=50), stands_at, stands_at + timedelta(seconds=10)]
    assert await differences(rig) == []


async def test_stops_are_told_with_the_same_places_where_waypoints_are_missing(rig: WorkerRig) -> None:
    begin_us = to_us(BEGIN)
    # The fix with which the second stop would begin is not trusted: the vehicle stands from the next one on.
    speeds = [40.0] * 30 + [0.0] * 60 + [40.0] * 30 + [0.0] * 60 + [40.0] * 5
    fixes = journey("V1", begin_us, speeds, driver_id="D1")
    fixes[120] = fixes[120]._replace(valid=False)
    await rig.append(message(fix) for fix in [*fixes, *journey("V2", begin_us + 1, speeds)])
    await rig.work_off()
    await count(rig)
    numbers, march = load_pack().pack.reports, Scope.of_month("2026-03")
    assert numbers is not None
    columns = ["vehicle_id", "driver_id", "time", "minutes", "place"]
    told = (await KINDS["stops"].make(rig.connection, march, numbers)).frame[columns]
    assert len(told) == 4
    assert told["place"].is_unique is False
    await rig.rows("DELETE FROM waypoints WHERE vehicle_id = 'V1' RETURNING 1")
    again = (await KINDS["stops"].make(rig.connection, march, numbers)).frame[columns]
    assert again.to_dict("records") == told.to_dict("records")


async def test_what_was_stored_before_there_were_waypoints_is_counted_by_the_next_turn(
    empty_postgres_url: str,
) -> None:
    before = [each for each in known_migrations() if each.name < "0015"]
    await migrate(empty_postgres_url, before)
    connection = await connect(empty_postgres_url)
    try:
        await connection.execute(
            "INSERT INTO fixes (vehicle_id, time, driver_id, lat, lon, flags, settled, received_at, leg_mm)"
            " SELECT 'V1', %s + n * interval '10 seconds', 'D1', 21.0, 105.8, 0, true, now(), 7"
            " FROM generate_series(0, 400) n", (BEGIN,)
        )  # fmt: skip
        # As it was counted then, by a program that knew no more.
        if not await is_continuous(connection):
            await connection.execute(
                "INSERT INTO hour_sums SELECT vehicle_id, date_trunc('hour', time, 'UTC'), count(*), count(*), 0,"
                " sum(leg_mm), 0, NULL, min(time), max(time) FROM fixes GROUP BY 1, 2"
            )
        assert "0015_waypoints.sql" in await migrate(empty_postgres_url)
        await Sums(connection).bring_up_to_date()
        cursor = await connection.execute("SELECT driver_id, sum(distance_mm) FROM driven_hours GROUP BY 1")
        assert await cursor.fetchall() == [("D1", 401 * 7)]
        cursor = await connection.execute("SELECT time FROM waypoints ORDER BY 1")
        assert [time for (time,) in await cursor.fetchall()] == [BEGIN, BEGIN + timedelta(minutes=30)]
    finally:
        await connection.close()
