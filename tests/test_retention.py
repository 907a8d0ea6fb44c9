"""What was kept for long enough is dropped, and nothing that is still needed: sums, violations and judgements stay."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from detectors.fix import Fix, to_us
from hanhtrinh.settings import SettingsError, load_settings
from storage.connect import connect
from storage.retention import KeepFor
from storage.sums import is_continuous
from storage.upkeep import LOCK, Upkeep, Upkept
from tests.running_worker import WorkerRig, journey, make_rig, message, rig

__all__ = ["make_rig", "rig"]

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
KEEP = KeepFor(journeys=400, violations=1_100, letters=400, rows=7)
# Whole months go: so old that its month is over for 400 days, whatever today is.
LONG_AGO, OLDER_STILL, LATELY = (NOW - timedelta(days=days) for days in (450, 1_150, 20))
SUMS = "SELECT * FROM vehicle_hours ORDER BY vehicle_id, hour"
DAYS = "SELECT * FROM vehicle_days ORDER BY vehicle_id, day"


def speeding(begin: datetime, vehicle_id: str = "V1") -> list[Fix]:
    """An hour with a minute far above any limit."""
    return journey(vehicle_id, to_us(begin), [50.0] * 100 + [110.0] * 7 + [50.0] * 100)


async def take_in(rig: WorkerRig, fixes: Sequence[Fix]) -> None:
    await rig.append(message(fix, received_us=to_us(NOW)) for fix in fixes)
    await rig.work_off()


async def maintain(rig: WorkerRig, keep: KeepFor = KEEP) -> Upkept:
    connection = await connect(rig.url)
    try:
        done = await Upkeep(connection, keep).turn(drop=True, wait=False)
        assert done is not None
        return done
    finally:
        await connection.close()


async def test_old_fixes_go_and_what_they_were_worth_stays(rig: WorkerRig) -> None:
    await take_in(rig, [*speeding(LONG_AGO), *speeding(LATELY)])
    (first, last) = (await rig.rows("SELECT min(time), max(time) FROM fixes"))[0]
    done = await maintain(rig)
    assert set(done.dropped) >= {"fixes", "activity_changes"}
    assert await rig.rows("SELECT count(*) FROM fixes") == [(207,)]
    assert await rig.one("SELECT min(time) FROM fixes") > LATELY - timedelta(hours=1)
    assert await rig.one("SELECT min(time) FROM waypoints") > LATELY - timedelta(hours=1)
    hours = await rig.rows(SUMS)
    assert (hours[0][11], hours[-1][12]) == (first, last)
    assert await rig.one("SELECT sum(fixes) FROM vehicle_days") == 414
    assert await rig.one("SELECT count(*) FROM violations WHERE kind = 'speeding' AND status = 'closed'") == 2
    assert (await maintain(rig)).dropped == {}


async def test_a_late_fix_from_before_the_drop_changes_neither_sums_nor_violations_of_that_time(rig: WorkerRig) -> None:
    old = speeding(LONG_AGO)
    await take_in(rig, [*old, *speeding(LATELY)])
    await maintain(rig)
    sums, days = await rig.rows(SUMS), await rig.rows(DAYS)
    standing = await rig.rows("SELECT violation_id, status FROM violations ORDER BY 1")
    late = [old[103]._replace(time_us=old[103].time_us + 5_000_000), *speeding(LONG_AGO + timedelta(hours=3))]
    await take_in(rig, late)
    for _ in range(2):
        await maintain(rig)
        assert (await rig.rows(SUMS), await rig.rows(DAYS)) == (sums, days)
    assert await rig.rows("SELECT violation_id, status FROM violations ORDER BY 1") == standing
    assert await rig.rows("SELECT count(*) FROM fixes") == [(207,)]


async def test_a_late_fix_after_the_drop_is_judged_and_counted_as_ever(rig: WorkerRig) -> None:
    lately = speeding(LATELY)
    await take_in(rig, [*speeding(LONG_AGO), *lately[:100], *lately[107:]])
    assert await rig.one("SELECT count(*) FROM violations WHERE kind = 'speeding'") == 1
    await maintain(rig)
    await take_in(rig, lately[100:107])
    await maintain(rig)
    assert await rig.one("SELECT count(*) FROM violations WHERE kind = 'speeding' AND status = 'closed'") == 2
    assert await rig.one("SELECT sum(fixes) FROM vehicle_hours") == 414
    assert await rig.one(
        "SELECT sum(distance_mm) FROM vehicle_days WHERE begins_at > %s", LATELY - timedelta(days=2)
    ) == await rig.one("SELECT sum(leg_mm) FROM fixes WHERE time > %s", LATELY - timedelta(hours=1))


async def test_violations_go_with_their_history_and_alerts_when_their_own_time_is_over(rig: WorkerRig) -> None:
    await take_in(rig, [*speeding(OLDER_STILL), *speeding(LONG_AGO)])
    before = await rig.rows("SELECT violation_id FROM violations WHERE kind = 'speeding' ORDER BY started_at")
    assert len(before) == 2
    # The silence between them began as long ago, and ended later.
    assert (await maintain(rig)).dropped["violations"] == 1
    for table in ("violations", "violation_revisions", "alerts"):
        left = await rig.rows(
            f"SELECT DISTINCT violation_id FROM {table} WHERE violation_id = ANY(%s)", [name for (name,) in before]
        )
        assert left == before[1:], table
    assert await rig.one("SELECT sum(fixes) FROM vehicle_days") == 414, "sums have no end"


async def test_nothing_is_dropped_while_a_mark_asks_for_it(rig: WorkerRig) -> None:
    await take_in(rig, speeding(LONG_AGO))
    await rig.connection.execute(
        "INSERT INTO rejudge_marks (vehicle_id, log_id, partition, from_time, to_time, late_fixes)"
        " VALUES ('V1', 'x', 0, %s, %s, 1)",
        (LONG_AGO, LONG_AGO),
    )
    assert "fixes" not in (await maintain(rig)).dropped
    assert await rig.one("SELECT count(*) FROM fixes") == 207
    await rig.connection.execute("DELETE FROM rejudge_marks")
    assert "fixes" in (await maintain(rig)).dropped


async def test_old_dead_letters_and_fixes_of_times_long_before_trackers_go(rig: WorkerRig) -> None:
    ancient = Fix("V1", to_us(datetime(1980, 1, 6, 12, tzinfo=UTC)), 21.0, 105.8, 50.0)
    await take_in(rig, [*speeding(LATELY), ancient])
    await rig.connection.execute(
        "INSERT INTO dead_letters (dead_letter_id, log_id, partition, log_offset, topic, received_at, reason, detail,"
        " payload) SELECT n, 'x', 0, 0, 't', now() - n * interval '1 day', 'bad_json', '', '' FROM"
        " (VALUES (399), (401)) v(n)"
    )
    assert (await maintain(rig)).dropped["dead_letters"] == 1
    assert await rig.one("SELECT dead_letter_id FROM dead_letters") == "399"
    assert await rig.one("SELECT count(*) FROM fixes") == 207


async def test_a_reader_of_old_fixes_is_waited_for_until_another_turn(rig: WorkerRig) -> None:
    if await rig.one("SELECT to_regclass('fixes_elsewhen') IS NULL"):
        pytest.skip("TimescaleDB drops chunks by itself")
    await take_in(rig, speeding(LONG_AGO))
    reader = await connect(rig.url)
    try:
        async with reader.transaction():
            await reader.execute("SELECT count(*) FROM fixes")
            assert "fixes" not in (await maintain(rig)).dropped
        assert "fixes" in (await maintain(rig)).dropped
    finally:
        await reader.close()
    assert await rig.one("SELECT sum(fixes) FROM vehicle_hours") == 207


async def test_only_one_works_at_a_time_and_whoever_waits_comes_next(rig: WorkerRig) -> None:
    await take_in(rig, speeding(LATELY))
    one, other = await connect(rig.url), await connect(rig.url)
    try:
        await one.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        assert await Upkeep(other, KEEP).turn(drop=True, wait=False) is None
        waiting = asyncio.create_task(Upkeep(other, KEEP).turn(drop=True, wait=True))
        await rig.until("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
        assert await rig.one("SELECT sums_at FROM upkeep") is None
        await one.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
        assert (await asyncio.wait_for(waiting, 30)) is not None
        assert await Upkeep(one, KEEP).turn(drop=False, wait=False) is not None, "the lock is given back"
    finally:
        await one.close()
        await other.close()


async def test_late_and_doubled_fixes_into_packed_chunks_are_each_stored_once(rig: WorkerRig) -> None:
    if not await is_continuous(rig.connection):
        pytest.skip("only TimescaleDB under its own licence packs fixes")
    begin = NOW - timedelta(days=30)
    vehicles = [f"V{n}" for n in range(20)]
    fixes = [fix for name in vehicles for fix in speeding(begin, name)]
    missing = fixes[50::207] + fixes[104::207]
    await take_in(rig, [fix for fix in fixes if fix not in missing])
    await maintain(rig)
    await rig.connection.execute("SELECT compress_chunk(c) FROM show_chunks('fixes') c")
    assert await rig.one(
        "SELECT bool_and(is_compressed) FROM timescaledb_information.chunks WHERE hypertable_name = 'fixes'"
    )
    await rig.append(
        message(*(fix for fix in fixes if fix.vehicle_id == name), received_us=to_us(NOW)) for name in vehicles
    )
    await rig.work_off()
    await maintain(rig)
    assert await rig.one("SELECT count(*) FROM fixes") == len(fixes)
    assert await rig.one("SELECT count(*) FROM (SELECT DISTINCT vehicle_id, time FROM fixes) f") == len(fixes)
    assert await rig.one("SELECT sum(fixes) FROM vehicle_hours") == len(fixes)
    await rig.is_sound()


async def test_the_policy_follows_the_setting(rig: WorkerRig) -> None:
    if not await is_continuous(rig.connection):
        pytest.skip("only TimescaleDB under its own licence packs fixes")
    for days in (7, 7, 9):
        await maintain(rig, KeepFor(400, 1_100, 400, days))
        jobs = await rig.rows(
            "SELECT config ->> 'compress_after' FROM timescaledb_information.jobs WHERE hypertable_name = 'fixes'"
        )
        assert jobs == [(f"{days} days",)]


@pytest.mark.parametrize(
    ("name", "days", "why"),
    [
        ("keep_journeys_days", 364, "the law wants journey data kept for a year: at least 365 days"),
        ("keep_violations_days", 399, "must not be less than HANHTRINH_KEEP_JOURNEYS_DAYS"),
    ],
)
def test_too_short_a_time_is_refused_with_the_reason(name: str, days: int, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        load_settings(**{name: days})
