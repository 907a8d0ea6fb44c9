"""Which column of a recording is which field of a fix, and in which unit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from zoneinfo import ZoneInfo

SPEED_UNITS = {"kmh": 1.0, "mph": 1.609344, "ms": 3.6, "knots": 1.852}
"""Kilometres per hour in one unit; every path multiplies by these and nothing else."""

EPOCH_UNITS_US = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}

FIELDS = (
    "vehicle_id", "time", "lat", "lon", "speed_kmh", "driver_id", "heading_deg", "ignition", "door_open", "odometer_km",
    "satellites", "hdop", "valid", "limit_kmh",
)  # fmt: skip
_REQUIRED = ("time", "lat", "lon")
# Speed has its own search; the road's limit is taken only when asked for, because no tracker sends it.
_NEVER_FOUND = ("speed_kmh", "limit_kmh")

_ALIASES: dict[str, tuple[str, ...]] = {
    "vehicle_id": ("vehicle", "vehicleid", "plate", "licenceplate", "licenseplate", "deviceid"),
    "time": ("time", "timestamp", "datetime", "fixtime", "gpstime"),
    "lat": ("lat", "latitude"),
    "lon": ("lon", "lng", "long", "longitude"),
    "driver_id": ("driver", "driverid"),
    "heading_deg": ("heading", "headingdeg", "course", "bearing"),
    "ignition": ("ignition",),
    "door_open": ("dooropen",),
    "odometer_km": ("odometerkm",),
    "satellites": ("satellites", "sats", "numsats"),
    "hdop": ("hdop",),
    "valid": ("valid",),
}
_SPEED_ALIASES = {
    "speedkmh": "kmh", "speedkph": "kmh", "kmh": "kmh", "kph": "kmh", "speedmph": "mph", "mph": "mph",
    "speedms": "ms", "speedmps": "ms", "speedknots": "knots", "speedkn": "knots", "speedkt": "knots",
}  # fmt: skip
_BARE_SPEED = {"speed", "gpsspeed", "velocity"}


class RecordingError(Exception):
    """A recording cannot be read as asked; the message names the file, the column and what was expected."""


class ResolvedColumns(NamedTuple):
    """The columns of one file by field; several columns are joined by a space (a date and a time)."""

    columns: dict[str, tuple[str, ...]]
    speed_factor: float


@dataclass(frozen=True)
class ColumnMapping:
    """What the user said about a recording's columns; what was not said is found by unambiguous names."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Field to column; "Date+Time" joins two columns by a space."""
    speed_unit: str | None = None
    """One of SPEED_UNITS; None: km/h where the column's name or `--map speed_kmh=...` says so."""
    time_format: str | None = None
    """strptime format, or epoch_s | epoch_ms | epoch_us; None: ISO 8601."""
    time_zone: str | None = None
    """IANA name for times without offset; None: such times are refused."""
    vehicle_id: str | None = None
    """The file is this one vehicle."""

    def __post_init__(self) -> None:
        for name in self.columns:
            if name not in FIELDS:
                raise RecordingError(
                    f"--map {name}={self.columns[name]}: no field {name!r}; there are {', '.join(FIELDS)}"
                )
        if self.speed_unit is not None and self.speed_unit not in SPEED_UNITS:
            raise RecordingError(f"--speed-unit {self.speed_unit}: expected one of {', '.join(SPEED_UNITS)}")
        if self.time_format and "%" not in self.time_format and self.time_format not in EPOCH_UNITS_US:
            raise RecordingError(
                f"--time-format {self.time_format}: expected a strptime format such as '%d/%m/%Y %H:%M:%S',"
                f" or one of {', '.join(EPOCH_UNITS_US)}"
            )
        if self.time_zone is not None:
            try:
                ZoneInfo(self.time_zone)
            except (KeyError, ValueError, OSError):
                raise RecordingError(
                    f"--time-zone {self.time_zone}: expected a name such as Asia/Ho_Chi_Minh"
                ) from None

    @classmethod
    def parse(
        cls,
        maps: Sequence[str] = (),
        *,
        speed_unit: str | None = None,
        time_format: str | None = None,
        time_zone: str | None = None,
        vehicle_id: str | None = None,
    ) -> ColumnMapping:
        """From the command line: each of `maps` is "field=column". RecordingError names the option that is wrong."""
        columns: dict[str, str] = {}
        for item in maps:
            name, equals, column = item.partition("=")
            if not (name and equals and column):
                raise RecordingError(f"--map {item}: expected field=column, such as --map speed_kmh=speed")
            if name in columns:
                raise RecordingError(f"--map {item}: {name} is already mapped to {columns[name]}")
            columns[name] = column
        return cls(columns, speed_unit, time_format, time_zone, vehicle_id)

    @property
    def is_default(self) -> bool:
        """True when nothing was said: an NDJSON file is then our own format, line by line."""
        return not self.columns and not (self.speed_unit or self.time_format or self.time_zone or self.vehicle_id)

    def resolve(self, columns: Sequence[str], file: str) -> ResolvedColumns:
        """Find every field's columns among those of the file. RecordingError when one is missing or ambiguous."""
        resolved: dict[str, tuple[str, ...]] = {}
        for name in FIELDS:
            if name in self.columns:
                resolved[name] = self._said(name, columns, file)
            elif name not in _NEVER_FOUND and not (name == "vehicle_id" and self.vehicle_id is not None):
                found = _only(name, _candidates(name, columns), file)
                if found is not None:
                    resolved[name] = (found,)
        unit = self._speed(resolved, columns, file)
        if self.vehicle_id is not None:
            resolved.pop("vehicle_id", None)
        elif "vehicle_id" not in resolved:
            raise RecordingError(
                f"{file}: no column for vehicle_id; say --map vehicle_id=COLUMN, or --vehicle-id ID when the file is"
                f" one vehicle; columns are {', '.join(columns)}"
            )
        for name in _REQUIRED:
            if name not in resolved:
                raise RecordingError(
                    f"{file}: no column for {name}; say --map {name}=COLUMN; columns are {', '.join(columns)}"
                )
        self._guard_split_time(resolved, columns, file)
        return ResolvedColumns(resolved, SPEED_UNITS[unit])

    def _said(self, name: str, columns: Sequence[str], file: str) -> tuple[str, ...]:
        said = self.columns[name]
        parts = (said,) if said in columns else tuple(said.split("+"))
        for part in parts:
            if part not in columns:
                raise RecordingError(
                    f"{file}: no column {part!r} (from --map {name}={said}); columns are {', '.join(columns)}"
                )
        if len(parts) > 1 and name != "time":
            raise RecordingError(f"--map {name}={said}: only time can be joined from several columns")
        return parts

    def _speed(self, resolved: dict[str, tuple[str, ...]], columns: Sequence[str], file: str) -> str:
        if "speed_kmh" in resolved:
            return self.speed_unit or "kmh"
        if "speed_kmh" in columns:
            named = ["speed_kmh"]
        else:
            named = [column for column in columns if _plain(column) in _SPEED_ALIASES]
        bare = [column for column in columns if _plain(column) in _BARE_SPEED]
        found = _only("speed_kmh", named or bare, file)
        if found is None:
            if self.speed_unit:
                raise RecordingError(
                    f"{file}: --speed-unit is given but no column for the speed; say --map speed_kmh=COLUMN;"
                    f" columns are {', '.join(columns)}"
                )
            return "kmh"
        resolved["speed_kmh"] = (found,)
        unit = _SPEED_ALIASES.get(_plain(found))
        if unit is None:
            if self.speed_unit is None:
                raise RecordingError(
                    f"{file}: column {found!r} does not say its unit; say --speed-unit {'|'.join(SPEED_UNITS)}"
                )
            return self.speed_unit
        if self.speed_unit not in (None, unit):
            raise RecordingError(f"{file}: column {found!r} says {unit}, --speed-unit says {self.speed_unit}")
        return unit

    def _guard_split_time(self, resolved: dict[str, tuple[str, ...]], columns: Sequence[str], file: str) -> None:
        (time, *rest) = resolved["time"]
        dates = [column for column in columns if _plain(column) == "date"]
        if "time" not in self.columns and not rest and _plain(time) == "time" and dates:
            raise RecordingError(
                f"{file}: the time may be split over {dates[0]!r} and {time!r}; say --map time={dates[0]}+{time}"
                f" with --time-format, or --map time={time}"
            )


def _plain(column: str) -> str:
    return re.sub(r"[^a-z0-9]", "", column.lower())


def _candidates(name: str, columns: Sequence[str]) -> list[str]:
    if name in columns:
        return [name]
    return [column for column in columns if _plain(column) in _ALIASES[name] or _plain(column) == _plain(name)]


def _only(name: str, candidates: Sequence[str], file: str) -> str | None:
    if len(candidates) > 1:
        raise RecordingError(
            f"{file}: columns {', '.join(map(repr, candidates))} could each be {name}; say --map {name}=COLUMN"
        )
    return candidates[0] if candidates else None
