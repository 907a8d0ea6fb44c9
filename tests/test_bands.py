"""The two bands of an excess: the fine and the state report draw the line at 20 km/h on different sides.

Cases E15 of the worked cases (derived from Decree 168/2024 art. 6 and QCVN 31) and all edges around them.
"""

from __future__ import annotations

import pytest

from detectors.limits import thousandths
from detectors.violation import band_of
from hanhtrinh.rule_packs import load_pack
from tests.scenario import CAP_80, fixes, only, speeding

EDGES = [
    (5.00, "5-10", "5-10"),
    (9.99, "5-10", "5-10"),
    (9.999, "5-10", "5-10"),
    (10.00, "10-20", "10-20"),
    (19.99, "10-20", "10-20"),
    (19.999, "10-20", "10-20"),
    (20.00, "10-20", "20-35"),
    (20.001, "20-35", "20-35"),
    (20.01, "20-35", "20-35"),
    (34.99, "20-35", "20-35"),
    (35.00, "20-35", "20-35"),
    (35.001, "over 35", "over 35"),
    (35.01, "over 35", "over 35"),
    (100.0, "over 35", "over 35"),
]


@pytest.mark.parametrize(("excess_kmh", "fine", "report"), EDGES)
def test_an_excess_falls_into_its_two_bands(excess_kmh: float, fine: str, report: str) -> None:
    speed = 80 + excess_kmh
    found = only(fixes("00:00 85", f"00:10 {speed:.3f}", "00:20 85"))
    assert (found["fine_band"], found["report_band"]) == (fine, report)
    assert found["excess_kmh"] == excess_kmh


def test_four_point_ninety_nine_over_has_no_band_and_is_no_violation() -> None:
    assert speeding(fixes("00:00 84.99", "00:10 84.99", "00:20 84.99"), CAP_80) == []
    (rule,) = load_pack().pack.speeding
    assert band_of(thousandths(4.99), rule.fine_bands) == ""
    assert band_of(thousandths(4.99), rule.report_bands) == ""


def test_the_band_is_that_of_the_largest_excess_not_of_the_mean() -> None:
    found = only(fixes("00:00 86", "00:10 116", "00:20 86", "00:30 86"))
    assert (found["excess_kmh"], found["fine_band"], found["report_band"]) == (36.0, "over 35", "over 35")
    assert found["mean_speed_kmh"] == 93.5


@pytest.mark.parametrize("limit_kmh", [0.1, 33.3, 60.7, 99.9])
def test_the_edges_hold_where_binary_fractions_are_not_exact(limit_kmh: float) -> None:
    (rule,) = load_pack().pack.speeding
    for excess_kmh, fine, report in EDGES:
        excess = thousandths(round(limit_kmh + excess_kmh, 3)) - thousandths(limit_kmh)
        assert (band_of(excess, rule.fine_bands), band_of(excess, rule.report_bands)) == (fine, report)
