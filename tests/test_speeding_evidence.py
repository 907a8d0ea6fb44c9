"""What a speeding violation says: its figures, its distance and places, and each limit it was held against."""

from __future__ import annotations

import pytest

from tests.scenario import Office, at, fixes, only, speeding


def test_the_evidence_holds_every_figure() -> None:
    found = only(
        fixes("00:00 72", "00:10 90", "00:20 ?", "00:30 99.5", "00:35 83", "00:40 86.25", "01:00 60", driver_id="D9")
    )
    assert found["limit_kmh"] == 80.0
    assert found["limit_source"] == "vehicle"
    assert found["top_speed_kmh"] == 99.5
    assert found["mean_speed_kmh"] == 91.917
    assert found["excess_kmh"] == 19.5
    assert found["fine_band"] == "10-20"
    assert found["report_band"] == "10-20"
    assert found["grade"] == "confirmed"
    assert found["driver_id"] == "D9"
    assert found["evidence"] == {
        "limits_kmh": {"80": 3},
        "first_over": at("00:10"),
        "last_over": at("00:40"),
        "law": "Decree 168/2024/ND-CP art. 6 (fine); QCVN 31:2014/BGTVT (report)",
    }
    assert found["judged_by"] == {
        "min_excess_kmh": 5.0,
        "exit_after_s": 10.0,
        "max_gap_s": 90.0,
        "min_fixes": 2,
        "min_duration_s": 20.0,
    }


def test_distance_is_what_was_driven_between_first_and_last_over_fix() -> None:
    sent = fixes(
        "00:00 90",
        "00:10 90 metres=100",
        "00:15 120 metres=200 invalid",
        "00:20 82 metres=30",
        "00:25 ? metres=40",
        "00:30 90 metres=50",
        "00:35 82 metres=500",
        "00:40 60 metres=600",
    )
    found = only(sent)
    assert found["distance_m"] == pytest.approx(100 + 200 + 30 + 40 + 50, abs=0.01)
    assert found["start"] == {"lat": sent[0].lat, "lon": sent[0].lon}
    assert found["end"] == {"lat": sent[5].lat, "lon": sent[5].lon}


def test_each_pause_is_counted_once_in_the_distance() -> None:
    told = [f"00:{5 * number:02} {90 if number % 2 == 0 else 82} metres=100" for number in range(9)]
    assert only(fixes(*told))["distance_m"] == pytest.approx(800, abs=0.01)


def test_of_two_equal_excesses_the_first_names_the_limit() -> None:
    sent = fixes("00:00 90", "00:10 90", "00:20 70", "00:30 70")
    assert only(sent, Office(), [80.0, 80.0, 60.0, 60.0])["limit_kmh"] == 80.0


def test_the_leg_to_the_first_over_fix_is_no_part_of_the_distance() -> None:
    sent = fixes(
        "00:00 70", "00:10 90 metres=250", "00:30 90 metres=300", "00:31 90 by=B metres=20", "00:51 90 by=B metres=310"
    )
    first, second = (each.to_wire() for each in speeding(sent))
    assert first["distance_m"] == pytest.approx(300, abs=0.01)
    assert second["distance_m"] == pytest.approx(310, abs=0.01)


def test_a_change_of_limit_inside_does_not_split_it() -> None:
    sent = fixes("00:00 95", "00:10 95", "00:20 75", "00:30 75", "00:40 60")
    found = only(sent, Office(), [80.0, 80.0, 60.0, 60.0, 60.0])
    assert (found["fixes"], found["duration_s"]) == (4, 30.0)
    assert found["evidence"]["limits_kmh"] == {"60": 2, "80": 2}


def test_the_excess_is_judged_fix_by_fix() -> None:
    sent = fixes("00:00 100", "00:10 100", "00:20 90", "00:30 90")
    found = only(sent, Office(), [85.0, 85.0, 60.0, 60.0])
    assert (found["excess_kmh"], found["limit_kmh"], found["top_speed_kmh"]) == (30.0, 60.0, 100.0)
    assert found["fine_band"] == "20-35"


def test_a_limit_that_rises_to_the_speed_ends_it() -> None:
    sent = fixes("00:00 75", "00:10 75", "00:20 75", "00:30 75")
    assert speeding(sent, Office(), [60.0, 60.0, 80.0, 80.0]) == []
