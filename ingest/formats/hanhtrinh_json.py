"""Our own format: one JSON object, or a list of them, on the topic hanhtrinh/<vehicle_id>. See docs/formats.md.

Two ways through it: valid objects go straight from bytes into typed structs and from these, many at once, into columns
(the hot path of the worker); whatever that refuses is looked at again field by field, which finds the words for the
reject or, rarely, that it is good after all (7.0 satellites). What a document means is decided by the second way; the
first is the same answer sooner.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from detectors.columns import Bool, Int
from detectors.fix import Fix, to_us
from detectors.fix_table import FixTable, empty_table, null_bits, numbers_of
from ingest.formats.checked import (
    HDOP,
    HEADING_DEG,
    LAT,
    LON,
    MAX_ID_CHARS,
    ODOMETER_KM,
    SATELLITES,
    SPEED_KMH,
    TIME_US,
    Bounds,
    checked_fix,
    parse_time,
    wrong,
)
from ingest.formats.decoded import Decoded
from ingest.formats.reasons import FixError, Reject
from ingest.formats.times import common_times_us


def _within(bounds: Bounds) -> Meta:
    return Meta(ge=bounds.low, le=bounds.high)


class _Position(msgspec.Struct, gc=False, kw_only=True):
    """All of a position but its time."""

    lat: Annotated[float, _within(LAT)]
    lon: Annotated[float, _within(LON)]
    vehicle_id: Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)] | None = None
    driver_id: Annotated[str, Meta(max_length=MAX_ID_CHARS)] | None = None
    speed_kmh: Annotated[float, _within(SPEED_KMH)] | None = None
    heading_deg: Annotated[float, _within(HEADING_DEG)] | None = None
    ignition: bool | None = None
    door_open: bool | None = None
    odometer_km: Annotated[float, _within(ODOMETER_KM)] | None = None
    satellites: Annotated[int, Meta(ge=int(SATELLITES.low), le=int(SATELLITES.high))] | None = None
    hdop: Annotated[float, _within(HDOP)] | None = None
    valid: bool | None = None


class Document(_Position, gc=False, kw_only=True):
    """One position as a tracker writes it; null and absence mean unknown, fields we do not know are ignored."""

    time: Annotated[datetime, Meta(tz=True)] | Annotated[int, Meta(ge=TIME_US.low // 1000, le=TIME_US.high // 1000)]


class _Written(_Position, gc=False, kw_only=True):
    """The same with its time as it is written: those of many are read together."""

    time: str | int


_decode_typed = msgspec.json.Decoder(Document | list[Document]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_document = msgspec.json.Decoder(Document).decode
_decode_written = msgspec.json.Decoder(_Written).decode
_decode_any = msgspec.json.Decoder(Any).decode
_new = tuple.__new__
_FIRST_US = int(TIME_US.low)
_LAST_US = int(TIME_US.high)
# Each reject is a dead letter with the bytes of the whole message: 256 KiB of "1,1,1" would be 34 GB of letters.
_MAX_REJECTS = 100


Rows = NDArray[np.intp]


def single_fixes(vehicle_ids: Sequence[str], payloads: Sequence[bytes]) -> tuple[FixTable, Rows]:
    """The fixes of those messages that are one valid object, as nearly all are, and which messages these are.

    What becomes of the others says `decode`. The ids are those from the topics, already checked.
    """
    ids, decoded = list(vehicle_ids), _written(payloads)
    documents = [document for document in decoded if document is not None]
    rows = np.arange(len(decoded))
    if len(documents) < len(decoded):
        rows = np.array([row for row, document in enumerate(decoded) if document is not None], dtype=np.intp)
        ids = [ids[row] for row in rows.tolist()]
    if not documents:
        return empty_table(), rows
    lat, lon, named, drivers, *others, times = zip(*map(_values_of, documents), strict=True)
    # Plus zero: as in `checked_fix`.
    numbers = numbers_of((lat, lon, *others)) + 0.0
    time_us, good = _times_us(times)
    if list(named) != ids:
        good &= np.array([name is None or name == own for name, own in zip(named, ids, strict=True)], dtype=np.bool_)
    if not _all_printable(drivers):
        plain = [name is None or (name != "" and name.isprintable()) for name in drivers]
        good &= np.array(plain, dtype=np.bool_)
    table = FixTable(ids, list(drivers), time_us, numbers, null_bits(numbers))
    if good.all():
        return table, rows
    kept = np.flatnonzero(good)
    return table.take(kept), rows[kept]


def _all_printable(names: Sequence[str | None]) -> bool:
    try:
        return "".join(names).isprintable() and 0 not in set(map(len, names))  # type: ignore[arg-type]
    except TypeError:
        # Somebody is nobody.
        return False


def _written(payloads: Sequence[bytes]) -> Sequence[_Written | None]:
    try:
        return list(map(_decode_written, payloads))
    except (ValueError, RecursionError):
        return [_written_or_none(payload) for payload in payloads]


def _written_or_none(payload: bytes) -> _Written | None:
    try:
        return _decode_written(payload)
    except (ValueError, RecursionError):
        return None


def _times_us(times: Sequence[str | int]) -> tuple[Int, Bool]:
    """The times, and which of them can be used."""
    try:
        common = common_times_us(times)  # type: ignore[arg-type]
    except TypeError:
        # Some are milliseconds since 1970.
        common = None
    if common is not None:
        time_us, there = common
        return time_us, there & (time_us >= _FIRST_US) & (time_us <= _LAST_US)
    each = [_time_us(time) for time in times]
    return np.array(each, dtype=np.int64), np.array([time_us != _NO_TIME for time_us in each], dtype=np.bool_)


def _time_us(time: str | int) -> int:
    try:
        return parse_time(time)
    except FixError:
        return _NO_TIME


_values_of = msgspec.structs.astuple
_NO_TIME = _FIRST_US - 1


def decode(vehicle_id: str, payload: bytes) -> Decoded:
    """The fixes and rejects of one message of this vehicle (the id from the topic, already checked)."""
    try:
        typed = _decode_typed(payload)
    # Beside its own errors msgspec raises UnicodeDecodeError (a ValueError) and, on deep nesting, RecursionError.
    except (ValueError, RecursionError):
        return _decode_slowly(vehicle_id, payload)
    if type(typed) is Document:
        fix = _fast_fix(vehicle_id, typed)
        return Decoded([fix], []) if fix is not None else _decode_slowly(vehicle_id, payload)
    fixes = []
    for document in typed:
        fix = _fast_fix(vehicle_id, document)
        if fix is None:
            return _decode_slowly(vehicle_id, payload)
        fixes.append(fix)
    return Decoded(fixes, []) if fixes else Decoded([], [Reject("empty", "a list without positions")])


def _fast_fix(vehicle_id: str, document: Document) -> Fix | None:
    """The document as a Fix; None when it needs a closer look."""
    driver_id = document.driver_id
    if driver_id is not None and not (driver_id and driver_id.isprintable()):
        return None
    if document.vehicle_id is not None and document.vehicle_id != vehicle_id:
        return None
    time = document.time
    time_us = time * 1_000 if type(time) is int else to_us(time)  # type: ignore[arg-type]
    if not _FIRST_US <= time_us <= _LAST_US:
        return None
    speed_kmh, heading_deg = document.speed_kmh, document.heading_deg
    odometer_km, hdop = document.odometer_km, document.hdop
    # Made as a tuple is: a named tuple's own way takes twice as long. Plus zero: as in `checked_fix`.
    return _new(
        Fix,
        (
            vehicle_id,
            time_us,
            document.lat + 0.0,
            document.lon + 0.0,
            None if speed_kmh is None else speed_kmh + 0.0,
            driver_id,
            None if heading_deg is None else heading_deg + 0.0,
            document.ignition,
            document.door_open,
            None if odometer_km is None else odometer_km + 0.0,
            document.satellites,
            None if hdop is None else hdop + 0.0,
            document.valid,
        ),
    )


def _decode_slowly(vehicle_id: str, payload: bytes) -> Decoded:
    if not payload.strip():
        return Decoded([], [Reject("empty", "no content, expected a JSON object or a list of them")])
    try:
        items = _decode_items(payload)
    except (ValueError, RecursionError):
        try:
            return Decoded([_slow_fix(vehicle_id, payload)], [])
        except FixError as error:
            return Decoded([], [error.reject()])
    fixes: list[Fix] = []
    rejects: list[Reject] = []
    unnamed = 0
    for index, item in enumerate(items):
        try:
            fixes.append(_item_fix(vehicle_id, bytes(item)))
        except FixError as error:
            if len(rejects) < _MAX_REJECTS:
                rejects.append(error.reject(f"[{index}] "))
            else:
                unnamed += 1
    if unnamed:
        first = rejects[-1]
        rejects[-1] = first._replace(detail=f"{first.detail}; and {unnamed} more positions that cannot be used")
    if not items:
        rejects.append(Reject("empty", "a list without positions"))
    return Decoded(fixes, rejects)


def _item_fix(vehicle_id: str, payload: bytes) -> Fix:
    try:
        fix = _fast_fix(vehicle_id, _decode_document(payload))
    except (ValueError, RecursionError):
        fix = None
    return fix if fix is not None else _slow_fix(vehicle_id, payload)


def _slow_fix(vehicle_id: str, payload: bytes) -> Fix:
    try:
        document = _decode_any(payload)
    except RecursionError:
        raise FixError("bad_json", "nested too deeply") from None
    except msgspec.ValidationError:
        raise FixError("bad_value", "a number too large to be read, expected the range of a double") from None
    except ValueError as error:
        raise FixError("bad_json", f"{error}, expected a JSON object or a list of them") from None
    if not isinstance(document, dict):
        raise wrong("message", document, "a JSON object", "bad_schema")
    named = document.get("vehicle_id")
    if named is not None and named != vehicle_id:
        reason = "bad_id" if isinstance(named, str) else "bad_schema"
        raise wrong("vehicle_id", named, f"the topic's {vehicle_id!r}", reason)
    values = {field: document.get(field) for field in Fix._fields if field not in ("vehicle_id", "time_us")}
    return checked_fix(vehicle_id=vehicle_id, time_us=parse_time(document.get("time")), **values)
