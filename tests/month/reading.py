"""Reports as other programs and people read them: lines from the CSV file, the line of sums from the spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import openpyxl

from tests.month.expected import TOTAL, Table
from tests.month.ledger import keyed


def lines_of(path: Path, key: Sequence[int]) -> Table:
    """The rows of a CSV report by the columns at these places."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        _, *rows = list(csv.reader(file))
    return keyed((row[key[0]] if len(key) == 1 else tuple(row[place] for place in key), row) for row in rows)


def totals_of(path: Path) -> tuple[Any, ...]:
    """The last line of a spreadsheet's table after its running number."""
    with closing(openpyxl.load_workbook(path, read_only=True)) as book:
        sheet = book.active
        assert sheet is not None
        for row in sheet.iter_rows(values_only=True):
            if len(row) > 1 and row[1] == TOTAL:
                return tuple(row[1:])
    raise AssertionError(f"{path.name} has no line {TOTAL!r}")
