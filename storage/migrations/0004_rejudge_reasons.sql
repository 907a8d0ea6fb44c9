-- Why a vehicle is to be judged again beside late fixes: its registry entry changed, or somebody asked. Workers look for
-- such marks; those of late fixes alone they wrote themselves.
ALTER TABLE rejudge_marks ADD COLUMN reasons text[] NOT NULL DEFAULT '{}';
CREATE INDEX rejudge_marks_asked ON rejudge_marks (log_id, partition, marked_at) WHERE reasons <> '{}';
