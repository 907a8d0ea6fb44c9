"""The limit that each fix is held against, and where it came from."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.columns import Code, Columns, Float, Int, grown, room_for
from detectors.overrides import OverrideBook
from detectors.rules import RulePack


class LimitSource(IntEnum):
    """Where a vehicle's limit came from, the strongest last; stored by its name in lower case."""

    CLASS = 0
    """The rule pack's default for its class: there may be a sign that says otherwise."""
    OPERATOR = 1
    """What the office set for its operator."""
    KIND = 2
    """What the office set for its kind."""
    VEHICLE = 3
    """The vehicle's own cap: from the registry, or what the office set for some time."""
    GIVEN = 4
    """Named by whoever asked for the judgement (one limit for all)."""
    ROAD = 5
    """The road's limit, carried by the recording."""


NOT_SET = -1


def thousandths(kmh: float) -> int:
    """A speed in whole thousandths of a km/h: decimals compare exactly where binary fractions do not."""
    return round(kmh * 1000)


class _Entry(NamedTuple):
    """A limit, the highest that any reading allows (thousandths of a km/h), and where the limit came from."""

    limit: int
    highest: int
    source: LimitSource


class LimitBook:
    """What is set for each vehicle: its limit, in thousandths of a km/h, and the office's own numbers."""

    def __init__(self, pack: RulePack, given_kmh: float | None = None) -> None:
        self._pack = pack
        self._given_kmh = given_kmh
        self.overrides = OverrideBook()
        # Of a million vehicles few have a limit that no other has: each remembers which of them.
        self._entries: dict[_Entry, int] = {}
        self._limit = np.empty(0, np.int64)
        self._highest = np.empty(0, np.int64)
        self._source = np.empty(0, np.int8)
        self._unregistered = self._known(self._entry(None, None))
        self._of = np.empty(0, np.int32)

    def reserve(self, size: int) -> None:
        """Have a limit for all codes below `size`: the given one, or that of an unregistered vehicle."""
        self.overrides.reserve(size)
        if size > len(self._of):
            self._of = grown(self._of, room_for(size, len(self._of)), self._unregistered)

    def register(self, code: int, limit_kmh: float | None, speed_class: str | None) -> None:
        """Set what the registry knows of a vehicle. KeyError for a class the pack does not have."""
        self.reserve(code + 1)
        self._of[code] = self._known(self._entry(limit_kmh, speed_class))

    def copy_from(self, other: LimitBook, code: int, to_code: int) -> None:
        """Give a vehicle here what is set for a vehicle in another book."""
        other.reserve(code + 1)
        self.reserve(to_code + 1)
        entry = int(other._of[code])
        self._of[to_code] = self._known(
            _Entry(int(other._limit[entry]), int(other._highest[entry]), LimitSource(int(other._source[entry])))
        )
        self.overrides.assign(to_code, other.overrides.of(code))

    def _entry(self, limit_kmh: float | None, speed_class: str | None) -> _Entry:
        if self._given_kmh is not None:
            return _Entry(thousandths(self._given_kmh), thousandths(self._given_kmh), LimitSource.GIVEN)
        if limit_kmh is not None:
            return _Entry(thousandths(limit_kmh), thousandths(limit_kmh), LimitSource.VEHICLE)
        row = self._pack.speed_classes[speed_class or self._pack.unregistered_class]
        return _Entry(thousandths(row.default_kmh), thousandths(row.highest_kmh), LimitSource.CLASS)

    def _known(self, entry: _Entry) -> int:
        """The number of an entry, new if need be."""
        number = self._entries.setdefault(entry, len(self._entries))
        if number == len(self._limit):
            self._limit = np.append(self._limit, np.int64(entry.limit))
            self._highest = np.append(self._highest, np.int64(entry.highest))
            self._source = np.append(self._source, np.int8(entry.source))
        return number

    def limits(self, rows: Columns, overridden: Int | None = None) -> tuple[Int, Int]:
        """For each row its limit, and the highest limit that any reading of the evidence allows.

        `overridden` holds the limit that the office set for the time, NOT_SET where there is none.
        """
        entry = self._of[rows.vehicle]
        limit, highest = self._limit[entry], self._highest[entry]
        if overridden is not None and self._given_kmh is None:
            own = overridden != NOT_SET
            limit[own] = highest[own] = overridden[own]
        road = ~np.isnan(rows.limit_kmh)
        if road.any():
            on_road = np.rint(rows.limit_kmh[road] * 1000).astype(np.int64)
            limit[road] = highest[road] = on_road
        return limit, highest

    def of(self, codes: Code) -> Float:
        """The limits of vehicles in km/h, whatever a road says."""
        return self._limit[self._of[codes]] / 1000

    def source(self, code: int) -> LimitSource:
        """Where the limit of a vehicle came from while no override is in force."""
        return LimitSource(int(self._source[self._of[code]]))

    @property
    def all_alike(self) -> bool:
        """One limit is given for all: no override changes it."""
        return self._given_kmh is not None


def speeds(kmh: NDArray[np.float64]) -> Int:
    """Speeds in whole thousandths of a km/h; -1 where none was given."""
    return np.where(np.isnan(kmh), -1, np.rint(kmh * 1000)).astype(np.int64)
