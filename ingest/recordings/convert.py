"""Columns as files hold them to columns of numbers; cells that fail are found for the whole column at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ingest.recordings.mapping import EPOCH_UNITS_US

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_ISO = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?"
_OFFSET = r" ?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)$"
_TRUTH = {"true": 1, "t": 1, "yes": 1, "y": 1, "on": 1, "1": 1, "1.0": 1} | {
    "false": 0, "f": 0, "no": 0, "n": 0, "off": 0, "0": 0, "0.0": 0,
}  # fmt: skip
_NAT = np.iinfo(np.int64).min


class Numbers(NamedTuple):
    """NaN where unknown or unreadable; `unreadable` marks cells that are there and are no finite number."""

    values: Floats
    unreadable: Mask


class Flags(NamedTuple):
    """-1 unknown, 0 false, 1 true."""

    values: npt.NDArray[np.int8]
    unreadable: Mask


class Times(NamedTuple):
    """Microseconds since 1970 UTC; 0 where `missing`, `naive` or `unreadable`."""

    values: npt.NDArray[np.int64]
    missing: Mask
    naive: Mask
    unreadable: Mask


def as_numbers(column: Any) -> Numbers:
    """A column of numbers, or of texts that are numbers, bit for bit as Python's float() reads them."""
    if not _is_text(column):
        values = _floats(pc.cast(column, pa.float64(), safe=False))
        return Numbers(values, np.isinf(values))
    nulls = _mask(pc.is_null(column))
    try:
        values = _floats(pc.cast(column, pa.float64()))
    except pa.ArrowInvalid:
        texts = pc.utf8_trim_whitespace(column)
        nulls = _mask(pc.or_(pc.is_null(texts), pc.fill_null(pc.equal(texts, ""), True)))
        readable = pc.fill_null(pc.match_substring_regex(texts, _NUMBER), False)
        values = _floats(pc.cast(pc.if_else(readable, texts, pa.scalar(None, pa.string())), pa.float64()))
    unreadable = ~np.isfinite(values) & ~nulls
    return Numbers(np.where(unreadable, np.nan, values), unreadable)


def as_flags(column: Any) -> Flags:
    """A column of yes and no: booleans, 0 and 1, or their usual words."""
    encoded = pc.dictionary_encode(_as_text(column))
    words = [str(word).strip().lower() for word in encoded.dictionary.to_pylist()]
    codes = np.array([-1 if word == "" else _TRUTH.get(word, -2) for word in words] + [-1], np.int8)
    values = codes[_indices(encoded)]
    unreadable = values == -2
    return Flags(np.where(unreadable, np.int8(-1), values), unreadable)


def as_codes(column: Any) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Index of each cell in the list of distinct texts; -1 where there is none."""
    encoded = pc.dictionary_encode(_as_text(column))
    return _indices(encoded), encoded.dictionary.to_pylist()


def as_times(column: Any, time_format: str | None, time_zone: str | None) -> Times:
    """Exact microseconds from times, ISO texts, texts of a strptime format, or epoch numbers."""
    if time_format in EPOCH_UNITS_US:
        return _epoch_times(column, EPOCH_UNITS_US[time_format])
    if pa.types.is_timestamp(column.type):
        return _typed_times(column, time_zone)
    if not _is_text(column):
        nothing = np.zeros(len(column), bool)
        return Times(np.zeros(len(column), np.int64), nothing, nothing, ~nothing)
    if time_format is not None:
        return _formatted_times(column, time_format, time_zone)
    return _fast_iso_times(column, time_zone) or _mixed_iso_times(column, time_zone)


def join_texts(columns: list[Any]) -> Any:
    """Cells side by side, a space between; unknown where one of them is."""
    return pc.binary_join_element_wise(*[_as_text(column) for column in columns], " ")


def _is_text(column: Any) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def _as_text(column: Any) -> Any:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column if _is_text(column) else pc.cast(column, pa.string())


def _floats(column: Any) -> Floats:
    values: Floats = np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
    return values


def _mask(column: Any) -> Mask:
    values: Mask = np.asarray(column.to_numpy(zero_copy_only=False), bool)
    return values


def _indices(encoded: Any) -> npt.NDArray[np.int64]:
    values: npt.NDArray[np.int64] = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return values


def _epoch_times(column: Any, unit_us: int) -> Times:
    if pa.types.is_integer(column.type):
        missing = _mask(pc.is_null(column))
        whole = pc.fill_null(pc.cast(column, pa.int64()), 0).to_numpy(zero_copy_only=False)
        beyond = np.abs(whole) > 2**62 // unit_us
        return Times(np.where(beyond, 0, whole) * unit_us, missing, np.zeros(len(column), bool), beyond)
    values, unreadable = as_numbers(column)
    unreadable = unreadable | (np.abs(values) * unit_us > 2**62)
    missing = np.isnan(values) & ~unreadable
    # Half a microsecond is far above a double's error at these sizes, so rounding gives the microsecond written.
    time_us = np.rint(np.where(missing | unreadable, 0.0, values) * unit_us).astype(np.int64)
    return Times(time_us, missing, np.zeros(len(column), bool), unreadable)


def _typed_times(column: Any, time_zone: str | None) -> Times:
    missing = _mask(pc.is_null(column))
    within, beyond = _within_int64(column)
    if column.type.tz is None:
        if time_zone is None:
            return Times(np.zeros(len(column), np.int64), missing, ~missing, np.zeros(len(column), bool))
        return _localised(pc.cast(within, pa.timestamp("us"), safe=False).to_pandas(), missing, time_zone)
    utc = pc.cast(within, pa.timestamp("us", "UTC"), safe=False)
    return Times(_int64(pc.fill_null(pc.cast(utc, pa.int64()), 0)), missing, np.zeros(len(column), bool), beyond)


def _within_int64(column: Any) -> tuple[Any, Mask]:
    """The moments without those whose microseconds no 64 bits can hold, and which these are: a cast would wrap them
    round to some other time."""
    whole = _int64(pc.fill_null(pc.cast(column, pa.int64()), 0))
    unit_us = {"s": 1_000_000, "ms": 1_000}.get(column.type.unit, 1)
    # Not np.abs: the lowest number of all has no positive one.
    beyond = (whole > 2**62 // unit_us) | (whole < -(2**62 // unit_us))
    if column.type.unit == "ns" or not beyond.any():
        return column, np.zeros(len(column), bool)
    return pc.if_else(pa.array(beyond), pa.scalar(None, column.type), column), beyond


def _fast_iso_times(column: Any, time_zone: str | None) -> Times | None:
    try:
        if time_zone is None:
            utc = pc.cast(column, pa.timestamp("us", "UTC"))
        else:
            utc = pc.assume_timezone(pc.cast(column, pa.timestamp("us")), time_zone)
    except pa.ArrowInvalid:
        return None
    nothing = np.zeros(len(column), bool)
    return Times(_int64(pc.fill_null(pc.cast(utc, pa.int64()), 0)), _mask(pc.is_null(column)), nothing, nothing)


def _mixed_iso_times(column: Any, time_zone: str | None) -> Times:
    import pandas as pd

    texts = pc.fill_null(pc.utf8_trim_whitespace(column), "")
    missing = _mask(pc.equal(texts, ""))
    aware = _mask(pc.match_substring_regex(texts, _ISO + _OFFSET))
    naive = _mask(pc.match_substring_regex(texts, _ISO + "$"))
    values = np.full(len(column), _NAT, np.int64)
    strings = np.asarray(texts.to_numpy(zero_copy_only=False), object)
    read = pd.to_datetime(pd.Series(strings[aware]), format="ISO8601", utc=True, errors="coerce")
    values[aware] = _epoch_us(read)
    if time_zone is not None:
        local = pd.to_datetime(pd.Series(strings[naive]), format="ISO8601", errors="coerce")
        values[naive] = _epoch_us(_in_zone(local, time_zone))
        naive = np.zeros(len(column), bool)
    unreadable = (values == _NAT) & ~missing & ~naive
    return Times(np.where(values == _NAT, 0, values), missing, naive, unreadable)


def _formatted_times(column: Any, time_format: str, time_zone: str | None) -> Times:
    import pandas as pd

    texts = pc.fill_null(pc.utf8_trim_whitespace(column), "")
    missing = _mask(pc.equal(texts, ""))
    aware = "%z" in time_format
    strings = pd.Series(np.asarray(texts.to_numpy(zero_copy_only=False), object))
    read = pd.to_datetime(strings, format=time_format, utc=aware, errors="coerce")
    if not aware and time_zone is None:
        unreadable = read.isna().to_numpy() & ~missing
        return Times(np.zeros(len(column), np.int64), missing, ~missing & ~unreadable, unreadable)
    if not aware:
        assert time_zone is not None
        return _localised(read, missing, time_zone)
    return _from_epoch(_epoch_us(read), missing)


def _localised(local: Any, missing: Mask, time_zone: str) -> Times:
    return _from_epoch(_epoch_us(_in_zone(local, time_zone)), missing)


def _from_epoch(values: npt.NDArray[np.int64], missing: Mask) -> Times:
    lost = values == _NAT
    return Times(np.where(lost, 0, values), missing, np.zeros(len(values), bool), lost & ~missing)


def _in_zone(local: Any, time_zone: str) -> Any:
    # A local time that the clock change skips or repeats is no one moment: refused, never guessed.
    return local.dt.tz_localize(time_zone, ambiguous="NaT", nonexistent="NaT")


def _epoch_us(times: Any) -> npt.NDArray[np.int64]:
    if len(times) == 0:
        return np.empty(0, np.int64)
    utc = times.dt.tz_convert("UTC").dt.tz_localize(None)
    values: npt.NDArray[np.int64] = utc.to_numpy().astype("datetime64[us]").astype(np.int64)
    return values


def _int64(column: Any) -> npt.NDArray[np.int64]:
    values: npt.NDArray[np.int64] = column.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
    return values
