"""Where vehicles came to stand for long enough in a month, by the activity timeline."""

from __future__ import annotations

# Vehicle by vehicle, each from the key alone: it holds all that is asked for, a vehicle's changes side by side.
# A vehicle's last row holds until its newest trusted fix: nobody knows whether it stood any longer. Whether it is
# long enough is asked of the whole stop: the month after lists none that began before it. Only then what lasts beyond
# the month is cut at its end, or a stop of weeks would make the report of a month that is over longer every day.
STOPS = """
    SELECT vehicle_id, driver_id, time, least(stood_to, %(ends_at)s) AS ends_at FROM (
        SELECT v.vehicle_id, p.driver_id, p.time, coalesce(
            p.next_at,
            (SELECT min(n.time) FROM activity_changes n WHERE n.vehicle_id = v.vehicle_id AND n.time >= %(ends_at)s),
            (SELECT max(f.time) FROM fixes f WHERE f.vehicle_id = v.vehicle_id AND f.time >= p.time AND f.flags = 0)
        ) AS stood_to
        FROM unnest(%(vehicles)s::text[]) AS v(vehicle_id) CROSS JOIN LATERAL (
            SELECT driver_id, time, activity, lead(time) OVER (ORDER BY time) AS next_at FROM activity_changes a
            WHERE a.vehicle_id = v.vehicle_id AND time >= %(begins_at)s AND time < %(ends_at)s
        ) AS p
        WHERE p.activity = 'stopped'
    ) AS pieces
    WHERE stood_to - time >= make_interval(secs => %(least_s)s)
"""
"""Needs vehicles, begins_at, ends_at and least_s."""
