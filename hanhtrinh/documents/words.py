"""What every printed report carries besides its table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import pandas as pd

from storage.reports.table import Column, Form, Report

MOTTO = ("CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM", "Độc lập - Tự do - Hạnh phúc")
NUMBER = Column("", "STT", "count")
TOTAL = "Tổng cộng"
NOTES = "Cách tính:"
SIGNATURES = ("NGƯỜI LẬP BIỂU", "THỦ TRƯỞNG ĐƠN VỊ")
EMPTY = "Không có dữ liệu trong kỳ báo cáo."


class Heading(NamedTuple):
    """A heading over neighbouring columns: from the first to the last, counted from 0; None: the columns have none."""

    title: str | None
    first: int
    last: int


def headings(columns: Sequence[Column]) -> list[Heading]:
    """The upper row of headings."""
    numbered = list(enumerate(columns))
    return [
        Heading(title, members[0][0], members[-1][0])
        for title, group in groupby(numbered, key=lambda each: each[1].group)
        for members in ([*group],)
    ]


def label_of(report: Report) -> str:
    """What its pages are told from others by: the annex's number, or the title where the form has no number."""
    return report.name if _has_number(report) else report.title


def under_title(report: Report) -> str:
    """The line below the title."""
    return f"{report.period} ({report.name})" if _has_number(report) else report.period


def _has_number(report: Report) -> bool:
    return report.name.startswith("PL")


def is_known(value: Any) -> bool:
    """Whether there is anything to show."""
    return value is not None and not pd.isna(value) and value != ""


def text_of(value: Any, form: Form) -> str:
    """A value as it is printed: decimal comma, local times, h:mm:ss."""
    if not is_known(value):
        return ""
    if form == "count":
        return f"{int(value):,}".replace(",", ".")
    if form in ("km", "kmh"):
        return _decimal(value, 1)
    if form in ("percent", "rate"):
        return _decimal(value, 2)
    if form == "time":
        return f"{value:%H:%M:%S %d/%m/%Y}"
    if form == "date":
        return f"{value:%d/%m/%Y}"
    if form == "duration":
        minutes, seconds = divmod(round(float(value)), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    return str(value)


def _decimal(value: Any, places: int) -> str:
    # Swapped through a third sign: 1,234.5 becomes 1.234,5.
    return f"{float(value):,.{places}f}".translate(str.maketrans(",.", ".,"))
