"""A report for other programs: plain values, times with their offset, UTF-8 with the mark spreadsheets look for."""

from __future__ import annotations

import csv
from datetime import date, datetime
from pathlib import Path
from typing import Any

from hanhtrinh.documents.words import is_known
from storage.reports.table import Report


def write_csv(report: Report, path: Path) -> None:
    """The table alone, without totals and notes."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(f"{each.group}: {each.title}" if each.group else each.title for each in report.columns)
        # Column by column: a month's stops of ten thousand vehicles are a million lines.
        columns = [list(map(_plain, report.frame[each.key])) for each in report.columns]
        writer.writerows(zip(*columns, strict=True))


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if not is_known(value):
        return ""
    return (
        value.isoformat(sep=" ")
        if isinstance(value, datetime)
        else value.isoformat()
        if isinstance(value, date)
        else value
    )
