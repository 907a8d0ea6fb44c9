"""How the database goes about what reports ask: a fleet's months are a hundred million fixes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from storage.reports.hours import DISTANCES
from tests.report_month import month
from tests.running_worker import WorkerRig

__all__ = ["month"]


def _nodes(plan: dict[str, Any]) -> set[str]:
    return {plan["Node Type"]}.union(*map(_nodes, plan.get("Plans", [])))


async def test_the_kilometres_of_drives_are_summed_drive_by_drive_and_never_joined_with_every_fix(
    month: WorkerRig,
) -> None:
    """Six thousand drives made PostgreSQL hash a hundred million fixes: the report took 112 s, and 4 without it."""
    at = datetime(2026, 10, 1, 1, tzinfo=UTC)
    vehicles = [
        vehicle for (vehicle,) in await month.rows("SELECT vehicle_id FROM vehicles ORDER BY 1 LIMIT 5")
    ] * 1_200
    count = len(vehicles)
    assert count == 6_000
    drives = {
        "ids": [str(number) for number in range(count)],
        "vehicles": vehicles,
        "begins": [at] * count,
        "ends": [at + timedelta(hours=5)] * count,
        "drivers": ["D1"] * count,
    }
    # Where anything else is possible it is taken now.
    await month.connection.execute("SET enable_nestloop = off")
    cursor = await month.connection.execute(f"EXPLAIN (FORMAT JSON) {DISTANCES}", drives)
    row = await cursor.fetchone()
    assert row is not None
    (told,) = row[0] if isinstance(row[0], list) else json.loads(row[0])
    nodes = _nodes(told["Plan"])
    assert "Nested Loop" in nodes
    assert not nodes & {"Hash Join", "Merge Join"}
