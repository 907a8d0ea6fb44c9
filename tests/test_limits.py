"""Which limit judges, where it came from, and the grade that follows: confirmed or review."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from detectors.limits import LimitBook, LimitSource
from detectors.names import Names
from hanhtrinh.rule_packs import load_pack
from tests.scenario import CAR, Office, fixes, only

PACK = load_pack().pack
UNKNOWN_ROAD = math.nan


def held(speed_kmh: float, office: Office, road_kmh: float = UNKNOWN_ROAD) -> dict[str, Any]:
    sent = fixes(f"00:00 {speed_kmh}", f"00:10 {speed_kmh}", f"00:20 {speed_kmh}", "00:30 10")
    return only(sent, office, [road_kmh] * 4)


def judged_by(found: dict[str, Any]) -> tuple[float, str, str]:
    return found["limit_kmh"], found["limit_source"], found["grade"]


def test_a_vehicle_nobody_registered_has_the_default_of_the_unregistered_class() -> None:
    assert judged_by(held(90, Office())) == (80.0, "class", "review")


@pytest.mark.parametrize(
    ("speed_class", "default_kmh"), [("car", 80.0), ("heavy", 70.0), ("articulated", 60.0), ("trailer", 50.0)]
)
def test_each_class_has_its_default(speed_class: str, default_kmh: float) -> None:
    office = Office(classes={CAR: speed_class})
    assert judged_by(held(default_kmh + 5, office)) == (default_kmh, "class", "review")


def test_the_vehicles_own_cap_comes_before_its_class_and_is_certain() -> None:
    office = Office(own_kmh={CAR: 65.0}, classes={CAR: "trailer"})
    assert judged_by(held(70, office)) == (65.0, "vehicle", "confirmed")


def test_one_limit_given_for_all_comes_before_the_registry_and_is_certain() -> None:
    office = Office(given_kmh=100.0, own_kmh={CAR: 65.0})
    assert judged_by(held(105, office)) == (100.0, "given", "confirmed")
    assert office.judge(fixes("00:00 104", "00:20 104"), None).violations == []


def test_the_roads_limit_comes_before_all_others_and_is_certain() -> None:
    assert judged_by(held(65, Office(own_kmh={CAR: 80.0}), road_kmh=60.0)) == (60.0, "road", "confirmed")
    assert judged_by(held(65, Office(given_kmh=80.0), road_kmh=60.0)) == (60.0, "road", "confirmed")
    assert judged_by(held(65, Office(), road_kmh=60.0)) == (60.0, "road", "confirmed")


def test_a_road_limit_that_equals_the_class_default_is_still_the_roads() -> None:
    assert judged_by(held(85, Office(), road_kmh=80.0)) == (80.0, "road", "confirmed")


@pytest.mark.parametrize(
    ("speed_kmh", "grade"), [(85, "review"), (120, "review"), (124.99, "review"), (125, "confirmed")]
)
def test_over_the_highest_limit_of_any_road_is_confirmed(speed_kmh: float, grade: str) -> None:
    assert held(speed_kmh, Office())["grade"] == grade


def test_a_single_fix_over_the_highest_limit_does_not_confirm() -> None:
    assert only(fixes("00:00 90", "00:10 130", "00:20 90", "00:30 10"), Office())["grade"] == "review"


def test_what_would_be_too_short_against_the_highest_limit_does_not_confirm() -> None:
    too_short = fixes("00:00 90", "00:10 130", "00:20 130", "00:29 130", "00:40 90", "00:50 10")
    assert only(too_short, Office())["grade"] == "review"
    long_enough = fixes("00:00 90", "00:10 130", "00:20 130", "00:30 130", "00:40 90", "00:50 10")
    assert only(long_enough, Office())["grade"] == "confirmed"


def test_what_is_confirmed_stays_confirmed_when_it_slows_down() -> None:
    sent = fixes("00:00 130", "00:20 130", "00:30 90", "00:40 90", "01:10 90", "01:20 10")
    assert only(sent, Office())["grade"] == "confirmed"


def test_an_office_may_count_class_defaults_as_confirmed() -> None:
    strict = load_pack()
    strict = replace(strict, pack=replace(strict.pack, class_default_confirms=True))
    assert judged_by(held(90, Office(strict))) == (80.0, "class", "confirmed")


def test_the_highest_limit_interrupts_by_the_same_tolerances() -> None:
    apart = fixes("00:00 130", "00:10 130", "00:15 110", "00:20 130", "00:30 130", "00:40 10")
    assert only(apart, Office())["grade"] == "review"
    joined = fixes("00:00 130", "00:10 130", "00:15 121", "00:20 130", "00:30 130", "00:40 10")
    assert only(joined, Office())["grade"] == "confirmed"


def test_an_episode_partly_over_a_class_default_is_for_review() -> None:
    sent = fixes("00:00 90", "00:10 90", "00:20 90", "00:30 90", "00:40 10")
    found = only(sent, Office(), [70.0, 70.0, UNKNOWN_ROAD, UNKNOWN_ROAD, UNKNOWN_ROAD])
    assert found["grade"] == "review"
    assert (found["limit_kmh"], found["limit_source"]) == (70.0, "road")
    assert found["evidence"]["limits_kmh"] == {"70": 2, "80": 2}


def test_an_episode_that_the_road_alone_would_prove_is_confirmed() -> None:
    sent = fixes("00:00 90", "00:10 90", "00:20 90", "00:30 90", "00:40 10")
    found = only(sent, Office(), [70.0, 70.0, 70.0, UNKNOWN_ROAD, UNKNOWN_ROAD])
    assert found["grade"] == "confirmed"


def test_a_class_the_pack_does_not_have_is_refused() -> None:
    with pytest.raises(KeyError, match="hovercraft"):
        LimitBook(PACK).register(0, None, "hovercraft")


def test_thousands_of_vehicles_keep_their_own_limits() -> None:
    vehicles, book = Names(), LimitBook(PACK)
    for number in range(3000):
        book.register(vehicles.code(f"V{number}"), 40.0 + number % 50, None)
    copy = LimitBook(PACK)
    copy.copy_from(book, vehicles.code("V2999"), 0)
    assert copy.source(0) is LimitSource.VEHICLE
    copy.copy_from(book, 1_000_000, 1)
    assert copy.source(1) is LimitSource.CLASS
