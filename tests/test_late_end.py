"""Where a stretch that is judged again ends: at a fix that depends on nothing before it, with what follows it known."""

from __future__ import annotations

import pytest

from tests.running_worker import RigMaker, journey, make_rig, message
from tests.speeding_trip import BEGIN_US
from tests.table_state import table_state

__all__ = ["make_rig"]

SPEEDS = [40.0] * 3 + [0.0] * 3 + [40.0, 0.0] * 3 + [40.0] * 3 + [0.0] * 2 + [40.0] * 2


@pytest.mark.parametrize("beyond", [1, 2])
async def test_however_few_fixes_beyond_a_late_one_are_read_at_first_it_ends_as_in_time(
    make_rig: RigMaker, monkeypatch: pytest.MonkeyPatch, beyond: int
) -> None:
    """Whether an activity changes at the end is for the leg after it to say: a busy day ends among what was read."""
    monkeypatch.setattr("hanhtrinh.worker.late._FIRST_BEYOND", beyond)
    in_time, rig = await make_rig(), await make_rig()
    trips = [journey(f"V{late:02}", BEGIN_US, SPEEDS, driver_id="D1") for late in range(len(SPEEDS) - 1)]
    await in_time.append(message(fix) for trip in trips for fix in trip)
    await in_time.work_off()
    await rig.append(message(fix) for late, trip in enumerate(trips) for fix in trip[:late] + trip[late + 1 :])
    await rig.work_off()
    await rig.append(message(trip[late]) for late, trip in enumerate(trips))
    await rig.work_off()
    await rig.is_sound()
    expected = await table_state(in_time.connection)
    assert expected.activity
    assert expected.differences(await table_state(rig.connection), alerts=False) == ""
