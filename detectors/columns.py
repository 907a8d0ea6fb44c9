"""Fixes as columns: what the checks and detectors work on, for one fix or a million."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from mmap import mmap
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from detectors.fix import Fix

if TYPE_CHECKING:
    from detectors.names import Names

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Code = NDArray[np.int32]
Small = NDArray[np.int8]

Scalar = TypeVar("Scalar", bound=np.generic)

UNKNOWN = -1
"""Code of a driver nobody named; also "not said" in the int8 and int16 columns."""

_LARGE = 2**20


@dataclass(slots=True)
class Columns:
    """One array per property, all of one length; row i is one fix.

    `vehicle` and `driver` are codes of the `Names` of whoever made the columns. NaN or UNKNOWN stands for "not said".
    `limit_kmh` is NaN but for recordings that carry the road's limit on each row.
    """

    vehicle: Code
    time_us: Int
    lat: Float
    lon: Float
    speed_kmh: Float
    driver: Code
    satellites: NDArray[np.int16]
    hdop: Float
    valid: Small
    limit_kmh: Float

    def __len__(self) -> int:
        return len(self.time_us)

    def take(self, rows: NDArray[np.intp] | Bool) -> Columns:
        """The chosen rows, in the order given."""
        # Picking by numbers is several times faster than by a mask, which would be counted for each column.
        chosen = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return Columns(*(getattr(self, field.name).take(chosen) for field in fields(self)))


def columns_of(fixes: Sequence[Fix], vehicles: Names, drivers: Names) -> Columns:
    """The columns of decoded fixes, in their order."""
    if not fixes:
        return empty_columns()
    vehicle, time_us, lat, lon, speed, driver, _, _, _, _, satellites, hdop, valid = zip(*fixes, strict=True)
    return Columns(
        vehicle=vehicles.codes(vehicle),
        time_us=np.array(time_us, dtype=np.int64),
        lat=np.array(lat, dtype=np.float64),
        lon=np.array(lon, dtype=np.float64),
        speed_kmh=np.array(speed, dtype=np.float64),  # numpy reads None as NaN
        driver=drivers.codes(driver),
        satellites=np.array([UNKNOWN if n is None else n for n in satellites], dtype=np.int16),
        hdop=np.array(hdop, dtype=np.float64),
        valid=np.array([UNKNOWN if ok is None else ok for ok in valid], dtype=np.int8),
        limit_kmh=np.full(len(fixes), np.nan),
    )


def empty_columns() -> Columns:
    """No fixes at all."""
    return Columns(
        vehicle=np.empty(0, np.int32),
        time_us=np.empty(0, np.int64),
        lat=np.empty(0),
        lon=np.empty(0),
        speed_kmh=np.empty(0),
        driver=np.empty(0, np.int32),
        satellites=np.empty(0, np.int16),
        hdop=np.empty(0),
        valid=np.empty(0, np.int8),
        limit_kmh=np.empty(0),
    )


def room_for(size: int, had: int) -> int:
    """How many rows to give a column that needs `size` and had `had`: of a large one at most an eighth is spare.

    Growing row by row then copies each row about eight times in all.
    """
    return max(size, had + had // 8, 1024)


def grown(column: NDArray[Scalar], size: int, blank: float) -> NDArray[Scalar]:
    """The column with `size` rows, the new ones blank.

    A large one has pages of its own. Columns that outgrow each other on the heap leave holes there: a tenth of all that
    a worker with 400,000 vehicles remembered.
    """
    nbytes = size * column.itemsize
    longer: NDArray[Scalar] = (
        np.empty(size, column.dtype) if nbytes < _LARGE else np.frombuffer(mmap(-1, nbytes), column.dtype)
    )
    longer[: len(column)] = column
    longer[len(column) :] = blank
    return longer


def concatenate(parts: Sequence[Columns]) -> Columns:
    """The rows of all parts, one after the other; the parts share their Names."""
    if not parts:
        return empty_columns()
    return Columns(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Columns)))
