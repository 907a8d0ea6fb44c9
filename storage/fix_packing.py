"""Rows of the table of fixes in PostgreSQL's binary COPY form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.fix_table import NUMBERS, OPTIONAL, FixTable
from storage.copy_rows import POSTGRES_EPOCH_US, alike, blank_row, filled, texts_of

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
    vehicle_ids, vehicle_bytes = texts_of(fixes.vehicle_ids)
    driver_ids, driver_bytes = texts_of(fixes.driver_ids)
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
    for kind, rows in alike(vehicle_bytes, driver_bytes, fixes.nulls):
        yield rows_of(Layout(*kind), {name: column[rows] for name, column in columns.items()})


def rows_of(layout: Layout, columns: Mapping[str, NDArray[Any]]) -> bytes:
    """Rows of one layout; `columns` by the names of `FIELDS`, times counted from PostgreSQL's epoch."""
    return filled(_blank_row(layout), columns)


@lru_cache(maxsize=1_000)
def _blank_row(layout: Layout) -> NDArray[np.void]:
    missing = {name: -1 for bit, name in enumerate(reversed(OPTIONAL)) if layout.nulls >> bit & 1}
    return blank_row(_FORMS, missing | {"vehicle_id": layout.vehicle_bytes, "driver_id": layout.driver_bytes})
