-- What Grafana's panels read: views, one per subject, so that its role needs no table. Names as in docs/database.md.
CREATE SCHEMA panels;
COMMENT ON SCHEMA panels IS 'What the dashboards read. Operator and province are those that the vehicle has today.';

CREATE VIEW panels.operators AS SELECT operator_id, name AS operator, province FROM operators;
COMMENT ON VIEW panels.operators IS 'Registered operators.';

CREATE VIEW panels.vehicles AS
SELECT vehicle_id, v.operator_id, o.name AS operator, o.province, v.kind
FROM vehicles v LEFT JOIN operators o USING (operator_id)
UNION ALL
SELECT vehicle_id, NULL, NULL, NULL, NULL FROM last_positions p
WHERE NOT EXISTS (SELECT FROM vehicles v WHERE v.vehicle_id = p.vehicle_id);
COMMENT ON VIEW panels.vehicles IS 'Registered vehicles, and those that only send.';

CREATE VIEW panels.drivers AS
SELECT driver_id, d.name AS driver, d.operator_id, o.name AS operator, o.province
FROM drivers d LEFT JOIN operators o USING (operator_id);
COMMENT ON VIEW panels.drivers IS 'Registered drivers.';

-- Ten minutes: a parked tracker may be silent for hours, a driving one sends at least every few minutes. A silence that
-- is a violation is judged by the rule pack, not here.
CREATE VIEW panels.positions AS
SELECT p.vehicle_id, v.operator_id, o.name AS operator, o.province, p.driver_id, d.name AS driver,
    p.time, p.lat, p.lon, p.speed_kmh, p.limit_kmh, p.newest_at,
    extract(epoch FROM now() - p.newest_at)::float8 AS age_s,
    CASE
        WHEN s.vehicle_id IS NOT NULL THEN 'silent'
        WHEN p.activity = 'stopped' THEN 'stopped'
        WHEN p.newest_at < now() - INTERVAL '10 minutes' THEN 'silent'
        WHEN p.activity = 'driving' AND p.speed_kmh > p.limit_kmh THEN 'over_limit'
        WHEN p.activity = 'driving' THEN 'driving'
        ELSE 'unknown'
    END AS state,
    s.started_at AS silent_since
FROM last_positions p
LEFT JOIN vehicles v USING (vehicle_id)
LEFT JOIN operators o ON o.operator_id = v.operator_id
LEFT JOIN drivers d ON d.driver_id = p.driver_id
LEFT JOIN (
    SELECT vehicle_id, min(started_at) AS started_at FROM violations
    WHERE kind = 'silence' AND status = 'open' GROUP BY vehicle_id
) s ON s.vehicle_id = p.vehicle_id;
COMMENT ON VIEW panels.positions IS
    'Where each vehicle is by its newest trusted fix, and its state now: driving, over_limit (driving faster than its '
    'limit, which alone is no violation), stopped, silent (an open violation of that kind, or heard of last more than 10 '
    'minutes ago and then not standing), unknown (one fix says nothing of driving yet). age_s: since the newest fix. '
    'silent_since: start of that violation.';

CREATE VIEW panels.violations AS
SELECT violation_id, x.kind, grade, status, x.vehicle_id, v.operator_id, o.name AS operator, o.province, x.driver_id,
    d.name AS driver, started_at, ended_at, duration_s, start_lat, start_lon, end_lat, end_lon,
    x.limit_kmh, limit_source, top_speed_kmh, mean_speed_kmh, excess_kmh, fine_band, report_band, distance_m,
    limit_s, actual_s, x.updated_at
FROM violations x
LEFT JOIN vehicles v ON v.vehicle_id = x.vehicle_id
LEFT JOIN operators o ON o.operator_id = v.operator_id
LEFT JOIN drivers d ON d.driver_id = x.driver_id
WHERE status <> 'withdrawn' AND excused_at IS NULL;
COMMENT ON VIEW panels.violations IS
    'Violations that count, as in the reports: neither withdrawn nor excused. grade "review": to be looked at.';

CREATE VIEW panels.alerts AS
SELECT alert_id, stage, a.vehicle_id, v.operator_id, o.name AS operator, o.province,
    body ->> 'kind' AS kind, body ->> 'grade' AS grade, body ->> 'driver_id' AS driver_id, event_at, created_at, push
FROM alerts a
LEFT JOIN vehicles v ON v.vehicle_id = a.vehicle_id
LEFT JOIN operators o ON o.operator_id = v.operator_id;
COMMENT ON VIEW panels.alerts IS 'Alerts, pushed to people or only recorded. event_at: of the fix that proved it.';

CREATE VIEW panels.vehicle_days AS
SELECT t.vehicle_id, v.operator_id, o.name AS operator, o.province, t.day, t.begins_at, t.fixes, t.flagged_fixes,
    t.distance_mm, t.driving_us, t.top_speed_kmh
FROM vehicle_days t
LEFT JOIN vehicles v ON v.vehicle_id = t.vehicle_id
LEFT JOIN operators o ON o.operator_id = v.operator_id;
COMMENT ON VIEW panels.vehicle_days IS
    'Sums of each vehicle and local day: sum the whole numbers, divide at the end. Filter by begins_at.';

CREATE INDEX alerts_created ON alerts (created_at);
CREATE INDEX violations_open ON violations (started_at) WHERE status = 'open';
