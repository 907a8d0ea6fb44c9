"""From the columns of a file to a chunk: conversion, the bounds of every field, and the rows that fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.fix import from_us
from detectors.names import Names
from ingest.formats import FixError, parse_time
from ingest.formats.checked import (
    HDOP,
    HEADING_DEG,
    LAT,
    LON,
    ODOMETER_KM,
    SATELLITES,
    SPEED_KMH,
    TIME_US,
    Bounds,
    checked_id,
)
from ingest.recordings.chunk import RecordingChunk, RejectedRow
from ingest.recordings.convert import (
    Flags,
    Floats,
    Mask,
    Numbers,
    Times,
    as_codes,
    as_flags,
    as_numbers,
    as_times,
    join_texts,
)
from ingest.recordings.mapping import ColumnMapping, RecordingError, ResolvedColumns
from ingest.recordings.rejecting import Rejecter

_NUMBER_FIELDS = {
    "lat": LAT, "lon": LON, "speed_kmh": SPEED_KMH, "heading_deg": HEADING_DEG, "odometer_km": ODOMETER_KM,
    "satellites": SATELLITES, "hdop": HDOP,
}  # fmt: skip
_FLAG_FIELDS = ("ignition", "door_open", "valid")
_UNKNOWN, _UNUSABLE = -1, -2


class ChunkBuilder:
    """Makes chunks of one file's columns; `columns` given to `build` are pyarrow arrays by column name."""

    def __init__(
        self, file: str, mapping: ColumnMapping, resolved: ResolvedColumns, vehicles: Names, drivers: Names
    ) -> None:
        self._file = file
        self._mapping = mapping
        self._resolved = resolved
        self._vehicles = vehicles
        self._drivers = drivers
        self._rejecter = Rejecter()
        self._times_seen = False

    def build(self, columns: dict[str, Any], rows: npt.NDArray[np.int64]) -> RecordingChunk:
        """The chunk of these rows. RecordingError when the times cannot be read without being told how."""
        count = len(rows)
        cells = {
            field: columns[names[0]] if len(names) == 1 else join_texts([columns[name] for name in names])
            for field, names in self._resolved.columns.items()
        }
        times = as_times(cells["time"], self._mapping.time_format, self._mapping.time_zone)
        self._demand_readable(times, cells["time"])
        bad = times.missing | times.naive | times.unreadable
        bad |= (times.values < TIME_US.low) | (times.values > TIME_US.high)
        vehicle = self._vehicle_codes(cells, count)
        driver = self._driver_codes(cells, count)
        bad |= (vehicle < 0) | (driver == _UNUSABLE)
        numbers = {field: self._numbers(field, cells, count) for field in _NUMBER_FIELDS}
        for field, bounds in _NUMBER_FIELDS.items():
            bad |= numbers[field].unreadable | _outside(numbers[field].values, bounds)
        satellites = numbers["satellites"].values
        bad |= np.isnan(numbers["lat"].values) | np.isnan(numbers["lon"].values)
        bad |= (satellites != np.rint(satellites)) & ~np.isnan(satellites)
        flags = {field: _flags(cells.get(field), count) for field in _FLAG_FIELDS}
        for column in flags.values():
            bad |= column.unreadable
        rejected = self._reject(np.flatnonzero(bad), rows, cells, times, numbers, flags)
        good = slice(None) if not bad.any() else ~bad
        return RecordingChunk(
            row=rows[good],
            vehicle=vehicle[good],
            time_us=times.values[good],
            lat=numbers["lat"].values[good],
            lon=numbers["lon"].values[good],
            speed_kmh=numbers["speed_kmh"].values[good],
            driver=driver[good],
            heading_deg=numbers["heading_deg"].values[good],
            ignition=flags["ignition"].values[good],
            door_open=flags["door_open"].values[good],
            odometer_km=numbers["odometer_km"].values[good],
            satellites=np.where(np.isnan(satellites[good]), -1, satellites[good]).astype(np.int16),
            hdop=numbers["hdop"].values[good],
            valid=flags["valid"].values[good],
            limit_kmh=self._limits(cells, count)[good],
            rejected=rejected,
        )

    def _numbers(self, field: str, cells: dict[str, Any], count: int) -> Numbers:
        if field not in cells:
            return Numbers(np.full(count, np.nan), np.zeros(count, bool))
        numbers = as_numbers(cells[field])
        factor = self._resolved.speed_factor if field in ("speed_kmh", "limit_kmh") else 1.0
        # Minus zero is zero, as in a message: two fixes that differ only in its sign are one.
        return Numbers(numbers.values * factor + 0.0, numbers.unreadable)

    def _limits(self, cells: dict[str, Any], count: int) -> Floats:
        limits = self._numbers("limit_kmh", cells, count).values
        return np.where((limits > 0) & (limits <= SPEED_KMH.high), limits, np.nan)

    def _vehicle_codes(self, cells: dict[str, Any], count: int) -> npt.NDArray[np.int32]:
        if self._mapping.vehicle_id is not None:
            return np.full(count, _code("vehicle_id", self._mapping.vehicle_id, self._vehicles), np.int32)
        return _codes("vehicle_id", cells["vehicle_id"], self._vehicles)

    def _driver_codes(self, cells: dict[str, Any], count: int) -> npt.NDArray[np.int32]:
        if "driver_id" not in cells:
            return np.full(count, _UNKNOWN, np.int32)
        return _codes("driver_id", cells["driver_id"], self._drivers)

    def _demand_readable(self, times: Times, cells: Any) -> None:
        there = ~times.missing
        if self._times_seen or not there.any():
            return
        self._times_seen = True
        readable = there & ~times.naive & ~times.unreadable
        if readable.any():
            return
        column = "+".join(self._resolved.columns["time"])
        first = _cell_of(cells[int(np.flatnonzero(there)[0])])
        if times.naive.any():
            raise RecordingError(
                f"{self._file}: column {column!r} has times without an offset from UTC (first: {first!s});"
                " say --time-zone Asia/Ho_Chi_Minh or another"
            )
        if self._mapping.time_format is None:
            raise RecordingError(
                f"{self._file}: column {column!r} is not ISO 8601 (first: {first!s}); say --time-format, such as"
                " '%d/%m/%Y %H:%M:%S', epoch_s or epoch_ms"
            )
        raise RecordingError(
            f"{self._file}: column {column!r} does not fit --time-format {self._mapping.time_format} (first: {first!s})"
        )

    def _reject(
        self,
        places: npt.NDArray[np.int64],
        rows: npt.NDArray[np.int64],
        cells: dict[str, Any],
        times: Times,
        numbers: dict[str, Numbers],
        flags: dict[str, Flags],
    ) -> list[RejectedRow]:
        rejected = []
        for place in places.tolist():
            values: dict[str, object] = {"vehicle_id": self._mapping.vehicle_id}
            for field, column in cells.items():
                cell = _cell_of(column[place])
                if cell is None or field == "limit_kmh":
                    continue
                if field == "time":
                    values[field] = _time_of(cell, times, place)
                elif field in numbers:
                    values[field] = (
                        str(cell) if numbers[field].unreadable[place] else float(numbers[field].values[place])
                    )
                elif field in flags:
                    values[field] = str(cell) if flags[field].unreadable[place] else bool(flags[field].values[place])
                else:
                    values[field] = str(cell).strip()
            rejected.append(self._rejecter.values(int(rows[place]), values))
        return rejected


def _cell_of(scalar: Any) -> object:
    """What is in a cell; its number where it is a moment beyond Python's calendar, as a Parquet file may hold."""
    try:
        return scalar.as_py()
    except OverflowError:
        return scalar.value


def _time_of(cell: object, times: Times, place: int) -> str:
    if not (times.missing[place] or times.naive[place] or times.unreadable[place]):
        try:
            return from_us(int(times.values[place])).isoformat().replace("+00:00", "Z")
        except OverflowError:
            return f"beyond the calendar: {cell!s}"
    text = str(cell)
    try:
        parse_time(text)
    except FixError:
        return text
    # Not of the format that was asked for, yet RFC 3339: as it stands the worker would take it.
    return f"unreadable: {text}"


def _codes(field: str, column: Any, names: Names) -> npt.NDArray[np.int32]:
    places, texts = as_codes(column)
    known = np.array([_code(field, text, names) for text in texts] + [_UNKNOWN], np.int32)
    return known[places]


def _code(field: str, text: str, names: Names) -> int:
    name = text.strip()
    if not name:
        return _UNKNOWN
    try:
        return names.code(checked_id(field, name))
    except FixError:
        return _UNUSABLE


def _flags(column: Any, count: int) -> Flags:
    if column is None:
        return Flags(np.full(count, -1, np.int8), np.zeros(count, bool))
    return as_flags(column)


def _outside(values: Floats, bounds: Bounds) -> Mask:
    return (values < bounds.low) | (values > bounds.high)
