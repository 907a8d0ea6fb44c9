"""Decoded fixes by column: the same as a list of them, at a fraction of what making and taking apart a tuple costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.columns import UNKNOWN, Bool, Columns, Float, Int
from detectors.fix import Fix
from detectors.names import Names

OPTIONAL = ("speed_kmh", "heading_deg", "ignition", "door_open", "odometer_km", "satellites", "hdop", "valid")
"""The numbers that a tracker need not tell."""
NUMBERS = ("lat", "lon", *OPTIONAL)
_ROW = {name: number for number, name in enumerate(NUMBERS)}
_FLAGS = ("ignition", "door_open", "valid")
_BITS = 1 << np.arange(len(OPTIONAL), dtype=np.int64)[::-1]


@dataclass(slots=True)
class FixTable:
    """Fixes of one kind after the other; row i of each column is one fix."""

    vehicle_ids: list[str]
    driver_ids: list[str | None]
    time_us: Int
    numbers: Float
    """A row for each of `NUMBERS`, a column for each fix; NaN where nothing was said, 0 and 1 for no and yes."""
    nulls: Int
    """What was not said: one bit for each of `OPTIONAL`, the last one lowest."""

    @classmethod
    def of(cls, fixes: Sequence[Fix]) -> FixTable:
        """The table of these fixes, in their order."""
        if not fixes:
            return empty_table()
        vehicles, time_us, lat, lon, speed, drivers, *others = zip(*fixes, strict=True)
        # What is NaN itself is said, and the database refuses it.
        numbers = numbers_of((lat, lon, speed, *others))
        nulls = null_bits(numbers)
        for row in np.flatnonzero(nulls).tolist():
            nulls[row] = sum(
                bit for bit, name in zip(_BITS.tolist(), OPTIONAL, strict=True) if getattr(fixes[row], name) is None
            )
        return cls(list(vehicles), list(drivers), np.array(time_us, dtype=np.int64), numbers, nulls)

    def __len__(self) -> int:
        return len(self.time_us)

    def number(self, name: str) -> Float:
        """The column of one of `NUMBERS`."""
        column: Float = self.numbers[_ROW[name]]
        return column

    def fix(self, row: int) -> Fix:
        """One row as a Fix, to the bit."""
        nulls = int(self.nulls[row])
        told: list[float | int | bool | None] = self.numbers[2:, row].tolist()
        for number, (name, bit) in enumerate(zip(OPTIONAL, _BITS.tolist(), strict=True)):
            value = told[number]
            if nulls & bit or value is None:
                told[number] = None
            elif name in _FLAGS:
                told[number] = bool(value)
            elif name == "satellites":
                told[number] = int(value)
        lat, lon = self.numbers[:2, row].tolist()
        speed, *others = told
        return Fix(self.vehicle_ids[row], int(self.time_us[row]), lat, lon, speed, self.driver_ids[row], *others)  # type: ignore[arg-type]

    def take(self, rows: NDArray[np.intp]) -> FixTable:
        """The chosen rows, in the order given."""
        chosen = rows.tolist()
        return FixTable(
            list(map(self.vehicle_ids.__getitem__, chosen)),
            list(map(self.driver_ids.__getitem__, chosen)),
            self.time_us.take(rows),
            self.numbers.take(rows, axis=1),
            self.nulls.take(rows),
        )

    def columns(self, vehicles: Names, drivers: Names) -> Columns:
        """What the checks and detectors work on, with the codes of these names."""
        return Columns(
            vehicle=vehicles.codes(self.vehicle_ids),
            time_us=self.time_us,
            lat=self.number("lat"),
            lon=self.number("lon"),
            speed_kmh=self.number("speed_kmh"),
            driver=drivers.codes(self.driver_ids),
            satellites=_or_unknown(self.number("satellites")).astype(np.int16),
            hdop=self.number("hdop"),
            valid=_or_unknown(self.number("valid")).astype(np.int8),
            limit_kmh=np.full(len(self), np.nan),
        )


def numbers_of(columns: Sequence[Sequence[float | None]]) -> Float:
    """The `numbers` of a table, given by column in the order of `NUMBERS`; None becomes NaN."""
    numbers = np.empty((len(columns), len(columns[0])))
    for row, column in zip(numbers, columns, strict=True):
        # A field that no tracker here sends, as the door's: looking is cheaper than a thousand times None to NaN.
        row[:] = np.nan if column[0] is None and column.count(None) == len(column) else column
    return numbers


def null_bits(numbers: Float) -> Int:
    """The `nulls` of a table in which every NaN means that nothing was said."""
    missing: Bool = np.isnan(numbers[2:])
    return _BITS @ missing if missing.any() else np.zeros(numbers.shape[1], dtype=np.int64)


def empty_table() -> FixTable:
    """No fixes at all."""
    return FixTable([], [], np.empty(0, np.int64), np.empty((len(NUMBERS), 0)), np.empty(0, np.int64))


def joined(parts: Sequence[FixTable]) -> FixTable:
    """The rows of all parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return empty_table()
    return FixTable(
        [name for part in parts for name in part.vehicle_ids],
        [name for part in parts for name in part.driver_ids],
        np.concatenate([part.time_us for part in parts]),
        np.concatenate([part.numbers for part in parts], axis=1),
        np.concatenate([part.nulls for part in parts]),
    )


def _or_unknown(column: Float) -> Float:
    return np.where(np.isnan(column), UNKNOWN, column)
