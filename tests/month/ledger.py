"""What was compared with what, how many numbers there were, and which of them disagree."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

_ROUNDING = Fraction(1, 2**50)
"""A rate is a few divisions of exact numbers: each may be off by half of a double's last bit, not more."""
_SHOWN = 5

Row = Sequence[Any]


class Change(NamedTuple):
    """From one rate to another."""

    before: Fraction
    now: Fraction


@dataclass
class Line:
    """One thing that was compared."""

    what: str
    when: str
    rows: int = 0
    numbers: int = 0
    wrong: int = 0
    differences: list[str] = field(default_factory=list)
    """The first few."""

    def differs(self, text: str) -> None:
        self.wrong += 1
        if len(self.differences) < _SHOWN:
            self.differences.append(text)


class Ledger:
    """Filled by comparisons, line by line."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.when = ""
        """In which state of the data the next comparisons are made."""

    @property
    def numbers(self) -> int:
        return sum(line.numbers for line in self.lines)

    @property
    def wrong(self) -> int:
        return sum(line.wrong for line in self.lines)

    def compare(self, what: str, expected: Mapping[Hashable, Row], found: Mapping[Hashable, Row]) -> None:
        """Every value of every row; a row that only one side has counts as one disagreement."""
        line = Line(what, self.when, len(expected))
        self.lines.append(line)
        for key in expected.keys() | found.keys():
            if key not in found:
                line.differs(f"{key}: missing, expected {expected[key]}")
            elif key not in expected:
                line.differs(f"{key}: not expected: {found[key]}")
            else:
                self._compare_row(line, key, expected[key], found[key])

    def failed(self, what: str, why: str) -> None:
        """There is nothing to compare with."""
        line = Line(what, self.when)
        self.lines.append(line)
        line.differs(why)

    def _compare_row(self, line: Line, key: Hashable, expected: Row, found: Row) -> None:
        if len(expected) != len(found):
            line.differs(f"{key}: {len(found)} columns, expected {len(expected)}")
            return
        for place, (one, other) in enumerate(zip(expected, found, strict=True)):
            line.numbers += isinstance(one, int | float | Fraction | Change)
            if not same(one, other):
                line.differs(f"{key} [{place}]: {other!r}, expected {_told(one)}")

    def differences(self) -> str:
        """Empty when everything agrees."""
        return "\n".join(
            f"{line.when}, {line.what}: {line.wrong} disagree: {text}"
            for line in self.lines
            for text in line.differences[:_SHOWN]
        )


def keyed(rows: Iterable[tuple[Hashable, Row]]) -> dict[Hashable, tuple[Any, ...]]:
    """Rows by their keys; a key's second row gets one that nobody expects."""
    table: dict[Hashable, tuple[Any, ...]] = {}
    for key, row in rows:
        table[key if key not in table else ("again", key, len(table))] = tuple(row)
    return table


def same(expected: Any, found: Any) -> bool:
    """Whole numbers, times and texts are equal; a Fraction is met to the last bit but the roundings of a division."""
    if expected is None or expected == "":
        return found is None or found == ""
    if found is None or found == "":
        return False
    if isinstance(expected, str):
        return bool(expected == found)
    if isinstance(found, timedelta):
        # A spreadsheet's duration: shown to the second, kept as a part of a day.
        return abs(found.total_seconds() - float(expected)) < 0.001
    if isinstance(expected, Fraction):
        return abs(Fraction(float(found)) - expected) <= abs(expected) * _ROUNDING
    if isinstance(expected, Change):
        # Of two numbers that are rounded themselves.
        rounding = (abs(expected.before) + abs(expected.now)) * _ROUNDING
        return abs(Fraction(float(found)) - (expected.now - expected.before)) <= rounding
    if isinstance(expected, datetime):
        return expected == (datetime.fromisoformat(found) if isinstance(found, str) else found)
    if isinstance(expected, date):
        return expected == (date.fromisoformat(found) if isinstance(found, str) else found)
    return bool(expected == float(found))


def _told(expected: Any) -> str:
    return repr(float(expected) if isinstance(expected, Fraction) else expected)
