"""How a driver's line is judged again: overlapping cars, where judging may begin, and when it is due next."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from detectors.activity import Activity
from detectors.fix import to_us
from detectors.hours import Interval, Line, flatten, judge_hours, reset_before
from hanhtrinh.rule_packs import load_pack
from tests.scenario import DRIVER, MONDAY, Part, day, drive, intervals_of, only_continuous, silence, stop, us

RULES = only_continuous(load_pack()).hours
LINE = Line(DRIVER, None)
BEGIN_US = to_us(MONDAY)
HOUR_US = us(3600)
DRIVING, STOPPED, UNKNOWN = Activity.DRIVING, Activity.STOPPED, Activity.UNKNOWN


def interval(
    begin_h: float, end_h: float, activity: Activity, vehicle_id: str = "A", kind: str | None = None
) -> Interval:
    return Interval(BEGIN_US + round(begin_h * HOUR_US), BEGIN_US + round(end_h * HOUR_US), activity, vehicle_id, kind)


def flat(*intervals: Interval) -> list[tuple[float, float, Activity]]:
    return [
        ((each.begin_us - BEGIN_US) / HOUR_US, (each.end_us - BEGIN_US) / HOUR_US, each.activity)
        for each in flatten(intervals)
    ]


def test_a_line_without_intervals_has_no_violation() -> None:
    assert judge_hours(LINE, [], RULES).violations == []


def test_driving_in_one_car_beats_standing_in_another() -> None:
    assert flat(interval(0, 4, STOPPED), interval(1, 2, DRIVING, "B")) == [
        (0, 1, STOPPED),
        (1, 2, DRIVING),
        (2, 4, STOPPED),
    ]


def test_unknown_beats_standing_and_driving_beats_unknown() -> None:
    overlapping = [interval(0, 3, UNKNOWN), interval(1, 4, STOPPED, "B"), interval(2, 2.5, DRIVING, "C")]
    assert flat(*overlapping) == [
        (0, 2, UNKNOWN),
        (2, 2.5, DRIVING),
        (2.5, 3, UNKNOWN),
        (3, 4, STOPPED),
    ]


def test_driving_two_cars_at_once_counts_once_where_nobody_looks_for_placeholders() -> None:
    both = [interval(0, 3, DRIVING), interval(1, 4, DRIVING, "B")]
    blind = replace(RULES, two_vehicles_us=None)
    assert judge_hours(LINE, both, blind).violations == []
    (violation,) = judge_hours(LINE, [*both, interval(4, 4.5, DRIVING, "B")], blind).violations
    assert violation.to_wire()["actual_s"] == 4.5 * 3600


@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_intervals_does_not_matter(seed: int) -> None:
    dice = random.Random(seed)
    intervals = [
        interval(begin, begin + dice.choice([0.1, 0.25, 0.5, 2]), dice.choice(list(Activity)), dice.choice("ABC"))
        for begin in (dice.randrange(40) / 4 for _ in range(15))
    ]
    judged = judge_hours(LINE, intervals, RULES)
    dice.shuffle(intervals)
    assert judge_hours(LINE, intervals, RULES) == judged


def test_the_kind_of_the_vehicle_last_driven_decides_the_rest() -> None:
    bus_then_truck = [
        interval(0, 2, DRIVING, "A", "city_bus"),
        interval(2, 2.1, STOPPED, "A", "city_bus"),
        interval(2.1, 5, DRIVING, "B", "goods"),
    ]
    assert judge_hours(LINE, bus_then_truck, RULES).violations == []
    truck_then_bus = [
        interval(0, 2, DRIVING, "B", "goods"),
        interval(2, 2.1, STOPPED, "B", "goods"),
        interval(2.1, 5, DRIVING, "A", "city_bus"),
    ]
    assert len(judge_hours(LINE, truck_then_bus, RULES).violations) == 1


STORIES = {
    "nothing driven": [stop(hours=1)],
    "resting": [drive(hours=2), stop(minutes=20)],
    "driving": [drive(hours=2), stop(minutes=10), drive(hours=1)],
    "stopped shortly": [drive(hours=2), stop(minutes=10)],
    "at the limit": [drive(hours=4)],
    "silent": [drive(hours=2), silence(minutes=30, km=20)],
}


@pytest.mark.parametrize("parts", STORIES.values(), ids=STORIES.keys())
def test_no_violation_is_possible_before_the_line_is_due_and_one_is_right_after(parts: list[Part]) -> None:
    story = day(*parts)
    intervals = intervals_of(story)
    judged = judge_hours(LINE, intervals, RULES)
    assert judged.judged_to_us == intervals[-1].end_us
    to_due = Interval(judged.judged_to_us, judged.due_us, DRIVING, "A")
    assert judge_hours(LINE, [*intervals, to_due], RULES).violations == []
    (violation,) = judge_hours(LINE, [*intervals, to_due._replace(end_us=judged.due_us + 1)], RULES).violations
    assert violation.started_us == judged.due_us


def test_an_open_violation_is_due_at_once() -> None:
    judged = judge_hours(LINE, intervals_of(day(drive(hours=4, seconds=1))), RULES)
    assert judged.due_us == judged.judged_to_us


@pytest.mark.parametrize(
    ("parts", "since_h"),
    [
        ([drive(hours=2), stop(minutes=15)], 2.25),
        ([drive(hours=2), stop(minutes=30), drive(hours=1)], 2.5),
        ([drive(hours=2), stop(minutes=10), drive(hours=1)], 0),
        ([stop(hours=1)], 1),
    ],
)
def test_the_next_judgement_may_begin_after_the_last_rest(parts: list[Part], since_h: float) -> None:
    judged = judge_hours(LINE, intervals_of(day(*parts)), RULES)
    assert (judged.since_us - BEGIN_US) / HOUR_US == since_h


def clipped(intervals: list[Interval], from_us: int) -> list[Interval]:
    return [each._replace(begin_us=max(each.begin_us, from_us)) for each in intervals if each.end_us > from_us]


@pytest.mark.parametrize("seed", range(60))
def test_judging_from_a_rest_on_gives_the_same_violations_after_it(seed: int) -> None:
    dice = random.Random(seed)
    choices = [drive, drive, drive, stop]
    parts = [dice.choice(choices)(minutes=dice.choice([3, 14, 15, 16, 100, 239, 240, 241])) for _ in range(12)]
    parts.insert(dice.randrange(12), silence(minutes=dice.choice([10, 20]), km=10))
    intervals = intervals_of(day(*parts))
    whole = judge_hours(LINE, intervals, RULES)
    moments = [BEGIN_US + us(60 * minutes) for minutes in range(0, 2000, 97)]
    for moment in moments:
        reset_us = reset_before(intervals, moment, RULES)
        if reset_us is None:
            continue
        assert reset_us <= moment
        rest = judge_hours(LINE, clipped(intervals, reset_us), RULES).violations
        assert rest == [each for each in whole.violations if each.started_us > reset_us]
    rest = judge_hours(LINE, clipped(intervals, whole.since_us), RULES).violations
    assert rest == [each for each in whole.violations if each.started_us > whole.since_us]


def test_without_a_rest_there_is_no_place_to_begin() -> None:
    intervals = intervals_of(day(drive(hours=2), stop(minutes=14), drive(hours=2)))
    assert reset_before(intervals, BEGIN_US + 9 * HOUR_US, RULES) is None


def test_a_rest_counts_from_the_moment_it_is_complete() -> None:
    intervals = intervals_of(day(drive(hours=2), stop(hours=1), drive(hours=2)))
    complete_us = BEGIN_US + round(2.25 * HOUR_US)
    assert reset_before(intervals, complete_us, RULES) == complete_us
    assert reset_before(intervals, complete_us - 1, RULES) is None
