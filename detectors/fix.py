"""The fix: one decoded position report, the word every part of the house shares."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(time: datetime) -> int:
    """Microseconds since 1970 UTC of an aware time, exact (no float on the way)."""
    return (time - EPOCH) // _MICROSECOND


def from_us(time_us: int) -> datetime:
    """The aware UTC time of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=time_us)


class Fix(NamedTuple):
    """One position report of one vehicle; None means the tracker did not say.

    The pair (vehicle_id, time_us) identifies a fix. Values are as decoded and in range: lat -90..90,
    lon -180..180, no NaN, no infinity (the formats refuse those as dead letters). `ingest.formats.checked_fix`
    is the one place that makes a Fix from untrusted numbers.
    """

    vehicle_id: str
    time_us: int
    lat: float
    lon: float
    speed_kmh: float | None = None
    driver_id: str | None = None
    heading_deg: float | None = None
    ignition: bool | None = None
    door_open: bool | None = None
    odometer_km: float | None = None
    satellites: int | None = None
    hdop: float | None = None
    valid: bool | None = None

    @property
    def time(self) -> datetime:
        """The fix's own time, aware, UTC."""
        return from_us(self.time_us)
