"""Drivers' timelines from CSV files: what each driver did between two times."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TextIO

from detectors.activity import Activity
from detectors.fix import to_us
from detectors.hours import Interval, Line

COLUMNS = ("driver_id", "start", "end", "activity")
OPTIONAL_COLUMNS = ("vehicle_id", "vehicle_kind")
_ACTIVITIES = {activity.name.lower(): activity for activity in Activity}
_SHOWN_ERRORS = 5
_MAX_LINE_CHARS = 64 << 10
_MAX_CHARS = 1 << 30
# Written by spreadsheets where the comma is the decimal sign.
_DELIMITERS = ",;\t"


class TimelineError(Exception):
    """The file is no timeline; the message names the lines, what they hold and what was expected."""


def read_timelines(path: Path, zone: tzinfo | None = None) -> dict[Line, list[Interval]]:
    """The intervals of each driver in a CSV or CSV.gz file. `zone` is that of times without an offset.

    A file with a bad row is refused as a whole: hours that miss a piece look more lawful than they were.
    """
    lines: dict[Line, list[Interval]] = {}
    bad: list[str] = []
    bad_rows = 0
    with _opened(path) as file:
        for number, row in _rows(path, file):
            try:
                line, interval = _interval(row, zone)
            except ValueError as error:
                bad_rows += 1
                if len(bad) < _SHOWN_ERRORS:
                    bad.append(f"line {number}: {error}")
                continue
            lines.setdefault(line, []).append(interval)
    if bad:
        more = f"; and {bad_rows - len(bad)} more" if bad_rows > len(bad) else ""
        raise TimelineError(f"{path}: {'; '.join(bad)}{more}")
    return lines


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
                yield file
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                yield file
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise TimelineError(f"{path}: cannot be read as CSV: {error}") from None


def _rows(path: Path, file: TextIO) -> Iterator[tuple[int, dict[str, str | None]]]:
    lines = _bounded_lines(path, file)
    header = next(lines, "")
    delimiter = max(_DELIMITERS, key=header.count)
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise TimelineError(
            f"{path}: no column {', '.join(missing)} in the first line; expected {', '.join(COLUMNS)}"
            f" and perhaps {', '.join(OPTIONAL_COLUMNS)}"
        )
    reader = csv.DictReader(lines, names, delimiter=delimiter)
    for row in reader:
        yield reader.line_num + 1, row


def _bounded_lines(path: Path, file: TextIO) -> Iterator[str]:
    """The lines, never more than a bound in memory, whatever a .gz expands to."""
    chars = number = 0
    while line := file.readline(_MAX_LINE_CHARS + 1):
        number += 1
        chars += len(line)
        if len(line) > _MAX_LINE_CHARS:
            raise TimelineError(f"{path}: line {number} is longer than {_MAX_LINE_CHARS} characters")
        if chars > _MAX_CHARS:
            raise TimelineError(f"{path}: is longer than {_MAX_CHARS} characters: give it in parts")
        yield line


def _interval(row: dict[str, str | None], zone: tzinfo | None) -> tuple[Line, Interval]:
    """ValueError says what is wrong."""
    values = {name: (row.get(name) or "").strip() for name in (*COLUMNS, *OPTIONAL_COLUMNS)}
    if not values["driver_id"]:
        raise ValueError("driver_id is empty")
    activity = _ACTIVITIES.get(values["activity"].lower())
    if activity is None:
        raise ValueError(f"activity {values['activity']!r}: expected one of {', '.join(sorted(_ACTIVITIES))}")
    begin_us, end_us = (_time_us(name, values[name], zone) for name in ("start", "end"))
    if end_us < begin_us:
        raise ValueError(f"end {values['end']} is before start {values['start']}")
    kind = values["vehicle_kind"] or None
    return Line(values["driver_id"], None), Interval(begin_us, end_us, activity, values["vehicle_id"] or None, kind)


def _time_us(name: str, text: str, zone: tzinfo | None) -> int:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} {text!r}: expected a time such as 2025-03-03T08:00:00+07:00") from None
    if time.tzinfo is None:
        if zone is None:
            raise ValueError(f"{name} {text!r} has no offset from UTC: write one, or give --time-zone")
        time = time.replace(tzinfo=zone)
    return to_us(time)
