-- The one schema. Where the timescaledb extension is installed, fixes is a hypertable; elsewhere it is
-- partitioned by month with the same name and columns.

CREATE TABLE operators (
    operator_id text PRIMARY KEY,
    name text NOT NULL,
    tax_code text,
    province text,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE vehicles (
    vehicle_id text PRIMARY KEY,
    operator_id text REFERENCES operators,
    kind text,            -- business type: decides the rest that ends a drive
    speed_class text,     -- row of the rule pack's table of class limits
    limit_kmh float8 CHECK (limit_kmh > 0 AND limit_kmh <= 200),  -- the vehicle's own cap
    seats int CHECK (seats BETWEEN 0 AND 200),
    payload_t float8 CHECK (payload_t BETWEEN 0 AND 500),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX vehicles_operator ON vehicles (operator_id);

CREATE TABLE drivers (
    driver_id text PRIMARY KEY,
    operator_id text REFERENCES operators,
    name text,
    rule_pack text,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- float8 throughout: what is judged again must be read back to the bit (law 1).
DO $schema$
DECLARE
    timescale boolean := EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb');
BEGIN
    EXECUTE $table$
        CREATE TABLE fixes (
            vehicle_id text NOT NULL,
            time timestamptz NOT NULL,
            driver_id text,
            lat float8 NOT NULL CHECK (lat BETWEEN -90 AND 90),
            lon float8 NOT NULL CHECK (lon BETWEEN -180 AND 180),
            speed_kmh float8 CHECK (speed_kmh >= 0 AND speed_kmh < 'Infinity'),
            heading_deg float8 CHECK (heading_deg BETWEEN 0 AND 360),
            ignition boolean,
            door_open boolean,
            odometer_km float8 CHECK (odometer_km >= 0 AND odometer_km < 'Infinity'),
            satellites int2,
            hdop float8 CHECK (hdop >= 0 AND hdop < 'Infinity'),
            valid boolean,
            flags int4 NOT NULL,        -- failed checks, one bit each: detectors/checks.py
            settled boolean NOT NULL,   -- the judge's state after this fix follows from this fix alone
            received_at timestamptz NOT NULL,
            PRIMARY KEY (vehicle_id, time)
        )
    $table$ || CASE WHEN timescale THEN '' ELSE ' PARTITION BY RANGE (time)' END;
    IF timescale THEN
        CREATE EXTENSION IF NOT EXISTS timescaledb;
        PERFORM create_hypertable('fixes', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
    ELSE
        CREATE TABLE fixes_elsewhen PARTITION OF fixes DEFAULT;
    END IF;
END
$schema$;

-- Make the month's partition of a time there; rows that waited in the default partition move in.
CREATE FUNCTION make_fix_partition(of_time timestamptz) RETURNS void LANGUAGE plpgsql AS $body$
DECLARE
    first_day timestamptz := date_trunc('month', of_time, 'UTC');
    next_month timestamptz := date_trunc('month', of_time, 'UTC') + INTERVAL '1 month';
    partition text := 'fixes_' || to_char(of_time AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
    IF to_regclass('fixes_elsewhen') IS NULL OR to_regclass(partition) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('make_fix_partition'));
    -- Asked as a query: to_regclass may still answer from a cache that knows nothing of who held the lock before.
    IF EXISTS (SELECT FROM pg_class WHERE relname = partition AND relnamespace = current_schema()::regnamespace) THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE fixes INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition);
    EXECUTE format(
        'WITH moved AS (DELETE FROM fixes_elsewhen WHERE time >= %L AND time < %L RETURNING *)'
        ' INSERT INTO %I SELECT * FROM moved', first_day, next_month, partition);
    EXECUTE format('ALTER TABLE fixes ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', partition, first_day, next_month);
END
$body$;

-- The activity timeline as a tachograph writes it: a row holds until the vehicle's next row; the last one until
-- the vehicle's newest trusted fix. Two neighbouring rows of a vehicle never carry the same driver and activity.
CREATE TABLE activity_changes (
    vehicle_id text NOT NULL,
    time timestamptz NOT NULL,
    driver_id text,       -- null: nobody named, the vehicle's own "unassigned" line
    activity text NOT NULL CHECK (activity IN ('driving', 'stopped', 'unknown')),
    PRIMARY KEY (vehicle_id, time)
);
CREATE INDEX activity_changes_driver ON activity_changes (driver_id, time) WHERE driver_id IS NOT NULL;
CREATE INDEX activity_changes_driven ON activity_changes (driver_id, vehicle_id) WHERE driver_id IS NOT NULL;

CREATE TABLE violations (
    violation_id text PRIMARY KEY,
    kind text NOT NULL,
    rule_pack text NOT NULL,
    rule_id text NOT NULL,
    rule_version text NOT NULL,
    grade text NOT NULL CHECK (grade IN ('confirmed', 'review')),
    status text NOT NULL CHECK (status IN ('open', 'closed', 'withdrawn')),
    vehicle_id text,
    driver_id text,
    operator_id text,
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    duration_s float8 NOT NULL,
    start_lat float8, start_lon float8, end_lat float8, end_lon float8,
    fixes int,                   -- how many prove it; null for driving time, proven by its span
    limit_kmh float8, limit_source text, top_speed_kmh float8, mean_speed_kmh float8, excess_kmh float8,
    fine_band text, report_band text, distance_m float8,
    limit_s float8, actual_s float8,
    judged_by jsonb NOT NULL,    -- the numbers of the rule that judged it
    evidence jsonb NOT NULL,     -- each limit met, first and last proving fix
    supersedes text[] NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    withdrawn_at timestamptz,
    -- An officer's: force majeure, a verified jam. The violation stands, with its reason.
    excused_at timestamptz, excused_by text, excused_why text,
    CHECK ((status = 'withdrawn') = (withdrawn_at IS NOT NULL)),
    CHECK (num_nulls(excused_at, excused_by, excused_why) IN (0, 3))
);
CREATE INDEX violations_started ON violations (started_at);
CREATE INDEX violations_vehicle ON violations (vehicle_id, started_at);
CREATE INDEX violations_driver ON violations (driver_id, started_at);
CREATE INDEX violations_silent ON violations (vehicle_id) WHERE kind = 'silence' AND status = 'open';

CREATE TABLE violation_revisions (
    violation_id text NOT NULL REFERENCES violations,
    revision int NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    change text NOT NULL CHECK (change IN
        ('opened', 'closed', 'corrected', 'withdrawn', 'restored', 'excused', 'excuse withdrawn')),
    why text NOT NULL,
    before jsonb,
    after jsonb,
    PRIMARY KEY (violation_id, revision)
);

-- How often and how long each vehicle was silent while driving, by the local day on which the silence began. One that
-- is still open counts with the time it is proven for.
CREATE VIEW silence_days AS
SELECT vehicle_id, (started_at AT TIME ZONE 'Asia/Ho_Chi_Minh')::date AS day, count(*) AS count,
    sum(duration_s) AS seconds, count(excused_at) AS excused
FROM violations WHERE kind = 'silence' AND status <> 'withdrawn'
GROUP BY vehicle_id, day;

-- The outbox: written with the violation, one row per violation and stage; the notifier does the rest.
CREATE TABLE alerts (
    alert_id text PRIMARY KEY,            -- <violation_id>:<stage>, the same in every run: receivers drop repeats by it
    violation_id text REFERENCES violations,  -- null: a warning comes before there is any violation
    stage text NOT NULL CHECK (stage IN ('warning', 'opened', 'closed')),
    vehicle_id text,
    event_at timestamptz NOT NULL,        -- time of the fix that proved the stage
    received_at timestamptz NOT NULL,     -- when the bridge received that fix
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    push boolean NOT NULL,                -- false: recorded only (news of a violation already told under another id)
    body jsonb NOT NULL,                  -- the violation on the wire as it stood at this stage
    fanned_out_at timestamptz,
    CHECK (violation_id IS NOT NULL OR stage = 'warning')
);
CREATE INDEX alerts_waiting ON alerts (created_at) WHERE fanned_out_at IS NULL;
CREATE INDEX alerts_violation ON alerts (violation_id);

CREATE TABLE deliveries (
    alert_id text NOT NULL REFERENCES alerts,
    channel text NOT NULL,
    status text NOT NULL CHECK (status IN ('waiting', 'sent', 'recorded', 'gave_up')),
    tries int NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    claimed_until timestamptz,
    sent_at timestamptz,
    last_error text,
    PRIMARY KEY (alert_id, channel)
);
CREATE INDEX deliveries_waiting ON deliveries (channel, next_try_at) WHERE status = 'waiting';

-- Keyed by content, so that the same bytes sent twice are one letter.
CREATE TABLE dead_letters (
    dead_letter_id text PRIMARY KEY,
    log_id text NOT NULL,
    partition int NOT NULL,
    log_offset bigint NOT NULL,
    topic text NOT NULL,
    received_at timestamptz NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    payload bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX dead_letters_reason ON dead_letters (reason, created_at);

-- The stream's bookkeeping.
CREATE TABLE logs (
    log_id text PRIMARY KEY,
    partitions int NOT NULL
);

CREATE TABLE log_positions (
    log_id text NOT NULL REFERENCES logs,
    partition int NOT NULL,
    next_offset bigint NOT NULL,
    -- What became of everything below next_offset. A message may hold several fixes; doubled ones are counted only.
    messages bigint NOT NULL DEFAULT 0,
    ignored bigint NOT NULL DEFAULT 0,
    fixes bigint NOT NULL DEFAULT 0,
    doubled bigint NOT NULL DEFAULT 0,
    letters bigint NOT NULL DEFAULT 0,
    newest_event_at timestamptz,          -- time of the newest sound fix, its receipt where that is earlier
    silences_judged_to timestamptz,       -- event time up to which silences are judged; null: not since something changed
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (log_id, partition)
);

-- Where to begin reading stored fixes to rebuild a vehicle's state; may lag behind, never lies.
CREATE TABLE vehicle_anchors (
    vehicle_id text PRIMARY KEY,
    settled_at timestamptz,               -- time of a settled fix; null: read all
    first_at timestamptz NOT NULL,        -- no fix of the vehicle is older
    log_id text NOT NULL,                 -- where its messages come from: whose worker must notice that they stop
    partition int NOT NULL
);
CREATE INDEX vehicle_anchors_partition ON vehicle_anchors (log_id, partition, vehicle_id);

-- Vehicles whose past changed: judged again from `from_time`.
CREATE TABLE rejudge_marks (
    vehicle_id text PRIMARY KEY,
    log_id text NOT NULL,
    partition int NOT NULL,
    from_time timestamptz NOT NULL,
    to_time timestamptz NOT NULL,
    late_fixes int NOT NULL,
    marked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Per driver (or vehicle line without a driver): how far the hours are judged, and when they must be again at the latest.
CREATE TABLE driver_hours (
    line_id text PRIMARY KEY,             -- "driver:<id>" or "vehicle:<id>"
    since timestamptz NOT NULL,           -- judging may begin here: a rest is complete, or the drive begins
    judged_to timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    two_vehicles_at timestamptz           -- last seen driving two vehicles at once: a placeholder, no person
);
