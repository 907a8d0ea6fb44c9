"""What every printed report carries besides its table."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from itertools import groupby
from typing import Any, NamedTuple

import pandas as pd

from storage.reports.table import Column, Form, Report

MOTTO = ("CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM", "Độc lập - Tự do - Hạnh phúc")
NUMBER = Column("", "STT", "count")
TOTAL = "Tổng cộng"
NOTES = "Cách tính:"
PLACE_AND_DAY = "..............., ngày ..... tháng ..... năm ........."
"""Filled in by hand by whoever signs."""
SIGNATURES = ("NGƯỜI LẬP BIỂU", "THỦ TRƯỞNG ĐƠN VỊ")
_DECIMAL_COMMA = str.maketrans(",.", ".,")
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
        minutes, seconds = divmod(int(float(value) + 0.5), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    return str(value)


def _decimal(value: Any, places: int) -> str:
    # As a spreadsheet shows it: 0.625 is 0,63 there, and 0,62 by Python's own rounding.
    shown = Decimal(f"{float(value):.15g}").quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return f"{shown:,f}".translate(_DECIMAL_COMMA)
