"""Recordings as messages: `send` and the worker end with what `check` reads, to the bit and to the reason."""

from __future__ import annotations

import csv
import gzip
import math
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from detectors.fix import Fix, to_us
from ingest.formats import FixError, FormatRegistry, checked_fix
from ingest.raw import RawMessage
from ingest.recordings import ColumnMapping, Recording, RecordingError
from ingest.recordings.messages import OutMessage, by_time, messages
from tests.recording_files import HEADER, read, write_csv

NUMBERS = ["", "1", "-1", "0.1", "1e3", "1e999", "nan", "inf", "abc", "1,5", " 7 ", "90", "90.1", "180.5", "101", "7.5"]
CELLS = {
    "vehicle_id": ["29B-1", "xe 2", "", "x" * 64, "x" * 65, "a\tb", "Đà Nẵng"],
    "time": [
        "2026-03-02T00:00:00Z",
        "2026-03-02T00:00:00.5+07:00",
        "",
        "2026-02-30T00:00:00Z",
        "2026-03-02T00:00:00",
        "1969-12-31T23:59:59Z",
        "2101-01-01T00:00:00Z",
        "2100-12-31T23:59:59.999999Z",
        "1772409600",
        "soon",
    ],
    "lat": ["21.5", "-90", *NUMBERS],
    "lon": ["105.5", "-180", *NUMBERS],
    "speed_kmh": ["63.4", "1000", "1000.1", *NUMBERS],
    "driver_id": ["", "D1", "x" * 65, "a\x7fb"],
    "satellites": ["9", "7.0", *NUMBERS],
    "hdop": ["0.8", "1001", *NUMBERS],
    "valid": ["", "true", "False", "1", "0", "yes", "maybe", "2"],
    "odometer_km": ["100000000", "100000001", *NUMBERS],
}


def random_rows(seed: int, count: int) -> list[list[str]]:
    """Mostly good cells, so that every field's bad ones are met alone and together."""
    rng = random.Random(seed)
    return [
        [CELLS[name][0] if rng.random() < 0.85 else rng.choice(CELLS[name]) for name in HEADER] for _ in range(count)
    ]


def scalar_fix(row: list[str]) -> Fix | None:
    """What one row is, cell by cell with Python's own readers."""
    cells = dict(zip(HEADER, row, strict=True))
    values: dict[str, object] = {name: cells[name].strip() or None for name in ("vehicle_id", "driver_id")}
    try:
        for name in ("lat", "lon", "speed_kmh", "satellites", "hdop", "odometer_km"):
            text = cells[name].strip()
            values[name] = float(text) if text else None
            if text and not math.isfinite(float(text)):
                return None
        word = cells["valid"].lower()
        values["valid"] = None if not word else {"true": True, "false": False, "1": True, "0": False, "yes": True}[word]
        time = datetime.fromisoformat(cells["time"])
        values["time_us"] = (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        return checked_fix(**values)
    except (ValueError, KeyError, TypeError, FixError):
        return None


@pytest.mark.parametrize("seed", range(5))
def test_columns_agree_with_the_scalar_reading_of_random_rows(seed: int, tmp_path: Path) -> None:
    rows = random_rows(seed, 3_000)
    fixes, rejected = read(write_csv(tmp_path / "day.csv", rows))
    expected = [scalar_fix(row) for row in rows]
    assert fixes == [fix for fix in expected if fix is not None]
    assert [row.row for row in rejected] == [number for number, fix in enumerate(expected, start=2) if fix is None]
    assert len(fixes) > 500
    assert len({row.reason for row in rejected}) >= 5


def decoded(sent: list[OutMessage]) -> tuple[list[Fix], list[str]]:
    registry = FormatRegistry()
    results = [registry.decode(RawMessage(message.topic, message.payload, 0)) for message in sent]
    return [fix for each in results for fix in each.fixes], [
        reject.reason for each in results for reject in each.rejects
    ]


@pytest.mark.parametrize("per_message", [None, 7])
def test_the_worker_decodes_what_check_read_and_rejects_the_rest_with_the_same_reasons(
    per_message: int | None, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "day.csv", random_rows(99, 4_000))
    fixes, rejected = read(path)
    sent = list(messages(Recording(path, ColumnMapping()), per_message))
    by_worker, reasons = decoded(sent)
    assert sorted(by_worker, key=repr) == sorted(fixes, key=repr)
    assert Counter(reasons) == Counter(row.reason for row in rejected)
    assert sum(message.fixes for message in sent) == len(fixes)
    if per_message is None:
        assert by_worker == fixes
    else:
        assert max(message.fixes for message in sent) == per_message


def test_own_ndjson_is_sent_line_by_line_as_it_stands(tmp_path: Path) -> None:
    lines = [
        msgspec.json.encode([{"vehicle_id": name, "time": 1772409600000, "lat": 1, "lon": 2}])
        for name in ("a", "b", "a")
    ]
    path = tmp_path / "day.ndjson.gz"
    path.write_bytes(gzip.compress(b"\n\n".join(lines) + b"\n"))
    sent = list(messages(Recording(path, ColumnMapping())))
    assert [message.payload for message in sent] == lines
    assert [message.topic for message in sent] == ["hanhtrinh/a", "hanhtrinh/b", "hanhtrinh/a"]


def test_a_vehicle_that_no_topic_can_name_is_not_sent_under_another(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "day.csv", [["29B/1", "2026-03-02T00:00:00Z", "1", "2"]], HEADER[:4])
    with pytest.raises(RecordingError, match="row 2: vehicle_id '29B/1' cannot be part of an MQTT topic"):
        list(messages(Recording(path, ColumnMapping())))


def test_pacing_puts_messages_in_order_of_time(tmp_path: Path) -> None:
    rows = [["1", f"2026-03-02T00:00:0{second}Z", "1", "2"] for second in (5, 3, 4)] + [["1", "2026", "1", "2"]]
    path = write_csv(tmp_path / "day.csv", rows, HEADER[:4])
    ordered = by_time(messages(Recording(path, ColumnMapping())))
    first_us = to_us(datetime(2026, 3, 2, tzinfo=UTC))
    seconds = [None if message.time_us is None else (message.time_us - first_us) // 1_000_000 for message in ordered]
    assert seconds == [3, 4, None, 5]


def test_the_capmetro_day_is_read_to_the_bit(shared_data: Path) -> None:
    path = shared_data / "capmetro" / "2016-02-07.csv.gz"
    fixes, rejected = read(path, ColumnMapping.parse(speed_unit="ms"))
    with gzip.open(path, "rt", newline="") as file:
        expected = [
            Fix(
                row["vehicle_id"],
                to_us(datetime.fromisoformat(row["timestamp"])),
                float(row["latitude"]),
                float(row["longitude"]),
                float(row["speed"]) * 3.6,
            )
            for row in csv.DictReader(file)
        ]
    assert len(expected) == 49_081
    assert fixes == expected
    assert rejected == []
    assert decoded(list(messages(Recording(path, ColumnMapping.parse(speed_unit="ms"))))) == (expected, [])
