-- Sums per vehicle and hour, and per vehicle and local day: continuous aggregates where TimescaleDB has them, tables
-- that `hanhtrinh maintain` fills elsewhere (plain PostgreSQL, TimescaleDB under the Apache licence). Both are read
-- through the same views.

-- Hours whose sums no longer are those of the stored fixes. Written in the transaction that stores or judges the
-- fixes, only ever added to: a mark that joined an older one could be lost with it.
CREATE TABLE stale_hours (
    stale_hour_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vehicle_id text NOT NULL,
    hour timestamptz NOT NULL,
    marked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The hour was counted when this was its newest fix and may still grow without another mark; null: not counted.
    counted_to timestamptz
);
CREATE INDEX stale_hours_in_order ON stale_hours (hour, vehicle_id);

-- Fixes stored before this.
INSERT INTO stale_hours (vehicle_id, hour) SELECT DISTINCT vehicle_id, date_trunc('hour', time, 'UTC') FROM fixes;

-- How far the past is given up, and how fresh the sums are. `fixes_from`: what is older is dropped, or about to be;
-- sums of those hours stand as they are.
CREATE TABLE upkeep (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    fixes_from timestamptz NOT NULL DEFAULT '-infinity',
    sums_at timestamptz   -- whatever was stored before this is in the sums; null: never counted
);
INSERT INTO upkeep DEFAULT VALUES;

DO $schema$
DECLARE
    -- A server without the extension does not know the setting.
    continuous boolean := EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')
        AND current_setting('timescaledb.license', true) = 'timescale';
BEGIN
    IF continuous THEN
        -- No data at first: a watermark in the future would hide what comes.
        EXECUTE $view$
            CREATE MATERIALIZED VIEW hour_sums
            WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
            SELECT vehicle_id, time_bucket(INTERVAL '1 hour', time) AS hour, count(*) AS fixes,
                count(*) FILTER (WHERE flags = 0) AS trusted_fixes, bit_or(flags) AS flags,
                sum(leg_mm)::int8 AS leg_mm, sum(leg_driving_us)::int8 AS leg_driving_us,
                max(speed_kmh) FILTER (WHERE flags = 0) AS top_speed_kmh, min(time) AS first_at, max(time) AS last_at
            FROM fixes GROUP BY vehicle_id, time_bucket(INTERVAL '1 hour', time)
            WITH NO DATA
        $view$;
        EXECUTE $view$
            CREATE MATERIALIZED VIEW day_sums
            WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
            SELECT vehicle_id, time_bucket(INTERVAL '1 day', hour, 'Asia/Ho_Chi_Minh') AS begins_at,
                sum(fixes)::int8 AS fixes, sum(trusted_fixes)::int8 AS trusted_fixes, bit_or(flags) AS flags,
                sum(leg_mm)::int8 AS leg_mm, sum(leg_driving_us)::int8 AS leg_driving_us,
                max(top_speed_kmh) AS top_speed_kmh, min(first_at) AS first_at, max(last_at) AS last_at
            FROM hour_sums GROUP BY vehicle_id, time_bucket(INTERVAL '1 day', hour, 'Asia/Ho_Chi_Minh')
            WITH NO DATA
        $view$;
        EXECUTE $option$
            ALTER TABLE fixes SET (timescaledb.compress, timescaledb.compress_segmentby = 'vehicle_id',
                timescaledb.compress_orderby = 'time')
        $option$;
    ELSE
        CREATE TABLE hour_sums (
            vehicle_id text NOT NULL,
            hour timestamptz NOT NULL,
            fixes int8 NOT NULL,
            trusted_fixes int8 NOT NULL,
            flags int4 NOT NULL,
            leg_mm int8 NOT NULL,
            leg_driving_us int8 NOT NULL,
            top_speed_kmh float8,
            first_at timestamptz NOT NULL,
            last_at timestamptz NOT NULL,
            PRIMARY KEY (vehicle_id, hour)
        );
        CREATE INDEX hour_sums_hour ON hour_sums (hour);
        CREATE TABLE day_sums (
            vehicle_id text NOT NULL,
            begins_at timestamptz NOT NULL,
            fixes int8 NOT NULL,
            trusted_fixes int8 NOT NULL,
            flags int4 NOT NULL,
            leg_mm int8 NOT NULL,
            leg_driving_us int8 NOT NULL,
            top_speed_kmh float8,
            first_at timestamptz NOT NULL,
            last_at timestamptz NOT NULL,
            PRIMARY KEY (vehicle_id, begins_at)
        );
        CREATE INDEX day_sums_begins ON day_sums (begins_at);
    END IF;
END
$schema$;

-- Sum the whole numbers, divide at the end: sums of distance_mm and driving_us are exact.
CREATE VIEW vehicle_hours AS
SELECT vehicle_id, hour, fixes, trusted_fixes, fixes - trusted_fixes AS flagged_fixes, flags,
    leg_mm AS distance_mm, leg_driving_us AS driving_us,
    leg_mm::float8 / 1000 AS distance_m, leg_driving_us::float8 / 1000000 AS driving_s,
    top_speed_kmh, first_at, last_at
FROM hour_sums;

CREATE VIEW vehicle_days AS
SELECT vehicle_id, (begins_at AT TIME ZONE 'Asia/Ho_Chi_Minh')::date AS day, begins_at,
    fixes, trusted_fixes, fixes - trusted_fixes AS flagged_fixes, flags,
    leg_mm AS distance_mm, leg_driving_us AS driving_us,
    leg_mm::float8 / 1000 AS distance_m, leg_driving_us::float8 / 1000000 AS driving_s,
    top_speed_kmh, first_at, last_at
FROM day_sums;

-- By the operator that the vehicle has today; null: a vehicle that is not registered, or has none.
CREATE VIEW operator_days AS
SELECT v.operator_id, (d.begins_at AT TIME ZONE 'Asia/Ho_Chi_Minh')::date AS day, d.begins_at,
    count(*) AS vehicles, sum(d.fixes)::int8 AS fixes, sum(d.trusted_fixes)::int8 AS trusted_fixes,
    sum(d.leg_mm)::int8 AS distance_mm, sum(d.leg_driving_us)::int8 AS driving_us,
    sum(d.leg_mm)::float8 / 1000 AS distance_m, sum(d.leg_driving_us)::float8 / 1000000 AS driving_s,
    max(d.top_speed_kmh) AS top_speed_kmh
FROM day_sums d LEFT JOIN vehicles v USING (vehicle_id)
GROUP BY v.operator_id, d.begins_at;

-- Whatever was stored before this moment is in all of the above.
CREATE VIEW sums_freshness AS SELECT sums_at AS current_to FROM upkeep;

-- Where each vehicle is: derived from fixes, a few seconds behind them.
CREATE TABLE last_positions (
    vehicle_id text PRIMARY KEY,
    time timestamptz NOT NULL,        -- the newest trusted fix, with its values
    lat float8 NOT NULL,
    lon float8 NOT NULL,
    speed_kmh float8,
    driver_id text,
    activity text,                    -- on the last leg that is complete; null: there is none yet
    limit_kmh float8 NOT NULL,
    limit_source text NOT NULL,
    newest_at timestamptz NOT NULL,   -- the newest fix, trusted or not
    newest_flags int4 NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
