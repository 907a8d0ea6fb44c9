"""A report for other programs: plain values, times with their offset, UTF-8 with the mark spreadsheets look for."""

from __future__ import annotations

import csv
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hanhtrinh.documents.words import is_known
from storage.reports.table import Report


def write_csv(report: Report, path: Path) -> None:
    """The table alone, without totals and notes."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(f"{each.group}: {each.title}" if each.group else each.title for each in report.columns)
        # Column by column: a month's stops of ten thousand vehicles are a million lines.
        columns = [_plain_column(report.frame[each.key]) for each in report.columns]
        writer.writerows(zip(*columns, strict=True))


def _plain_column(column: pd.Series[Any]) -> list[Any]:
    """As `_plain` value by value, of many alike at once."""
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
