"""CSV files of an office: read with their lines, each bad cell reported by line, column and reason."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

# Written by spreadsheets where the comma is the decimal sign.
_DELIMITERS = ",;\t"
# Both several times a country's vehicles.
_MAX_BYTES = 256 << 20
_MAX_ROWS = 5_000_000


class RegistryError(Exception):
    """The file as a whole cannot be read; the message names it and what was expected."""


class BadRow(NamedTuple):
    """A row that was left out."""

    line: int
    column: str
    why: str


class ImportReport(NamedTuple):
    """What became of a file."""

    table: str
    accepted: int
    bad_rows: list[BadRow]


Cell = str | float | date
Convert = Callable[[str], Cell]


def text_cell(max_length: int) -> Convert:
    """One line of text."""

    def convert(cell: str) -> str:
        if len(cell) > max_length:
            raise ValueError(f"has {len(cell)} characters, at most {max_length} are allowed")
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in cell):
            raise ValueError(f"{cell!r} contains a control character")
        return cell

    return convert


def one_of(values: frozenset[str]) -> Convert:
    """One of these words."""

    def convert(cell: str) -> str:
        if cell not in values:
            raise ValueError(f"{cell!r} is none of {', '.join(sorted(values))}")
        return cell

    return convert


def number_cell(kind: type[float] | type[int], low: float, high: float, unit: str) -> Convert:
    """A number between bounds, both allowed."""

    def convert(cell: str) -> Cell:
        expected = f"{cell!r} is no {'whole number' if kind is int else 'number'} from {low:g} to {high:g} {unit}"
        try:
            value = kind(cell)
        except ValueError:
            raise ValueError(expected) from None
        if not low <= value <= high:
            raise ValueError(expected)
        return value

    return convert


def day_cell(cell: str) -> date:
    """A local day."""
    try:
        day = date.fromisoformat(cell)
    except ValueError:
        day = date.min
    if not 1970 <= day.year <= 2999 or cell != day.isoformat():
        raise ValueError(f"{cell!r} is no day like 2026-12-01")
    return day


class BadCell(Exception):
    """A cell for which its row is left out."""

    def __init__(self, column: str, why: str) -> None:
        super().__init__(column, why)
        self.column = column
        self.why = why


def check_columns(
    path: Path, columns: Sequence[str], converters: Mapping[str, Convert], required: Sequence[str]
) -> None:
    """RegistryError for columns that are unknown, doubled or missing."""
    for name in columns:
        if name not in converters or columns.count(name) > 1:
            raise RegistryError(f"{path}: column {name!r} is unknown or there twice; known are {', '.join(converters)}")
    if missing := [name for name in required if name not in columns]:
        raise RegistryError(f"{path}: expected a column {' and '.join(missing)} in the first line")


def cells_of(
    columns: Sequence[str], record: Sequence[str], converters: Mapping[str, Convert], required: Sequence[str]
) -> dict[str, Cell]:
    """The cells of a row that are not empty. BadCell for the first bad one."""
    if len(record) > len(columns):
        raise BadCell(columns[-1], f"{len(record)} cells where the first line has {len(columns)}")
    cells: dict[str, Cell] = {}
    for name, cell in zip(columns, map(str.strip, record), strict=False):
        if cell:
            try:
                cells[name] = converters[name](cell)
            except ValueError as error:
                raise BadCell(name, str(error)) from None
    for name in required:
        if name not in cells:
            raise BadCell(name, "is empty")
    return cells


def read_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The column names, and every row that is not blank with the line on which it ends."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise RegistryError(f"{path}: is larger than {_MAX_BYTES >> 20} MiB: give it in parts")
        # Letters with their marks in one: what looks the same is the same.
        text = unicodedata.normalize("NFC", content.decode("utf-8-sig"))
        del content
    except OSError as error:
        raise RegistryError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RegistryError(f"{path}: is no UTF-8 text (byte {error.start}): save it as CSV UTF-8") from error
    lines = io.StringIO(text, newline="")
    delimiter = max(_DELIMITERS, key=lines.readline().count)
    lines.seek(0)
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        columns = [name.strip() for name in next(reader, [])]
        rows: list[tuple[int, list[str]]] = []
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((reader.line_num, row))
            if len(rows) > _MAX_ROWS:
                raise RegistryError(f"{path}: has more than {_MAX_ROWS} rows: give it in parts")
    except csv.Error as error:
        raise RegistryError(f"{path}: line {reader.line_num}: {error}") from error
    return columns, rows
