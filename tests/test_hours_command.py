"""`hanhtrinh hours`: what it reads, prints and refuses; and a real driver card judged by it."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner, Result

from detectors.fix import from_us, to_us
from detectors.hours import Interval, Line
from detectors.hours_continuous import drives
from detectors.hours_timeline import Timeline
from hanhtrinh.cli import app
from hanhtrinh.rule_packs import RulePackError, load_hours, load_pack
from hanhtrinh.timelines import TimelineError, read_timelines
from tests.scenario import day, drive, fixes_of
from tests.timeline_files import HEADER, rows

CARD_NAMES = {
    "DRIVING": "driving", "WORK": "work", "REST": "rest", "AVAILABILITY": "available", "UNKNOWN": "unknown",
}  # fmt: skip


def written(path: Path, *lines: str) -> Path:
    text = "\n".join([HEADER, *lines]) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["hours", *map(str, arguments)], catch_exceptions=False)


def test_json_is_one_violation_a_line(tmp_path: Path) -> None:
    file = written(tmp_path / "day.csv.gz", *rows("D4:00:01", driver_id="D2"), *rows("D5:00:00", driver_id="D1"))
    found = [json.loads(line) for line in run(file, "--json").stdout.splitlines()]
    assert [(each["driver_id"], each["rule"]["id"], each["actual_s"]) for each in found] == [
        ("D1", "continuous_driving", 18000.0),
        ("D2", "continuous_driving", 14401.0),
    ]
    assert (found[1]["started_at"], found[1]["ended_at"], found[1]["limit_s"]) == (
        "2025-03-03T04:00:00Z",
        "2025-03-03T04:00:01Z",
        14400.0,
    )


def test_a_person_gets_a_table_and_a_summary(tmp_path: Path) -> None:
    shown = run(written(tmp_path / "day.csv", *rows("D2:00:00 T0:14:59 D2:01:00")))
    assert "rest too short" in shown.stdout
    assert "0:14:59 h of rest, required 0:15:00 h" in shown.stdout
    assert "continuous_driving confirmed 1, short_rest confirmed 1" in shown.stderr


def test_overrides_are_used_and_told(tmp_path: Path) -> None:
    file = written(tmp_path / "day.csv", *rows("D1:00:01"))
    found = json.loads(run(file, "--json", "--rules", "eu", "--rule", "continuous_driving.limit_s=3600").stdout)
    assert (found["limit_s"], found["overrides"]) == (3600.0, {"continuous_driving.limit_s": 3600.0})


def test_times_without_an_offset_need_a_zone(tmp_path: Path) -> None:
    file = written(tmp_path / "day.csv", "D1,2025-03-03T08:00:00,2025-03-03 12:00:01,driving,,")
    with pytest.raises(TimelineError, match=r"line 2: start '2025-03-03T08:00:00' has no offset.*--time-zone"):
        read_timelines(file)
    (interval,) = read_timelines(file, ZoneInfo("Asia/Ho_Chi_Minh"))[Line("D1", None)]
    assert from_us(interval.begin_us) == datetime(2025, 3, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("D1,2025-03-03T08:00:00Z,2025-03-03T07:00:00Z,driving,,", "line 2: end .* is before start"),
        ("D1,2025-03-03T08:00:00Z,2025-03-03T09:00:00Z,flying,,", "line 2: activity 'flying': expected one of .*rest"),
        ("D1,yesterday,2025-03-03T09:00:00Z,driving,,", "line 2: start 'yesterday': expected a time such as"),
        ("D1,2025-03-03T08:00:00Z,,driving,,", "line 2: end '': expected a time"),
        (",2025-03-03T08:00:00Z,2025-03-03T09:00:00Z,driving,,", "line 2: driver_id is empty"),
        ("D1", "line 2: activity ''"),
    ],
)
def test_a_bad_row_is_named_with_what_was_expected(row: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(TimelineError, match=complaint):
        read_timelines(written(tmp_path / "bad.csv", row))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_text("driver,start,end,activity\n", encoding="utf-8")
    with pytest.raises(TimelineError, match="no column driver_id in the first line; expected driver_id, start"):
        read_timelines(file)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bad.csv.gz"
    file.write_bytes(b"\x1f\x8b not gzip")
    with pytest.raises(TimelineError, match="cannot be read"):
        read_timelines(file)


def test_semicolons_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    text = "\n".join([HEADER, *rows("D10")]).replace(",", ";")
    (tmp_path / "day.csv").write_text("\ufeff" + text, encoding="utf-8")
    assert len(read_timelines(tmp_path / "day.csv")[Line("D1", None)]) == 1


def test_the_unions_pack_judges_drivers_and_not_vehicles() -> None:
    with pytest.raises(RulePackError, match="judges driving time only"):
        load_pack("eu")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("split_second_s = 1800\n", "", "split_first_s and split_second_s go together"),
        ("rest_s = 32400\n", "rest_seconds = 32400\n", "daily_driving.0.rest_seconds"),
        ('"unknown"]\n', '"driving"]\n', "break_activities"),
        ("daily_rest_activities", "dayly_rest_activities", "dayly_rest_activities"),
        ('time_zone = "UTC"', 'time_zone = "Mars"', "'Mars' is not a known zone"),
    ],
)
def test_a_pack_with_a_slip_is_refused(old: str, new: str, complaint: str, tmp_path: Path) -> None:
    source = Path(__file__).parents[1] / "detectors" / "rules" / "eu.toml"
    text = source.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(RulePackError, match=re.escape(complaint)):
        load_hours(str(tmp_path / "mine.toml"))


def card_rows(shared_data: Path) -> list[str]:
    """The card's changes as intervals: each holds until the next or midnight."""
    with (shared_data / "tachograph_card" / "activity_changes.csv").open(encoding="utf-8") as file:
        changes = [(row["day"], int(row["minute"]), CARD_NAMES[row["activity"]]) for row in csv.DictReader(file)]
    result = []
    for (date, minute, activity), following in zip(changes, [*changes[1:], ("", 0, "")], strict=True):
        until = following[1] if following[0] == date else 24 * 60
        midnight = datetime.fromisoformat(date).replace(tzinfo=UTC)
        start, end = (midnight + timedelta(minutes=each) for each in (minute, until))
        result.append(f"card,{start.isoformat()},{end.isoformat()},{activity},,")
    return result


@pytest.fixture
def card(shared_data: Path, tmp_path: Path) -> Path:
    return written(tmp_path / "card.csv", *card_rows(shared_data))


def card_intervals(card: Path) -> list[Interval]:
    return read_timelines(card)[Line("card", None)]


def test_the_cards_sums_are_those_of_its_daily_totals(card: Path, shared_data: Path) -> None:
    intervals = card_intervals(card)
    sums: dict[str, Counter[str]] = {}
    for each in intervals:
        sum_of_day = sums.setdefault(from_us(each.begin_us).date().isoformat(), Counter())
        sum_of_day[each.activity.name] += (each.end_us - each.begin_us) // 60_000_000
    timeline = Timeline(intervals)
    with (shared_data / "tachograph_card" / "daily_totals.csv").open(encoding="utf-8") as file:
        totals = list(csv.DictReader(file))
    assert len(totals) == 100
    for row in totals:
        told = [sums[row["day"]][name] for name in ("DRIVING", "WORK", "AVAILABLE", "REST")]
        assert told == [int(row[name]) for name in ("driving", "work", "avail", "rest")], row["day"]
        begin_us = to_us(datetime.fromisoformat(row["day"]).replace(tzinfo=UTC))
        driven_us = timeline.driven_us(begin_us + 86_400_000_000) - timeline.driven_us(begin_us)
        assert driven_us == int(row["driving"]) * 60_000_000


def test_the_cards_longest_undivided_driving_is_what_was_measured(card: Path) -> None:
    rules = load_hours("eu").rules
    found = sorted(drives(Timeline(card_intervals(card)), rules.continuous, rules.breaks), key=lambda each: each[2])
    assert [
        (each.driven_us // 60_000_000, f"{from_us(each.begin_us):%m-%d %H:%M} {from_us(each.end_us):%H:%M}")
        for each in found[:-4:-1]
    ] == [(245, "05-23 05:08 14:07"), (238, "06-06 04:07 13:03"), (218, "06-04 04:07 13:25")]


@pytest.mark.parametrize("rules", ["eu", "vn"])
def test_the_card_keeps_the_limits(rules: str, card: Path) -> None:
    shown = run(card, "--rules", rules)
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert "violations: none" in shown.stderr


def test_the_card_once_drives_over_four_hours(card: Path) -> None:
    found = run(card, "--rules", "eu", "--rule", "continuous_driving.limit_s=14400", "--json").stdout.splitlines()
    assert [(json.loads(line)["started_at"], json.loads(line)["actual_s"]) for line in found] == [
        ("2025-05-23T14:02:00Z", 245 * 60.0)
    ]


def test_whole_minutes_stay_what_they_are_but_between_two_of_driving(card: Path) -> None:
    found = run(card, "--rules", "eu", "--rule", "continuous_driving.limit_s=14400", "--minutes", "--json").stdout
    assert json.loads(found)["actual_s"] == 245 * 60.0


def test_check_judges_a_driver_by_the_pack_of_the_registry(tmp_path: Path) -> None:
    told = ["vehicle_id,time,lat,lon,speed_kmh,driver_id"]
    told += [f"{each.vehicle_id},{each.time.isoformat()},{each.lat},{each.lon},{each.speed_kmh},{each.driver_id}"
             for each in fixes_of(day(drive(hours=4, minutes=20)))]  # fmt: skip
    (tmp_path / "day.csv").write_text("\n".join(told), encoding="utf-8")
    (tmp_path / "drivers.csv").write_text("driver_id,rule_pack\nD1,eu\n", encoding="utf-8")
    arguments = ["check", str(tmp_path / "day.csv"), "--limit-kmh", "100", "--json"]
    found = CliRunner().invoke(app, arguments, catch_exceptions=False).stdout
    assert json.loads(found)["kind"] == "continuous_driving"
    arguments += ["--drivers", str(tmp_path / "drivers.csv")]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).stdout == ""
    (tmp_path / "drivers.csv").write_text("driver_id,rule_pack\nD1,atlantis\n", encoding="utf-8")
    with pytest.raises(RulePackError, match="no rule pack 'atlantis'"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
