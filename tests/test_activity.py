"""Driving, stopped or unknown between two fixes; and whose time it was."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from detectors.activity import Activity
from detectors.fix import Fix, to_us
from tests.reference_judge import metres_between
from tests.scenario import CAR, MONDAY, Change, Stream, fixes, us

DRIVING, STOPPED, UNKNOWN = Activity.DRIVING, Activity.STOPPED, Activity.UNKNOWN


def after(seconds: float) -> int:
    return to_us(MONDAY) + us(seconds)


def changes(sent: Sequence[Fix], per_call: int = 1000) -> list[Change]:
    return Stream().send(sent, per_call).changes


def timeline(*told: str, per_call: int = 1000) -> list[tuple[float, Activity]]:
    """(seconds since the story began, activity) of each change, so many fixes judged per call."""
    return [((time_us - to_us(MONDAY)) / 1e6, what) for _, time_us, _, what in changes(fixes(*told), per_call)]


@pytest.mark.parametrize(("speed", "what"), [("0", STOPPED), ("2.99", STOPPED), ("3", DRIVING), ("3.01", DRIVING)])
def test_a_vehicle_moves_from_three_kilometres_per_hour(speed: str, what: Activity) -> None:
    assert timeline(f"00:00 {speed}", "01:00 0") == [(0, what)]


def test_the_speed_at_the_earlier_fix_decides() -> None:
    assert timeline("00:00 0", "01:00 50", "02:00 0", "03:00 0") == [(0, STOPPED), (60, DRIVING), (120, STOPPED)]


def test_what_goes_on_is_told_once() -> None:
    assert timeline("00:00 50", "01:00 60", "02:00 70", "03:00 0", "04:00 0", "05:00 1") == [
        (0, DRIVING),
        (180, STOPPED),
    ]


def test_one_fix_tells_nothing() -> None:
    assert timeline("00:00 50") == []


@pytest.mark.parametrize("per_call", [1, 2, 3])
def test_changes_do_not_depend_on_the_calls(per_call: int) -> None:
    told = ["00:00 0", "01:00 50", "02:00 60", "03:00 0", "04:00 1", "05:00 0 invalid", "06:00 40", "07:00 40"]
    assert timeline(*told, per_call=per_call) == timeline(*told)


def test_five_minutes_without_a_word_are_still_driving() -> None:
    assert timeline("00:00 50", "05:00 50", "05:10 50") == [(0, DRIVING)]


@pytest.mark.parametrize(("metres", "what"), [(0, STOPPED), (199.9, STOPPED), (200.1, UNKNOWN), (15_000, UNKNOWN)])
@pytest.mark.parametrize("speed", [0, 15])
def test_a_longer_silence_is_a_stop_unless_the_vehicle_was_displaced(speed: int, metres: float, what: Activity) -> None:
    told = [f"00:00 {speed}", f"05:00.000001 15 metres={metres}", "05:10 15"]
    assert timeline(*told) == [(0, what), (300.000001, DRIVING)]


def test_a_fix_that_fails_a_check_neither_moves_nor_breaks_a_silence() -> None:
    assert timeline("00:00 0", "01:00 50 invalid", "02:00 0", "03:00 0") == [(0, STOPPED)]
    told = ["00:00 50", "04:00 50 invalid", "06:00 50 metres=5000", "06:10 50"]
    assert timeline(*told) == [(0, UNKNOWN), (360, DRIVING)]


@pytest.mark.parametrize(("metres", "what"), [(49.9, STOPPED), (50.1, DRIVING)])
def test_where_no_speed_is_named_the_distance_travelled_stands_in(metres: float, what: Activity) -> None:
    assert timeline("00:00 ?", f"01:00 ? metres={metres}") == [(0, what)]


def test_a_change_of_driver_is_told_although_the_driving_goes_on() -> None:
    sent = fixes("00:00 50 by=A", "01:00 50 by=B", "02:00 50 by=B", "03:00 50", "04:00 50")
    assert changes(sent) == [
        (CAR, after(0), "A", DRIVING),
        (CAR, after(60), "B", DRIVING),
        (CAR, after(180), None, DRIVING),
    ]


def test_each_vehicle_has_its_own_timeline() -> None:
    one, other = (fixes("00:00 50", "01:00 0", "02:00 0", vehicle_id=name) for name in "AB")
    assert changes(one + other) == [
        ("A", after(0), None, DRIVING),
        ("A", after(60), None, STOPPED),
        ("B", after(0), None, DRIVING),
        ("B", after(60), None, STOPPED),
    ]


@pytest.mark.parametrize("per_call", [1, 2, 3])
def test_legs_are_told_as_they_are_completed(per_call: int) -> None:
    sent = fixes("00:00 50 by=A", "01:00 50 by=B", "01:30 50 invalid", "02:00 0 by=B")
    assert Stream().send(sent, per_call).legs == [(CAR, "A", after(0), after(60)), (CAR, "B", after(60), after(120))]


@pytest.mark.parametrize("per_call", [1, 2, 3, 1000])
def test_each_fix_carries_the_leg_that_ends_at_it(per_call: int) -> None:
    sent = fixes("00:00 60", "01:00 0", "01:30 50 invalid", "02:00 60", "03:00 60", "20:00 60 by=A", "20:10 0")
    told = Stream().send(sent, per_call)
    seconds = [leg_us / 1e6 for leg_us in told.leg_driving_us]
    # Stopped from the second fix on, silent while it moved before the sixth.
    assert seconds == [0, 60, 0, 0, 60, 0, 10]
    assert told.leg_mm[0] == told.leg_mm[2] == 0
    trusted = [sent[row] for row in (0, 1, 3, 4, 5, 6)]
    for row, (before, fix) in zip((1, 3, 4, 5, 6), pairwise(trusted), strict=True):
        assert told.leg_mm[row] == pytest.approx(metres_between(before, fix) * 1000, abs=1), row
    assert told.leg_mm[5] > 0, "where a silent vehicle was found again counts as the way it went"
