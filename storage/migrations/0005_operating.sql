-- What an operator did with a dead letter. 'sending': about to be put into the log again, which may not have happened;
-- 'sent': the log has it again; 'unusable': today's decoders, or the database, refuse it still.
ALTER TABLE dead_letters
    ADD COLUMN retries int NOT NULL DEFAULT 0,
    ADD COLUMN retried_at timestamptz,
    ADD COLUMN retry_outcome text CHECK (retry_outcome IN ('sending', 'sent', 'unusable')),
    ADD COLUMN retry_detail text;         -- what refused it at the last try
CREATE INDEX dead_letters_received ON dead_letters (received_at, dead_letter_id);

-- Kafka's own id of the topic: another one after the topic was deleted and made again under its name.
ALTER TABLE logs ADD COLUMN topic_id text;

-- Positions that an operator moved: messages between were skipped, or were read again.
CREATE TABLE position_changes (
    log_id text NOT NULL,
    partition int NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_by text NOT NULL,
    why text NOT NULL,
    from_offset bigint,                   -- null: none was stored
    to_offset bigint NOT NULL
);
CREATE INDEX position_changes_at ON position_changes (changed_at);
