"""Waypoints: trusted fixes that stand for the others, so that long spans and whole fleets need not read every fix.

Of each hour of a vehicle its first trusted fix, and every fix with which an activity begins. They are derived: one may
be missing (an activity is known only by the fix after it, which may come when the hour is counted already), but none
says anything that its fix does not. Who needs one that is missing reads the fix.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from storage.connect import Connection

_COUNT = """
WITH hours AS MATERIALIZED (
    SELECT vehicle_id, hour, hour + interval '1 hour' AS ends_at
    FROM unnest(%b::text[], %b::timestamptz[]) AS h(vehicle_id, hour)
), chosen AS MATERIALIZED (
    SELECT f.vehicle_id, f.time, f.lat, f.lon, f.speed_kmh, f.leg_driving_us > 0 AS driving
    FROM hours h CROSS JOIN LATERAL (
        (SELECT f.time FROM fixes f WHERE f.vehicle_id = h.vehicle_id AND f.time >= h.hour AND f.time < h.ends_at
            AND f.flags = 0 ORDER BY f.time LIMIT 1)
        UNION
        SELECT a.time FROM activity_changes a
        WHERE a.vehicle_id = h.vehicle_id AND a.time >= h.hour AND a.time < h.ends_at
    ) AS t JOIN fixes f ON f.vehicle_id = h.vehicle_id AND f.time = t.time AND f.flags = 0
), gone AS (
    DELETE FROM waypoints w USING hours h
    WHERE w.vehicle_id = h.vehicle_id AND w.time >= h.hour AND w.time < h.ends_at
        AND NOT EXISTS (SELECT FROM chosen c WHERE c.vehicle_id = w.vehicle_id AND c.time = w.time)
)
INSERT INTO waypoints AS w (vehicle_id, time, lat, lon, speed_kmh, driving) SELECT * FROM chosen
ON CONFLICT (vehicle_id, time) DO UPDATE
    SET lat = excluded.lat, lon = excluded.lon, speed_kmh = excluded.speed_kmh, driving = excluded.driving
    WHERE (w.lat, w.lon, w.speed_kmh, w.driving)
        IS DISTINCT FROM (excluded.lat, excluded.lon, excluded.speed_kmh, excluded.driving)
"""


async def choose_waypoints(connection: Connection, hours: Sequence[tuple[str, datetime]]) -> None:
    """Choose those of these hours (vehicle id, begin) anew, each named once, inside the caller's transaction."""
    if hours:
        await connection.execute(_COUNT, ([hour[0] for hour in hours], [hour[1] for hour in hours]))
