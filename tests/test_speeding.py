"""Speeding, sentence by sentence as DESIGN.md defines it, at its exact boundaries."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

import pytest

from detectors.violation import Violation
from hanhtrinh.rule_packs import load_pack
from tests.scenario import CAP_80, CAR, HANOI, Office, at, fixes, only, speeding

FOURTH = date(2025, 3, 4)


def held(speed_kmh: object, office: Office = CAP_80) -> list[Violation]:
    """What comes of keeping one speed for 20 seconds."""
    return speeding(fixes(f"00:00 {speed_kmh}", f"00:10 {speed_kmh}", f"00:20 {speed_kmh}", "00:30 60"), office)


@pytest.mark.parametrize("speed_kmh", ["80", "84", "84.9", "84.99", "84.999"])
def test_less_than_five_over_is_nothing(speed_kmh: str) -> None:
    assert held(speed_kmh) == []


@pytest.mark.parametrize("speed_kmh", ["85", "85.0", "85.00", "85.001", "86"])
def test_five_over_is_speeding(speed_kmh: str) -> None:
    assert len(held(speed_kmh)) == 1


@pytest.mark.parametrize("limit_kmh", [float(n) for n in range(20, 121)])
def test_five_over_is_speeding_over_any_limit_where_binary_fractions_would_miss_it(limit_kmh: float) -> None:
    assert len(held(limit_kmh + 5, Office(own_kmh={CAR: limit_kmh}))) == 1
    assert held(limit_kmh + 4.99, Office(own_kmh={CAR: limit_kmh})) == []


@pytest.mark.parametrize("limit_kmh", [16.06, 32.3, 50.1, 60.7, 79.9, 80.3, 100.55])
def test_limits_with_decimals_compare_as_decimals(limit_kmh: float) -> None:
    over = round(limit_kmh + 5, 2)
    assert len(held(over, Office(own_kmh={CAR: limit_kmh}))) == 1
    assert held(round(over - 0.001, 3), Office(own_kmh={CAR: limit_kmh})) == []


def test_metres_per_second_that_are_eighty_five_in_decimals_are_eighty_five() -> None:
    assert len(held(23.611111 * 3.6)) == 1
    assert held(23.608 * 3.6) == []


def test_miles_per_hour_are_judged_after_conversion() -> None:
    assert len(held(52.817 * 1.609344)) == 1
    assert held(52.815 * 1.609344) == []


def test_it_lasts_from_the_first_over_fix_to_the_last_one() -> None:
    found = only(fixes("00:00 60", "00:10 82", "00:20 90", "00:30 95", "00:45 86", "00:50 84", "01:00 60"))
    assert (found["started_at"], found["ended_at"]) == (at("00:20"), at("00:45"))
    assert found["duration_s"] == 25.0
    assert found["fixes"] == 3


@pytest.mark.parametrize("end", ["00:19", "00:19.999999"])
def test_less_than_twenty_seconds_is_nothing(end: str) -> None:
    assert speeding(fixes("00:00 90", "00:10 90", f"{end} 90", "00:30 60")) == []


def test_twenty_seconds_are_enough() -> None:
    assert only(fixes("00:00 90", "00:20 90", "00:30 60"))["duration_s"] == 20.0


def test_time_after_the_last_over_fix_does_not_count() -> None:
    assert speeding(fixes("00:00 90", "00:19 90", "00:25 82", "01:30 60")) == []


def test_one_over_fix_is_no_violation_however_long_the_next_one_takes() -> None:
    assert speeding(fixes("00:00 90", "01:29 82", "01:30 60")) == []


def test_an_office_may_ask_for_more_fixes() -> None:
    three = Office(rules=load_pack("vn", ["speeding.min_fixes=3"]), own_kmh={CAR: 80.0})
    assert speeding(fixes("00:00 90", "00:30 90", "00:40 60"), three) == []
    assert len(speeding(fixes("00:00 90", "00:15 90", "00:30 90", "00:40 60"), three)) == 1


def test_a_fix_at_the_limit_ends_it() -> None:
    assert speeding(fixes("00:00 90", "00:10 90", "00:12 80", "00:14 90", "00:30 90")) == []


def test_a_fix_just_above_the_limit_does_not_end_it() -> None:
    found = only(fixes("00:00 90", "00:10 90", "00:12 80.01", "00:14 90", "00:30 90"))
    assert (found["fixes"], found["duration_s"]) == (4, 30.0)


def test_ten_seconds_below_the_excess_do_not_end_it() -> None:
    found = only(fixes("00:00 90", "00:10 90", "00:11 82", "00:21 82", "00:22 90", "00:30 60"))
    assert (found["fixes"], found["duration_s"]) == (3, 22.0)


def test_more_than_ten_seconds_below_the_excess_end_it() -> None:
    sent = fixes("00:00 90", "00:10 90", "00:11 82", "00:21.000001 82", "00:22 90", "00:30 90")
    assert speeding(sent) == []


def test_the_time_below_the_excess_starts_again_after_each_over_fix() -> None:
    found = only(fixes("00:00 90", "00:05 82", "00:14 82", "00:16 90", "00:18 82", "00:27 82", "00:28 90"))
    assert (found["fixes"], found["duration_s"]) == (3, 28.0)


def test_what_is_over_after_it_ended_is_another_one() -> None:
    first, second = speeding(fixes("00:00 90", "00:20 90", "00:25 70", "00:30 95", "00:50 95", "01:00 70"))
    assert first.violation_id != second.violation_id
    assert [each.status for each in (first, second)] == ["closed", "closed"]
    assert [each.to_wire()["started_at"] for each in (first, second)] == [at("00:00"), at("00:30")]


def test_ninety_seconds_of_silence_do_not_end_it() -> None:
    assert only(fixes("00:00 90", "01:30 90"))["duration_s"] == 90.0


def test_more_than_ninety_seconds_of_silence_end_it() -> None:
    assert speeding(fixes("00:00 90", "01:30.000001 90")) == []


def test_silence_is_measured_between_any_fixes_that_are_trusted() -> None:
    found = only(fixes("00:00 90", "01:00 ?", "02:00 90"))
    assert (found["fixes"], found["duration_s"]) == (2, 120.0)
    assert speeding(fixes("00:00 90", "01:00 90 invalid", "02:00 90")) == []


def test_another_driver_ends_it_and_begins_another() -> None:
    told = [f"00:{second:02} 90 by={'A' if second < 25 else 'B'}" for second in range(0, 51, 5)]
    first, second = speeding(fixes(*told))
    assert (first.driver_id, first.to_wire()["ended_at"], first.status) == ("A", at("00:20"), "closed")
    assert (second.driver_id, second.to_wire()["started_at"], second.status) == ("B", at("00:25"), "open")


def test_a_driver_who_is_no_longer_named_is_another_driver() -> None:
    assert speeding(fixes("00:00 90 by=A", "00:10 90 by=A", "00:20 90", "00:30 90")) == []


def test_neither_driver_is_blamed_for_what_both_did_together() -> None:
    assert speeding(fixes("00:00 90 by=A", "00:15 90 by=A", "00:20 90 by=B", "00:35 90 by=B")) == []


def two_versions() -> Office:
    """The excess that counts is 3 km/h from the fourth of March on."""
    rules = load_pack()
    (first,) = rules.pack.speeding
    first, second = replace(first, valid_to=FOURTH), replace(first, valid_from=FOURTH, min_excess_kmh=3.0)
    return Office(rules=replace(rules, pack=replace(rules.pack, speeding=(first, second))), own_kmh={CAR: 80.0})


def test_a_new_version_of_the_rule_ends_it_and_judges_what_follows() -> None:
    start = datetime(2025, 3, 3, 23, 59, 35, tzinfo=HANOI)
    told = [f"00:{second:02} 90" for second in range(0, 51, 5)]
    first, second = speeding(fixes(*told, start=start), two_versions())
    assert (first.to_wire()["ended_at"], first.rule.version) == (at("00:20", start), "2015-01-01")
    assert (second.to_wire()["started_at"], second.rule.version) == (at("00:25", start), "2025-03-04")
    assert second.judged_by["min_excess_kmh"] == 3.0


def test_each_version_of_the_rule_holds_from_local_midnight_on() -> None:
    start = datetime(2025, 3, 3, 23, 59, 30, tzinfo=HANOI)
    told = [f"{second // 60:02}:{second % 60:02} 83" for second in range(0, 61, 5)]
    found = only(fixes(*told, start=start), two_versions())
    assert (found["started_at"], found["fixes"]) == (at("00:30", start), 7)


@pytest.mark.parametrize("word", ["invalid", "satellites=3", "hdop=10.1"])
def test_a_fix_that_fails_a_check_proves_nothing(word: str) -> None:
    assert speeding(fixes("00:00 90", "00:10 90", f"00:20 120 {word}")) == []
    found = only(fixes("00:00 90", "00:10 120 " + word, "00:20 90"))
    assert (found["fixes"], found["top_speed_kmh"]) == (2, 90.0)


@pytest.mark.parametrize("word", ["invalid", "satellites=3", "hdop=10.1", "jump"])
def test_a_fix_that_fails_a_check_ends_nothing(word: str) -> None:
    found = only(fixes("00:00 90", "00:10 90", f"00:15 0 {word}", "00:25 90"))
    assert (found["fixes"], found["duration_s"]) == (3, 25.0)


def test_the_driver_of_a_fix_that_fails_a_check_changes_nothing() -> None:
    assert only(fixes("00:00 90 by=A", "00:10 90 by=B invalid", "00:20 90 by=A"))["driver_id"] == "A"


def test_a_fix_without_speed_proves_nothing_and_ends_nothing() -> None:
    assert speeding(fixes("00:00 90", "00:10 90", "00:20 ?", "00:30 60")) == []
    assert only(fixes("00:00 90", "00:10 ?", "00:20 90"))["fixes"] == 2
    found = only(fixes("00:00 90", "00:05 82", "00:25 ?", "00:26 90"))
    assert (found["fixes"], found["duration_s"]) == (2, 26.0)


def test_it_is_open_until_something_ends_it() -> None:
    over = ["00:00 90", "00:20 90"]
    assert only(fixes(*over))["status"] == "open"
    assert only(fixes(*over, "00:30 82", "00:40 82"))["status"] == "open"
    assert only(fixes(*over, "00:30 82", "00:41 82"))["status"] == "closed"
    assert only(fixes(*over, "00:30 80"))["status"] == "closed"
    assert only(fixes(*over, "00:30 0 invalid"))["status"] == "open"


def test_it_names_the_fix_that_proved_it_and_the_one_that_ended_it() -> None:
    (found,) = speeding(fixes("00:00 90", "00:19 90", "00:20 82", "00:23 90", "00:24 90", "00:30 60"))
    assert found.proven_us - found.started_us == 23_000_000
    assert found.closed_us is not None
    assert found.closed_us - found.started_us == 30_000_000


def test_vehicles_are_judged_apart() -> None:
    mixed = [
        *fixes("00:00 90", "00:20 90", "00:30 60", vehicle_id="A"),
        *fixes("00:05 60", "00:15 90", "00:25 60", vehicle_id="B"),
    ]
    found = speeding(mixed, Office(given_kmh=80.0))
    assert [each.vehicle_id for each in found] == ["A"]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("speeding.min_excess_kmh=10", ["00:00 89.99", "00:20 89.99"]),
        ("speeding.min_duration_s=60", ["00:00 90", "00:59 90"]),
        ("speeding.max_gap_s=15", ["00:00 90", "00:16 90", "00:32 90"]),
        ("speeding.exit_after_s=2", ["00:00 90", "00:10 82", "00:13 82", "00:20 90"]),
        ("speeding.min_fixes=4", ["00:00 90", "00:10 90", "00:20 90"]),
    ],
)
def test_every_number_can_be_overridden_and_the_violation_says_which_judged(override: str, told: list[str]) -> None:
    assert speeding(fixes(*told), Office(rules=load_pack("vn", [override]), own_kmh={CAR: 80.0})) == []
    name, _, value = override.removeprefix("speeding.").partition("=")
    assert only(fixes(*told))["judged_by"][name] != float(value)
    clear = ["00:00 120", "00:15 120", "00:30 120", "00:45 120", "01:00 120"]
    judged_by = only(fixes(*clear), Office(rules=load_pack("vn", [override]), own_kmh={CAR: 80.0}))["judged_by"]
    assert judged_by[name] == float(value)


def test_with_an_excess_of_zero_the_limit_itself_may_still_be_driven() -> None:
    strict = Office(rules=load_pack("vn", ["speeding.min_excess_kmh=0"]), own_kmh={CAR: 80.0})
    assert held(80, strict) == []
    assert len(held(80.001, strict)) == 1
