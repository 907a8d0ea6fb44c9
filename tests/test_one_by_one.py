"""Rows of many keys are looked up by the index, whatever the database knows, or does not know yet, of the table."""

from __future__ import annotations

import json
from typing import Any

import pytest

from detectors.hours import Line
from storage import activity, connect
from storage.activity import ActivityStore, LineState
from storage.one_by_one import one_by_one
from storage.vehicles import Anchor, VehicleStore
from tests.running_worker import RECEIVED_US, RigMaker, journey, make_rig, message

__all__ = ["make_rig"]

_MANY = [f"driver:D{number:07d}" for number in range(3_000)]


def _nodes(plan: dict[str, Any]) -> list[tuple[str, str]]:
    inner = [node for part in plan.get("Plans", []) for node in _nodes(part)]
    return [(plan["Node Type"], plan.get("Relation Name", "")), *inner]


@pytest.mark.parametrize(
    ("statement", "more", "table"),
    [
        (activity.LOCK_LINES, (0, 1), "driver_hours"),
        (activity.MISSING_LINES, (), "driver_hours"),
        (one_by_one("vehicle_id, log_id", "vehicle_anchors", "vehicle_id"), (), "vehicle_anchors"),
        (one_by_one("driver_id", "drivers", "driver_id", "rule_pack IS NOT NULL"), (), "drivers"),
        (one_by_one("violation_id, status", "violations", "violation_id"), (), "violations"),
    ],
)
async def test_a_table_that_was_empty_when_the_plan_was_made_is_read_by_its_key(
    postgres_url: str, statement: str, more: tuple[int, ...], table: str
) -> None:
    """A worker keeps its plans: those of a new database were made on empty tables, which a fleet fills in a minute."""
    async with await connect.connect(postgres_url) as connection:
        # As after five times of the same statement: planned without looking into the array.
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        cursor = await connection.execute(f"EXPLAIN (FORMAT JSON) {statement}", (_MANY, *more), prepare=True)
        row = await cursor.fetchone()
    assert row is not None
    (told,) = row[0] if isinstance(row[0], list) else json.loads(row[0])
    (read,) = [kind for kind, relation in _nodes(told["Plan"]) if relation == table]
    assert read in ("Index Scan", "Index Only Scan")


async def test_a_fleet_that_fills_empty_tables_is_not_looked_for_page_by_page(
    make_rig: RigMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the plans of empty tables a batch of 10,000 took 10 s: each line was looked for in the whole table."""
    monkeypatch.setattr("hanhtrinh.worker.plans._EVERY_S", 0.0)
    rig = await make_rig()
    # As an office does that has its database looked after before the fleet is connected.
    await rig.connection.execute("VACUUM ANALYZE driver_hours, vehicle_anchors")
    begin_us, vehicles = RECEIVED_US - 3_600_000_000, range(3_000)
    journeys = [journey(f"29B-{each:05d}", begin_us, [40.0] * 2, driver_id=f"D{each}") for each in vehicles]
    async with rig.worker(batch_max_messages=300) as task:
        # The database keeps a plan when it has made a statement's ten times.
        for few in journeys[:15]:
            await rig.append(map(message, few))
            await rig.worked_off(60.0, task)
        await rig.append(message(fix) for fixes in zip(*journeys[15:], strict=True) for fix in fixes)
        await rig.worked_off(60.0, task)
    assert await rig.one("SELECT count(*) FROM driver_hours") == len(vehicles)
    # Some hundred while the table has a page or two; 6,000 with the first plans.
    assert await rig.one("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'driver_hours'") < 2_000


async def test_keys_come_back_in_their_order_and_those_without_a_row_not_at_all(postgres_url: str) -> None:
    async with await connect.connect(postgres_url) as connection:
        await VehicleStore(connection).save_anchors([Anchor(name, None, 5, "log", 1) for name in ("B", "A")])
        found = await VehicleStore(connection).anchors(["B", "C", "A"])
    assert [each.vehicle_id for each in found] == ["B", "A"]


async def test_rows_that_do_not_meet_the_condition_are_left_out(postgres_url: str) -> None:
    async with await connect.connect(postgres_url) as connection:
        await connection.execute("INSERT INTO drivers (driver_id, rule_pack) VALUES ('D1', 'eu'), ('D2', NULL)")
        assert await ActivityStore(connection).rule_packs(["D2", "D1"]) == {"D1": "eu"}


async def test_lines_are_locked_and_those_never_seen_are_told(postgres_url: str) -> None:
    known, new = Line("D1", None), Line("D2", None)
    async with await connect.connect(postgres_url) as connection, await connect.connect(postgres_url) as other:
        store = ActivityStore(connection)
        await store.open_lines({known: LineState(1, 2, 3)})
        async with connection.transaction():
            states = await store.lock_lines([new, known], 0, 10)
            assert states == {new: None, known: LineState(1, 2, 3)}
            cursor = await other.execute("SELECT line_id FROM driver_hours FOR NO KEY UPDATE SKIP LOCKED")
            assert await cursor.fetchall() == []
