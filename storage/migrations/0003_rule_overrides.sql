-- An office's own numbers, for an operator, a kind of vehicle or one vehicle, from a local day on.

-- Lets an exclusion constraint compare texts without an extension.
CREATE TYPE text_range AS RANGE (subtype = text);

CREATE TABLE rule_overrides (
    scope text NOT NULL CHECK (scope IN ('operator', 'kind', 'vehicle')),
    scope_id text NOT NULL,
    number text NOT NULL,                 -- as in the rule pack: speeding.min_duration_s; or limit_kmh
    value float8 NOT NULL CHECK (value >= 0 AND value < 'Infinity'),
    valid_from date NOT NULL CHECK (valid_from BETWEEN '1970-01-01' AND '2999-12-31'),
    -- Exclusive, as in the rule pack; null: for good; the day it begins: taken back.
    valid_to date CHECK (valid_to BETWEEN valid_from AND '2999-12-31'),
    basis text NOT NULL CHECK (basis <> ''),
    imported_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    imported_by text NOT NULL CHECK (imported_by <> ''),
    operator_id text GENERATED ALWAYS AS (CASE WHEN scope = 'operator' THEN scope_id END) STORED REFERENCES operators,
    vehicle_id text GENERATED ALWAYS AS (CASE WHEN scope = 'vehicle' THEN scope_id END) STORED REFERENCES vehicles,
    PRIMARY KEY (scope, scope_id, number, valid_from),
    CHECK (number <> 'limit_kmh' OR value BETWEEN 1 AND 200),
    CHECK (number <> 'class_default_confirms' OR value IN (0, 1)),
    CHECK (number <> 'speeding.min_fixes' OR (value >= 1 AND value = trunc(value))),
    CONSTRAINT one_number_a_day EXCLUDE USING gist (
        text_range(scope, scope, '[]') WITH &&,
        text_range(scope_id, scope_id, '[]') WITH &&,
        text_range(number, number, '[]') WITH &&,
        daterange(valid_from, valid_to) WITH &&
    )
);
