"""Where judging again begins and ends: what is asked for is a stretch, what is judged are whole episodes."""

from __future__ import annotations

from datetime import date

from hanhtrinh.rule_packs import load_pack
from tests.running_worker import WorkerRig, journey, make_rig, rig
from tests.test_rejudge_command import rejudge, stored

__all__ = ["make_rig", "rig"]


async def test_an_episode_of_todays_limit_that_began_hours_before_the_stretch_is_found_whole(rig: WorkerRig) -> None:
    """By the limit of then every fix of it was settled: beginning at one of those would cut it in two."""
    await rig.imports("vehicle_id,limit_kmh\nV1,80\n")
    midnight_us = load_pack().midnight_us(date(2025, 3, 4))
    await stored(rig, journey("V1", midnight_us - 10_800_000_000, [50.0] * 10 + [75.0] * 1_500 + [50.0] * 10))
    await rig.imports("vehicle_id,limit_kmh\nV1,60\n")
    await rig.work_off()
    code, _, err = await rejudge(rig, "--from", "2025-03-04", "--to", "2025-03-04", "--yes")
    assert code == 0, err
    assert await rig.rows("SELECT kind, duration_s FROM violations WHERE kind = 'speeding'") == [("speeding", 14_990.0)]
    await rig.is_sound()
