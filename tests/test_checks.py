"""The reasons to distrust a fix, each at its boundary; and that one bad fix condemns no good one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from detectors.checks import Check, flags_alone
from detectors.columns import columns_of
from detectors.fix import Fix, to_us
from detectors.names import Names
from hanhtrinh.rule_packs import load_pack
from tests.scenario import HOME, MONDAY, Office, Stream, fixes, north_of

RULES = load_pack()
RECEIVED = datetime(2025, 3, 3, 12, tzinfo=UTC)


def alone(fix: Fix, received: datetime | None = None) -> Check:
    received_us = None if received is None else np.array([to_us(received)])
    return Check(int(flags_alone(columns_of([fix], Names(), Names()), RULES.pack.checks, received_us)[0]))


def fix_with(**values: Any) -> Fix:
    return Fix("A", to_us(MONDAY), *HOME, 50.0)._replace(**values)


def in_turn(sent: Sequence[Fix], per_call: int = 1000) -> list[Check]:
    """The flags of fixes when so many are judged per call."""
    return [Check(bits) for bits in Stream().send(sent, per_call).flags]


def places(*metres_north: float, every_s: float = 10) -> list[Fix]:
    step_us = round(every_s * 1e6)
    return [
        Fix("A", to_us(MONDAY) + number * step_us, *north_of(HOME, metres), 50.0)
        for number, metres in enumerate(metres_north)
    ]


def jumps(*metres_north: float, every_s: float = 10, per_call: int = 1000) -> list[int]:
    """Which of these places, one every so often, are jumps."""
    flags = in_turn(places(*metres_north, every_s=every_s), per_call)
    assert set(flags) <= {Check(0), Check.JUMP}
    return [number for number, each in enumerate(flags) if each]


def test_an_ordinary_fix_has_no_flag() -> None:
    assert alone(fix_with()) == Check(0)
    assert alone(fix_with(satellites=4, hdop=10.0, valid=True, speed_kmh=None)) == Check(0)


@pytest.mark.parametrize(
    "values",
    [{"valid": False}, {"satellites": 3}, {"satellites": 0}, {"hdop": 10.01}, {"lat": 0.0, "lon": 0.0}],
    ids=str,
)
def test_without_satellites_there_is_no_fix(values: dict[str, Any]) -> None:
    assert alone(fix_with(**values)) == Check.NO_FIX


@pytest.mark.parametrize("values", [{"lat": 0.0}, {"lon": 0.0}], ids=str)
def test_the_equator_and_the_meridian_are_places(values: dict[str, Any]) -> None:
    assert alone(fix_with(**values)) == Check(0)


@pytest.mark.parametrize(("speed_kmh", "flag"), [(200.0, Check(0)), (200.01, Check.SPEED)])
def test_no_commercial_vehicle_goes_faster_than_the_bound(speed_kmh: float, flag: Check) -> None:
    assert alone(fix_with(speed_kmh=speed_kmh)) == flag


def test_a_time_before_trackers_existed_is_a_clock_that_was_not_set() -> None:
    first = datetime(2010, 1, 1, tzinfo=UTC)
    assert alone(fix_with(time_us=to_us(first))) == Check(0)
    assert alone(fix_with(time_us=to_us(first) - 1)) == Check.CLOCK
    assert alone(fix_with(time_us=0), RECEIVED) == Check.CLOCK


def test_a_time_more_than_a_day_ahead_of_its_receipt_is_a_wrong_clock() -> None:
    ahead = RECEIVED + timedelta(days=1)
    assert alone(fix_with(time_us=to_us(ahead)), RECEIVED) == Check(0)
    assert alone(fix_with(time_us=to_us(ahead) + 1), RECEIVED) == Check.CLOCK
    assert alone(fix_with(time_us=to_us(ahead) + 1)) == Check(0)


@pytest.mark.parametrize("off", [timedelta(0), timedelta(days=1, hours=23), -timedelta(days=1, hours=23)])
def test_a_time_1024_weeks_back_is_told_apart_as_rollover(off: timedelta) -> None:
    wrapped = RECEIVED - timedelta(weeks=1024) + off
    assert alone(fix_with(time_us=to_us(wrapped)), RECEIVED) == Check.ROLLOVER


@pytest.mark.parametrize("off", [timedelta(days=2), -timedelta(days=2)])
def test_a_time_near_1024_weeks_back_is_just_a_wrong_clock(off: timedelta) -> None:
    wrapped = RECEIVED - timedelta(weeks=1024) + off
    assert alone(fix_with(time_us=to_us(wrapped)), RECEIVED) == Check.CLOCK


def test_flags_add_up() -> None:
    assert alone(fix_with(speed_kmh=300.0, valid=False, time_us=0)) == Check.SPEED | Check.NO_FIX | Check.CLOCK


@pytest.mark.parametrize("per_call", [1, 2, 1000])
def test_one_bad_place_is_a_jump_and_the_good_one_after_it_is_not(per_call: int) -> None:
    assert jumps(0, 100, 50_000, 200, 300, per_call=per_call) == [2]


@pytest.mark.parametrize("per_call", [1, 2, 1000])
def test_several_bad_places_far_from_each_other_are_all_jumps(per_call: int) -> None:
    assert jumps(0, 100, 50_000, -70_000, 90_000, 200, 300, per_call=per_call) == [2, 3, 4]


@pytest.mark.parametrize("per_call", [1, 2, 1000])
def test_a_wrong_start_is_left_behind_after_one_good_place(per_call: int) -> None:
    assert jumps(50_000, 0, 100, 200, per_call=per_call) == [1]


@pytest.mark.parametrize("per_call", [1, 2, 1000])
def test_the_way_back_is_judged_from_the_place_last_trusted(per_call: int) -> None:
    assert jumps(0, 50_000, 100, 50_100, 200, 300, per_call=per_call) == [1, 3]


def test_a_vehicle_that_was_carried_away_in_silence_has_not_jumped() -> None:
    assert jumps(0, 50_000, every_s=720.1) == []
    assert jumps(0, 50_000, every_s=719.9) == [1]


@pytest.mark.parametrize(("kmh", "found"), [(249.9, []), (250.1, [1])])
def test_a_jump_is_faster_than_250(kmh: float, found: list[int]) -> None:
    assert jumps(0, kmh / 3.6 * 10) == found


@pytest.mark.parametrize(("metres", "found"), [(299.9, []), (300.1, [1])])
def test_trackers_that_hold_a_position_and_catch_up_have_not_jumped(metres: float, found: list[int]) -> None:
    assert jumps(0, metres, every_s=1) == found


def test_a_fix_flagged_alone_is_no_place_to_measure_from() -> None:
    sent = places(0, 50_000, 100)
    sent[1] = sent[1]._replace(valid=False)
    assert in_turn(sent) == [Check(0), Check.NO_FIX, Check(0)]


def test_the_jump_of_one_vehicle_does_not_touch_another() -> None:
    one, other = places(0, 100, 50_000, 200), [each._replace(vehicle_id="B") for each in places(0, 100, 200, 300)]
    assert in_turn(one + other) == [Check(0), Check(0), Check.JUMP, *[Check(0)] * 5]


def test_a_recording_counts_each_check_by_name() -> None:
    sent = fixes("00:00 50", "00:10 50 invalid", "00:20 300", "00:30 50 jump", "00:40 50", "00:50 50 hdop=11")
    judged = Office().judge(sent)
    assert {name: n for name, n in judged.flagged.items() if n} == {"no_fix": 2, "speed": 1, "jump": 1}
    assert set(judged.flagged) == {str(check.name).lower() for check in Check}
    assert judged.fixes == 6
