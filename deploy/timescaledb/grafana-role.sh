#!/bin/sh
# Runs once, when the database is made. What the role may read is granted by `hanhtrinh migrate`; here it is kept out of
# the other databases.
set -eu
psql --set ON_ERROR_STOP=1 --set password="$GRAFANA_DATABASE_PASSWORD" \
    --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE grafana LOGIN PASSWORD :'password';
ALTER ROLE grafana SET statement_timeout = '60s';
REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;
SQL
