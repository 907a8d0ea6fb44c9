-- What whole fleets and long spans are read from instead of their fixes. A vehicle's fixes lie as they came, each on a
-- page of its own: a month of one vehicle is thousands of pages, and a month of a fleet is all of them.

-- Kilometres by driver. Hours in which nobody was named have no row.
DO $schema$
DECLARE
    continuous boolean := EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')
        AND current_setting('timescaledb.license', true) = 'timescale';
BEGIN
    IF continuous THEN
        EXECUTE $view$
            CREATE MATERIALIZED VIEW driver_hour_sums
            WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
            SELECT vehicle_id, time_bucket(INTERVAL '1 hour', time) AS hour, driver_id,
                sum(leg_mm)::int8 AS leg_mm, sum(leg_driving_us)::int8 AS leg_driving_us
            FROM fixes WHERE driver_id IS NOT NULL GROUP BY vehicle_id, time_bucket(INTERVAL '1 hour', time), driver_id
            WITH NO DATA
        $view$;
    ELSE
        CREATE TABLE driver_hour_sums (
            hour timestamptz NOT NULL,
            vehicle_id text NOT NULL,
            driver_id text NOT NULL,
            leg_mm int8 NOT NULL,
            leg_driving_us int8 NOT NULL,
            PRIMARY KEY (hour, vehicle_id, driver_id)
        ) WITH (fillfactor = 90);
        -- A key that holds what panels show: the hours of one vehicle then lie together, a month of them on a few pages.
        ALTER TABLE hour_sums DROP CONSTRAINT hour_sums_pkey,
            ADD CONSTRAINT hour_sums_pkey PRIMARY KEY (vehicle_id, hour)
                INCLUDE (fixes, trusted_fixes, flags, top_speed_kmh, first_at, last_at);
        ALTER TABLE hour_sums SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02);
    END IF;
END
$schema$;

CREATE VIEW driven_hours AS
SELECT vehicle_id, hour, driver_id, leg_mm AS distance_mm, leg_driving_us AS driving_us FROM driver_hour_sums;

-- Trusted fixes that stand for the others of their hour: its first one, and those with which an activity begins.
-- Derived, by `hanhtrinh maintain`: one may be missing, none may say what its fix does not.
CREATE TABLE waypoints (
    vehicle_id text NOT NULL,
    time timestamptz NOT NULL,
    lat float8 NOT NULL,
    lon float8 NOT NULL,
    speed_kmh float8,
    driving boolean NOT NULL,             -- the leg that ends at it counts as driving
    PRIMARY KEY (vehicle_id, time) INCLUDE (lat, lon, speed_kmh, driving)
);

ALTER TABLE activity_changes DROP CONSTRAINT activity_changes_pkey,
    ADD CONSTRAINT activity_changes_pkey PRIMARY KEY (vehicle_id, time) INCLUDE (driver_id, activity);

-- An index answers alone only for pages that a vacuum has seen. At the usual fifth of a table the newest months of a
-- year would wait for it, which are those that are asked for.
ALTER TABLE waypoints SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02);
ALTER TABLE activity_changes SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02);
ALTER TABLE violations SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02);

-- Fixes stored before this: their hours are counted once more.
INSERT INTO stale_hours (vehicle_id, hour)
SELECT vehicle_id, hour FROM hour_sums WHERE hour >= (SELECT fixes_from FROM upkeep);

CREATE VIEW panels.vehicle_hours AS
SELECT vehicle_id, hour, fixes, flagged_fixes, flags, top_speed_kmh, first_at, last_at FROM vehicle_hours;
COMMENT ON VIEW panels.vehicle_hours IS 'Sums of each vehicle and hour (UTC). first_at, last_at: of its fixes.';

CREATE VIEW panels.waypoints AS SELECT vehicle_id, time, lat, lon, speed_kmh, driving FROM waypoints;
COMMENT ON VIEW panels.waypoints IS
    'Trusted positions that stand for the others: the first of each hour, and those with which an activity begins. '
    'driving: the leg that ends at it counts as driving.';
