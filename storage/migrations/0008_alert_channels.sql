-- Alerts for people: told together where there are too many, and to the operator whose vehicle it is.

ALTER TABLE deliveries ADD COLUMN digest_id text;  -- told with others in one summary
CREATE INDEX deliveries_sent ON deliveries (channel, sent_at) WHERE sent_at IS NOT NULL;

ALTER TABLE operators ADD COLUMN alert_url text;   -- an Apprise address; may hold a password or token
