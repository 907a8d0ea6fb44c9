"""The one place that makes a Fix from untrusted values."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from detectors.fix import Fix, to_us
from ingest.formats.reasons import FixError

MAX_ID_CHARS: Final = 64
# Control characters (C0, DEL, C1) break terminals and CSV; NUL and lone surrogates cannot be stored.
BAD_ID_CHARS: Final = "\\u0000-\\u001f\\u007f-\\u009f\\ud800-\\udfff"
_BAD_ID = re.compile(f"[{BAD_ID_CHARS}]")
_MAX_SHOWN_CHARS = 80


class Bounds(NamedTuple):
    """The values a field may take, ends included."""

    low: float
    high: float


LAT: Final = Bounds(-90, 90)
LON: Final = Bounds(-180, 180)
SPEED_KMH: Final = Bounds(0, 1_000)
HEADING_DEG: Final = Bounds(0, 360)
ODOMETER_KM: Final = Bounds(0, 100_000_000)
SATELLITES: Final = Bounds(0, 100)
HDOP: Final = Bounds(0, 1_000)
TIME_US: Final = Bounds(0, to_us(datetime(2101, 1, 1, tzinfo=UTC)) - 1)
"""1970 to 2100: what PostgreSQL and Python can both hold and read back."""


def checked_fix(
    *,
    vehicle_id: object,
    time_us: object,
    lat: object,
    lon: object,
    speed_kmh: object = None,
    driver_id: object = None,
    heading_deg: object = None,
    ignition: object = None,
    door_open: object = None,
    odometer_km: object = None,
    satellites: object = None,
    hdop: object = None,
    valid: object = None,
) -> Fix:
    """The Fix of these values, or FixError for the first that cannot be: which, what was given, what was expected.

    None means unknown, an empty driver_id too. Strings are never taken for numbers, nor 0 and 1 for booleans: a
    format that has such things converts them first.
    """
    return Fix(
        vehicle_id=checked_id("vehicle_id", vehicle_id),
        time_us=_time_us(time_us),
        lat=_coordinate("lat", lat, LAT),
        lon=_coordinate("lon", lon, LON),
        speed_kmh=_number("speed_kmh", speed_kmh, SPEED_KMH),
        driver_id=None if driver_id is None or driver_id == "" else checked_id("driver_id", driver_id),
        heading_deg=_number("heading_deg", heading_deg, HEADING_DEG),
        ignition=_boolean("ignition", ignition),
        door_open=_boolean("door_open", door_open),
        odometer_km=_number("odometer_km", odometer_km, ODOMETER_KM),
        satellites=_whole("satellites", satellites, SATELLITES),
        hdop=_number("hdop", hdop, HDOP),
        valid=_boolean("valid", valid),
    )


def checked_id(field: str, value: object) -> str:
    """`value` when it can be an id: 1 to 64 characters, no control characters, no lone surrogates."""
    if not isinstance(value, str):
        raise wrong(field, value, "a string", "bad_schema")
    if not 1 <= len(value) <= MAX_ID_CHARS:
        raise wrong(field, value, f"1 to {MAX_ID_CHARS} characters (has {len(value)})", "bad_id")
    if _BAD_ID.search(value):
        raise wrong(field, value, "no control characters", "bad_id")
    return value


def parse_time(value: object) -> int:
    """Microseconds since 1970 UTC of an RFC 3339 string with offset, or of whole milliseconds since 1970 UTC."""
    expected = "RFC 3339 with offset, or milliseconds since 1970 as a whole number"
    if isinstance(value, str):
        try:
            time = msgspec.convert(value, datetime)
        except ValueError:
            raise wrong("time", value, expected, "bad_value") from None
        if time.tzinfo is None:
            raise wrong("time", value, "an offset from UTC (Z or +07:00)", "naive_time")
        time_us = to_us(time)
    else:
        if value is None:
            raise wrong("time", value, expected, "bad_schema")
        milliseconds = _whole("time", value, Bounds(-(2**53), 2**53))
        assert milliseconds is not None
        time_us = milliseconds * 1_000
    if not TIME_US.low <= time_us <= TIME_US.high:
        raise wrong("time", value, "a time of the years 1970 to 2100", "bad_value")
    return time_us


def wrong(field: str, value: object, expected: str, reason: str) -> FixError:
    """The error that says which field, what was given and what was expected."""
    return FixError(reason, f"{field}: given {shown(value)}, expected {expected}")


def shown(value: object) -> str:
    """A value as it may stand in a message: short, and free of characters that a database refuses."""
    if value is None:
        return "nothing"
    if isinstance(value, int) and not -(10**_MAX_SHOWN_CHARS) < value < 10**_MAX_SHOWN_CHARS:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, str | bytes):
        text = repr(value[:_MAX_SHOWN_CHARS])
    elif isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    else:
        text = repr(value)
    return text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "..."


def _time_us(value: object) -> int:
    if type(value) is not int:
        raise wrong("time_us", value, "whole microseconds since 1970 UTC", "bad_schema")
    if not TIME_US.low <= value <= TIME_US.high:
        raise wrong("time_us", value, "a time of the years 1970 to 2100", "bad_value")
    return value


def _coordinate(field: str, value: object, bounds: Bounds) -> float:
    number = _number(field, value, bounds)
    if number is None:
        raise wrong(field, value, _range(bounds), "no_position")
    return number


def _number(field: str, value: object, bounds: Bounds) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(field, value, _range(bounds), "bad_schema")
    if not bounds.low <= value <= bounds.high:
        raise wrong(field, value, _range(bounds), "bad_value")
    # Minus zero is zero: two fixes that differ only in its sign are one.
    return float(value) + 0.0


def _whole(field: str, value: object, bounds: Bounds) -> int | None:
    number = _number(field, value, bounds)
    if number is None:
        return None
    if not number.is_integer():
        raise wrong(field, value, "a whole number", "bad_schema")
    return int(number)


def _boolean(field: str, value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise wrong(field, value, "true or false", "bad_schema")


def _range(bounds: Bounds) -> str:
    return f"a number {bounds.low:,} to {bounds.high:,}".replace(",", "")
