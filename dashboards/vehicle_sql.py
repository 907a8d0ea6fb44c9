"""What the panels of one vehicle ask of its positions.

A vehicle's positions lie as they came, each on a page of its own: a month of them is thousands of reads, and more
points than a panel has. So a long time is read from the vehicle's hours and waypoints, which lie together.
"""

from __future__ import annotations

from dashboards.spans import FROM, IS_LONG, IS_SHORT, touched_hours
from dashboards.variables import VEHICLE

_IT = VEHICLE.chosen("vehicle_id")

# A vehicle's speeding violations follow each other: of those that began before, only the last can reach into the time.
_TOO_FAST = f"""
    SELECT started_at, ended_at, limit_kmh, top_speed_kmh FROM (
        (SELECT started_at, ended_at, limit_kmh, top_speed_kmh FROM panels.violations
            WHERE kind = 'speeding' AND {_IT} AND started_at < {FROM} ORDER BY started_at DESC LIMIT 1)
        UNION ALL SELECT started_at, ended_at, limit_kmh, top_speed_kmh FROM panels.violations
            WHERE kind = 'speeding' AND {_IT} AND $__timeFilter(started_at)
    ) AS x WHERE ended_at >= {FROM}
"""

# Points no further apart than what breaks the line (dashboards/vehicle.py), from the hour's first position to its last.
_STEP = "INTERVAL '4 minutes'"

SPEED = f"""
    WITH too_fast AS ({_TOO_FAST}), shown AS (
        SELECT f.time, f.speed_kmh, CASE WHEN o.started_at IS NOT NULL THEN f.speed_kmh END AS over_kmh, o.limit_kmh
        FROM panels.fixes f LEFT JOIN too_fast o ON f.time BETWEEN o.started_at AND o.ended_at
        WHERE {IS_SHORT} AND {VEHICLE.chosen("f.vehicle_id")} AND $__timeFilter(f.time) AND f.trusted
        UNION ALL SELECT step, h.top_speed_kmh, o.top_speed_kmh, o.limit_kmh
        FROM panels.vehicle_hours h
        LEFT JOIN LATERAL (
            SELECT max(top_speed_kmh) AS top_speed_kmh, max(limit_kmh) AS limit_kmh FROM too_fast
            WHERE started_at < h.hour + INTERVAL '1 hour' AND ended_at >= h.hour
        ) o ON true
        CROSS JOIN LATERAL generate_series(date_bin({_STEP}, h.first_at, h.hour), h.last_at, {_STEP}) AS step
        WHERE {IS_LONG} AND {VEHICLE.chosen("h.vehicle_id")} AND {touched_hours("h.hour")}
            AND h.top_speed_kmh IS NOT NULL
    )
    SELECT $__timeGroup(time, '10s') AS time, max(speed_kmh) AS speed, max(over_kmh) AS speeding,
        coalesce(max(limit_kmh), (SELECT limit_kmh FROM panels.positions WHERE {_IT})) AS speed_limit
    FROM shown GROUP BY 1 ORDER BY 1
"""

TRACK = f"""
    WITH too_fast AS ({_TOO_FAST})
    SELECT * FROM (
        (SELECT DISTINCT ON (floor(extract(epoch FROM f.time) / 10)) f.time, f.speed_kmh,
            CASE WHEN o.started_at IS NOT NULL THEN 'speeding' WHEN f.driving THEN 'driving' ELSE 'stopped' END
                AS state, f.lat, f.lon
        FROM panels.fixes f LEFT JOIN too_fast o ON f.time BETWEEN o.started_at AND o.ended_at
        WHERE {IS_SHORT} AND {VEHICLE.chosen("f.vehicle_id")} AND $__timeFilter(f.time) AND f.trusted
        ORDER BY floor(extract(epoch FROM f.time) / 10), o.started_at NULLS LAST, f.time)
        UNION ALL SELECT time, speed_kmh, CASE WHEN driving THEN 'driving' ELSE 'stopped' END, lat, lon
        FROM panels.waypoints WHERE {IS_LONG} AND {_IT} AND $__timeFilter(time)
        UNION ALL SELECT started_at, top_speed_kmh, 'speeding', start_lat, start_lon FROM panels.violations
        WHERE {IS_LONG} AND {_IT} AND $__timeFilter(started_at) AND kind = 'speeding' AND start_lat IS NOT NULL
    ) AS track ORDER BY time LIMIT 20000
"""

UNTRUSTED = f"""
    SELECT 100.0 * sum(untrusted) / nullif(sum(fixes), 0) AS percent FROM (
        SELECT count(*) FILTER (WHERE NOT trusted) AS untrusted, count(*) AS fixes
        FROM panels.fixes WHERE {IS_SHORT} AND {_IT} AND $__timeFilter(time)
        UNION ALL SELECT sum(flagged_fixes)::int8, sum(fixes)::int8
        FROM panels.vehicle_hours WHERE {IS_LONG} AND {_IT} AND {touched_hours("hour")}
    ) AS counted
"""

FAILED_CHECKS = f"""
    SELECT failed, count(*) AS fixes, min(time) AS first_at, max(time) AS last_at
    FROM panels.failed_checks WHERE {_IT} AND $__timeFilter(time) GROUP BY failed ORDER BY 2 DESC, 1
"""
