-- Whose worker judges a driver's line without asking here first: that of the partition from which all the line's fixes
-- have come since it was last judged. Null: they come from several, and each worker locks the row before it adds.
ALTER TABLE driver_hours ADD COLUMN log_id text, ADD COLUMN partition int;

-- For a worker whose line another one has added to: it does not know, and may have added to it since `from_time`
-- without seeing the other's fixes. It judges the line again and deletes the notice. Without a key, so that nobody who
-- writes one waits for somebody who deletes one.
CREATE TABLE line_notices (
    line_id text NOT NULL,
    log_id text NOT NULL,
    partition int NOT NULL,
    from_time timestamptz NOT NULL
);

-- Rows that are changed in place again and again: room beside them, so that no index needs to know.
ALTER TABLE vehicle_anchors SET (fillfactor = 70);
ALTER TABLE driver_hours SET (fillfactor = 70);
ALTER TABLE last_positions SET (fillfactor = 70);
