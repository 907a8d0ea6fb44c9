-- What each fix adds to the distance and driving time of its vehicle, so that any sum over fixes is exact: whole
-- millimetres and microseconds of the leg that ends at it, 0 for a flagged fix and a vehicle's first.
ALTER TABLE fixes
    ADD COLUMN leg_mm int8 NOT NULL DEFAULT 0,
    ADD COLUMN leg_driving_us int8 NOT NULL DEFAULT 0;

-- Fixes stored before this are judged again as a whole, which fills both in.
INSERT INTO rejudge_marks (vehicle_id, log_id, partition, from_time, to_time, late_fixes)
SELECT a.vehicle_id, log_id, partition, first_at, (SELECT max(time) FROM fixes f WHERE f.vehicle_id = a.vehicle_id), 0
FROM vehicle_anchors a
ON CONFLICT (vehicle_id) DO UPDATE SET from_time = excluded.from_time, to_time = excluded.to_time;
