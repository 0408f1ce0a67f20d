#!/bin/sh
# Before every start of PostgreSQL: a new volume gets a cluster, and the roles and databases of Seawall are made to be as
# the Secret says. May be killed at any moment and run again.
set -eu
secrets=/run/secrets/seawall

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # Made beside its place and moved there, so that an interrupted one is never taken for a whole one.
    rm -rf "$PGDATA.partial"
    if [ -e "$PGDATA" ] && ! rmdir "$PGDATA" 2>/dev/null; then
        echo "$PGDATA has files but no PG_VERSION: it is no cluster of PostgreSQL. Restore it from a backup or move it away." >&2
        exit 1
    fi
    initdb --pgdata="$PGDATA.partial" --username=postgres --pwfile="$secrets/POSTGRES_PASSWORD" \
        --auth-local=peer --auth-host=scram-sha-256 --data-checksums --encoding=UTF8 --locale=C.UTF-8
    echo "host all all all scram-sha-256" >>"$PGDATA.partial/pg_hba.conf"
    sync
    mv "$PGDATA.partial" "$PGDATA"
fi

# Without a network nobody connects before everything is in place. Statements stay out of the log: they hold passwords.
pg_ctl start --wait --silent --timeout=600 --options="-c listen_addresses='' -c log_min_error_statement=panic"
trap 'pg_ctl stop --silent --mode=fast' EXIT

psql --no-psqlrc --quiet --username=postgres --dbname=postgres --set=ON_ERROR_STOP=1 <<'SQL'
SET client_min_messages = warning;
\set postgres_password `cat /run/secrets/seawall/POSTGRES_PASSWORD`
\set auth_password `cat /run/secrets/seawall/AUTH_PASSWORD`
\set images_password `cat /run/secrets/seawall/IMAGES_PASSWORD`
\set exporter_password `cat /run/secrets/seawall/EXPORTER_PASSWORD`

SELECT format('CREATE ROLE %I LOGIN', name) FROM unnest(ARRAY['auth', 'images', 'exporter']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE postgres PASSWORD :'postgres_password';
ALTER ROLE auth PASSWORD :'auth_password';
ALTER ROLE images PASSWORD :'images_password';
ALTER ROLE exporter PASSWORD :'exporter_password' CONNECTION LIMIT 3;
GRANT pg_monitor TO exporter;

SELECT format('CREATE DATABASE %I OWNER %I', name, name) FROM unnest(ARRAY['auth', 'images']) AS name
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec
REVOKE CONNECT, TEMPORARY ON DATABASE auth, images FROM PUBLIC;
SQL
