-- The embedded log: offsets come from a counter row per partition, updated in the inserting transaction, so that
-- commit order is offset order without gaps (a sequence would make readers skip rows).
CREATE TABLE embedded_log (
    log_id text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX embedded_log_is_one ON embedded_log ((true));

-- Updated by every append: room on the page keeps the updates heap-only.
CREATE TABLE embedded_log_partitions (
    partition int PRIMARY KEY,
    next_offset bigint NOT NULL DEFAULT 0,
    first_offset bigint NOT NULL DEFAULT 0,
    CHECK (0 <= first_offset AND first_offset <= next_offset)
) WITH (fillfactor = 10);

CREATE TABLE embedded_log_messages (
    partition int NOT NULL,
    log_offset bigint NOT NULL,
    topic text NOT NULL,
    received_us bigint NOT NULL,
    retained boolean NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (partition, log_offset)
);
