"""A report as a spreadsheet that prints on one page's width."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.workbook import Workbook
from xlsxwriter.worksheet import Worksheet

from hanhtrinh.documents.words import (
    EMPTY,
    MOTTO,
    NOTES,
    NUMBER,
    PLACE_AND_DAY,
    SIGNATURES,
    TOTAL,
    headings,
    is_known,
    label_of,
    under_title,
)
from storage.reports.scope import ReportError
from storage.reports.table import Column, Form, Report

# "_)" keeps numbers off the border: LibreOffice forgets the indent of what is aligned to the right in some cells.
_NUMBERS: Mapping[Form, str] = {
    "count": "#,##0_)", "km": "#,##0.0_)", "kmh": "#,##0.0_)", "percent": "#,##0.00_)", "rate": "#,##0.00_)",
    "time": "hh:mm:ss dd/mm/yyyy", "date": "dd/mm/yyyy", "duration": "[h]:mm:ss_)",
}  # fmt: skip
_WIDTHS: Mapping[Form, float] = {
    "text": 17, "count": 10, "km": 11, "kmh": 10, "percent": 9, "rate": 10, "time": 19, "date": 11, "duration": 11,
    "place": 20,
}  # fmt: skip
_FONT = {"font_name": "Times New Roman", "font_size": 11}
_TEXTS: frozenset[Form] = frozenset({"text", "place"})
_DAY_S = 86_400
_FIRST_DAY_US = np.datetime64("1899-12-30", "us").astype("int64")
"""What a spreadsheet counts its days from, in all dates after February 1900."""
MOST_LINES = 1_048_000
"""A sheet has 1,048,576 rows, of which titles, totals and the foot take some."""
_NARROW = 6
"""Columns of a table that is printed upright."""
_HEAD = 5
"""First row of the headings, counted from 0."""


def write_xlsx(report: Report, path: Path) -> None:
    """Values as numbers and dates, shown in the reader's own locale; the headings are repeated on every page.

    ReportError when a sheet cannot hold so many lines: the writer would leave them out without a word.
    """
    if len(report.frame) > MOST_LINES:
        raise ReportError(
            f"{report.name} has {len(report.frame):,} lines and a sheet holds {MOST_LINES:,}: narrow it down with"
            " --operator or --province, or write a .csv"
        )
    # On a full disk the writer leaves its parts where it made them.
    with TemporaryDirectory(prefix="hanhtrinh-") as parts:
        # Texts stay texts: a plate that begins with = is no formula.
        options = {"strings_to_formulas": False, "strings_to_urls": False, "remove_timezone": True, "tmpdir": parts}
        with xlsxwriter.Workbook(str(path), options) as book:
            _Sheet(book, report).write()


class _Sheet:
    def __init__(self, book: Workbook, report: Report) -> None:
        self._book = book
        self._report = report
        self._columns: Sequence[Column] = (NUMBER, *report.columns)
        self._last = len(self._columns) - 1
        self._is_narrow = self._last < _NARROW
        self._sheet: Worksheet = book.add_worksheet(report.name)

    def write(self) -> None:
        self._page()
        self._titles()
        self._headings()
        row = self._rows(_HEAD + 2)
        row = self._totals(row)
        self._foot(row + 1)

    def _format(self, **options: Any) -> Format:
        return self._book.add_format({**_FONT, "valign": "vcenter", **options})

    def _over(self, row: int, first: int, last: int, text: str, style: Format) -> None:
        """Write across cells of a row; one cell alone cannot be merged."""
        if first < last:
            self._sheet.merge_range(row, first, row, last, text, style)
        else:
            self._sheet.write_string(row, first, text, style)

    def _page(self) -> None:
        sheet, report = self._sheet, self._report
        if self._is_narrow:
            sheet.set_portrait()
        else:
            sheet.set_landscape()
        sheet.set_paper(9 if self._last < 14 else 8)
        sheet.center_horizontally()
        sheet.set_margins(left=0.4, right=0.4, top=0.6, bottom=0.6)
        sheet.fit_to_pages(1, 0)
        sheet.repeat_rows(_HEAD, _HEAD + 1)
        sheet.freeze_panes(_HEAD + 2, 2)
        sheet.set_footer(f"&L{label_of(report)} - {report.period}&RTrang &P/&N")
        self._book.set_properties({"title": f"{report.name}: {report.title}", "subject": report.period})
        # The narrow ones have room: for long texts, and for the country's name over two columns.
        least, widest = (24.0, 60) if self._is_narrow else (0.0, 34)
        for number, column in enumerate(self._columns):
            longest = (
                max((len(str(each)) for each in report.frame[column.key]), default=0)
                if column.form == "text" and column.key
                else 0
            )
            width = max(_WIDTHS[column.form], min(longest + 2, widest), least)
            sheet.set_column(number, number, 6 if column is NUMBER else width)

    def _titles(self) -> None:
        middle = self._last // 2
        bold = self._format(bold=True, align="center")
        self._over(0, 0, middle, self._report.of, bold)
        self._over(0, middle + 1, self._last, MOTTO[0], bold)
        self._over(1, middle + 1, self._last, MOTTO[1], self._format(bold=True, align="center", underline=1))
        title = self._format(bold=True, align="center", font_size=14)
        self._over(3, 0, self._last, self._report.title.upper(), title)
        under = under_title(self._report)
        self._over(4, 0, self._last, under, self._format(italic=True, align="center"))

    def _headings(self) -> None:
        sheet = self._sheet
        head = self._format(bold=True, align="center", border=1, text_wrap=True, bg_color="#DCE6F1")
        sheet.set_row(_HEAD, 22)
        sheet.set_row(_HEAD + 1, 46)
        for heading in headings(self._columns):
            for number in range(heading.first, heading.last + 1):
                if heading.title is None:
                    sheet.merge_range(_HEAD, number, _HEAD + 1, number, self._columns[number].title, head)
                else:
                    sheet.write(_HEAD + 1, number, self._columns[number].title, head)
            if heading.title is not None:
                self._over(_HEAD, heading.first, heading.last, heading.title, head)

    def _rows(self, row: int) -> int:
        frame, sheet = self._report.frame, self._sheet
        if frame.empty:
            empty = self._format(italic=True, align="center", border=1)
            self._over(row, 0, self._last, EMPTY, empty)
            return row + 1
        formats = [self._cell_format(column) for column in self._columns]
        cells = [_cells(frame[column.key], column.form) for column in self._report.columns]
        places = list(zip(range(1, len(cells) + 1), self._writers(), formats[1:], strict=True))
        write_blank = sheet.write_blank
        for number, values in enumerate(zip(*cells, strict=True), 1):
            sheet.write_number(row, 0, number, formats[0])
            for value, (place, write, style) in zip(values, places, strict=True):
                if value is None:
                    write_blank(row, place, None, style)
                else:
                    write(row, place, value, style)
            row += 1
        return row

    def _writers(self) -> list[Callable[..., object]]:
        """What writes the cells of each of the report's columns: looked for once, not cell by cell."""
        sheet = self._sheet
        return [
            sheet.write_string
            if column.form in _TEXTS
            else sheet.write_datetime
            if _holds_days(self._report.frame[column.key], column.form)
            else sheet.write_number
            for column in self._report.columns
        ]

    def _totals(self, row: int) -> int:
        totals = self._report.totals
        if not totals or self._report.frame.empty:
            return row
        formats = [self._cell_format(column, bold=True, bg_color="#F2F2F2") for column in self._columns]
        for place, column in enumerate(self._columns):
            self._write(row, place, totals.get(column.key) if column.key else None, column.form, formats[place])
        self._sheet.write_string(row, 1, TOTAL, formats[1])
        return row + 1

    def _foot(self, row: int) -> None:
        sheet, middle = self._sheet, self._last // 2
        small = self._format(italic=True, font_size=10)
        sheet.write_string(row, 1, NOTES, small)
        for number, note in enumerate(self._report.notes, 1):
            sheet.write_string(row + number, 1, f"- {note}", small)
        row += len(self._report.notes) + 2
        bold = self._format(bold=True, align="center")
        self._over(row, middle + 1, self._last, PLACE_AND_DAY, self._format(italic=True, align="center"))
        self._over(row + 1, 0, middle, SIGNATURES[0], bold)
        self._over(row + 1, middle + 1, self._last, SIGNATURES[1], bold)

    def _cell_format(self, column: Column, **options: Any) -> Format:
        number = {"num_format": _NUMBERS[column.form]} if column.form in _NUMBERS else {}
        align: dict[str, Any] = {"align": "center"}
        if column.form in _TEXTS:
            align = {"indent": 1, "text_wrap": True}
        if column.form in ("count", "km", "kmh", "percent", "rate", "duration"):
            align = {"align": "right"}
        return self._format(border=1, **number, **align, **options)

    def _write(self, row: int, place: int, value: Any, form: Form, style: Format) -> None:
        sheet = self._sheet
        if not is_known(value):
            sheet.write_blank(row, place, None, style)
        elif form in _TEXTS:
            sheet.write_string(row, place, str(value), style)
        elif form in ("time", "date") and not isinstance(value, float):
            sheet.write_datetime(row, place, value, style)
        else:
            sheet.write_number(row, place, float(value) / _DAY_S if form == "duration" else float(value), style)


def _holds_days(column: pd.Series[Any], form: Form) -> bool:
    """Whether its values are dates of Python's: moments are numbers by then."""
    return form in ("time", "date") and not isinstance(column.dtype, pd.DatetimeTZDtype)


def _cells(column: pd.Series[Any], form: Form) -> list[Any]:
    """Its values as they are written, all at once; None where there is nothing to show."""
    values = _values(column)
    # As `is_known` says it of one.
    known = (values.notna() & (values != "")).tolist()
    told = zip(values.tolist(), known, strict=True)
    if form in _TEXTS:
        return [str(value) if there else None for value, there in told]
    if form in ("time", "date"):
        return [value if there else None for value, there in told]
    return [(float(value) / _DAY_S if form == "duration" else float(value)) if there else None for value, there in told]


def _values(column: pd.Series[Any]) -> pd.Series[Any]:
    """Its values; moments as the days that a spreadsheet counts, all at once."""
    if not isinstance(column.dtype, pd.DatetimeTZDtype):
        return column
    local = column.dt.tz_localize(None)
    microseconds = local.to_numpy().astype("datetime64[us]").astype("int64") - _FIRST_DAY_US
    days, rest = np.divmod(microseconds, _DAY_S * 1_000_000)
    # None where there is no moment: a number that stands for it would be shown.
    return pd.Series(days + rest / 1e6 / _DAY_S, dtype=object).where(column.notna().to_numpy(), None)
