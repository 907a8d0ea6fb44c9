"""Rows of the table of fixes in PostgreSQL's binary COPY form, made column by column.

A row is its number of fields, and of each field its length and its bytes; a length of -1 is NULL. Rows that are alike
in which fields are NULL and in the lengths of their ids have one layout and are packed together: what the trackers of a
fleet say differs little, so there are few. Row by row the same takes three times as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.fix_table import NUMBERS, OPTIONAL, FixTable

POSTGRES_EPOCH_US = 946_684_800_000_000
"""2000-01-01 UTC in microseconds since 1970: binary timestamptz counts from there."""

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"

_FORMS = {
    "vehicle_id": "S", "time": ">i8", "driver_id": "S", "lat": ">f8", "lon": ">f8", "speed_kmh": ">f8",
    "heading_deg": ">f8", "ignition": "i1", "door_open": "i1", "odometer_km": ">f8", "satellites": ">i2", "hdop": ">f8",
    "valid": "i1", "flags": ">i4", "settled": "i1", "received_at": ">i8", "leg_mm": ">i8", "leg_driving_us": ">i8",
}  # fmt: skip
FIELDS = tuple(_FORMS)
"""In the order in which they are packed."""


class Judged(NamedTuple):
    """What the judge made of some fixes, and when they were received: one column each."""

    flags: NDArray[np.int32]
    settled: NDArray[np.bool_]
    received_us: NDArray[np.int64]
    leg_mm: NDArray[np.int64]
    leg_driving_us: NDArray[np.int64]


class Layout(NamedTuple):
    """Which fields of a row are NULL, and the lengths of its ids."""

    vehicle_bytes: int
    driver_bytes: int
    """NULL has -1."""
    nulls: int
    """One bit for each optional field."""


def packed(fixes: FixTable, judged: Judged) -> Iterator[bytes]:
    """The rows of these fixes, those of one layout together; without header and end."""
    if not len(fixes):
        return
    vehicle_ids, vehicle_bytes = _texts(fixes.vehicle_ids)
    driver_ids, driver_bytes = _texts(fixes.driver_ids)
    columns: dict[str, NDArray[Any]] = {
        "vehicle_id": vehicle_ids,
        "driver_id": driver_ids,
        "time": fixes.time_us - POSTGRES_EPOCH_US,
        **{name: fixes.number(name) for name in NUMBERS},
        "flags": judged.flags,
        "settled": judged.settled,
        "received_at": judged.received_us - POSTGRES_EPOCH_US,
        "leg_mm": judged.leg_mm,
        "leg_driving_us": judged.leg_driving_us,
    }
    layouts = np.stack([vehicle_bytes, driver_bytes, fixes.nulls])
    if (layouts == layouts[:, :1]).all():
        yield rows_of(Layout(*layouts[:, 0].tolist()), columns)
        return
    kinds, kind_of = np.unique(layouts, axis=1, return_inverse=True)
    for number, kind in enumerate(kinds.T.tolist()):
        rows = np.flatnonzero(kind_of == number)
        yield rows_of(Layout(*kind), {name: column[rows] for name, column in columns.items()})


def _texts(texts: Sequence[str | None]) -> tuple[NDArray[np.bytes_], NDArray[np.int64]]:
    """Texts as bytes, and how many each has; None is empty and has -1."""
    sizes = {-1 if text is None else len(text) for text in texts}
    if len(sizes) == 1 and -1 not in sizes and 0 not in sizes:
        size = sizes.pop()
        together = "".join(texts)  # type: ignore[arg-type]
        if together.isascii():
            # Ids of one fleet are alike in length: cut from one piece of bytes.
            return np.frombuffer(together.encode(), f"S{size}"), np.full(len(texts), size, dtype=np.int64)
    encoded = [None if text is None else text.encode() for text in texts]
    lengths = np.array([-1 if text is None else len(text) for text in encoded], dtype=np.int64)
    return np.array([text or b"" for text in encoded], dtype=np.bytes_), lengths


def rows_of(layout: Layout, columns: Mapping[str, NDArray[Any]]) -> bytes:
    """Rows of one layout; `columns` by the names of `FIELDS`, times counted from PostgreSQL's epoch."""
    blank = _blank_row(layout)
    rows = np.repeat(blank, len(columns["time"]))
    for name in blank.dtype.names or ():
        if name in columns:
            rows[name] = columns[name]
    return rows.tobytes()


@lru_cache(maxsize=1_000)
def _blank_row(layout: Layout) -> NDArray[np.void]:
    """One row with the number of its fields and their lengths filled in. Field "x" is x, "x bytes" its length."""
    missing = {name for bit, name in enumerate(reversed(OPTIONAL)) if layout.nulls >> bit & 1}
    sizes = {"vehicle_id": layout.vehicle_bytes, "driver_id": layout.driver_bytes}
    shape, lengths = [("fields", ">i2")], {}
    for name, form in _FORMS.items():
        size = -1 if name in missing else sizes[name] if form == "S" else np.dtype(form).itemsize
        lengths[f"{name} bytes"] = size
        shape.append((f"{name} bytes", ">i4"))
        if size > 0:
            shape.append((name, f"S{size}" if form == "S" else form))
    row = np.zeros(1, dtype=np.dtype(shape))
    row["fields"] = len(_FORMS)
    for name, size in lengths.items():
        row[name] = size
    return row
