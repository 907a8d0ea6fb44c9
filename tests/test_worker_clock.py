"""A tracker whose clock ran ahead, and the same fixes again when their time has come."""

from __future__ import annotations

from tests.running_worker import RECEIVED_US, WorkerRig, journey, make_rig, message, rig
from tests.table_state import broken_invariants

__all__ = ["make_rig", "rig"]

DAY_US = 86_400_000_000
AHEAD = journey("51B-00007", RECEIVED_US + 2 * DAY_US, [90.0] * 8 + [20.0])


async def test_fixes_from_the_future_prove_nothing_also_when_they_come_again_in_their_time(rig: WorkerRig) -> None:
    await rig.append(message(fix) for fix in AHEAD)
    await rig.work_off()
    await rig.append(message(fix, received_us=RECEIVED_US + 2 * DAY_US) for fix in AHEAD)
    await rig.work_off()
    assert await rig.rows("SELECT DISTINCT flags <> 0, settled FROM fixes") == [(True, False)]
    assert await rig.rows("SELECT violation_id FROM violations WHERE status <> 'withdrawn'") == []
    assert await rig.rows("SELECT 1 FROM activity_changes") == []
    assert await broken_invariants(rig.connection) == []
