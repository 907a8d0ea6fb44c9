"""A report for other programs: plain values, times with their offset, UTF-8 with the mark spreadsheets look for."""

from __future__ import annotations

import csv
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hanhtrinh.documents.words import is_known
from storage.reports.table import Column, Form, Report

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_csv(report: Report, path: Path) -> None:
    """The table alone, without totals and notes. Durations are seconds, and say so in their heading."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(map(_heading, report.columns))
        # Column by column: a month's stops of ten thousand vehicles are a million lines.
        columns = [_plain_column(report.frame[each.key], each.form) for each in report.columns]
        writer.writerows(zip(*columns, strict=True))


def _heading(column: Column) -> str:
    unit = " (giây)" if column.form == "duration" else ""
    return f"{column.group}: {column.title}{unit}" if column.group else f"{column.title}{unit}"


def _plain_column(column: pd.Series[Any], form: Form) -> list[Any]:
    """As `_plain` value by value, of many alike at once."""
    if form == "text":
        return [_no_formula(value) for value in map(_plain, column)]
    if isinstance(column.dtype, pd.StringDtype):
        return column.to_numpy(dtype=object, na_value="").tolist()
    if isinstance(column.dtype, pd.DatetimeTZDtype) and not column.empty:
        local, utc = column.dt.tz_localize(None), column.dt.tz_convert("UTC").dt.tz_localize(None)
        # One offset for all, no parts of seconds and no gaps; else one by one.
        if (local - utc).nunique(dropna=False) == 1 and (local == local.dt.floor("s")).all():
            offset = column.iloc[0].isoformat()[-6:]
            seconds = np.datetime_as_string(local.to_numpy().astype("datetime64[s]"))
            return [f"{moment.replace('T', ' ')}{offset}" for moment in seconds.tolist()]
    return list(map(_plain, column))


def _no_formula(value: Any) -> Any:
    """A spreadsheet would run a plate that begins with "=", and plates come from trackers too: an apostrophe before it
    makes it a text (OWASP, CSV injection)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


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
