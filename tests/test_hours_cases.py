"""The worked cases of driving time, as files that `hanhtrinh hours` judges.

Origin: OFFICIAL regulator text; PUBLISHED as a worked case and checked against the rule text; DERIVED from the rule
text by us. E7, E8, E13 and E14 are judged from positions in test_hours.py as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from detectors.activity import Activity
from detectors.hours import HoursJudgement, Interval
from detectors.hours_minutes import MINUTE_US, whole_minutes
from detectors.rules.driving_time import HoursKind
from detectors.violation import band_of
from hanhtrinh.rule_packs import load_pack
from tests.scenario import HANOI
from tests.timeline_files import MONDAY_UTC, judged, minutes_driven, rows

CONTINUOUS, SHORT, DAILY = HoursKind.CONTINUOUS, HoursKind.SHORT_REST, HoursKind.DAILY
WEEKLY, FORTNIGHT, EXTENSION = HoursKind.WEEKLY, HoursKind.FORTNIGHT, HoursKind.EXTENSION
MONDAY = datetime(2025, 3, 3, tzinfo=HANOI)
MORNING = datetime(2025, 3, 3, 6, tzinfo=HANOI)


@dataclass(frozen=True)
class Case:
    """A timeline, the violations expected among `about`, and minutes on the clocks at its end."""

    id: str
    origin: str
    told: str
    expected: list[str]
    rules: str = "eu"
    kind: str = ""
    start: datetime = MONDAY_UTC
    about: frozenset[str] = frozenset(HoursKind)
    clocks: dict[HoursKind, float] = field(default_factory=dict)
    left: float | None = None
    extensions: int | None = None

    def __str__(self) -> str:
        return f"{self.id} {self.origin}"


def eu_days(*driven: int) -> str:
    """Days of so many minutes, each with a rest that keeps it on its own calendar day."""
    told = []
    for minutes in driven:
        halves = [minutes // 2, minutes - minutes // 2]
        told.append(f"D{halves[0]} B45 D{halves[1]} B{1440 - 45 - minutes}")
    return " ".join(told)


def only(*kinds: str) -> frozenset[str]:
    return frozenset(kinds)


WEEK_OF_3361 = eu_days(480, 480, 480, 480, 480, 480, 481)
WEEK_OF_3360 = eu_days(480, 480, 480, 480, 480, 480, 480)
WEEK_OF_2700 = eu_days(450, 450, 450, 450, 450, 450, 0)
WEEK_OF_2701 = eu_days(450, 450, 450, 450, 450, 451, 0)
WEEK_48H = " ".join([*["D3:50:00 T15 D3:00:00 T1015"] * 6, "D3:50:00 T15 D3:10:00"])
DAY_10H = "D3:50:00 T15 D3:50:00 T15 D2:20:00"

CASES = [
    Case("A1", "PUBLISHED", "D270", [], clocks={CONTINUOUS: 270}, left=0),
    Case("A2", "PUBLISHED", "D271", [CONTINUOUS], clocks={CONTINUOUS: 271}),
    Case("A3", "PUBLISHED", "D270 B45 D100", [], clocks={CONTINUOUS: 100}),
    Case("A4", "PUBLISHED", "D200 B15 D70 B30 D10", [], clocks={CONTINUOUS: 10}),
    Case("A5", "PUBLISHED", "D200 B30 D70 B15 D1", [CONTINUOUS], clocks={CONTINUOUS: 271}),
    Case("A6 after 44", "PUBLISHED", "D240 B44", [], clocks={CONTINUOUS: 240}),
    Case("A6 after 45", "PUBLISHED", "D240 B45", [], clocks={CONTINUOUS: 0}),
    Case("A split of 14", "DERIVED", "D200 B14 D70 B30 D1", [CONTINUOUS]),
    Case("A split, second 29", "DERIVED", "D200 B15 D70 B29 D1", [CONTINUOUS]),
    Case("A availability is a break", "OFFICIAL", "D270 A45 D1", [], clocks={CONTINUOUS: 1}),
    Case("A unknown is a break", "OFFICIAL", "D270 U45 D1", [], clocks={CONTINUOUS: 1}),
    Case("A work is no break", "OFFICIAL", "D270 W45 D1", [CONTINUOUS]),
    Case("B1", "PUBLISHED", "D270 B45 D270", [], clocks={DAILY: 540}, extensions=0),
    Case("B2", "PUBLISHED", "D270 B45 D270 B45 D1", [], clocks={DAILY: 541}, extensions=1),
    Case("B3", "PUBLISHED", "D270 B45 D270 B45 D61", [DAILY], clocks={DAILY: 601}, extensions=1),
    Case("B3, limit", "DERIVED", "D270 B45 D270 B45 D60", [], clocks={DAILY: 600}),
    Case("B4", "PUBLISHED", "D550 B540 D550 B540 D550 B540", [EXTENSION], about=only(EXTENSION, DAILY), extensions=3),
    Case("B4, twice", "DERIVED", "D550 B540 D550 B540 D540 B540", [], about=only(EXTENSION, DAILY), extensions=2),
    Case("B5", "PUBLISHED", WEEK_OF_3361, [WEEKLY]),
    Case("B5, limit", "DERIVED", WEEK_OF_3360, []),
    Case("B6", "PUBLISHED", f"{WEEK_OF_2700} {WEEK_OF_2701}", [FORTNIGHT]),
    Case("B6, limit", "DERIVED", f"{WEEK_OF_2700} {WEEK_OF_2700}", []),
    Case("B9", "PUBLISHED", "D60 B540 D30", [], clocks={DAILY: 30}),
    Case("B10", "PUBLISHED", "D60 B539 D30", [], clocks={DAILY: 90}),
    Case("E1", "DERIVED", "D4:00:00", [], "vn", start=MORNING, left=0),
    Case("E2", "DERIVED", "D4:00:01", [CONTINUOUS], "vn", start=MORNING),
    Case("E3", "DERIVED", "D2:00:00 T0:14:59 D2:01:00", [SHORT, CONTINUOUS], "vn", start=MORNING),
    Case("E4", "DERIVED", "D2:00:00 T0:15:00 D4:00:00", [], "vn", start=MORNING),
    Case("E5 taxi", "DERIVED", "D3:59:00 T5 D3:59:00", [], "vn", "taxi", MORNING),
    Case("E5 bus", "DERIVED", "D3:59:00 T5 D3:59:00", [], "vn", "city_bus", MORNING),
    Case("E5 goods", "DERIVED", "D3:59:00 T5 D3:59:00", [CONTINUOUS], "vn", "goods", MORNING),
    Case("E6", "DERIVED", "D2:00:00 T10 D1:00:00 T10 D1:30:00", [CONTINUOUS], "vn", start=MORNING),
    Case("E7 driver 1", "DERIVED", "D3:50:00 T3", [], "vn", start=MORNING),
    Case("E7 driver 2", "DERIVED", "D4:00:00", [], "vn", start=MORNING),
    Case("E8", "DERIVED", "D2:30:00@CAR1 -5 D1:31:00@CAR2", [CONTINUOUS], "vn", start=MORNING),
    Case("E9 10:00:00", "DERIVED", DAY_10H, [], "vn", start=MORNING, clocks={DAILY: 600}),
    Case("E9 10:00:01", "DERIVED", f"{DAY_10H} T15 D0:00:01", [DAILY], "vn", start=MORNING),
    Case(
        "E10 before midnight", "DERIVED", "D3:50:00 T10", [], "vn", start=MONDAY.replace(hour=20),
        clocks={CONTINUOUS: 230},
    ),
    Case(
        "E10 after midnight", "DERIVED", "D3:50:00 T15 D1:55:00", [], "vn", start=MONDAY.replace(hour=20),
        clocks={CONTINUOUS: 115, DAILY: 115, WEEKLY: 345},
    ),
    Case("E11 48:00:00", "DERIVED", WEEK_48H, [], "vn", start=MONDAY, clocks={WEEKLY: 2880}),
    Case("E11 48:00:01", "DERIVED", f"{WEEK_48H} T15 D0:00:01", [WEEKLY], "vn", start=MONDAY),
    Case("E11 in 2024", "DERIVED", f"{WEEK_48H} T15 D0:00:01", [], "vn", start=datetime(2024, 3, 4, tzinfo=HANOI)),
    Case("E12", "DERIVED", "D4:20:00", [CONTINUOUS], "vn", start=datetime(2026, 7, 6, 6, tzinfo=HANOI)),
    Case("E13 before", "DERIVED", "D3:00:00 T20 D2:00:00", [], "vn", start=MORNING),
    Case("E13 filled", "DERIVED", "D3:00:00 D20 D2:00:00", [CONTINUOUS], "vn", start=MORNING),
    Case("E14", "DERIVED", "D3:00:00 U20 D1:01:00", [CONTINUOUS], "vn", start=MORNING),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_worked_cases(case: Case, tmp_path: Path) -> None:
    judgement = judged(tmp_path / "case.csv", rows(case.told, case.start, kind=case.kind), case.rules)
    found = [each.kind for each in judgement.violations if each.kind in case.about]
    assert found == case.expected
    for kind, minutes in case.clocks.items():
        assert minutes_driven(judgement, kind) == minutes, kind
    if case.left is not None:
        assert judgement.clocks[CONTINUOUS].left_us == case.left
    if case.extensions is not None:
        assert judgement.extensions_used == case.extensions


def one(judgement: HoursJudgement, kind: HoursKind) -> dict[str, object]:
    (violation,) = [each for each in judgement.violations if each.kind == kind]
    return violation.to_wire()


def test_e3_names_the_stop_and_the_rest_it_should_have_been(tmp_path: Path) -> None:
    judgement = judged(tmp_path / "e3.csv", rows("D2:00:00 T0:14:59 D2:01:00", MORNING), "vn")
    stop = one(judgement, SHORT)
    assert (stop["started_at"], stop["ended_at"]) == ("2025-03-03T01:00:00Z", "2025-03-03T01:14:59Z")
    assert (stop["limit_s"], stop["actual_s"]) == (900, 899)
    drive = one(judgement, CONTINUOUS)
    assert (drive["started_at"], drive["ended_at"]) == ("2025-03-03T03:14:59Z", "2025-03-03T03:15:59Z")
    assert (drive["limit_s"], drive["actual_s"]) == (14400, 14460)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("D2:00:00 T0:10:01 D2:01:00", [SHORT, CONTINUOUS]),
        ("D2:00:00 T0:10:00 D2:01:00", [CONTINUOUS]),
        ("D2:00:00 T0:14:59 D2:00:00", []),
        ("D4:01:00 T12 D5 T12", [CONTINUOUS, SHORT]),
        ("D4:01:00 T12 U5 T20 D5", [CONTINUOUS]),
    ],
)
def test_a_rest_is_broken_off_when_it_passed_two_thirds_and_driving_went_on(
    told: str, expected: list[str], tmp_path: Path
) -> None:
    judgement = judged(tmp_path / "rest.csv", rows(told, MORNING), "vn")
    assert [each.kind for each in judgement.violations] == expected


def test_e8_belongs_to_the_driver_and_names_both_cars(tmp_path: Path) -> None:
    found = one(judged(tmp_path / "e8.csv", rows("D2:30:00@CAR1 -5 D1:31:00@CAR2", MORNING), "vn"), CONTINUOUS)
    assert (found["driver_id"], found["vehicle_id"]) == ("D1", "CAR2")


@pytest.mark.parametrize(("year", "grade"), [(2024, "confirmed"), (2025, "confirmed"), (2026, "review")])
def test_e9_is_advice_since_the_labour_code_rules(year: int, grade: str, tmp_path: Path) -> None:
    start = datetime(year, 7, 8, 6, tzinfo=HANOI)
    found = one(judged(tmp_path / "e9.csv", rows(f"{DAY_10H} T15 D0:00:01", start), "vn"), DAILY)
    assert found["grade"] == grade
    evidence = found["evidence"]
    assert isinstance(evidence, dict)
    assert evidence["basis"] == ("assumed" if year == 2026 else "law")


@pytest.mark.parametrize(("month", "excuse"), [(6, None), (7, "force majeure or an objective obstacle")])
def test_e12_says_what_may_excuse_it_and_keeps_it(month: int, excuse: str | None, tmp_path: Path) -> None:
    start = datetime(2026, month, 6, 6, tzinfo=HANOI)
    found = one(judged(tmp_path / "e12.csv", rows("D4:20:00", start), "vn"), CONTINUOUS)
    evidence = found["evidence"]
    assert isinstance(evidence, dict)
    assert evidence.get("may_be_excused") == excuse
    assert found["grade"] == "confirmed"


def test_e14_is_for_review_because_the_silence_could_hide_a_rest(tmp_path: Path) -> None:
    found = one(judged(tmp_path / "e14.csv", rows("D3:00:00 U20 D1:01:00", MORNING), "vn"), CONTINUOUS)
    assert found["grade"] == "review"


@pytest.mark.parametrize(
    ("excess_kmh", "fine", "report"),
    [(5.0, "5-10", "5-10"), (4.99, "", ""), (20.0, "10-20", "20-35"), (35.0, "20-35", "20-35"),
     (35.01, "over 35", "over 35")],
)  # fmt: skip
def test_e15_bands(excess_kmh: float, fine: str, report: str) -> None:
    (rule,) = load_pack().pack.speeding
    thousandths = round(excess_kmh * 1000)
    assert (band_of(thousandths, rule.fine_bands), band_of(thousandths, rule.report_bands)) == (fine, report)


def by_minute(*activities: Activity) -> list[Interval]:
    return [Interval(n * MINUTE_US, (n + 1) * MINUTE_US, activity) for n, activity in enumerate(activities)]


def told_by_minute(intervals: list[Interval]) -> list[Activity]:
    return [each.activity for each in intervals for _ in range((each.end_us - each.begin_us) // MINUTE_US)]


D, B, W = Activity.DRIVING, Activity.REST, Activity.WORK


def test_c1_a_minute_between_two_of_driving_is_driving() -> None:
    assert told_by_minute(whole_minutes(by_minute(D, B, D))) == [D, D, D]
    assert told_by_minute(whole_minutes(by_minute(D, B, W, D))) == [D, B, W, D]


def test_c2_the_first_and_the_last_minute_stay_what_they_were() -> None:
    assert told_by_minute(whole_minutes(by_minute(W, B))) == [W, B]
    assert told_by_minute(whole_minutes(by_minute(W, D, B))) == [W, D, B]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([(31, D), (29, B)], D),
        ([(29, D), (31, B)], B),
        ([(30, D), (30, B)], B),
        ([(20, D), (25, B), (15, D)], B),
        ([(20, D), (20, B), (20, W)], W),
    ],
)
def test_a_minute_takes_the_longest_activity_in_it_and_the_latest_of_equals(
    seconds: list[tuple[int, Activity]], expected: Activity
) -> None:
    intervals, at_us = [], 0
    for lasted_s, activity in seconds:
        intervals.append(Interval(at_us, at_us + lasted_s * 1_000_000, activity))
        at_us += lasted_s * 1_000_000
    assert whole_minutes(intervals) == [Interval(0, MINUTE_US, expected)]


def test_minutes_are_rounded_before_judging_when_asked(tmp_path: Path) -> None:
    stuttering = "D270 B0:00:20 D0:00:40"
    assert (
        judged(tmp_path / "s.csv", rows(stuttering), "eu").clocks[CONTINUOUS].driven_us == 270 * MINUTE_US + 40_000_000
    )
    rounded = judged(tmp_path / "m.csv", rows(stuttering), "eu", minutes=True)
    assert rounded.clocks[CONTINUOUS].driven_us == 271 * MINUTE_US
