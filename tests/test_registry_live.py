"""The registry changes under workers at work: what is judged from then on is judged by it, open episodes included."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from detectors.fix import Fix, to_us
from storage.vehicles import VehicleStore
from tests.running_worker import RigMaker, WorkerRig, journey, make_rig, message, rig
from tests.scenario import DRIVER, MONDAY, day, drive, fixes_of, stop
from tests.table_state import broken_invariants, table_state

__all__ = ["make_rig", "rig"]

BEGIN_US = to_us(MONDAY)
FAST = journey("V1", BEGIN_US, [75.0] * 60)
"""Ten minutes at 75 km/h."""


async def violations(rig: WorkerRig) -> list[tuple[Any, ...]]:
    return await rig.rows(
        "SELECT vehicle_id, status, limit_kmh, operator_id, (extract(epoch FROM started_at) * 1000000)::int8"
        " FROM violations WHERE kind = 'speeding' ORDER BY started_at, vehicle_id"
    )


async def whys(rig: WorkerRig) -> list[tuple[str, str]]:
    rows = await rig.rows("SELECT change, why FROM violation_revisions ORDER BY at")
    return [(change, why) for change, why in rows]


async def sent(rig: WorkerRig, fixes: Sequence[Fix], *tasks: asyncio.Task[None]) -> None:
    await rig.append(message(fix) for fix in fixes)
    await rig.worked_off(60.0, *tasks)


async def test_a_lowered_limit_counts_for_a_running_worker_from_the_import_on(rig: WorkerRig) -> None:
    await rig.imports("vehicle_id,limit_kmh\nV1,80\n")
    async with rig.worker() as task:
        await sent(rig, FAST[:30], task)
        assert await violations(rig) == []
        await rig.imports("vehicle_id,limit_kmh\nV1,60\n")
        await rig.worked_off(10.0, task)
        await sent(rig, FAST[30:], task)
    assert await violations(rig) == [("V1", "open", 60.0, None, FAST[29].time_us)]
    assert await broken_invariants(rig.connection) == []


async def test_an_open_violation_is_withdrawn_when_the_limit_is_raised_and_says_why(rig: WorkerRig) -> None:
    await rig.imports("vehicle_id,limit_kmh\nV1,60\n")
    async with rig.worker() as task:
        await sent(rig, journey("V1", BEGIN_US - 10_000_000, [50.0]) + FAST[:30], task)
        assert [row[1] for row in await violations(rig)] == ["open"]
        await rig.imports("vehicle_id,limit_kmh\nV1,80\n")
        await rig.worked_off(10.0, task)
        assert [row[1] for row in await violations(rig)] == ["withdrawn"]
        await sent(rig, FAST[30:], task)
    assert [row[1] for row in await violations(rig)] == ["withdrawn"]
    assert (await whys(rig))[-1] == ("withdrawn", "limit of the vehicle changed")
    await rig.is_sound()


async def test_closed_violations_of_the_past_stand_as_they_were_judged(rig: WorkerRig) -> None:
    await rig.imports("vehicle_id,limit_kmh\nV1,60\n")
    story = [
        *journey("V1", BEGIN_US - 10_000_000, [50.0]),
        *FAST[:30],
        *journey("V1", BEGIN_US + 300_000_000, [50.0] * 3),
    ]
    async with rig.worker() as task:
        await sent(rig, story, task)
        await rig.imports("vehicle_id,limit_kmh\nV1,80\n")
        await rig.worked_off(10.0, task)
    assert [row[1:3] for row in await violations(rig)] == [("closed", 60.0)]


async def test_a_worker_that_was_away_during_the_import_ends_as_one_that_was_there(
    make_rig: RigMaker,
) -> None:
    states = []
    for away in (False, True):
        rig = await make_rig()
        await rig.imports("vehicle_id,limit_kmh\nV1,80\n")
        async with rig.worker() as task:
            await sent(rig, FAST[:30], task)
            if not away:
                await rig.imports("vehicle_id,limit_kmh\nV1,60\n")
                await rig.worked_off(10.0, task)
        if away:
            await rig.imports("vehicle_id,limit_kmh\nV1,60\n")
        async with rig.worker() as task:
            await sent(rig, FAST[30:], task)
        states.append(await table_state(rig.connection))
        assert [row["limit_kmh"] for row in states[-1].violations] == [60.0]
    assert states[0].differences(states[1], alerts=False) == ""


async def test_an_import_before_the_worker_looks_is_not_lost_to_late_fixes_that_wait(rig: WorkerRig) -> None:
    """The mark of the late fixes is in the worker's hands already when the import widens it."""
    await rig.imports("vehicle_id,limit_kmh\nV1,80\n")
    async with rig.worker(late_settle_ms=1_500) as task:
        await rig.append(message(fix) for fix in FAST[:10] + FAST[12:30])
        await rig.until("SELECT coalesce(sum(next_offset), 0) = 28 FROM log_positions")
        await rig.append(message(fix) for fix in FAST[10:12])
        await rig.until("SELECT count(*) = 1 FROM rejudge_marks")
        await rig.imports("vehicle_id,limit_kmh\nV1,60\n")
        await rig.worked_off(20.0, task)
        await sent(rig, FAST[30:], task)
    rows = await violations(rig)
    assert [row[1:3] for row in rows if row[1] != "withdrawn"] == [("open", 60.0)]
    assert ("opened", "2 late fixes; limit of the vehicle changed") in await whys(rig)
    assert await broken_invariants(rig.connection) == []


async def test_late_fixes_after_an_import_do_not_move_where_the_new_limit_began(rig: WorkerRig) -> None:
    await rig.imports("vehicle_id,limit_kmh\nV1,80\n")
    async with rig.worker() as task:
        await sent(rig, FAST[:30], task)
        await rig.imports("vehicle_id,limit_kmh\nV1,60\n")
        await rig.worked_off(10.0, task)
        await sent(rig, FAST[30:40] + FAST[42:], task)
        await sent(rig, FAST[40:42], task)
    assert await violations(rig) == [("V1", "open", 60.0, None, FAST[29].time_us)]


async def test_a_vehicle_on_its_first_way_into_the_tables_is_judged_by_what_is_imported_meanwhile(
    rig: WorkerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the reading of its entry and the commit of its first fixes there is no anchor that a mark could name."""
    imported = 0
    registered = VehicleStore.registered

    async def registered_then_imported(store: VehicleStore, vehicle_ids: Sequence[str]) -> Any:
        nonlocal imported
        found = await registered(store, vehicle_ids)
        imported += 1
        if imported == 1:
            await rig.imports("vehicle_id,limit_kmh\nV1,60\n")
        return found

    monkeypatch.setattr(VehicleStore, "registered", registered_then_imported)
    async with rig.worker() as task:
        await sent(rig, FAST[:30], task)
    assert imported > 1
    assert [row[1:3] for row in await violations(rig)] == [("open", 60.0)]


async def test_a_sold_vehicle_leaves_its_violations_with_the_operator_that_had_it(rig: WorkerRig) -> None:
    await rig.imports("operator_id,name\nop1,One\nop2,Two\n")
    await rig.imports("vehicle_id,operator_id,limit_kmh\nV1,op1,60\n")
    async with rig.worker() as task:
        await sent(rig, [*journey("V1", BEGIN_US - 10_000_000, [50.0]), *FAST[:30]], task)
        await rig.imports("vehicle_id,operator_id\nV1,op2\n")
        await rig.worked_off(10.0, task)
        slow = journey("V1", BEGIN_US + 600_000_000, [50.0] * 3)
        await sent(rig, [*FAST[30:], *slow, *journey("V1", BEGIN_US + 630_000_000, [75.0] * 6)], task)
    assert [row[1:4] for row in await violations(rig)] == [("closed", 60.0, "op1"), ("open", 60.0, "op2")]


async def test_a_driver_who_gets_another_pack_has_the_running_day_judged_by_it(rig: WorkerRig) -> None:
    story = fixes_of(day(drive(hours=2, minutes=10), stop(minutes=15), drive(hours=2, minutes=25)))
    async with rig.worker() as task:
        await sent(rig, story, task)
        assert await rig.rows("SELECT * FROM violations") == []
        await rig.imports(f"driver_id,rule_pack\n{DRIVER},eu\n")
        await rig.worked_off(10.0, task)
    assert await rig.rows("SELECT kind, rule_pack, limit_s FROM violations") == [("continuous_driving", "eu", 16200.0)]
    assert (await whys(rig))[0] == ("opened", f"rule pack of driver {DRIVER} changed")


async def test_a_taxi_that_was_none_has_its_running_drive_judged_as_a_taxi(rig: WorkerRig) -> None:
    story = fixes_of(day(drive(hours=2, minutes=10), stop(minutes=6), drive(hours=2)))
    async with rig.worker() as task:
        await sent(rig, story, task)
        assert await rig.rows("SELECT kind FROM violations") == [("continuous_driving",)]
        await rig.imports(f"vehicle_id,kind\n{story[0].vehicle_id},taxi\n")
        await rig.worked_off(10.0, task)
    assert await rig.rows("SELECT kind, status FROM violations") == [("continuous_driving", "withdrawn")]
    assert (await whys(rig))[-1] == ("withdrawn", "kind of the vehicle changed")


async def test_an_import_that_changes_nothing_marks_nobody(rig: WorkerRig) -> None:
    await rig.imports("vehicle_id,limit_kmh,seats\nV1,80,4\n")
    await rig.append(message(fix) for fix in FAST[:5])
    await rig.work_off()
    await rig.imports("vehicle_id,limit_kmh,seats\nV1,80,7\n")
    await rig.imports("vehicle_id,limit_kmh\nV2,60\n")
    assert await rig.rows("SELECT * FROM rejudge_marks") == []


async def test_a_mark_follows_a_vehicle_whose_messages_come_over_another_log(rig: WorkerRig) -> None:
    await rig.append(message(fix) for fix in FAST[:30])
    await rig.work_off()
    await rig.rows("INSERT INTO logs SELECT 'elsewhere', 1 RETURNING 1")
    await rig.rows("UPDATE vehicle_anchors SET log_id = 'elsewhere', settled_at = NULL RETURNING 1")
    await rig.imports("vehicle_id,limit_kmh\nV1,60\n")
    assert await rig.one("SELECT log_id FROM rejudge_marks") == "elsewhere"
    async with rig.worker() as task:
        await sent(rig, FAST[30:] + journey("V1", BEGIN_US + 600_000_000, [50.0] * 90), task)
    assert [row[1:3] for row in await violations(rig)] == [("closed", 60.0)]
