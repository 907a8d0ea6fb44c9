"""Sums per vehicle and hour or day: those of the stored fixes, whatever came late and whenever they are counted."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from detectors.fix import Fix, to_us
from storage.connect import connect
from storage.sums import Sums, is_continuous
from tests.running_worker import WorkerRig, journey, make_rig, message, rig
from tests.test_worker_order import hostile_journeys, in_pieces, shuffled, with_conflicts

__all__ = ["make_rig", "rig"]

BEGIN = datetime(2026, 3, 4, 15, 30, tzinfo=UTC)
BEGIN_US = to_us(BEGIN)

BY_HAND = {
    "vehicle_hours": "date_trunc('hour', time, 'UTC')",
    "vehicle_days": "date_trunc('day', time, 'Asia/Ho_Chi_Minh')",
}
_COLUMNS = (
    "fixes, trusted_fixes, flagged_fixes, flags, distance_mm, driving_us, distance_m, driving_s, top_speed_kmh,"
    " first_at, last_at"
)
_SUMS = (
    "count(*), count(*) FILTER (WHERE flags = 0), count(*) FILTER (WHERE flags <> 0), bit_or(flags), sum(leg_mm),"
    " sum(leg_driving_us), sum(leg_mm) / 1000.0, sum(leg_driving_us) / 1000000.0,"
    " max(speed_kmh) FILTER (WHERE flags = 0), min(time), max(time)"
)


async def differences(rig: WorkerRig) -> list[tuple[Any, ...]]:
    """Rows of the views that are not what the fixes add up to, or are missing."""
    found = []
    for view, begin in BY_HAND.items():
        key = "hour" if view == "vehicle_hours" else "begins_at"
        shown = f"SELECT vehicle_id, {key}, {_COLUMNS} FROM {view}"
        summed = f"SELECT vehicle_id, {begin}, {_SUMS} FROM fixes GROUP BY 1, 2"
        # Numbers are compared as such: 0.5 and 0.50 are one.
        for one, other in ((shown, summed), (summed, shown)):
            found += [(view, *row) for row in await rig.rows(f"({one}) EXCEPT ({other})")]
    shown = "SELECT vehicle_id, hour, driver_id, distance_mm, driving_us FROM driven_hours"
    summed = (
        f"SELECT vehicle_id, {BY_HAND['vehicle_hours']}, driver_id, sum(leg_mm), sum(leg_driving_us) FROM fixes"
        " WHERE driver_id IS NOT NULL GROUP BY 1, 2, 3"
    )
    for one, other in ((shown, summed), (summed, shown)):
        found += [("driven_hours", *row) for row in await rig.rows(f"({one}) EXCEPT ({other})")]
    return found


async def count(rig: WorkerRig) -> None:
    """As `hanhtrinh maintain --once`, on a connection of its own."""
    connection = await connect(rig.url)
    try:
        await Sums(connection).bring_up_to_date()
    finally:
        await connection.close()


async def test_a_journey_over_midnight_adds_up_by_hour_and_by_local_day(rig: WorkerRig) -> None:
    fixes = journey("V1", BEGIN_US, [36.0] * 720)  # two hours, ten seconds apart: 100 m a leg
    await rig.append(message(fix) for fix in fixes)
    await rig.work_off()
    await count(rig)
    hours = await rig.rows("SELECT hour, fixes, driving_us FROM vehicle_hours ORDER BY hour")
    first = BEGIN.replace(minute=0)
    assert hours == [
        (first, 180, 1_790_000_000),
        (first + timedelta(hours=1), 360, 3_600_000_000),
        (first + timedelta(hours=2), 180, 1_800_000_000),
    ]
    days = await rig.rows("SELECT day::text, fixes, round(distance_m), driving_s FROM vehicle_days ORDER BY day")
    assert days == [("2026-03-04", 540, 53_898, 5_390.0), ("2026-03-05", 180, 17_999, 1_800.0)]
    assert await differences(rig) == []


@pytest.mark.parametrize("begin_min", [0, 45], ids=["midnight hour alone", "hour before it too"])
async def test_what_comes_late_in_the_first_hour_of_a_day_is_in_that_day(rig: WorkerRig, begin_min: int) -> None:
    """TimescaleDB took such a day for unchanged."""
    first_us = to_us(datetime(2026, 3, 4, 17, tzinfo=UTC))  # midnight in Vietnam
    await rig.append(message(fix) for fix in journey("V1", first_us - 1_800_000_000, [36.0] * 720))
    await rig.work_off()
    await count(rig)
    late = journey("V2", first_us + 600_000_000 - begin_min * 60_000_000, [36.0] * 300)
    await rig.append(message(fix) for fix in late)
    await rig.work_off()
    await count(rig)
    assert await differences(rig) == []
    assert await rig.one("SELECT count(*) FROM vehicle_days WHERE vehicle_id = 'V2'") == (2 if begin_min else 1)


async def test_an_hour_that_goes_on_is_counted_again_and_again_until_it_is_over(rig: WorkerRig) -> None:
    fixes = journey("V1", BEGIN_US, [36.0] * 400)
    for cut in range(0, 400, 50):
        await rig.append(message(fix) for fix in fixes[cut : cut + 50])
        await rig.work_off()
        await count(rig)
        assert await differences(rig) == []
    marks = await rig.rows("SELECT hour, counted_to IS NOT NULL FROM stale_hours")
    assert marks == [(BEGIN.replace(minute=0) + timedelta(hours=1), True)]


async def test_what_is_stored_while_the_hour_is_being_counted_is_counted_next_time(rig: WorkerRig) -> None:
    fixes = journey("V1", BEGIN_US, [36.0] * 100)
    async with rig.worker() as task:
        await rig.append(message(fix) for fix in fixes[:50])
        await rig.worked_off(60, task)
        await count(rig)
        # The same worker: it has marked this hour and does not mark it again.
        await rig.append(message(fix) for fix in fixes[50:])
        await rig.worked_off(60, task)
    await count(rig)
    assert await differences(rig) == []
    assert await rig.one("SELECT fixes FROM vehicle_hours") == 100


async def test_late_fixes_flagged_ones_and_conflicts_are_counted(rig: WorkerRig) -> None:
    fixes = journey("V1", BEGIN_US, [36.0] * 400)
    await rig.append(message(fix) for fix in fixes if not 100 <= (fix.time_us - BEGIN_US) // 10_000_000 < 120)
    await rig.work_off()
    await count(rig)
    late = fixes[100:120]
    flagged = fixes[50]._replace(time_us=fixes[50].time_us + 1_000_000, valid=False)
    rival = fixes[60]._replace(lat=fixes[60].lat - 1e-5)
    await rig.append(message(fix) for fix in (*late, flagged, rival))
    await rig.work_off()
    await count(rig)
    assert await differences(rig) == []
    assert await rig.one("SELECT sum(fixes) FROM vehicle_days") == 401
    assert await rig.one("SELECT sum(flagged_fixes) FROM vehicle_days") == 1


async def test_a_late_fix_takes_from_the_next_hour_what_was_driven_up_to_it(rig: WorkerRig) -> None:
    """The next hour is over and nothing came into it: only who judges again knows that a leg of it is another."""
    fixes = journey("V1", BEGIN_US, [36.0] * 720)
    last = next(n for n, fix in enumerate(fixes) if fix.time >= BEGIN.replace(minute=0) + timedelta(hours=1)) - 1
    await rig.append(message(fix) for fix in fixes[:last] + fixes[last + 1 :])
    await rig.work_off()
    await count(rig)
    await rig.append([message(fixes[last])])
    await rig.work_off()
    await count(rig)
    assert await differences(rig) == []


async def test_an_hour_that_two_drivers_share_is_counted_for_each_and_given_back_when_the_name_was_another_s(
    rig: WorkerRig,
) -> None:
    fixes = journey("V1", BEGIN_US, [36.0] * 100, driver_id="D1")
    shared = [*fixes[:60], *(fix._replace(driver_id="D2") for fix in fixes[60:90]), fixes[90]._replace(driver_id="D3")]
    await rig.append(message(fix) for fix in [*shared, *(fix._replace(driver_id=None) for fix in fixes[91:])])
    await rig.work_off()
    await count(rig)
    told = await rig.rows("SELECT driver_id, driving_us FROM driven_hours ORDER BY 1")
    assert told == [("D1", 590_000_000), ("D2", 300_000_000), ("D3", 10_000_000)]
    # Another reading of the same moment stands, by its content: it names another driver, and D3 has driven nothing.
    await rig.append([message(fixes[90]._replace(driver_id="D1", lat=fixes[90].lat - 1e-6))])
    await rig.work_off()
    await count(rig)
    names = {driver for (driver,) in await rig.rows("SELECT DISTINCT driver_id FROM fixes WHERE driver_id IS NOT NULL")}
    assert names == {"D1", "D2"}
    assert {driver for (driver,) in await rig.rows("SELECT driver_id FROM driven_hours")} == names
    assert await differences(rig) == []


async def test_a_late_fix_that_is_flagged_and_judged_by_nobody_is_counted_too(rig: WorkerRig) -> None:
    fixes = journey("V1", BEGIN_US, [36.0] * 400)
    await rig.append(message(fix) for fix in fixes)
    await rig.work_off()
    await count(rig)
    await rig.append([message(fixes[50]._replace(time_us=fixes[50].time_us + 1_000_000, valid=False))])
    await rig.work_off()
    await count(rig)
    assert await rig.one("SELECT sum(flagged_fixes) FROM vehicle_hours") == 1
    assert await differences(rig) == []


async def test_a_clock_that_runs_ahead_hides_nothing_that_comes_after(rig: WorkerRig) -> None:
    fixes = journey("V1", BEGIN_US, [36.0] * 100)
    ahead = fixes[40]._replace(time_us=to_us(datetime(2098, 1, 1, tzinfo=UTC)))
    await rig.append([*(message(fix) for fix in fixes[:50]), message(ahead)])
    await rig.work_off()
    await count(rig)
    await rig.append(message(fix) for fix in fixes[50:])
    await rig.work_off()
    await count(rig)
    assert await differences(rig) == []


@pytest.mark.parametrize("seed", range(3))
async def test_any_order_of_the_same_fixes_counted_at_any_moment_ends_in_the_same_sums(
    rig: WorkerRig, seed: int
) -> None:
    rng = random.Random(seed)
    fixes: list[Fix] = with_conflicts(hostile_journeys(rng), rng)
    for piece in in_pieces(list(shuffled(fixes, rng)), rng):
        await rig.append(piece)
        await rig.work_off(batch_max_messages=rng.choice((10, 100, 5_000)))
        if rng.random() < 0.3:
            await count(rig)
            assert await differences(rig) == []
    await count(rig)
    assert await differences(rig) == []


async def test_the_views_are_the_same_with_and_without_continuous_aggregates(rig: WorkerRig) -> None:
    shown = {}
    for view in ("vehicle_hours", "vehicle_days", "operator_days", "driven_hours"):
        rows = await rig.rows(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"
            f" WHERE attrelid = '{view}'::regclass AND attnum > 0 ORDER BY attnum"
        )
        shown[view] = dict(rows)
    assert shown["vehicle_hours"]["distance_mm"] == shown["vehicle_days"]["driving_us"] == "bigint"
    assert shown["vehicle_days"]["day"] == shown["operator_days"]["day"] == "date"
    assert shown["vehicle_hours"]["flags"] == "integer"
    assert shown["driven_hours"]["distance_mm"] == shown["driven_hours"]["driving_us"] == "bigint"
    assert await is_continuous(rig.connection) == bool(
        await rig.one("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')")
        and await rig.one("SELECT current_setting('timescaledb.license', true) = 'timescale'")
    )
