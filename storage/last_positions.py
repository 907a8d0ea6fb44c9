"""Where each vehicle is, for maps: derived from fixes, one row a vehicle, only ever replaced by a newer one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from storage.connect import Connection


class LastPosition(NamedTuple):
    """The newest trusted fix of a vehicle, and what is known of it beside."""

    vehicle_id: str
    time_us: int
    lat: float
    lon: float
    speed_kmh: float | None
    driver_id: str | None
    activity: str | None
    """On the last leg that is complete."""
    limit_kmh: float
    limit_source: str
    newest_us: int
    """The newest fix, trusted or not."""
    newest_flags: int


async def save_last_positions(connection: Connection, positions: Sequence[LastPosition]) -> None:
    """Write these, one for each vehicle, where the table does not know of a newer fix."""
    if not positions:
        return
    # In one order, so that two workers never wait for each other.
    columns = zip(*sorted(positions), strict=True)
    await connection.execute(
        "INSERT INTO last_positions AS p (vehicle_id, time, lat, lon, speed_kmh, driver_id, activity, limit_kmh,"
        " limit_source, newest_at, newest_flags)"
        " SELECT vehicle_id, timestamptz 'epoch' + time_us * interval '1 microsecond', lat, lon, speed_kmh, driver_id,"
        " activity, limit_kmh, limit_source, timestamptz 'epoch' + newest_us * interval '1 microsecond', newest_flags"
        " FROM unnest(%b::text[], %b::int8[], %b::float8[], %b::float8[], %b::float8[], %b::text[], %b::text[],"
        " %b::float8[], %b::text[], %b::int8[], %b::int4[]) AS n(vehicle_id, time_us, lat, lon, speed_kmh, driver_id,"
        " activity, limit_kmh, limit_source, newest_us, newest_flags)"
        " ON CONFLICT (vehicle_id) DO UPDATE SET time = excluded.time, lat = excluded.lat, lon = excluded.lon,"
        " speed_kmh = excluded.speed_kmh, driver_id = excluded.driver_id, activity = excluded.activity,"
        " limit_kmh = excluded.limit_kmh, limit_source = excluded.limit_source, newest_at = excluded.newest_at,"
        " newest_flags = excluded.newest_flags, updated_at = clock_timestamp()"
        " WHERE p.newest_at <= excluded.newest_at",
        [list(column) for column in columns],
    )
