"""One chunk of a recording: its usable rows as columns, its other rows with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.columns import Columns
from detectors.fix import Fix
from detectors.names import Names

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.int8]


class RejectedRow(NamedTuple):
    """A row that is no Fix. The reason is the one that a worker gives to the message that `send` makes of the row."""

    row: int
    """As an editor or a spreadsheet counts: the header line of a CSV is row 1."""
    reason: str
    detail: str
    topic: str
    """Where `send` publishes it."""
    message: bytes
    """What `send` publishes: our own JSON as far as it goes, or the line as it stands."""


@dataclass(frozen=True)
class RecordingChunk:
    """Usable rows as columns of equal length, in file order; values are those that `ingest.formats` would decode."""

    row: Ints
    vehicle: npt.NDArray[np.int32]
    """Code in the recording's `vehicles`."""
    time_us: Ints
    lat: Floats
    lon: Floats
    speed_kmh: Floats
    """NaN unknown, as in every column of doubles."""
    driver: npt.NDArray[np.int32]
    """Code in the recording's `drivers`; -1 unknown."""
    heading_deg: Floats
    ignition: Flags
    """-1 unknown, 0 false, 1 true, as in every column of flags."""
    door_open: Flags
    odometer_km: Floats
    satellites: npt.NDArray[np.int16]
    """-1 unknown."""
    hdop: Floats
    valid: Flags
    limit_kmh: Floats
    """The road's limit, where the recording carries one and the mapping names its column; no part of a Fix."""
    rejected: list[RejectedRow]

    def __len__(self) -> int:
        return len(self.time_us)

    @classmethod
    def of_fixes(
        cls, rows: Sequence[int], fixes: Sequence[Fix], vehicles: Names, drivers: Names, rejected: list[RejectedRow]
    ) -> RecordingChunk:
        """The columns of fixes that a format decoded."""
        columns: list[Sequence[Any]] = list(zip(*fixes, strict=True)) if fixes else [()] * len(Fix._fields)
        by_field = dict(zip(Fix._fields, columns, strict=True))
        driver = [-1 if name is None else drivers.code(name) for name in by_field["driver_id"]]
        satellites = [-1 if count is None else count for count in by_field["satellites"]]
        return cls(
            row=np.array(rows, np.int64),
            vehicle=np.array([vehicles.code(name) for name in by_field["vehicle_id"]], np.int32),
            time_us=np.array(by_field["time_us"], np.int64),
            lat=np.array(by_field["lat"], np.float64),
            lon=np.array(by_field["lon"], np.float64),
            speed_kmh=_floats(by_field["speed_kmh"]),
            driver=np.array(driver, np.int32),
            heading_deg=_floats(by_field["heading_deg"]),
            ignition=_flags(by_field["ignition"]),
            door_open=_flags(by_field["door_open"]),
            odometer_km=_floats(by_field["odometer_km"]),
            satellites=np.array(satellites, np.int16),
            hdop=_floats(by_field["hdop"]),
            valid=_flags(by_field["valid"]),
            limit_kmh=np.full(len(fixes), np.nan),
            rejected=rejected,
        )

    def columns(self) -> Columns:
        """The usable rows as the detectors take them."""
        return Columns(
            vehicle=self.vehicle,
            time_us=self.time_us,
            lat=self.lat,
            lon=self.lon,
            speed_kmh=self.speed_kmh,
            driver=self.driver,
            satellites=self.satellites,
            hdop=self.hdop,
            valid=self.valid,
            limit_kmh=self.limit_kmh,
        )

    def fixes(self, vehicles: Names, drivers: Names) -> list[Fix]:
        """The usable rows as fixes."""
        return list(
            map(
                Fix._make,
                zip(
                    [vehicles.names[code] for code in self.vehicle.tolist()],
                    self.time_us.tolist(),
                    self.lat.tolist(),
                    self.lon.tolist(),
                    _known(self.speed_kmh),
                    [None if code < 0 else drivers.names[code] for code in self.driver.tolist()],
                    _known(self.heading_deg),
                    _told(self.ignition),
                    _told(self.door_open),
                    _known(self.odometer_km),
                    [None if count < 0 else count for count in self.satellites.tolist()],
                    _known(self.hdop),
                    _told(self.valid),
                    strict=True,
                ),
            )
        )

    def documents(self, vehicles: Names, drivers: Names) -> list[dict[str, object]]:
        """The usable rows as objects of our own JSON format, without what is unknown."""
        times = np.char.add(np.datetime_as_string(self.time_us.astype("datetime64[us]")), "Z").tolist()
        return [document(fix, time) for fix, time in zip(self.fixes(vehicles, drivers), times, strict=True)]


def document(fix: Fix, time: str) -> dict[str, object]:
    """A fix as an object of our own JSON format; `time` is its time in RFC 3339."""
    values: dict[str, object] = {"vehicle_id": fix.vehicle_id, "time": time}
    values.update((name, value) for name, value in zip(Fix._fields[2:], fix[2:], strict=True) if value is not None)
    return values


def _floats(values: Iterable[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _flags(values: Iterable[bool | None]) -> Flags:
    return np.array([-1 if value is None else value for value in values], np.int8)


def _known(column: Floats) -> list[float | None]:
    return [None if value != value else value for value in column.tolist()]


def _told(column: Flags) -> list[bool | None]:
    return [None if value < 0 else value == 1 for value in column.tolist()]
