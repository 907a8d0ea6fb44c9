"""The vectorised judge finds exactly what the naive one in reference_judge.py finds, with all figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import date
from typing import NamedTuple

import pytest
from hypothesis import given, settings

from detectors.checks import Check
from detectors.fix import Fix, from_us
from detectors.hours import Line
from detectors.overrides import Override
from detectors.rules import dated
from detectors.violation import HoursFigures, SpeedingFigures, Violation
from tests.random_days import OFFICE as RANDOM_OFFICE
from tests.random_days import SCOPES_OF, Day, any_office, days
from tests.reference_judge import (
    Limited,
    Numbers,
    Piece,
    Speeding,
    flags_of,
    in_force,
    is_confirmed,
    numbers_at,
    pieces_of,
    silences,
    speeding,
    too_long,
)
from tests.scenario import HANOI, Office, Stream, Told

# The naive judge takes every id for a person.
RULES = replace(RANDOM_OFFICE.rules, hours=replace(RANDOM_OFFICE.rules.hours, two_vehicles_us=None))
OFFICE = replace(RANDOM_OFFICE, rules=RULES)
NUMBERS = RULES.pack.checks
OWN_KMH = {"A": (80.0, 80.0), "B": (80.0, 120.0), "C": (70.0, 120.0)}
"""Limit and highest limit of each vehicle where the road says nothing."""


def streamed(day: Day) -> Told:
    return Stream(OFFICE).call(day.fixes, day.roads_kmh)


def by_vehicle(day: Day) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, fix in enumerate(day.fixes):
        rows[fix.vehicle_id].append(row)
    return rows


def own_numbers(office: Office, vehicle_id: str) -> list[Override]:
    """What the office set for a vehicle, the weakest first: its own limit comes before that of kind and operator."""
    scopes = [*SCOPES_OF[vehicle_id], f"vehicle {vehicle_id}"]
    named = [(scope, each) for scope in scopes for each in office.overrides if f"{each.scope} {each.scope_id}" == scope]
    return [
        each
        for scope, each in named
        if each.number != "limit_kmh" or vehicle_id not in office.own_kmh or scope == f"vehicle {vehicle_id}"
    ]


def numbers_of(office: Office, vehicle_id: str) -> Callable[[int], Numbers]:
    rules, own = dated(office.rules.pack.speeding, office.rules.midnight_us), own_numbers(office, vehicle_id)
    return lambda time_us: numbers_at(time_us, rules, own)


def trusted(day: Day, office: Office = OFFICE) -> Iterator[list[Limited]]:
    """The trusted fixes of each vehicle with their limits."""
    for vehicle_id, rows in by_vehicle(day).items():
        fixes = [day.sent[row].fix for row in rows]
        limited, numbers = [], numbers_of(office, vehicle_id)
        for row, flag in zip(rows, flags_of(fixes, NUMBERS), strict=True):
            if not flag:
                road = day.sent[row].road_kmh
                set_kmh = numbers(day.sent[row].fix.time_us).own.get("limit_kmh")
                own_kmh = OWN_KMH[vehicle_id] if set_kmh is None else (set_kmh.value, set_kmh.value)
                limits = own_kmh if road != road else (road, road)
                limited.append(Limited(day.sent[row].fix, *limits))
        yield limited


def pieces(day: Day) -> list[Piece]:
    return [
        piece for limited in trusted(day) for piece in pieces_of([each.fix for each in limited], RULES.pack.activity)
    ]


@given(days())
def test_each_fix_fails_the_same_checks(day: Day) -> None:
    found = streamed(day).flags
    for rows in by_vehicle(day).values():
        expected = flags_of([day.sent[row].fix for row in rows], NUMBERS)
        assert [Check(found[row]) for row in rows] == expected


@given(days())
def test_the_same_activity_at_the_same_times(day: Day) -> None:
    expected = [(each.vehicle_id, each.begin_us, each.driver_id, each.activity) for each in pieces(day)]
    assert sorted(streamed(day).changes, key=lambda each: each[:2]) == sorted(expected, key=lambda each: each[:2])


@given(any_office(), days())
def test_the_same_speeding_with_all_its_figures(office: Office, day: Day) -> None:
    found = [each for each in office.judge(day.fixes, day.roads_kmh).violations if each.kind == "speeding"]
    expected: list[tuple[str, Speeding, bool]] = []
    for limited in trusted(day, office):
        vehicle_id = limited[0].fix.vehicle_id if limited else "A"
        numbers = numbers_of(office, vehicle_id)
        strictly = speeding(limited, numbers, strict=True)
        expected += [(vehicle_id, each, is_confirmed(each, strictly)) for each in speeding(limited, numbers)]
    expected.sort(key=lambda each: (each[0], each[1].start_us))
    assert [each.vehicle_id for each in found] == [vehicle_id for vehicle_id, _, _ in expected]
    for violation, (_, each, confirmed) in zip(found, expected, strict=True):
        assert_alike(violation, each, confirmed)


def assert_alike(violation: Violation, each: Speeding, confirmed: bool) -> None:
    assert (violation.started_us, violation.ended_us) == (each.start_us, each.last_us)
    assert (violation.proven_us, violation.closed_us) == (each.proven_us, each.closed_us)
    assert violation.status == ("open" if each.closed_us is None else "closed")
    assert (violation.start, violation.end) == (each.start, each.end)
    assert (violation.driver_id, violation.rule.version) == (each.driver_id, each.numbers.version)
    assert violation.fixes == each.fixes
    own = each.numbers.own
    class_confirms = "class_default_confirms" in own and own["class_default_confirms"].value == 1
    assert violation.grade == ("confirmed" if confirmed or class_confirms else "review")
    assert_told(violation, each.numbers)
    figures = violation.figures
    assert isinstance(figures, SpeedingFigures)
    assert (figures.top_speed_kmh, figures.excess_kmh, figures.limit_kmh) == (
        each.top_kmh,
        each.excess_kmh,
        each.limit_kmh,
    )
    assert figures.mean_speed_kmh == pytest.approx(each.mean_kmh, abs=0.001)
    assert figures.distance_m == pytest.approx(each.distance_m, abs=0.1)
    assert violation.evidence["limits_kmh"] == {f"{limit:g}": n for limit, n in each.limits.items()}


def assert_told(violation: Violation, numbers: Numbers) -> None:
    """The numbers that judged it, and which of them are the office's own."""
    told = dict(violation.judged_by)
    overridden = told.pop("overridden", {})
    five = ("min_excess_kmh", "exit_after_s", "max_gap_s", "min_fixes", "min_duration_s")
    assert told == {name: getattr(numbers, name) for name in five}
    own = {number.removeprefix("speeding."): each for number, each in numbers.own.items()}
    may_be_idle = {"limit_kmh", "class_default_confirms"}
    assert {*own} - may_be_idle <= overridden.keys() <= own.keys()
    for name, each in overridden.items():
        assert (each["scope"], each["id"], each["value"]) == (own[name].scope, own[name].scope_id, own[name].value)
    assert isinstance(violation.figures, SpeedingFigures)
    if violation.figures.limit_source in ("operator", "kind"):
        assert own["limit_kmh"].scope == violation.figures.limit_source
        assert "limit_kmh" in overridden


@given(any_office(), days())
def test_the_same_silences(office: Office, day: Day) -> None:
    found = [
        (each.vehicle_id, each.started_us, each.ended_us)
        for each in office.judge(day.fixes, day.roads_kmh).violations
        if each.kind == "silence" and each.status == "closed"
    ]
    expected: list[tuple[str, int, int]] = []
    rules = dated(office.rules.pack.silence, office.rules.midnight_us)
    for limited in trusted(day, office):
        vehicle_id = limited[0].fix.vehicle_id if limited else "A"
        own = [each for each in own_numbers(office, vehicle_id) if each.number == "silence.silent_after_s"]

        def allowed_s(time_us: int, own: list[Override] = own) -> float:
            day_of = from_us(time_us).astimezone(HANOI).date()
            set_s = [each.value for each in own if each.valid_from <= day_of < (each.valid_to or date.max)]
            return set_s[-1] if set_s else in_force(rules, time_us).silent_after_s

        fixes = [each.fix for each in limited]
        told = silences(fixes, office.rules.pack.activity, allowed_s)
        expected += [(vehicle_id, begin_us, end_us) for begin_us, end_us in told]
    assert sorted(found) == sorted(expected)


def lines(told: Iterable[Piece]) -> dict[Line, list[Piece]]:
    found: dict[Line, list[Piece]] = defaultdict(list)
    for piece in told:
        found[Line(piece.driver_id, None if piece.driver_id else piece.vehicle_id)].append(piece)
    return found


class Found(NamedTuple):
    """What is compared of a violation of driving time."""

    driver_id: str
    vehicle_id: str | None
    started_us: int
    ended_us: int
    actual_s: float
    closed_us: int | None
    status: str
    grade: str
    vehicles: list[str]


def expected_hours(day: Day) -> Iterator[Found]:
    for line, own in lines(pieces(day)).items():
        for each in too_long(own, RULES.hours.continuous, OFFICE.kinds, RULES.hours.unknown_resets_us or 0):
            status = "open" if each.rested_us is None else "closed"
            grade = "confirmed" if each.confirmed else "review"
            yield Found(
                line.driver_id or "", each.vehicle_id, each.passed_us, each.ended_us, each.driven_us / 1e6,
                each.rested_us, status, grade, each.vehicles,
            )  # fmt: skip


@given(days())
def test_the_same_driving_time(day: Day) -> None:
    found = []
    for each in OFFICE.judge(day.fixes, day.roads_kmh).violations:
        if each.kind == "continuous_driving":
            assert isinstance(each.figures, HoursFigures)
            found.append(
                Found(
                    each.driver_id or "", each.vehicle_id, each.started_us, each.ended_us, each.figures.actual_s,
                    each.closed_us, each.status, each.grade, each.evidence["vehicles"],
                )
            )  # fmt: skip
    assert sorted(found) == sorted(expected_hours(day))


def test_random_days_are_worth_judging() -> None:
    """Guards the strategy itself: what it makes must reach every kind of outcome, or the laws above hold of nothing."""
    outcomes: set[str] = set()

    @settings(max_examples=200)
    @given(days())
    def collect(day: Day) -> None:
        judged = OFFICE.judge(day.fixes, day.roads_kmh)
        outcomes.update(f"{each.kind} {each.grade} {each.status}" for each in judged.violations)
        outcomes.update(name for name, n in judged.flagged.items() if n)
        outcomes.update(str(each.rule.version) for each in judged.violations)

    collect()
    kinds = {f"{kind} {grade}" for kind in ("speeding", "continuous_driving") for grade in ("confirmed", "review")}
    assert {f"{each} {status}" for each in kinds for status in ("open", "closed")} <= outcomes
    assert {"no_fix", "speed", "jump", "acceleration", "frozen", "contradiction"} <= outcomes
    assert {"2015-01-01", "2009-07-01", "2025-01-01"} <= outcomes


def fix_at(second: float, lat: float) -> Fix:
    return Fix("A", round(second * 1e6), lat, 105.8)


def test_the_reference_measures_a_degree_of_latitude() -> None:
    (piece,) = pieces_of([fix_at(0, 21.0), fix_at(299, 22.0)], RULES.pack.activity)
    assert piece.activity.name == "DRIVING"
