"""A report as a page to sign."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from reportlab.lib import colors
from reportlab.lib.pagesizes import A3, A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import getRegisteredFontNames, registerFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from hanhtrinh.documents.pdf_lines import BOLD, FONT, RULE, SIDE, SIZE, Lines, line_of
from hanhtrinh.documents.words import (
    EMPTY,
    MOTTO,
    NOTES,
    NUMBER,
    PLACE_AND_DAY,
    SIGNATURES,
    TOTAL,
    headings,
    label_of,
    text_of,
    under_title,
)
from storage.reports.scope import ReportError
from storage.reports.table import Column, Form, Report

MOST_LINES = 200_000
"""Some thousand pages: two minutes of drawing what nobody turns over, and 1.5 GB of memory, were 770,000 of them."""
_MARGIN = 12 * mm
_PAGES = "pages"
_PAGES_WIDTH = 7 * mm
_GRID: list[Any] = [
    ("GRID", (0, 0), (-1, -1), RULE, colors.grey),
    ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
    ("LEFTPADDING", (0, 0), (-1, -1), SIDE),
    ("RIGHTPADDING", (0, 0), (-1, -1), SIDE),
]
_SHARES: dict[Form, float] = {
    "text": 2.2, "count": 1.0, "km": 1.2, "kmh": 1.1, "percent": 1.1, "rate": 1.1, "time": 2.3, "date": 1.5,
    "duration": 1.4, "place": 2.2,
}  # fmt: skip


def write_pdf(report: Report, path: Path) -> None:
    """The headings are repeated on every page. ReportError when there would be thousands of them."""
    if len(report.frame) > MOST_LINES:
        raise ReportError(
            f"{report.name} has {len(report.frame):,} lines, thousands of pages, and {MOST_LINES:,} are drawn at most:"
            " narrow it down with --operator or --province, or write a .csv"
        )
    for name in (FONT, BOLD):
        # The fonts of PDF itself have no Vietnamese letters.
        if name not in getRegisteredFontNames():
            registerFont(TTFont(name, str(files("font_source_sans_pro") / "files" / f"{name}.ttf")))
    page = landscape(A4 if len(report.columns) < 14 else A3)
    width = page[0] - 2 * _MARGIN

    def foot(canvas: Canvas, _: Any) -> None:
        canvas.setFont(FONT, 8)
        canvas.drawString(_MARGIN, 8 * mm, f"{label_of(report)} - {report.period}")
        canvas.drawRightString(page[0] - _MARGIN - _PAGES_WIDTH, 8 * mm, f"Trang {canvas.getPageNumber()}/")
        canvas.saveState()
        canvas.translate(page[0] - _MARGIN - _PAGES_WIDTH, 8 * mm)
        canvas.doForm(_PAGES)
        canvas.restoreState()

    with path.open("wb") as file:
        document = SimpleDocTemplate(
            file, pagesize=page, leftMargin=_MARGIN, rightMargin=_MARGIN, topMargin=_MARGIN, bottomMargin=14 * mm,
            title=f"{report.name}: {report.title}", author="hanhtrinh", subject=report.period,
        )  # fmt: skip
        parts = [*_titles(report, width), _table(report, width), *_end(report, width)]
        document.build(parts, foot, foot, canvasmaker=_Counted)


class _Counted(Canvas):
    """Draws the number of pages, which every page refers to, when all of them are there."""

    def save(self) -> None:
        self.beginForm(_PAGES)
        self.setFont(FONT, 8)
        self.drawString(0, 0, str(self.getPageNumber() - 1))
        self.endForm()
        super().save()


def _style(size: float, *, bold: bool = False, centred: bool = False) -> ParagraphStyle:
    font = BOLD if bold else FONT
    return ParagraphStyle("", fontName=font, fontSize=size, leading=size * 1.25, alignment=1 if centred else 0)


def _said(text: str, style: ParagraphStyle) -> Paragraph:
    # Text, not markup: a vehicle may be called <b>.
    return Paragraph(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"), style)


def _titles(report: Report, width: float) -> list[Flowable]:
    bold = _style(10, bold=True, centred=True)
    motto = [Paragraph(MOTTO[0], bold), Paragraph(f"<u>{MOTTO[1]}</u>", bold)]
    head = Table([[_said(report.of, bold), motto]], colWidths=[width / 2, width / 2])
    head.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP")]))
    return [
        head,
        Spacer(1, 5 * mm),
        _said(report.title.upper(), _style(14, bold=True, centred=True)),
        _said(under_title(report), _style(10, centred=True)),
        Spacer(1, 4 * mm),
    ]


def _table(report: Report, width: float) -> Flowable:
    columns: tuple[Column, ...] = (NUMBER, *report.columns)
    shares = [0.7, *(_SHARES[column.form] for column in report.columns)]
    widths = [width * each / sum(shares) for each in shares]
    lines = [
        line_of([str(number), *map(text_of, values, [column.form for column in report.columns])], widths)
        for number, values in enumerate(zip(*(report.frame[each.key] for each in report.columns), strict=True), 1)
    ]
    if report.totals and lines:
        totals = [text_of(report.totals.get(column.key), column.form) for column in report.columns]
        lines.append(line_of(["", TOTAL, *totals[1:]], widths, bold=True))
    if not lines:
        return _nothing(columns, widths)
    right = [column.form not in ("text", "place") for column in columns]
    return Lines(_head(columns, widths), widths, right, lines)


def _head(columns: Sequence[Column], widths: Sequence[float]) -> Table:
    """Both rows of headings."""
    bold = _style(SIZE, bold=True, centred=True)
    upper: list[Any] = [""] * len(columns)
    lower: list[Any] = [""] * len(columns)
    spans: list[Any] = []
    for heading in headings(columns):
        for number in range(heading.first, heading.last + 1):
            (upper if heading.title is None else lower)[number] = _said(columns[number].title, bold)
            if heading.title is None:
                spans.append(("SPAN", (number, 0), (number, 1)))
        if heading.title is not None:
            upper[heading.first] = _said(heading.title, bold)
            spans.append(("SPAN", (heading.first, 0), (heading.last, 0)))
    table = Table([upper, lower], colWidths=widths)
    table.setStyle(TableStyle([*_GRID, ("BACKGROUND", (0, 0), (-1, -1), colors.HexColor("#DCE6F1")), *spans]))
    return table


def _nothing(columns: Sequence[Column], widths: Sequence[float]) -> Flowable:
    said = Table([[_said(EMPTY, _style(9, centred=True))]], colWidths=[sum(widths)])
    said.setStyle(TableStyle(_GRID))
    return KeepTogether([_head(columns, widths), said])


def _end(report: Report, width: float) -> list[Flowable]:
    small, bold = _style(8), _style(10, bold=True, centred=True)
    place_and_day = _said(PLACE_AND_DAY, _style(10, centred=True))
    signed: list[list[Any]] = [["", place_and_day], [_said(each, bold) for each in SIGNATURES]]
    signatures = Table(signed, colWidths=[width / 2, width / 2])
    notes = [_said(NOTES, small), *(_said(f"- {note}", small) for note in report.notes)]
    return [Spacer(1, 4 * mm), *notes, Spacer(1, 6 * mm), KeepTogether([signatures, Spacer(1, 22 * mm)])]
