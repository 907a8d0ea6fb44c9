"""Rows under headings on whatever standard output is, without losing a character of a value.

On a terminal they are a table where its width allows, otherwise a block of lines for each row. Anywhere else they are
one line each, however long: what reads them there is `grep`, or somebody who pastes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple, TextIO

from rich.box import HEAVY_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

READABLE = 24
"""Characters a line that a sentence is wrapped to should have at least."""

_GAP = 2


class Column(NamedTuple):
    """What stands under one heading: whole in one line, unless it may be wrapped."""

    heading: str
    least: int | None = None
    """It may be wrapped to lines of so many characters, not to shorter ones."""
    number: bool = False
    """To the right, so that digits of one weight stand below each other."""


def visible(text: str) -> str:
    r"""The text with what a terminal would obey, or would not show, written as in Python: \x1b, \n, \u202e.

    A backslash stays as it is: most of them belong to an ordinary value, and `--json` tells them apart.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def print_rows(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], title: str | None = None, out: TextIO | None = None
) -> None:
    """Print them to `out`, standard output by default. Values are text, never markup: one may be called [red]."""
    out = out or sys.stdout
    shown = [[visible(cell) for cell in row] for row in rows]
    headings = [column.heading for column in columns]
    whole = [max(map(cell_len, texts)) for texts in zip(headings, *shown, strict=True)]
    around = (len(columns) - 1) * _GAP + len(columns) + 1
    if not out.isatty():
        # Rich would take COLUMNS, or 80, for the width of a file.
        console = Console(file=out, width=sum(whole) + around)
        console.print(_table(columns, shown, whole, title, boxed=console.is_terminal))
        return
    console = Console(file=out)
    widths = _fitted(columns, whole, console.width - around)
    if widths is not None:
        console.print(_table(columns, shown, widths, title, boxed=True))
        return
    if title:
        console.print(Text(title, style="italic"))
    _print_blocks(console, columns, shown)


def _fitted(columns: Sequence[Column], whole: Sequence[int], room: int) -> list[int] | None:
    """A width for each column: the narrow ones are whole first, the widest has what is left. None: there is no room."""
    widths = [
        width if column.least is None else min(width, column.least)
        for column, width in zip(columns, whole, strict=True)
    ]
    spare = room - sum(widths)
    if spare < 0:
        return None
    cut = sorted((n for n, width in enumerate(widths) if width < whole[n]), key=lambda n: whole[n])
    for n in cut:
        more = whole[n] - widths[n]
        if more <= spare or n == cut[-1]:
            widths[n] += min(more, spare)
            spare -= min(more, spare)
    return widths


def _table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], widths: Sequence[int], title: str | None, *, boxed: bool
) -> Table:
    table = Table(
        title=title and Text(title),
        title_justify="left",
        header_style="bold",
        pad_edge=False,
        box=HEAVY_HEAD if boxed else None,
    )
    for column, width in zip(columns, widths, strict=True):
        table.add_column(
            Text(column.heading),
            justify="right" if column.number else "left",
            width=width,
            no_wrap=column.least is None,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _print_blocks(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """A blank line ends each. What is longer than a line the terminal itself breaks: then it can be copied as it is."""
    width = max(cell_len(column.heading) for column in columns) + _GAP
    for row in rows:
        for column, cell in zip(columns, row, strict=True):
            if cell:
                console.print(Text.assemble((column.heading.ljust(width), "bold"), cell), soft_wrap=True)
        console.print()
