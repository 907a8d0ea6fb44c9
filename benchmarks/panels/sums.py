"""What is derived from the fixes, over everything at once: as storage/sums.py and storage/waypoints.py count it.

A part of it is then counted by the product itself, and must stay as it is.
"""

from __future__ import annotations

from typing import Any

from storage.connect import Connection
from storage.sums import Sums

_CHECKED_HOURS = 500
_SUMMED = "fixes, trusted_fixes, flags, leg_mm, leg_driving_us, top_speed_kmh, first_at, last_at"
_HOUR_SUMS = f"""
INSERT INTO hour_sums (vehicle_id, hour, {_SUMMED})
SELECT vehicle_id, date_trunc('hour', time, 'UTC'), count(*), count(*) FILTER (WHERE flags = 0), bit_or(flags),
    sum(leg_mm)::int8, sum(leg_driving_us)::int8, max(speed_kmh) FILTER (WHERE flags = 0), min(time), max(time)
FROM fixes GROUP BY 1, 2 ORDER BY 2, 1
"""
_DAY_SUMS = f"""
INSERT INTO day_sums (vehicle_id, begins_at, {_SUMMED})
SELECT vehicle_id, date_trunc('day', hour, 'Asia/Ho_Chi_Minh'), sum(fixes)::int8, sum(trusted_fixes)::int8,
    bit_or(flags), sum(leg_mm)::int8, sum(leg_driving_us)::int8, max(top_speed_kmh), min(first_at), max(last_at)
FROM hour_sums GROUP BY 1, 2 ORDER BY 2, 1
"""
_DRIVER_SUMS = """
INSERT INTO driver_hour_sums (hour, vehicle_id, driver_id, leg_mm, leg_driving_us)
SELECT date_trunc('hour', time, 'UTC'), vehicle_id, driver_id, sum(leg_mm)::int8, sum(leg_driving_us)::int8
FROM fixes WHERE driver_id IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
# The first fix of most hours is trusted: the sums know its time.
_WAYPOINTS = """
INSERT INTO waypoints (vehicle_id, time, lat, lon, speed_kmh, driving)
SELECT f.vehicle_id, f.time, f.lat, f.lon, f.speed_kmh, f.leg_driving_us > 0 FROM fixes f JOIN (
    SELECT vehicle_id, first_at AS time FROM hour_sums WHERE flags = 0
    UNION SELECT h.vehicle_id, t.time FROM hour_sums h CROSS JOIN LATERAL (
        SELECT time FROM fixes f WHERE f.vehicle_id = h.vehicle_id AND f.time >= h.hour
            AND f.time < h.hour + interval '1 hour' AND f.flags = 0 ORDER BY time LIMIT 1
    ) AS t WHERE h.flags <> 0
    UNION SELECT vehicle_id, time FROM activity_changes
) AS t ON t.vehicle_id = f.vehicle_id AND t.time = f.time
WHERE f.flags = 0 ORDER BY f.time, f.vehicle_id
"""
_SAMPLE = """
    SELECT h.*, d.*, g.*, w.* FROM hour_sums h
    JOIN day_sums d ON d.vehicle_id = h.vehicle_id AND d.begins_at = date_trunc('day', h.hour, 'Asia/Ho_Chi_Minh')
    CROSS JOIN LATERAL (SELECT array_agg((driver_id, leg_mm, leg_driving_us)::text ORDER BY driver_id)
        FROM driver_hour_sums g WHERE g.hour = h.hour AND g.vehicle_id = h.vehicle_id) AS g
    CROSS JOIN LATERAL (SELECT array_agg((time, lat, lon, speed_kmh, driving)::text ORDER BY time) FROM waypoints w
        WHERE w.vehicle_id = h.vehicle_id AND w.time >= h.hour AND w.time < h.hour + interval '1 hour') AS w
    WHERE hashtext(h.vehicle_id || h.hour) %% 1000 = 7 ORDER BY h.vehicle_id, h.hour LIMIT %s
"""


async def store_sums(connection: Connection) -> None:
    """Fill the sums and waypoints of a database that has none, or those that it lacks."""
    await connection.execute("SET work_mem = '512MB'")
    for table, statement in (
        ("hour_sums", _HOUR_SUMS),
        ("day_sums", _DAY_SUMS),
        ("driver_hour_sums", _DRIVER_SUMS),
        ("waypoints", _WAYPOINTS),
    ):
        cursor = await connection.execute(f"SELECT EXISTS (SELECT FROM {table})".encode())
        if await cursor.fetchone() == (False,):
            await connection.execute(statement.encode())
            await connection.execute(f"VACUUM ANALYZE {table}".encode())
    await connection.execute("RESET work_mem")
    # A migration that brings something new to count marks every hour.
    await connection.execute("TRUNCATE stale_hours")
    before = await _sampled(connection)
    await connection.execute(
        "INSERT INTO stale_hours (vehicle_id, hour) SELECT * FROM unnest(%s::text[], %s::timestamptz[])",
        ([row[0] for row in before], [row[1] for row in before]),
    )
    await Sums(connection).bring_up_to_date()
    if await _sampled(connection) != before:
        raise AssertionError("the product counts other sums than this benchmark")


async def _sampled(connection: Connection) -> list[tuple[Any, ...]]:
    return list(await (await connection.execute(_SAMPLE, (_CHECKED_HOURS,))).fetchall())
