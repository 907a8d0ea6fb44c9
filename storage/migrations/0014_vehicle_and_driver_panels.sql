-- What the dashboards of one vehicle and of one driver read. Every view is asked for one of them and a stretch of time.

CREATE VIEW panels.fixes AS
SELECT vehicle_id, time, driver_id, lat, lon, speed_kmh, heading_deg, satellites, flags = 0 AS trusted,
    leg_driving_us > 0 AS driving
FROM fixes;
COMMENT ON VIEW panels.fixes IS
    'Stored positions. trusted: no check failed. driving: the leg that ends at it counts as driving.';

-- As detectors/checks.py names them: tests/test_vehicle_panels.py holds the two together.
CREATE VIEW panels.checks AS
SELECT * FROM (VALUES
    (1, 'no_fix'), (2, 'clock'), (4, 'rollover'), (8, 'speed'),
    (16, 'jump'), (32, 'acceleration'), (64, 'frozen'), (128, 'contradiction')
) AS checks (bit, failed);
COMMENT ON VIEW panels.checks IS 'The reasons to distrust a position, each a bit of fixes.flags.';

CREATE VIEW panels.failed_checks AS
SELECT f.vehicle_id, f.time, c.failed, f.lat, f.lon, f.speed_kmh
FROM fixes f JOIN panels.checks c ON f.flags & c.bit <> 0
WHERE f.flags <> 0;
COMMENT ON VIEW panels.failed_checks IS 'Positions that are not trusted, a row for each check that failed.';

CREATE VIEW panels.activity AS
SELECT a.vehicle_id, a.driver_id, d.name AS driver, a.activity, a.time AS begins_at,
    coalesce(n.time, greatest(a.time, p.time)) AS ends_at
FROM activity_changes a
LEFT JOIN LATERAL (
    SELECT time FROM activity_changes b WHERE b.vehicle_id = a.vehicle_id AND b.time > a.time ORDER BY b.time LIMIT 1
) n ON true
LEFT JOIN last_positions p ON p.vehicle_id = a.vehicle_id
LEFT JOIN drivers d ON d.driver_id = a.driver_id;
COMMENT ON VIEW panels.activity IS
    'What each vehicle did from begins_at to ends_at, and with whom: driving, stopped, or unknown (silent while it '
    'moved). The last one goes on to the vehicle''s newest trusted fix. driver_id null: nobody was named.';

CREATE VIEW panels.sums AS SELECT current_to FROM sums_freshness;
COMMENT ON VIEW panels.sums IS
    'current_to: what was stored before is in panels.vehicle_days; null: never counted. On TimescaleDB newer fixes count '
    'too, changes of the past after it do not.';

CREATE OR REPLACE VIEW panels.drivers AS
SELECT driver_id, d.name AS driver, d.operator_id, o.name AS operator, o.province
FROM drivers d LEFT JOIN operators o USING (operator_id)
UNION ALL
SELECT driver_id, NULL, NULL, NULL, NULL FROM driver_now n
WHERE driver_id IS NOT NULL AND NOT EXISTS (SELECT FROM drivers d WHERE d.driver_id = n.driver_id);
COMMENT ON VIEW panels.drivers IS 'Registered drivers, and those that trackers only name.';
