"""Recordings: columns found, cells read to the bit, in every kind of file."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from pyarrow import parquet

from detectors.fix import Fix, to_us
from ingest.recordings import ColumnMapping, Recording, RecordingError
from tests.recording_files import HEADER, read, write_csv

ROWS = [
    ["29B-1", "2026-03-02T07:00:00.123456+07:00", "21.0278", "105.8342", "63.4", "D1", "9", "0.8", "true", "1200.25"],
    ["29B-2", "2026-03-02T00:00:05Z", "10.7769", "106.7009", "", "", "", "", "", ""],
    ["29B-1", "2026-03-02T07:00:10+07:00", "21.0279", "105.8343", "0.1", "D1", "3", "12.5", "false", "1200.26"],
]
FIXES = [
    Fix(
        "29B-1",
        to_us(datetime(2026, 3, 2, tzinfo=UTC)) + 123_456,
        21.0278,
        105.8342,
        63.4,
        "D1",
        odometer_km=1200.25,
        satellites=9,
        hdop=0.8,
        valid=True,
    ),
    Fix("29B-2", to_us(datetime(2026, 3, 2, 0, 0, 5, tzinfo=UTC)), 10.7769, 106.7009),
    Fix(
        "29B-1",
        to_us(datetime(2026, 3, 2, 0, 0, 10, tzinfo=UTC)),
        21.0279,
        105.8343,
        0.1,
        "D1",
        odometer_km=1200.26,
        satellites=3,
        hdop=12.5,
        valid=False,
    ),
]


def test_minus_zero_is_zero(tmp_path: Path) -> None:
    row = ["29B-1", "2026-03-02T00:00:05Z", "-0.0", "-0", "-0.0", "", "", "", "", ""]
    (fix,), _ = read(write_csv(tmp_path / "zero.csv", [row]))
    assert repr(fix) == repr(fix._replace(lat=0.0, lon=0.0, speed_kmh=0.0))


def as_csv(folder: Path) -> Path:
    return write_csv(folder / "day.csv", ROWS)


def as_gzip(folder: Path) -> Path:
    return write_csv(folder / "day.csv.gz", ROWS)


def as_semicolons(folder: Path) -> Path:
    return write_csv(folder / "day.csv", ROWS, delimiter=";")


def as_tabs(folder: Path) -> Path:
    return write_csv(folder / "day.tsv", ROWS, delimiter="\t")


def as_quoted_with_mark(folder: Path) -> Path:
    path = folder / "day.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([HEADER, *ROWS])
    return path


def as_parquet_of_texts(folder: Path) -> Path:
    columns = {name: [row[at] or None for row in ROWS] for at, name in enumerate(HEADER)}
    parquet.write_table(pa.table(columns), folder / "day.parquet")
    return folder / "day.parquet"


def as_parquet_of_types(folder: Path) -> Path:
    columns = {
        "vehicle_id": pa.array([fix.vehicle_id for fix in FIXES]).dictionary_encode(),
        "time": pa.array([fix.time for fix in FIXES], pa.timestamp("us", "Asia/Ho_Chi_Minh")),
        **{
            name: pa.array([getattr(fix, name) for fix in FIXES])
            for name in HEADER
            if name not in ("vehicle_id", "time")
        },
    }
    parquet.write_table(pa.table(columns), folder / "day.parquet")
    return folder / "day.parquet"


def as_ndjson(folder: Path) -> Path:
    lines = [msgspec.json.encode({"time": fix.time, **fix._asdict()}) for fix in FIXES]
    (folder / "day.ndjson").write_bytes(b"\n".join(lines))
    return folder / "day.ndjson"


def as_gzipped_lists(folder: Path) -> Path:
    lines = [msgspec.json.encode([{"time": fix.time, **fix._asdict()}]) for fix in FIXES]
    (folder / "day.jsonl.gz").write_bytes(gzip.compress(b"\n\n".join(lines) + b"\n"))
    return folder / "day.jsonl.gz"


@pytest.mark.parametrize(
    "write",
    [
        as_csv,
        as_gzip,
        as_semicolons,
        as_tabs,
        as_quoted_with_mark,
        as_parquet_of_texts,
        as_parquet_of_types,
        as_ndjson,
        as_gzipped_lists,
    ],
)
def test_every_kind_of_file_gives_the_same_fixes(write: Callable[[Path], Path], tmp_path: Path) -> None:
    assert read(write(tmp_path)) == (FIXES, [])


def test_ndjson_with_names_of_its_own_is_mapped(tmp_path: Path) -> None:
    lines = [
        {"plate": 17, "when": 1772409600123, "y": 21.0, "x": 105.0, "v": 10.0},
        {"plate": 17, "when": 1772409601123, "y": 21.0, "x": 105.0, "v": 11.0, "driver": "D1"},
    ]
    path = tmp_path / "day.ndjson"
    path.write_bytes(b"\n".join(map(msgspec.json.encode, lines)) + b"\nnot json\n")
    mapping = ColumnMapping.parse(
        ["time=when", "lat=y", "lon=x", "speed_kmh=v"], speed_unit="ms", time_format="epoch_ms"
    )
    fixes, rejected = read(path, mapping)
    assert fixes == [
        Fix("17", 1772409600123000, 21.0, 105.0, 36.0),
        Fix("17", 1772409601123000, 21.0, 105.0, 11.0 * 3.6, "D1"),
    ]
    assert [(row.row, row.reason) for row in rejected] == [(3, "bad_json")]


@pytest.mark.parametrize(("unit", "factor"), [("kmh", 1.0), ("mph", 1.609344), ("ms", 3.6), ("knots", 1.852)])
def test_speed_is_converted_once_and_to_the_bit(unit: str, factor: float, tmp_path: Path) -> None:
    speeds = [0.1, 12.96416, 17.8816, 33.3]
    rows = [["1", f"2026-03-02T00:00:0{at}Z", "1", "2", repr(speed)] for at, speed in enumerate(speeds)]
    path = write_csv(tmp_path / "day.csv", rows, ["vehicle", "timestamp", "latitude", "lng", "speed"])
    fixes, _ = read(path, ColumnMapping.parse(speed_unit=unit))
    assert [fix.speed_kmh for fix in fixes] == [speed * factor for speed in speeds]


def test_a_unit_in_the_columns_name_needs_no_option(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "d.csv", [["1", "2026-03-02T00:00:00Z", "1", "2", "50"]], [*HEADER[:4], "Speed (mph)"])
    assert read(path)[0][0].speed_kmh == 50 * 1.609344


@pytest.mark.parametrize(
    ("header", "options", "message"),
    [
        ("vehicle_id,time,lat,lon,speed", {}, "'speed' does not say its unit; say --speed-unit"),
        ("vehicle_id,time,lat,lon,speed_mph", {"speed_unit": "kmh"}, "'speed_mph' says mph, --speed-unit says kmh"),
        ("vehicle_id,time,lat,lon", {"speed_unit": "kmh"}, "no column for the speed"),
        (
            "vehicle_id,time,lat,lon,speed,GpsSpeed",
            {"speed_unit": "kmh"},
            "'speed', 'GpsSpeed' could each be speed_kmh",
        ),
        (
            "vehicle_id,time,timestamp,lat,lon",
            {"maps": ["time=when"]},
            "no column 'when' .*columns are vehicle_id, time",
        ),
        ("time,lat,lon", {}, "no column for vehicle_id; say --map vehicle_id=COLUMN, or --vehicle-id"),
        ("vehicle_id,time,lat", {}, "no column for lon; say --map lon=COLUMN; columns are vehicle_id, time, lat"),
        ("vehicle_id,Date,Time,lat,lon", {}, r"say --map time=Date\+Time"),
        ("vehicle_id,moment,timestamp,datetime,lat,lon", {}, "'timestamp', 'datetime' could each be time"),
        ("vehicle_id,time,lat,lon,lat", {}, "column 'lat' is there more than once"),
        ("", {}, "is empty, expected a header"),
    ],
)
def test_columns_that_cannot_be_understood_are_named(
    header: str, options: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "day.csv"
    path.write_text(header + "\n")
    with pytest.raises(RecordingError, match=message) as caught:
        read(path, ColumnMapping.parse(**options))  # type: ignore[arg-type]
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maps": ["speed"]}, "--map speed: expected field=column"),
        ({"maps": ["velocity=speed"]}, "no field 'velocity'; there are vehicle_id, time"),
        ({"maps": ["lat=a", "lat=b"]}, "lat is already mapped to a"),
        ({"speed_unit": "kph"}, "--speed-unit kph: expected one of kmh, mph, ms, knots"),
        ({"time_zone": "Hanoi"}, "--time-zone Hanoi: expected a name such as"),
        ({"time_format": "unix"}, "--time-format unix: expected a strptime format"),
    ],
)
def test_options_that_say_nothing_sensible_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecordingError, match=re.escape(message)):
        ColumnMapping.parse(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cell", "options", "expected_us"),
    [
        ("2026-03-02T07:00:00.000001+07:00", {}, 1772409600000001),
        ("2026-03-02 00:00:00Z", {}, 1772409600000000),
        ("2026-03-02 07:00:00", {"time_zone": "Asia/Ho_Chi_Minh"}, 1772409600000000),
        (
            "02/03/2026 07:00:00",
            {"time_format": "%d/%m/%Y %H:%M:%S", "time_zone": "Asia/Ho_Chi_Minh"},
            1772409600000000,
        ),
        ("02/03/2026 07:00:00 +0700", {"time_format": "%d/%m/%Y %H:%M:%S %z"}, 1772409600000000),
        ("1772409600", {"time_format": "epoch_s"}, 1772409600000000),
        ("1772409600.123456", {"time_format": "epoch_s"}, 1772409600123456),
        ("1772409600123", {"time_format": "epoch_ms"}, 1772409600123000),
        ("1772409600123456", {"time_format": "epoch_us"}, 1772409600123456),
    ],
)
def test_times_are_exact_to_the_microsecond(
    cell: str, options: dict[str, str], expected_us: int, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "day.csv", [["1", cell, "1", "2"]], HEADER[:4])
    assert [fix.time_us for fix in read(path, ColumnMapping.parse(**options))[0]] == [expected_us]


@pytest.mark.parametrize(
    ("cell", "options", "message"),
    [
        ("2026-03-02 07:00:00", {}, "times without an offset .*--time-zone"),
        ("1772409600", {}, "is not ISO 8601 .*--time-format"),
        ("2026-03-02 07:00:00", {"time_format": "%d.%m.%Y"}, r"does not fit --time-format %d.%m.%Y"),
    ],
)
def test_a_file_whose_times_cannot_be_read_says_which_option_is_missing(
    cell: str, options: dict[str, str], message: str, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "day.csv", [["1", cell, "1", "2"]], HEADER[:4])
    with pytest.raises(RecordingError, match=message):
        read(path, ColumnMapping.parse(**options))


def test_a_local_time_that_the_clock_change_repeats_is_refused(tmp_path: Path) -> None:
    rows = [["1", f"2026-10-25 0{hour}:30:00", "1", "2"] for hour in (1, 2, 3)]
    path = write_csv(tmp_path / "day.csv", rows, HEADER[:4])
    fixes, rejected = read(path, ColumnMapping.parse(time_zone="Europe/Berlin"))
    assert [fix.time.hour for fix in fixes] == [23, 2]
    assert [(row.row, row.reason) for row in rejected] == [(3, "naive_time")]


def test_rows_that_do_not_fit_keep_their_row_numbers(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    path.write_bytes(
        b"vehicle_id,time,lat,lon\n"
        b"1,2026-03-02T00:00:00Z,1,2\n"
        b"too,few\n"
        b"1,2026-03-02T00:00:01Z,91,2\n"
        b"1,2026-03-02T00:00:02Z,1,2,too many\n"
        b"caf\xe9,2026-03-02T00:00:03Z,1,2\n"
        b",2026-03-02T00:00:04Z,1,2\n"
        b"1,2026-03-02T00:00:05,1,2\n"
        b"1,2026-03-02T00:00:06Z,1,\n"
        b"1,2026-03-02T00:00:07Z,1,2\n"
    )
    recording = Recording(path, ColumnMapping())
    chunks = list(recording.chunks())
    assert [row for chunk in chunks for row in chunk.row.tolist()] == [2, 10]
    reasons = {row.row: row.reason for chunk in chunks for row in chunk.rejected}
    assert reasons == {
        3: "bad_json",
        4: "bad_value",
        5: "bad_json",
        6: "bad_id",
        7: "bad_id",
        8: "naive_time",
        9: "no_position",
    }


def test_one_bad_object_in_a_list_leaves_the_good_ones(tmp_path: Path) -> None:
    path = tmp_path / "day.ndjson"
    good = {"vehicle_id": "1", "time": "2026-03-02T00:00:00Z", "lat": 1.0, "lon": 2.0}
    path.write_bytes(msgspec.json.encode([{"vehicle_id": "1"}, good]) + b"\n" + b'{"lat":1}\n')
    fixes, rejected = read(path)
    assert [fix.vehicle_id for fix in fixes] == ["1"]
    assert [(row.row, row.reason) for row in rejected] == [(1, "bad_schema"), (2, "bad_id")]
    assert rejected[0].detail.startswith("[0] ")


@pytest.mark.parametrize("local", [False, True], ids=["with its zone", "local"])
@pytest.mark.parametrize(("unit", "per_s"), [("ms", 1_000), ("us", 1_000_000)])
def test_a_parquet_moment_beyond_the_calendar_is_a_rejected_row(
    unit: str, per_s: int, local: bool, tmp_path: Path
) -> None:
    # Python's datetime cannot hold it: what pyarrow raises then ended `check` with a traceback (found by fuzzing), and
    # of milliseconds beyond 64 bits of microseconds a fix in 1970 was made.
    moments = pa.array([1_780_000_000 * per_s, 2**62], pa.int64())
    columns = {
        "vehicle_id": ["29B-1", "29B-1"], "time": moments.cast(pa.timestamp(unit, None if local else "UTC")),
        "lat": [21.0, 21.0], "lon": [105.8, 105.8],
    }  # fmt: skip
    parquet.write_table(pa.table(columns), tmp_path / "day.parquet")
    fixes, rejected = read(tmp_path / "day.parquet", ColumnMapping(time_zone="UTC" if local else None))
    assert [fix.time_us for fix in fixes] == [1_780_000_000_000_000]
    assert len(rejected) == 1
