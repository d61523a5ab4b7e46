-- Databases and roles, with no more rights than each needs. Run by psql as a superuser, again whenever a password changes:
--
--     psql -X -v ON_ERROR_STOP=1 -f deploy/roles.sql
--
-- Passwords come from the environment of psql and are in no file: DAGSTER_PG_PASSWORD, EARNINGS_OWNER_PASSWORD,
-- EARNINGS_PIPELINE_PASSWORD, EARNINGS_READER_PASSWORD. Needs psql 15 (\getenv).
--
--   dagster            owns the database `dagster`: runs, event log, schedules. Sees nothing of the lake.
--   earnings_owner     owns the lake's catalogue. Makes its tables, the first time and after an upgrade; no service runs as this role.
--   earnings_pipeline  writes days. Changes rows of the catalogue, and makes tables in it, for DuckLake keeps small changes in tables of
--                      their own (ducklake_inlined_*); drops, truncates and alters none of the owner's. The catalogue knows the
--                      lake's tables as rows, so this role can delete those all the same: backups are what protects from that.
--   earnings_reader    analysts. Attaches READ_ONLY; PostgreSQL refuses what a client without READ_ONLY would write. Who reads the
--                      data files is decided where they lie: give analysts read access to that folder or bucket, and no more.
\getenv dagster_password DAGSTER_PG_PASSWORD
\getenv owner_password EARNINGS_OWNER_PASSWORD
\getenv pipeline_password EARNINGS_PIPELINE_PASSWORD
\getenv reader_password EARNINGS_READER_PASSWORD

SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', name)
FROM unnest(ARRAY['dagster', 'earnings_owner', 'earnings_pipeline', 'earnings_reader']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

ALTER ROLE dagster PASSWORD :'dagster_password';
ALTER ROLE earnings_owner PASSWORD :'owner_password';
ALTER ROLE earnings_pipeline PASSWORD :'pipeline_password';
ALTER ROLE earnings_reader PASSWORD :'reader_password';

SELECT format('CREATE DATABASE %I OWNER %I', name, owner)
FROM (VALUES ('dagster', 'dagster'), ('earnings', 'earnings_owner')) AS wanted (name, owner)
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec

REVOKE ALL ON DATABASE dagster, earnings FROM PUBLIC;
GRANT CONNECT ON DATABASE earnings TO earnings_pipeline, earnings_reader;

\connect dagster
ALTER SCHEMA public OWNER TO dagster;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

\connect earnings
ALTER SCHEMA public OWNER TO earnings_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO earnings_pipeline;
GRANT USAGE ON SCHEMA public TO earnings_reader;
GRANT earnings_pipeline TO earnings_owner;  -- who may then change and drop what the pipeline made
-- For the tables that are there, and for those that will be made.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO earnings_pipeline;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO earnings_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE earnings_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO earnings_pipeline;
ALTER DEFAULT PRIVILEGES FOR ROLE earnings_owner, earnings_pipeline IN SCHEMA public GRANT SELECT ON TABLES TO earnings_reader;
-- A run holds locks in a session of its own that is idle meanwhile.
ALTER ROLE earnings_pipeline SET idle_in_transaction_session_timeout = 0;
