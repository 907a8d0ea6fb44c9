"""The table of last positions: where each vehicle was last trusted to be, corrected when judged again."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from detectors.checks import Check
from detectors.fix import to_us
from storage.last_positions import LastPosition, save_last_positions
from tests.running_worker import WorkerRig, journey, make_rig, message, rig
from tests.test_worker_order import hostile_journeys, shuffled, with_conflicts

__all__ = ["make_rig", "rig"]

BEGIN_US = to_us(datetime(2026, 3, 4, 1, tzinfo=UTC))

OF_FIXES = """
    SELECT f.vehicle_id, f.time, f.lat, f.lon, f.speed_kmh, f.driver_id, n.time, n.flags
    FROM (SELECT DISTINCT ON (vehicle_id) * FROM fixes WHERE flags = 0 ORDER BY vehicle_id, time DESC) f
    JOIN (SELECT DISTINCT ON (vehicle_id) * FROM fixes WHERE flags & 6 = 0 ORDER BY vehicle_id, time DESC) n
        USING (vehicle_id) ORDER BY 1
"""
SHOWN = """
    SELECT vehicle_id, time, lat, lon, speed_kmh, driver_id, newest_at, newest_flags FROM last_positions ORDER BY 1
"""


async def test_each_vehicle_is_where_its_newest_trusted_fix_was(rig: WorkerRig) -> None:
    await rig.rows("INSERT INTO vehicles (vehicle_id, limit_kmh) VALUES ('V1', 70) RETURNING 1")
    fixes = journey("V1", BEGIN_US, [40.0, 41.0, None], driver_id="D1")
    nowhere = fixes[-1]._replace(time_us=fixes[-1].time_us + 10_000_000, valid=False)
    ahead = nowhere._replace(time_us=to_us(datetime(2098, 1, 1, tzinfo=UTC)), valid=True)
    await rig.append([message(*fixes, nowhere), message(ahead), message(*journey("V2", BEGIN_US, [0.0]))])
    await rig.work_off()
    assert await rig.rows(SHOWN) == await rig.rows(OF_FIXES)
    others = await rig.rows(
        "SELECT vehicle_id, activity, limit_kmh, limit_source, newest_flags FROM last_positions ORDER BY 1"
    )
    assert others == [("V1", "driving", 70.0, "vehicle", Check.NO_FIX), ("V2", None, others[1][2], "class", 0)]


async def test_it_follows_within_seconds_while_the_worker_is_at_work(rig: WorkerRig) -> None:
    fixes = journey("V1", BEGIN_US, [40.0] * 20)
    async with rig.worker():
        await rig.append([message(fixes[0])])
        await rig.until("SELECT EXISTS (SELECT FROM last_positions)")
        await rig.append([message(fix) for fix in fixes[1:]])
        await rig.until(
            "SELECT time = (SELECT max(time) FROM fixes) AND 20 = (SELECT count(*) FROM fixes) FROM last_positions"
        )


async def test_a_late_fix_that_makes_the_last_one_a_jump_corrects_it(rig: WorkerRig) -> None:
    fixes = journey("V1", BEGIN_US, [40.0] * 5)
    far = fixes[4]._replace(lat=24.0)
    await rig.append([message(fixes[0]), message(far._replace(time_us=far.time_us + 7_200_000_000))])
    await rig.work_off()
    assert await rig.rows(SHOWN) == await rig.rows(OF_FIXES)
    near = fixes[4]._replace(time_us=far.time_us + 7_199_000_000)
    await rig.append([message(near)])
    await rig.work_off()
    shown = await rig.rows(SHOWN)
    assert shown == await rig.rows(OF_FIXES)
    assert (shown[0][2], shown[0][7]) == (near.lat, Check.JUMP)


async def test_whatever_came_late_or_twice_every_vehicle_ends_where_its_fixes_say(rig: WorkerRig) -> None:
    rng = random.Random(1)
    fixes = with_conflicts(hostile_journeys(rng), rng)
    for _ in range(2):
        await rig.append(shuffled(fixes, rng))
        await rig.work_off(batch_max_messages=rng.choice((10, 100)))
        assert await rig.rows(SHOWN) == await rig.rows(OF_FIXES)


async def test_an_older_word_never_takes_the_place_of_a_newer_one(rig: WorkerRig) -> None:
    new = LastPosition("V1", BEGIN_US, 21.0, 105.8, None, None, None, 80.0, "class", BEGIN_US + 5, 1)
    await save_last_positions(rig.connection, [new])
    await save_last_positions(rig.connection, [new._replace(time_us=BEGIN_US - 1, lat=20.0, newest_us=BEGIN_US + 4)])
    assert await rig.one("SELECT lat FROM last_positions") == 21.0
    await save_last_positions(rig.connection, [new._replace(time_us=BEGIN_US - 1, lat=20.0)])
    assert await rig.one("SELECT lat FROM last_positions") == 20.0, "judged again, the newest fix being the same"
