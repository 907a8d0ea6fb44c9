"""Continuous driving by the worked cases of Vietnam, each by both roads: from a timeline and from fixes.

E1 to E14 are derived from the rule text (Law 36/2024 art. 64, Decree 10/2020 art. 11(4)); no official worked case is
known. Those about the day (E9), the week (E11) and the too-short rest of E3 are asserted as far as continuous driving
goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pytest

from detectors.fix import from_us
from detectors.hours import Line, judge_hours
from detectors.violation import Violation
from hanhtrinh.rule_packs import load_pack
from tests.scenario import (
    CAR,
    DRIVER,
    HANOI,
    MONDAY,
    Office,
    Part,
    away,
    day,
    drive,
    fixes_of,
    intervals_of,
    only_continuous,
    silence,
    stop,
)

RULES = only_continuous(load_pack())
H = 3600


@dataclass(frozen=True)
class Case:
    """A story and, for each violation expected, (driving in it, moment the limit was passed), seconds."""

    id: str
    story: list[Part]
    expected: list[tuple[float, float]]
    kind: str | None = None
    start: datetime = MONDAY

    def __str__(self) -> str:
        return self.id


def quarter(n: int) -> list[Part]:
    """So many times 3:50 of driving with a rest of 15 minutes after it."""
    return [part for _ in range(n) for part in (drive(hours=3, minutes=50), stop(minutes=15))]


TWICE_3H59 = day(drive(hours=3, minutes=59), stop(minutes=5), drive(hours=3, minutes=59))
CASES = [
    Case("E1 four hours", day(drive(hours=4)), []),
    Case("E2 one second more", day(drive(hours=4, seconds=1)), [(4 * H + 1, 4 * H)]),
    Case("E2 one microsecond more", day(drive(hours=4, seconds=0.000001)), [(4 * H + 0.000001, 4 * H)]),
    Case(
        "E3 a stop of 14:59",
        day(drive(hours=2), stop(minutes=14, seconds=59), drive(hours=2, minutes=1)),
        [(4 * H + 60, 4 * H + 899)],
    ),
    Case("E4 a stop of 15:00", day(drive(hours=2), stop(minutes=15), drive(hours=4)), []),
    Case("E5 taxi, 5:00", TWICE_3H59, [], kind="taxi"),
    Case("E5 city bus, 5:00", TWICE_3H59, [], kind="city_bus"),
    Case("E5 coach, 5:00", TWICE_3H59, [((7 * 60 + 58) * 60, 4 * H + 300)], kind="fixed_route"),
    Case("E5 unknown kind, 5:00", TWICE_3H59, [((7 * 60 + 58) * 60, 4 * H + 300)]),
    Case(
        "E5 taxi, 4:59",
        day(drive(hours=3, minutes=59), stop(minutes=4, seconds=59), drive(hours=3, minutes=59)),
        [((7 * 60 + 58) * 60, 4 * H + 299)],
        kind="taxi",
    ),
    Case(
        "E6 short stops do not add up",
        day(drive(hours=2), stop(minutes=10), drive(hours=1), stop(minutes=10), drive(hours=1, minutes=30)),
        [(4.5 * H, 4 * H + 1200)],
    ),
    Case(
        "E7 driver 1",
        day(drive(hours=3, minutes=50), stop(minutes=3, driver="D2"), drive(hours=3, minutes=50)),
        [],
    ),
    Case(
        "E8 two cars",
        day(drive(hours=2, minutes=30), away(minutes=5), drive(hours=1, minutes=31, vehicle="CAR2")),
        [(4 * H + 60, 4 * H + 300)],
    ),
    Case("E9 ten hours in a day, rested", day(*quarter(2), drive(hours=2, minutes=20)), []),
    Case(
        "E10 over midnight",
        day(drive(hours=3, minutes=50), stop(minutes=15), drive(hours=1, minutes=55)),
        [],
        start=datetime(2025, 3, 3, 20, tzinfo=HANOI),
    ),
    Case(
        "E10 midnight alone ends nothing",
        day(drive(hours=4, seconds=1)),
        [(4 * H + 1, 4 * H)],
        start=datetime(2025, 3, 3, 22, tzinfo=HANOI),
    ),
    Case("E11 48 hours in a week, rested", day(*quarter(12), drive(hours=2)), []),
    Case(
        "E14 a silence in which it moved is no rest",
        day(drive(hours=2, minutes=30), silence(minutes=20, km=15), drive(hours=1, minutes=31)),
        [(4 * H + 60, 4 * H + 1200)],
    ),
    Case(
        "a silence in which it stood is a rest",
        day(drive(hours=2, minutes=30), silence(minutes=15), drive(hours=3)),
        [],
    ),
]


def as_told(violations: list[Violation], start: datetime) -> list[tuple[float, float]]:
    return [(each.to_wire()["actual_s"], (from_us(each.started_us) - start).total_seconds()) for each in violations]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_worked_cases_from_the_fixes(case: Case) -> None:
    kinds = {} if case.kind is None else {CAR: case.kind, "CAR2": case.kind}
    judged = Office(rules=RULES, given_kmh=100.0, kinds=kinds).judge(fixes_of(case.story, case.start))
    assert as_told(judged.violations, case.start) == case.expected
    assert all(each.driver_id == DRIVER for each in judged.violations)


@pytest.mark.parametrize("case", [each for each in CASES if "stood" not in each.id], ids=str)
def test_worked_cases_from_the_timeline(case: Case) -> None:
    intervals = intervals_of(case.story, case.start, case.kind)
    judged = judge_hours(Line(DRIVER, None), intervals, RULES.hours)
    assert as_told(judged.violations, case.start) == case.expected


def test_e7_the_second_driver_begins_with_nothing_driven() -> None:
    story = day(drive(hours=3, minutes=50), stop(minutes=3, driver="D2"), drive(hours=4, seconds=1))
    (violation,) = Office(rules=RULES, given_kmh=100.0).judge(fixes_of(story)).violations
    assert (violation.driver_id, violation.to_wire()["actual_s"]) == ("D2", 4 * H + 1)


def test_e8_names_both_cars_and_where_the_limit_was_passed() -> None:
    story = day(drive(hours=2, minutes=30), away(minutes=5), drive(hours=1, minutes=31, vehicle="CAR2"))
    (violation,) = Office(rules=RULES, given_kmh=100.0).judge(fixes_of(story)).violations
    found = violation.to_wire()
    assert found["vehicle_id"] == "CAR2"
    assert found["evidence"]["vehicles"] == [CAR, "CAR2"]


def test_e13_fixes_that_fill_a_gap_take_the_rest_back() -> None:
    whole = fixes_of(day(drive(hours=5)))
    first, last = whole[150].time_us, whole[170].time_us
    kept = [each for each in whole if not first < each.time_us < last]
    still = [each._replace(lat=whole[150].lat) if each.time_us >= last else each for each in kept]
    assert Office(rules=RULES, given_kmh=100.0).judge(still).violations == []
    (violation,) = Office(rules=RULES, given_kmh=100.0).judge(whole).violations
    assert (violation.grade, violation.to_wire()["actual_s"]) == ("confirmed", 5 * H)


@pytest.mark.parametrize(
    ("parts", "grade"),
    [
        ([drive(hours=4, seconds=1)], "confirmed"),
        ([drive(hours=2), silence(minutes=15, km=9), drive(hours=2, seconds=1)], "review"),
        ([drive(hours=2), silence(minutes=14, km=9), drive(hours=2, seconds=1)], "confirmed"),
        ([drive(hours=2), stop(minutes=5), silence(minutes=10, km=9), drive(hours=2, seconds=1)], "review"),
        ([drive(hours=2), silence(minutes=10, km=9), stop(minutes=4), drive(hours=2, seconds=1)], "confirmed"),
        ([drive(hours=1), silence(minutes=20, km=9), drive(hours=4, seconds=1)], "confirmed"),
        ([drive(hours=1), silence(minutes=20, km=9), drive(hours=4)], "review"),
        ([drive(hours=4, seconds=1), silence(minutes=20, km=9), drive(hours=1)], "confirmed"),
    ],
)
def test_it_is_for_review_when_an_unknown_stretch_could_hide_the_rest(parts: list[Part], grade: str) -> None:
    for violations in (
        Office(rules=RULES, given_kmh=100.0).judge(fixes_of(day(*parts))).violations,
        judge_hours(Line(DRIVER, None), intervals_of(day(*parts)), RULES.hours).violations,
    ):
        assert [each.grade for each in violations] == [grade]


def test_an_unknown_stretch_is_neither_driving_nor_rest() -> None:
    story = day(drive(hours=3), silence(minutes=59, km=30), drive(hours=1))
    assert Office(rules=RULES, given_kmh=100.0).judge(fixes_of(story)).violations == []
    story = day(
        drive(hours=3), stop(minutes=14), silence(minutes=10, km=5), stop(minutes=14), drive(hours=1, seconds=1)
    )
    assert len(Office(rules=RULES, given_kmh=100.0).judge(fixes_of(story)).violations) == 1


def test_it_ends_with_the_last_driving_before_the_rest_that_ends_it() -> None:
    story = day(drive(hours=4, minutes=30), stop(minutes=10), drive(minutes=5), stop(minutes=20), drive(minutes=30))
    (violation,) = Office(rules=RULES, given_kmh=100.0).judge(fixes_of(story)).violations
    found = violation.to_wire()
    assert found["status"] == "closed"
    assert found["duration_s"] == 45 * 60
    assert (found["limit_s"], found["actual_s"]) == (4 * H, 4 * H + 35 * 60)
    assert violation.closed_us is not None
    assert (violation.closed_us - violation.ended_us) / 1e6 == 15 * 60


def test_it_is_open_until_the_rest_is_long_enough() -> None:
    for seconds, status in ((899, "open"), (900, "closed")):
        story = day(drive(hours=4, minutes=30), stop(seconds=seconds))
        (violation,) = Office(rules=RULES, given_kmh=100.0).judge(fixes_of(story)).violations
        assert violation.status == status


def test_each_drive_over_the_limit_is_a_violation_of_its_own() -> None:
    story = day(drive(hours=5), stop(minutes=15), drive(hours=3), stop(minutes=15), drive(hours=6))
    violations = Office(rules=RULES, given_kmh=100.0).judge(fixes_of(story)).violations
    assert [each.to_wire()["actual_s"] for each in violations] == [5 * H, 6 * H]
    assert len({each.violation_id for each in violations}) == 2


def test_an_unnamed_driver_is_the_vehicles_own_line() -> None:
    sent = [each._replace(driver_id=None) for each in fixes_of(day(drive(hours=4, seconds=1)))]
    other = [each._replace(vehicle_id="CAR2") for each in sent]
    violations = Office(rules=RULES, given_kmh=100.0).judge([*sent, *other]).violations
    assert [(each.vehicle_id, each.driver_id) for each in violations] == [(CAR, None), ("CAR2", None)]


def test_hours_of_an_unnamed_driver_do_not_count_for_a_named_one() -> None:
    sent = fixes_of(day(drive(hours=4, seconds=1)))
    half = [each._replace(driver_id=None) if number < 100 else each for number, each in enumerate(sent)]
    assert Office(rules=RULES, given_kmh=100.0).judge(half).violations == []


@pytest.mark.parametrize(
    ("start", "version", "law"),
    [
        (datetime(2024, 12, 31, 19, 59, 59, tzinfo=HANOI), "2009-07-01", "Law 23/2008/QH12 art. 65(1)"),
        (datetime(2024, 12, 31, 20, tzinfo=HANOI), "2025-01-01", "Law 36/2024/QH15 art. 64(1)"),
        (datetime(2026, 6, 30, 19, 59, 59, tzinfo=HANOI), "2025-01-01", "Law 36/2024/QH15 art. 64(1)"),
        (
            datetime(2026, 6, 30, 20, tzinfo=HANOI),
            "2026-07-01",
            "Law 36/2024/QH15 art. 64(1) as amended 2025-12-10",
        ),
    ],
)
def test_the_version_in_force_when_the_limit_was_passed_judges(start: datetime, version: str, law: str) -> None:
    story = day(drive(hours=4, minutes=30))
    (violation,) = Office(rules=RULES, given_kmh=100.0).judge(fixes_of(story, start)).violations
    assert (violation.rule.version, violation.evidence["law"]) == (version, law)


def test_it_ends_where_the_driver_was_not_where_the_first_car_stands() -> None:
    story = day(drive(hours=4, minutes=1), away(minutes=5), drive(minutes=60, vehicle="CAR2"))
    sent = [each._replace(lat=each.lat + 1) if each.vehicle_id == "CAR2" else each for each in fixes_of(story)]
    (violation,) = [
        each for each in Office(given_kmh=100.0).judge(sent).violations if each.kind == "continuous_driving"
    ]
    assert violation.to_wire()["evidence"]["vehicles"] == [CAR, "CAR2"]
    assert violation.end == (sent[-1].lat, sent[-1].lon)


def test_it_begins_and_ends_where_the_vehicle_was() -> None:
    sent = fixes_of(day(drive(hours=4, minutes=30), stop(minutes=20)))
    (violation,) = Office(given_kmh=100.0).judge(sent).violations
    places = {fix.time_us: (fix.lat, fix.lon) for fix in sent}
    assert (violation.start, violation.end) == (places[violation.started_us], places[violation.ended_us])
    assert violation.start != violation.end
