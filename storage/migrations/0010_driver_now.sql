-- Present hours, for panels: `hanhtrinh maintain` writes here what the judge finds. Derived, one row a line.

-- How often a line was judged. Whatever changes its past, late fixes among it, judges it again.
ALTER TABLE driver_hours ADD COLUMN judgements int8 NOT NULL DEFAULT 0;

CREATE TABLE driver_now (
    line_id text PRIMARY KEY,             -- as in driver_hours
    driver_id text,                       -- null: nobody is named, the vehicle's own line
    vehicle_id text,                      -- in which the driver was heard of last; null: another has taken it over
    at timestamptz NOT NULL,              -- the figures are those of this moment
    driving boolean NOT NULL,             -- up to that moment
    continuous_s float8 NOT NULL, continuous_limit_s float8 NOT NULL,
    day_s float8, day_limit_s float8,     -- limits are null while no rule is in force, both where the pack has none
    week_s float8, week_limit_s float8,
    fortnight_s float8, fortnight_limit_s float8,
    look_at timestamptz NOT NULL,         -- judged anew when the line is heard of at this time
    judgements int8 NOT NULL,             -- of driver_hours; another number there: what is here may be wrong
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

-- Driving that goes on since `at` counts, up to the moment at which it would be judged anew.
CREATE VIEW panels.drivers_now AS
WITH going_on AS (
    SELECT n.*, p.time AS heard_at, coalesce(p.activity = 'driving', false) AS drives,
        CASE WHEN n.driving AND p.activity = 'driving'
            THEN greatest(0, extract(epoch FROM least(p.time, n.look_at) - n.at))::float8 ELSE 0 END AS since_s
    FROM driver_now n
    LEFT JOIN last_positions p ON p.vehicle_id = n.vehicle_id AND p.driver_id IS NOT DISTINCT FROM n.driver_id
)
SELECT g.line_id, g.driver_id, d.name AS driver, g.vehicle_id, o.operator_id, o.name AS operator, o.province,
    CASE WHEN g.vehicle_id IS NULL THEN 'away' WHEN g.drives THEN 'driving' ELSE 'stopped' END AS state,
    g.at + g.since_s * INTERVAL '1 second' AS at, coalesce(g.heard_at, g.at) AS heard_at,
    g.continuous_s + g.since_s AS continuous_s, g.continuous_limit_s,
    g.day_s + g.since_s AS day_s, g.day_limit_s,
    g.week_s + g.since_s AS week_s, g.week_limit_s,
    g.fortnight_s + g.since_s AS fortnight_s, g.fortnight_limit_s,
    nearest.kind AS nearest_kind, nearest.limit_s AS nearest_limit_s, nearest.left_s,
    h.two_vehicles_at
FROM going_on g
JOIN driver_hours h ON h.line_id = g.line_id
LEFT JOIN drivers d ON d.driver_id = g.driver_id
LEFT JOIN vehicles v ON v.vehicle_id = g.vehicle_id
LEFT JOIN operators o ON o.operator_id = coalesce(v.operator_id, d.operator_id)
LEFT JOIN LATERAL (
    SELECT kind, limit_s, greatest(0, limit_s - driven_s - g.since_s) AS left_s
    FROM (VALUES
        ('continuous_driving', g.continuous_limit_s, g.continuous_s), ('daily_driving', g.day_limit_s, g.day_s),
        ('weekly_driving', g.week_limit_s, g.week_s), ('fortnight_driving', g.fortnight_limit_s, g.fortnight_s)
    ) AS clock (kind, limit_s, driven_s)
    WHERE limit_s IS NOT NULL ORDER BY limit_s - driven_s, kind LIMIT 1
) nearest ON true;
COMMENT ON VIEW panels.drivers_now IS
    'Each driver''s present hours against the limits, as the judge of violations has them, at most a tenth of what is '
    'left behind (one minute at least, half an hour at most): the figures are those of "at". driver_id null: nobody is '
    'named, the vehicle''s own line. state: driving, stopped, away (another driver has the vehicle). nearest_kind: the '
    'limit of which least is left, left_s. Day and week are those of "at". heard_at: newest trusted fix; who was not '
    'heard of for long may have rested since. two_vehicles_at: seen driving two vehicles at once then, an id that is no '
    'person''s.';
