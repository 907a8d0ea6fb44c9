"""What is dropped and what stays close to the moment on which it depends: both sides of it lie hours apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from storage.retention import KeepFor, Retention
from storage.sums import Sums
from tests.outbox_rows import add_alert
from tests.running_worker import WorkerRig, make_rig, rig
from tests.test_retention import KEEP, maintain, speeding, take_in

__all__ = ["make_rig", "rig"]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FIXES = "SELECT vehicle_id, time, leg_mm FROM fixes WHERE time >= %s ORDER BY 1, 2"
WAYPOINTS = "SELECT vehicle_id, time FROM waypoints WHERE time >= %s ORDER BY 1, 2"
EVER = datetime(1970, 1, 1, tzinfo=UTC)


class Cutoff(NamedTuple):
    """Journeys are kept from the middle of a month on, whatever today is."""

    keep: KeepFor
    at: datetime
    """What is older goes: by the day on TimescaleDB, by the month elsewhere."""


async def cutoff(rig: WorkerRig) -> Cutoff:
    now = datetime.now(UTC)
    middle = (now - KEEP.journeys * DAY).replace(day=15, hour=0, minute=0, second=0, microsecond=0)
    by_month = await rig.one("SELECT to_regclass('fixes_elsewhen') IS NOT NULL")
    keep = KeepFor((now - middle).days, KEEP.violations, KEEP.letters, KEEP.rows)
    return Cutoff(keep, middle.replace(day=1) if by_month else middle)


async def count(rig: WorkerRig) -> None:
    await Sums(rig.connection).bring_up_to_date()


async def test_what_is_older_than_the_cutoff_goes_and_what_is_younger_stays_to_the_last_fix(rig: WorkerRig) -> None:
    keep, at = await cutoff(rig)
    # The last of them is older than what is to be kept as well, where the month of it is not.
    await take_in(rig, [*speeding(at - HOUR), *speeding(at + HOUR), *speeding(at + 10 * DAY)])
    await count(rig)
    fixes, waypoints = await rig.rows(FIXES, at), await rig.rows(WAYPOINTS, at)
    assert (len(fixes), len(await rig.rows(FIXES, EVER))) == (414, 621)
    assert 0 < len(waypoints) < len(await rig.rows(WAYPOINTS, EVER))
    assert (await maintain(rig, keep)).dropped["fixes"] == 1
    assert await rig.rows(FIXES, EVER) == fixes
    assert await rig.rows(WAYPOINTS, EVER) == waypoints
    assert await rig.one("SELECT fixes_from FROM upkeep") == at


async def test_what_comes_late_is_counted_from_the_cutoff_on(rig: WorkerRig) -> None:
    keep, at = await cutoff(rig)
    await take_in(rig, [*speeding(at - HOUR), *speeding(at + 10 * DAY)])
    assert (await maintain(rig, keep)).dropped["fixes"] == 1
    await take_in(rig, [*speeding(at - 3 * HOUR), *speeding(at + HOUR)])
    await count(rig)
    assert await rig.one("SELECT sum(fixes) FROM vehicle_hours WHERE hour >= %s", at) == 414
    assert await rig.one("SELECT sum(fixes) FROM vehicle_days") == 621


async def test_the_activity_that_holds_at_the_cutoff_stays_and_what_went_before_it_goes(rig: WorkerRig) -> None:
    keep, at = await cutoff(rig)
    await take_in(
        rig,
        [*speeding(at - 5 * HOUR), *speeding(at - HOUR), *speeding(at + HOUR), *speeding(at - 3 * HOUR, "V2")],
    )
    changes = await rig.rows("SELECT vehicle_id, time, activity FROM activity_changes ORDER BY 1, 2")
    holds = {vehicle: time for vehicle, time, _ in changes if time < at}
    staying = [row for row in changes if row[1] >= holds[row[0]]]
    assert set(holds) == {"V1", "V2"}
    assert {vehicle: sum(row[0] == vehicle for row in staying) for vehicle in holds}["V1"] > 1
    assert (await maintain(rig, keep)).dropped["activity_changes"] == len(changes) - len(staying) > 1
    assert await rig.rows("SELECT vehicle_id, time, activity FROM activity_changes ORDER BY 1, 2") == staying


async def test_fixes_are_not_given_up_while_an_uncounted_hour_asks_for_them(rig: WorkerRig) -> None:
    keep, at = await cutoff(rig)
    retention = Retention(rig.connection, keep)
    await take_in(rig, speeding(at - HOUR))
    assert "fixes" not in await retention.drop()
    assert len(await rig.rows(FIXES, EVER)) == 207
    assert not await rig.one("SELECT isfinite(fixes_from) FROM upkeep")
    await count(rig)
    # The hours of these are uncounted too, and do not ask for anything older.
    await take_in(rig, speeding(at))
    assert (await retention.drop())["fixes"] == 1
    assert await rig.one("SELECT count(*) FROM stale_hours WHERE hour < %s", at) == 0
    await count(rig)
    assert await rig.one("SELECT sum(fixes) FROM vehicle_hours") == 414


@pytest.mark.parametrize(("before", "dropped"), [(timedelta(0), True), (timedelta(seconds=1), False)])
async def test_a_mark_asks_for_the_moment_from_which_to_judge_again_and_nothing_older(
    rig: WorkerRig, before: timedelta, dropped: bool
) -> None:
    keep, at = await cutoff(rig)
    await take_in(rig, speeding(at - HOUR))
    await rig.connection.execute(
        "INSERT INTO rejudge_marks (vehicle_id, log_id, partition, from_time, to_time, late_fixes)"
        " VALUES ('V1', 'x', 0, %s, %s, 1)",
        (at - before, at + DAY),
    )
    assert ("fixes" in (await maintain(rig, keep)).dropped) == dropped
    assert len(await rig.rows(FIXES, EVER)) == (0 if dropped else 207)


async def test_warnings_go_with_their_deliveries_when_their_fixes_go(rig: WorkerRig) -> None:
    keep, at = await cutoff(rig)
    await take_in(rig, [*speeding(at - HOUR), *speeding(at + HOUR)])
    proven = await rig.rows("SELECT alert_id FROM alerts ORDER BY 1")
    assert len(proven) > 1
    for name, event_at in (("old", at - HOUR), ("young", at + HOUR)):
        await rig.connection.execute(
            "INSERT INTO alerts (alert_id, stage, vehicle_id, event_at, received_at, push, body)"
            " VALUES (%s, 'warning', 'V1', %s, %s, true, '{}')",
            (name, event_at, event_at),
        )
    await rig.connection.execute(
        "INSERT INTO deliveries (alert_id, channel, status) SELECT alert_id, 'webhook', 'sent' FROM alerts"
    )
    await maintain(rig, keep)
    for table in ("alerts", "deliveries"):
        left = await rig.rows(f"SELECT alert_id FROM {table} ORDER BY 1")
        assert sorted(left) == sorted([*proven, ("young",)]), table


async def test_a_violation_goes_when_it_began_and_ended_before_its_cutoff_and_is_not_open(rig: WorkerRig) -> None:
    at = datetime.now(UTC) - KEEP.violations * DAY
    for name, began_at, ended_at, status in (
        ("over", at - 2 * HOUR, at - HOUR, "closed"),
        ("withdrawn", at - 2 * HOUR, at - HOUR, "withdrawn"),
        ("still open", at - 2 * HOUR, at - HOUR, "open"),
        ("ended later", at - HOUR, at + HOUR, "closed"),
        ("began later", at + HOUR, at + 2 * HOUR, "closed"),
    ):
        alert_id = await add_alert(rig.connection, name)
        await rig.rows(
            "UPDATE violations SET started_at = %s, ended_at = %s, status = %s,"
            " withdrawn_at = CASE WHEN %s = 'withdrawn' THEN now() END WHERE violation_id = %s RETURNING 1",
            began_at, ended_at, status, status, name,
        )  # fmt: skip
        await rig.connection.execute(
            "INSERT INTO deliveries (alert_id, channel, status) VALUES (%s, 'webhook', 'sent')", (alert_id,)
        )
        await rig.connection.execute(
            "INSERT INTO violation_revisions (violation_id, revision, change, why) VALUES (%s, 1, 'opened', '')",
            (name,),
        )
    assert (await maintain(rig)).dropped == {"violations": 2}
    staying = ["began later", "ended later", "still open"]
    for table in ("violations", "violation_revisions", "alerts"):
        assert sorted(await rig.rows(f"SELECT violation_id FROM {table}")) == [(name,) for name in staying], table
    delivered = await rig.rows("SELECT alert_id FROM deliveries ORDER BY 1")
    assert delivered == [(f"{name}:opened",) for name in staying]
