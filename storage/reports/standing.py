"""Where vehicles stood for long enough in a month, by the activity timeline."""

from __future__ import annotations

# Vehicle by vehicle, each from the key alone: it holds all that is asked for, a vehicle's changes side by side.
# A vehicle's last row holds until its newest trusted fix: nobody knows whether it stood any longer. What lasts beyond
# the month is cut at its end.
STOPS = """
    SELECT vehicle_id, driver_id, time, ends_at FROM (
        SELECT v.vehicle_id, p.driver_id, p.time, least(%(ends_at)s, coalesce(
            p.next_at,
            (SELECT min(n.time) FROM activity_changes n WHERE n.vehicle_id = v.vehicle_id AND n.time >= %(ends_at)s),
            (SELECT max(f.time) FROM fixes f WHERE f.vehicle_id = v.vehicle_id AND f.time >= p.time AND f.flags = 0)
        )) AS ends_at
        FROM unnest(%(vehicles)s::text[]) AS v(vehicle_id) CROSS JOIN LATERAL (
            SELECT driver_id, time, activity, lead(time) OVER (ORDER BY time) AS next_at FROM activity_changes a
            WHERE a.vehicle_id = v.vehicle_id AND time >= %(begins_at)s AND time < %(ends_at)s
        ) AS p
        WHERE p.activity = 'stopped'
    ) AS pieces
    WHERE ends_at - time >= make_interval(secs => %(least_s)s)
"""
"""Needs vehicles, begins_at, ends_at and least_s."""
