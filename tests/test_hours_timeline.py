"""Driving in two vehicles at once: the id is a placeholder, and that driving is nobody's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from detectors.activity import Activity
from detectors.fix import to_us
from detectors.hours import Interval, Line, judge_hours
from detectors.hours_timeline import Rest, Timeline, in_two_vehicles
from hanhtrinh.rule_packs import load_pack

MINUTE = 60_000_000
BEGIN_US = to_us(datetime(2026, 3, 2, 1, tzinfo=UTC))
RULES = load_pack().hours
PLACEHOLDER = Line("NOBODY", None)


def driving(vehicle_id: str, begin: float, end: float) -> Interval:
    """Driving between two minutes of the day."""
    return Interval(at(begin), at(end), Activity.DRIVING, vehicle_id)


def at(minute: float) -> int:
    return BEGIN_US + round(minute * MINUTE)


def test_driving_two_vehicles_at_once_for_longer_than_allowed_is_told() -> None:
    both = [driving("A", 0, 60), driving("B", 30, 90)]
    assert in_two_vehicles(both, 2 * MINUTE) == [Rest(at(30), at(60))]
    assert in_two_vehicles(both, 30 * MINUTE) == []


def test_a_short_overlap_at_a_change_of_vehicles_is_a_person_and_two_slow_clocks() -> None:
    timeline = Timeline([driving("A", 0, 60), driving("B", 58, 120)], 2 * MINUTE)
    assert timeline.doubtful == []
    assert timeline.driven_us(at(120)) == 120 * MINUTE


def test_three_vehicles_and_pieces_that_touch_are_one_stretch() -> None:
    many = [driving("A", 0, 10), driving("A", 10, 20), driving("B", 5, 30), driving("C", 15, 40)]
    assert in_two_vehicles(many, 2 * MINUTE) == [Rest(at(5), at(30))]


def test_what_is_driven_in_two_vehicles_at_once_is_unknown_and_the_rest_counts() -> None:
    timeline = Timeline([driving("A", 0, 60), driving("B", 30, 90)], 2 * MINUTE)
    assert [each[:3] for each in timeline.intervals] == [
        (at(0), at(30), Activity.DRIVING),
        (at(30), at(60), Activity.UNKNOWN),
        (at(60), at(90), Activity.DRIVING),
    ]


@pytest.mark.parametrize("vehicles", [2, 5])
def test_a_placeholder_id_that_rides_many_buses_all_day_is_flagged_and_not_judged(vehicles: int) -> None:
    all_day = [driving(f"BUS-{n}", n, 600 + n) for n in range(vehicles)]
    judged = judge_hours(PLACEHOLDER, all_day, RULES)
    assert judged.violations == []
    assert judged.warnings == []
    assert judged.two_vehicles_us == at(600 + vehicles - 2)


def test_without_the_second_vehicle_the_same_day_is_a_violation() -> None:
    judged = judge_hours(PLACEHOLDER, [driving("BUS-0", 0, 600)], RULES)
    assert "continuous_driving" in {each.kind for each in judged.violations}
    assert judged.two_vehicles_us is None


def test_a_pack_that_does_not_look_counts_it_once() -> None:
    blind = replace(RULES, two_vehicles_us=None)
    judged = judge_hours(PLACEHOLDER, [driving("A", 0, 241), driving("B", 0, 241)], blind)
    assert [each.kind for each in judged.violations] == ["continuous_driving"]
