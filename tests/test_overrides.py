"""An office's own numbers: whom they concern, which one wins, when they hold, and what the violation says of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest

from detectors.limits import LimitBook
from detectors.names import Names
from detectors.overrides import Override, OverrideBook, Scope, concerning, demand_overridable, overridable
from detectors.rule_versions import VersionTable
from detectors.rules import dated
from detectors.silence import SilenceDetector
from hanhtrinh.rule_packs import load_pack
from tests.scenario import CAR, HANOI, Office, fixes, only, speeding

LOADED = load_pack()
LAST_MINUTE = datetime(2026, 11, 30, 23, 59, tzinfo=HANOI)
NOVEMBER, DECEMBER, JANUARY = date(2026, 11, 1), date(2026, 12, 1), date(2027, 1, 1)


def own(
    number: str, value: float, scope: Scope = "vehicle", scope_id: str = CAR, valid_from: date = NOVEMBER,
    valid_to: date | None = None, basis: str = "letter 12/2026",
) -> Override:  # fmt: skip
    return Override(scope, scope_id, number, value, valid_from, valid_to, basis)


def office(*overrides: Override, own_kmh: float | None = 80.0) -> Office:
    return Office(
        own_kmh={} if own_kmh is None else {CAR: own_kmh},
        kinds={CAR: "taxi"},
        operators={CAR: "OP"},
        overrides=overrides,
        detectors=(*Office().detectors, SilenceDetector),
    )


def at_ninety(seconds: int, start: datetime = LAST_MINUTE) -> list[Any]:
    """Ninety for so long, a fix every five seconds, then slow."""
    told = [f"{n // 60}:{n % 60:02} 90" for n in range(0, seconds + 1, 5)]
    return fixes(*told, f"{seconds // 60}:{seconds % 60 + 4:02} 60", start=start)


def test_a_longer_duration_of_the_operator_acquits_and_the_others_are_judged_by_the_pack() -> None:
    patient = office(own("speeding.min_duration_s", 30, "operator", "OP"))
    assert speeding(at_ninety(25), patient) == []
    assert len(speeding(at_ninety(25), replace(patient, operators={CAR: "OTHER"}))) == 1
    assert len(speeding(at_ninety(30), patient)) == 1


def test_the_violation_says_which_numbers_are_whose() -> None:
    found = only(
        at_ninety(30),
        office(
            own("speeding.min_duration_s", 25, "operator", "OP"),
            own("speeding.min_fixes", 3, valid_to=JANUARY, basis="contract 7"),
        ),
    )
    assert found["judged_by"] == {
        "min_excess_kmh": 5.0, "exit_after_s": 10.0, "max_gap_s": 90.0, "min_fixes": 3, "min_duration_s": 25.0,
        "overridden": {
            "min_duration_s": {
                "scope": "operator", "id": "OP", "value": 25, "valid_from": "2026-11-01", "basis": "letter 12/2026",
            },
            "min_fixes": {
                "scope": "vehicle", "id": CAR, "value": 3, "valid_from": "2026-11-01", "valid_to": "2027-01-01",
                "basis": "contract 7",
            },
        },
    }  # fmt: skip


def test_a_violation_by_the_pack_alone_says_nothing_of_overrides() -> None:
    assert "overridden" not in only(at_ninety(30), office())["judged_by"]
    assert "overridden" not in only(at_ninety(30), office(own("silence.silent_after_s", 60)))["judged_by"]


@pytest.mark.parametrize("left", [1, 2, 3])
def test_the_most_specific_wins(left: int) -> None:
    scopes: list[tuple[Scope, str]] = [("operator", "OP"), ("kind", "taxi"), ("vehicle", CAR)]
    given = [own("speeding.min_duration_s", 20 + n, *scope) for n, scope in enumerate(scopes)][:left]
    for order in (given, given[::-1]):
        assert only(at_ninety(30), office(*order))["judged_by"]["min_duration_s"] == 19 + left


def test_a_limit_raised_on_the_first_of_december_does_not_change_november() -> None:
    raised = office(own("limit_kmh", 100, valid_from=DECEMBER, basis="new tyres, report 4"))
    november = at_ninety(30, datetime(2026, 11, 30, 23, 0, tzinfo=HANOI))
    found = only(november, raised)
    assert (found["limit_kmh"], found["limit_source"], found["grade"]) == (80.0, "vehicle", "confirmed")
    assert "overridden" not in found["judged_by"]
    assert speeding(at_ninety(30, datetime(2026, 12, 1, tzinfo=HANOI)), raised) == []


def test_the_day_begins_at_local_midnight_to_the_microsecond() -> None:
    limits = office(own("limit_kmh", 50, valid_from=DECEMBER), own_kmh=None)
    midnight = datetime(2026, 12, 1, tzinfo=HANOI)
    found = speeding(fixes("00:00 60", "00:20 60", "00:24 40", start=midnight), limits)
    assert [each.to_wire()["started_at"] for each in found] == ["2026-11-30T17:00:00Z"]
    before = [each._replace(time_us=each.time_us - 1) for each in fixes("00:00 60", "00:20 60", start=midnight)]
    assert speeding(before, limits) == []


def test_an_episode_ends_when_other_numbers_come_into_force_and_another_begins() -> None:
    stricter = office(own("speeding.min_duration_s", 10, valid_from=DECEMBER))
    first, second = speeding(at_ninety(120), stricter)
    assert (first.to_wire()["started_at"], first.to_wire()["ended_at"]) == (
        "2026-11-30T16:59:00Z", "2026-11-30T16:59:55Z",
    )  # fmt: skip
    assert first.closed_us == second.started_us
    assert second.to_wire()["started_at"] == "2026-11-30T17:00:00Z"
    assert [each.judged_by["min_duration_s"] for each in (first, second)] == [20, 10]


def test_a_weaker_override_that_comes_and_goes_ends_nothing() -> None:
    shadowed = office(
        own("speeding.min_duration_s", 15), own("speeding.min_duration_s", 40, "operator", "OP", DECEMBER)
    )
    (found,) = speeding(at_ninety(120), shadowed)
    assert found.duration_s == 120


def test_valid_to_is_exclusive_and_an_override_that_ends_where_it_begins_never_holds() -> None:
    until = office(own("limit_kmh", 70, valid_to=DECEMBER), own_kmh=100.0)
    (found,) = speeding(at_ninety(120), until)
    assert found.to_wire()["ended_at"] == "2026-11-30T16:59:55Z"
    assert speeding(at_ninety(120), office(own("limit_kmh", 70, valid_to=NOVEMBER), own_kmh=100.0)) == []


@pytest.mark.parametrize(
    ("scope", "scope_id", "own_kmh", "expected"),
    [
        ("operator", "OP", None, (60.0, "operator", "confirmed")),
        ("kind", "taxi", None, (60.0, "kind", "confirmed")),
        ("vehicle", CAR, None, (60.0, "vehicle", "confirmed")),
        ("operator", "OP", 75.0, (75.0, "vehicle", "confirmed")),
        ("kind", "taxi", 75.0, (75.0, "vehicle", "confirmed")),
        ("vehicle", CAR, 75.0, (60.0, "vehicle", "confirmed")),
        ("operator", "OTHER", None, (80.0, "class", "review")),
    ],
)
def test_a_limit_of_the_vehicles_own_comes_before_those_of_its_kind_and_operator(
    scope: Scope, scope_id: str, own_kmh: float | None, expected: tuple[float, str, str]
) -> None:
    found = only(at_ninety(30), office(own("limit_kmh", 60, scope, scope_id), own_kmh=own_kmh))
    assert (found["limit_kmh"], found["limit_source"], found["grade"]) == expected
    assert ("overridden" in found["judged_by"]) == (expected[0] == 60.0)


def test_road_and_given_limits_come_before_the_offices() -> None:
    limits = office(own("limit_kmh", 60), own_kmh=None)
    sent = at_ninety(30)
    on_road = only(sent, limits, [70.0] * len(sent))
    assert (on_road["limit_kmh"], on_road["limit_source"]) == (70.0, "road")
    assert "overridden" not in on_road["judged_by"]
    given = only(sent, replace(limits, given_kmh=65.0))
    assert (given["limit_kmh"], given["limit_source"]) == (65.0, "given")
    assert "overridden" not in given["judged_by"]
    partly = only(sent, limits, [70.0] * 2 + [float("nan")] * (len(sent) - 2))
    assert partly["judged_by"]["overridden"]["limit_kmh"]["value"] == 60


@pytest.mark.parametrize(("value", "grade"), [(1, "confirmed"), (0, "review")])
def test_an_office_may_count_class_defaults_as_confirmed(value: int, grade: str) -> None:
    found = only(at_ninety(30), office(own("class_default_confirms", value, "operator", "OP"), own_kmh=None))
    assert (found["grade"], found["limit_source"]) == (grade, "class")
    assert found["judged_by"]["overridden"]["class_default_confirms"]["value"] == value
    capped = only(at_ninety(30), office(own("class_default_confirms", value, "operator", "OP")))
    assert capped["grade"] == "confirmed"
    assert "overridden" not in capped["judged_by"]


def test_a_silence_is_judged_by_the_offices_number_of_the_day_it_began() -> None:
    quick = office(own("silence.silent_after_s", 120, "kind", "taxi", valid_to=DECEMBER))
    for start, expected in ((LAST_MINUTE, [120.0]), (datetime(2026, 12, 1, tzinfo=HANOI), [])):
        found = quick.judge(fixes("00:00 40", "03:00 40", start=start)).violations
        assert [each.to_wire()["limit_s"] for each in found] == expected
    (found_one,) = quick.judge(fixes("00:00 40", "03:00 40", start=LAST_MINUTE)).violations
    wire = found_one.to_wire()
    assert wire["judged_by"]["overridden"]["silent_after_s"]["scope"] == "kind"
    patient = office(own("silence.silent_after_s", 3600))
    assert patient.judge(fixes("00:00 40", "30:00 40", start=LAST_MINUTE)).violations == []


def test_a_silence_that_goes_on_is_open_by_the_offices_number() -> None:
    waits = [*fixes("00:00 40", start=LAST_MINUTE), *fixes("00:00 0", "04:00 0", vehicle_id="OTHER", start=LAST_MINUTE)]
    assert office().judge(waits).violations == []
    (found,) = office(own("silence.silent_after_s", 180)).judge(waits).violations
    assert (found.status, found.vehicle_id, found.duration_s) == ("open", CAR, 180.0)


def test_overrides_met_while_the_stream_runs_judge_from_then_on() -> None:
    book = OverrideBook()
    table = VersionTable(
        dated(LOADED.pack.speeding, LOADED.midnight_us), overridable(LOADED.pack), LOADED.midnight_us, book
    )
    codes, time_us = np.array([0, 1, 5000], np.int32), np.full(3, moment_us(2026, 12, 5))
    book.reserve(6000)
    assert [table.versions[row].rule.min_fixes for row in table.at(codes, time_us)] == [2, 2, 2]
    book.assign(1, (own("speeding.min_fixes", 4, valid_from=DECEMBER),))
    assert [table.versions[row].rule.min_fixes for row in table.at(codes, time_us)] == [2, 4, 2]
    book.assign(5000, (own("speeding.min_fixes", 5, valid_from=DECEMBER, valid_to=JANUARY),))
    assert [table.versions[row].rule.min_fixes for row in table.at(codes, time_us)] == [2, 4, 5]
    later = np.full(3, moment_us(2027, 1, 5))
    assert [table.versions[row].rule.min_fixes for row in table.at(codes, later)] == [2, 4, 2]
    book.assign(1, ())
    assert [table.versions[row].rule.min_fixes for row in table.at(codes, time_us)] == [2, 2, 5]


def moment_us(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1_000_000


def test_every_variant_and_day_is_found_as_a_plain_search_finds_it() -> None:
    rng = np.random.default_rng(7)
    days = [date(2026, 11, 1 + int(n)) for n in range(28)]
    book = OverrideBook()
    given: list[list[Override]] = []
    for vehicle in range(300):
        begins = sorted(rng.choice(27, size=int(rng.integers(0, 4)), replace=False).tolist())
        ends = [*begins[1:], 27] if begins else []
        mine = [
            own("speeding.min_fixes", int(rng.integers(1, 9)), "vehicle", str(vehicle), days[a], days[b])
            for a, b in zip(begins, ends, strict=True)
        ]
        given.append(mine)
        book.assign(vehicle, tuple(mine))
    table = VersionTable(
        dated(LOADED.pack.speeding, LOADED.midnight_us), overridable(LOADED.pack), LOADED.midnight_us, book
    )
    vehicles = rng.integers(0, 300, 5000).astype(np.int32)
    times_us = np.array([LOADED.midnight_us(days[0])]) + rng.integers(-5, 35, 5000) * 43_200_000_000
    times_us = times_us + rng.integers(-1, 2, 5000)
    for vehicle, time_us, row in zip(vehicles, times_us.tolist(), table.at(vehicles, times_us), strict=True):
        day = datetime.fromtimestamp(time_us // 1_000_000, UTC).astimezone(HANOI).date()
        holding = [each.value for each in given[vehicle] if each.valid_from <= day < (each.valid_to or date.max)]
        assert table.versions[row].rule.min_fixes == (holding[0] if holding else 2)


def test_nobody_pays_for_overrides_that_nobody_has() -> None:
    limits = LimitBook(LOADED.pack)
    limits.reserve(1_000_000)
    limits.overrides.assign(999_999, ())
    assert limits.overrides.variants_of(np.array([5, 999_999], np.int32)) is None
    assert limits.overrides.of(5) == ()


def test_vehicles_of_one_operator_share_one_variant() -> None:
    book, by_scope = OverrideBook(), {("operator", "OP"): [own("limit_kmh", 60, "operator", "OP")]}
    vehicles = Names()
    for number in range(2_000):
        found = concerning(by_scope, f"V{number}", "taxi", "OP", None)  # type: ignore[arg-type]
        book.assign(vehicles.code(f"V{number}"), found)
    assert len(book.variants) == 2


def test_the_numbers_that_may_be_overridden_are_those_of_the_pack() -> None:
    assert overridable(LOADED.pack) == [
        "limit_kmh", "class_default_confirms", "speeding.min_excess_kmh", "speeding.exit_after_s",
        "speeding.max_gap_s", "speeding.min_fixes", "speeding.min_duration_s", "silence.silent_after_s",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "value", "message"),
    [
        ("limit_kmh", 0.0, "limit_kmh is 0, expected 1 to 200 km/h"),
        ("limit_kmh", 201.0, "limit_kmh is 201, expected 1 to 200 km/h"),
        ("class_default_confirms", 2.0, "class_default_confirms is 2, expected 0 or 1"),
        ("speeding.min_fixes", 0.0, "min_fixes is 0, expected 1 or more"),
        ("speeding.min_fixes", 2.5, "min_fixes is 2.5, expected a whole number"),
        ("speeding.max_gap_s", -1.0, "max_gap_s is -1.0, expected no negative number"),
        ("silence.silent_after_s", -1.0, "silent_after_s is -1.0, expected no negative number"),
    ],
)
def test_a_value_that_the_pack_would_not_take_is_refused(number: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        demand_overridable(LOADED.pack, number, value)
