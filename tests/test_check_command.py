"""hanhtrinh check, as a person or a script uses it: on small files and on real recordings."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hanhtrinh.cli import main
from tests.scenario import day, drive, fixes, fixes_of, stop

REPOSITORY = Path(__file__).parents[1]
SPEEDER = fixes("00:00 60", "00:10 90", "00:20 95", "00:40 90", "00:50 60", driver_id="D1")


class Done(NamedTuple):
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def check(*arguments: object, cwd: Path) -> Done:
    """Run the command in this process: a process of its own takes longer to start than to judge."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setenv("COLUMNS", "100")
        patch.setattr(sys, "argv", ["hanhtrinh", "check", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def check_in_a_process(*arguments: object, cwd: Path) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "hanhtrinh", "check", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "100"},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def found(*arguments: object, cwd: Path) -> list[dict[str, Any]]:
    """The violations that `check --json` prints, one a line; it must succeed."""
    done = check(*arguments, "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def refused(*arguments: object, cwd: Path) -> str:
    """The one line that says what is wrong."""
    done = check(*arguments, cwd=cwd)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("hanhtrinh: ")
    return line


def recording(folder: Path, sent: list[Any] = SPEEDER, name: str = "day.csv", **more: str) -> Path:
    """Fixes as a CSV file, with more columns of one value each."""
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["vehicle_id", "time", "lat", "lon", "speed_kmh", "driver_id", *more])
        for fix in sent:
            speed = "" if fix.speed_kmh is None else fix.speed_kmh
            row = [fix.vehicle_id, fix.time.isoformat(), fix.lat, fix.lon, speed, fix.driver_id or ""]
            writer.writerow([*row, *more.values()])
    return path


KNOWS_SPEED = ("--map", "speed_kmh=speed_kmh")


def test_a_recording_is_judged_one_violation_a_line(tmp_path: Path) -> None:
    (violation,) = found(recording(tmp_path), *KNOWS_SPEED, "--limit-kmh", 80, cwd=tmp_path)
    assert violation["kind"] == "speeding"
    assert violation["grade"] == "confirmed"
    assert (violation["started_at"], violation["ended_at"]) == ("2025-03-03T01:00:10Z", "2025-03-03T01:00:40Z")
    assert (violation["top_speed_kmh"], violation["limit_source"], violation["driver_id"]) == (95.0, "given", "D1")
    assert "overrides" not in violation


def test_a_process_of_its_own_says_the_same(tmp_path: Path) -> None:
    good = (recording(tmp_path), *KNOWS_SPEED, "--json")
    assert check_in_a_process(*good, cwd=tmp_path) == check(*good, cwd=tmp_path)
    bad = (*good, "--rule", "speeding.max_gap=5")
    assert check_in_a_process(*bad, cwd=tmp_path) == check(*bad, cwd=tmp_path)


def test_the_summary_goes_to_standard_error(tmp_path: Path) -> None:
    done = check(recording(tmp_path), *KNOWS_SPEED, "--json", cwd=tmp_path)
    assert "5 fixes of 1 vehicles judged by pack vn; doubled 0, conflicts 0, unusable rows 0" in done.stderr
    assert "violations: speeding review 1" in done.stderr


def test_no_violation_prints_nothing_and_is_no_failure(tmp_path: Path) -> None:
    done = check(recording(tmp_path), *KNOWS_SPEED, "--limit-kmh", 120, "--json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "violations: none" in done.stderr


def test_people_get_a_table_with_local_times(tmp_path: Path) -> None:
    done = check(recording(tmp_path), *KNOWS_SPEED, cwd=tmp_path)
    assert done.returncode == 0
    assert "30E00555" in done.stdout
    assert "08:00:10" in done.stdout
    assert "+07" in done.stdout


def test_the_order_of_rows_and_files_and_doubled_rows_do_not_matter(tmp_path: Path) -> None:
    whole = found(recording(tmp_path), *KNOWS_SPEED, cwd=tmp_path)
    backwards = recording(tmp_path, [*reversed(SPEEDER), *SPEEDER], "backwards.csv")
    assert found(backwards, *KNOWS_SPEED, cwd=tmp_path) == whole
    late = recording(tmp_path, SPEEDER[2:], "a.csv"), recording(tmp_path, SPEEDER[:3], "b.csv")
    assert found(*late, *KNOWS_SPEED, cwd=tmp_path) == whole
    assert found(*reversed(late), *KNOWS_SPEED, cwd=tmp_path) == whole


def test_overrides_judge_and_are_shown(tmp_path: Path) -> None:
    path = recording(tmp_path)
    arguments = (path, *KNOWS_SPEED, "--rule", "speeding.min_duration_s=31")
    assert found(*arguments, cwd=tmp_path) == []
    assert "overrides: speeding.min_duration_s=31" in check(*arguments, cwd=tmp_path).stderr
    (violation,) = found(path, *KNOWS_SPEED, "--rule", "speeding.min_fixes=3", cwd=tmp_path)
    assert violation["overrides"] == {"speeding.min_fixes": 3.0}
    assert violation["judged_by"]["min_fixes"] == 3


def test_the_registry_gives_class_own_limit_and_kind(tmp_path: Path) -> None:
    registry = tmp_path / "vehicles.csv"
    header = "vehicle_id,operator_id,kind,speed_class,limit_kmh,seats,payload_t\n"
    registry.write_text(header + "30E00555,OP1,taxi,heavy,85,,\n", encoding="utf-8")
    arguments = (recording(tmp_path), *KNOWS_SPEED, "--vehicles", registry)
    (violation,) = found(*arguments, cwd=tmp_path)
    assert (violation["limit_kmh"], violation["limit_source"]) == (85.0, "vehicle")
    registry.write_text(header + "30E00555,OP1,taxi,trailer,,,\n", encoding="utf-8")
    violation = found(*arguments, cwd=tmp_path)[0]
    assert (violation["limit_kmh"], violation["limit_source"], violation["grade"]) == (50.0, "class", "review")


def test_the_kind_in_the_registry_decides_the_rest(tmp_path: Path) -> None:
    story = day(drive(hours=3, minutes=59), stop(minutes=5), drive(hours=3, minutes=59))
    path = recording(tmp_path, fixes_of(story), "shift.csv")
    registry = tmp_path / "vehicles.csv"
    header = "vehicle_id,operator_id,kind,speed_class,limit_kmh,seats,payload_t\n"
    registry.write_text(header + "30E00555,OP1,taxi,car,,,\n", encoding="utf-8")
    assert found(path, *KNOWS_SPEED, "--vehicles", registry, cwd=tmp_path) == []
    (violation,) = found(path, *KNOWS_SPEED, cwd=tmp_path)
    assert (violation["kind"], violation["actual_s"]) == ("continuous_driving", 7 * 3600 + 58 * 60)
    assert violation["start"]
    assert violation["end"]


def test_the_roads_limit_can_come_with_the_rows(tmp_path: Path) -> None:
    path = recording(tmp_path, Limit="60")
    (violation,) = found(path, *KNOWS_SPEED, "--map", "limit_kmh=Limit", cwd=tmp_path)
    assert (violation["limit_kmh"], violation["limit_source"], violation["excess_kmh"]) == (60.0, "road", 35.0)


def test_unusable_rows_are_counted_by_reason_and_the_rest_is_judged(tmp_path: Path) -> None:
    path = recording(tmp_path)
    with path.open("a", encoding="utf-8") as file:
        file.write("30E00555,2025-03-03T01:00:30+00:00,91,105,60,D1\n")
        file.write("30E00555,2025-03-03T01:00:31,21,105,60,D1\n")
    done = check(path, *KNOWS_SPEED, "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert "unusable rows 2" in done.stderr
    assert "unusable, bad_value: 1 rows, first in row 7: lat" in done.stderr
    assert "unusable, naive_time: 1 rows, first in row 8" in done.stderr


def test_a_file_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    done = check("missing.csv", cwd=tmp_path)
    assert done.returncode == 2
    assert "missing.csv" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--rule", "speeding.max_gap=5"], "speeding.max_gap_s"),
        (["--rule", "speeding.max_gap_s"], "NAME=NUMBER"),
        (["--rules", "atlantis"], "vn"),
        (["--map", "speed_kmh=velocity"], "velocity"),
        (["--map", "velocity=speed_kmh"], "velocity"),
        (["--speed-unit", "furlongs"], "knots"),
        (["--time-zone", "Nowhere/Land"], "Nowhere/Land"),
    ],
    ids=str,
)
def test_a_wrong_option_is_one_line_that_says_what_was_expected(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    assert told in refused(recording(tmp_path), *arguments, cwd=tmp_path)


def test_a_bad_registry_is_refused_with_line_and_column(tmp_path: Path) -> None:
    registry = tmp_path / "vehicles.csv"
    header = "vehicle_id,operator_id,kind,speed_class,limit_kmh,seats,payload_t\n"
    registry.write_text(header + "30E00555,OP1,submarine,car,,,\n", encoding="utf-8")
    message = refused(recording(tmp_path), *KNOWS_SPEED, "--vehicles", registry, cwd=tmp_path)
    assert "line 2" in message
    assert "kind" in message


def test_a_bus_day_of_austin_is_judged_as_it_was_recorded(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "capmetro" / "2016-02-07.csv.gz"
    arguments = (path, "--map", "time=timestamp", "--map", "speed_kmh=speed", "--speed-unit", "ms")
    sparse = found(*arguments, cwd=tmp_path)
    violations = found(*arguments, "--rule", "speeding.max_gap_s=300", cwd=tmp_path)
    assert len({each["violation_id"] for each in violations}) == len(violations)
    kinds, kinds_sparse = (Counter(each["kind"] for each in told) for told in (violations, sparse))
    assert kinds["speeding"] > kinds_sparse["speeding"]
    assert kinds["continuous_driving"] == kinds_sparse["continuous_driving"] > 0
    with gzip.open(path, "rt", encoding="utf-8") as file:
        fastest = max(float(row["speed"]) for row in csv.DictReader(file)) * 3.6
    for each in violations:
        assert each["overrides"] == {"speeding.max_gap_s": 300.0}
        if each["kind"] == "speeding":
            assert each["excess_kmh"] >= 5
            assert each["fixes"] >= 2
            assert each["duration_s"] >= 20
            assert each["top_speed_kmh"] <= fastest
            assert each["grade"] == "review"
        elif each["kind"] == "continuous_driving":
            assert each["actual_s"] > each["limit_s"] == 14_400


def test_a_trip_of_a_twizy_is_judged_against_the_roads_limit(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "rsk_twizy" / "T1_06_30_2021_2.csv"
    violations = found(
        path, "--vehicle-id", "twizy", "--map", "time=Date+Time", "--map", "lat=LAT", "--map", "lon=LON",
        "--map", "speed_kmh=GpsSpeed", "--map", "limit_kmh=SpeedLimit", "--time-format", "%m/%d/%Y %H:%M:%S",
        "--time-zone", "Africa/Casablanca", cwd=tmp_path,
    )  # fmt: skip
    with path.open(encoding="utf-8") as file:
        over = [row for row in csv.DictReader(file) if float(row["GpsSpeed"]) - float(row["SpeedLimit"]) >= 5]
    assert violations
    assert sum(each["fixes"] for each in violations) <= len(over)
    for each in violations:
        assert (each["vehicle_id"], each["limit_source"], each["grade"]) == ("twizy", "road", "confirmed")
        assert each["limit_kmh"] in (20, 40, 60)


OVERRIDES = "scope,id,number,value,valid_from,valid_to,basis\n"


def test_an_offices_own_numbers_judge_as_the_workers_would(tmp_path: Path) -> None:
    (tmp_path / "vehicles.csv").write_text("vehicle_id,operator_id,kind\n30E00555,OP,taxi\n")
    (tmp_path / "overrides.csv").write_text(
        f"{OVERRIDES}operator,OP,speeding.min_duration_s,25,2025-03-01,,letter 12\n"
        "kind,taxi,limit_kmh,85,2025-03-01,2025-03-04,letter 13\nkind,taxi,limit_kmh,40,2025-03-04,,letter 13\n"
    )
    given = (recording(tmp_path), *KNOWS_SPEED, "--overrides", "overrides.csv")
    (violation,) = found(*given, "--vehicles", "vehicles.csv", cwd=tmp_path)
    assert (violation["limit_kmh"], violation["limit_source"], violation["fixes"]) == (85.0, "kind", 3)
    assert {name: each["value"] for name, each in violation["judged_by"]["overridden"].items()} == {
        "limit_kmh": 85, "min_duration_s": 25,
    }  # fmt: skip
    assert "concern 1 of the vehicles" in check(*given, "--vehicles", "vehicles.csv", cwd=tmp_path).stderr
    (violation,) = found(*given, cwd=tmp_path)  # nobody says whose it is
    assert violation["limit_source"] == "class"
    assert "concern 0 of the vehicles" in check(*given, cwd=tmp_path).stderr


def test_an_override_of_one_vehicle_needs_no_registry(tmp_path: Path) -> None:
    (tmp_path / "overrides.csv").write_text(f"{OVERRIDES}vehicle,30E00555,limit_kmh,95,2025-03-01,,letter 13\n")
    assert found(recording(tmp_path), *KNOWS_SPEED, "--overrides", "overrides.csv", cwd=tmp_path) == []


def test_bad_overrides_are_refused_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "overrides.csv").write_text(f"{OVERRIDES}vehicle,30E00555,limit_kmh,950,2025-03-01,,letter 13\n")
    line = refused(recording(tmp_path), *KNOWS_SPEED, "--overrides", "overrides.csv", cwd=tmp_path)
    assert "1 bad rows: line 2, value: limit_kmh is 950, expected 1 to 200 km/h" in line
