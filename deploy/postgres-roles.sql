-- Four roles. zpcode_owner owns the database and its tables; only `zpcode migrate` uses it (ZPCODE_MIGRATION_URL), so keep its
-- password from the hosts of the authority. zpcode is the authority: it owns nothing, and `zpcode migrate` grants it what the
-- services need, for example no more than SELECT and INSERT on the audit log. The scan service may read one view: `zpcode migrate`
-- grants this to ZPCODE_SCAN_ROLE. Backups (docs/recovery.md) read the whole server, so their password is worth as much as the data; the
-- role writes nothing. Set the passwords with \password in psql, not in this file.
CREATE ROLE zpcode_owner LOGIN CONNECTION LIMIT 2;
CREATE ROLE zpcode LOGIN;
CREATE ROLE zpcode_scan LOGIN;
CREATE ROLE zpcode_backup LOGIN REPLICATION;
GRANT pg_read_all_data TO zpcode_backup;
CREATE DATABASE zpcode OWNER zpcode_owner;
REVOKE ALL ON DATABASE zpcode FROM PUBLIC;
GRANT CONNECT ON DATABASE zpcode TO zpcode, zpcode_scan, zpcode_backup;
-- What the holder of a stolen password must not do (docs/security.md). A scan process has ZPCODE_SCAN_QUERIES + 1 connections, so 40
-- are enough for eight. Raise the limit for more, but leave 60 of max_connections to the other roles: beyond it a scan reads Redis only.
-- Give CONNECT on the database postgres to your own tools that need it.
ALTER ROLE zpcode_scan CONNECTION LIMIT 40;
ALTER ROLE zpcode_scan SET default_transaction_read_only = on;
ALTER ROLE zpcode_scan SET temp_file_limit = '64MB';
ALTER ROLE zpcode_backup CONNECTION LIMIT 8;
ALTER ROLE zpcode_backup SET default_transaction_read_only = on;
REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE postgres TO zpcode_owner;
-- An archive that has stopped (`zpcode backup --wal`) must not fill the server's disk. Beyond this it has a gap.
ALTER SYSTEM SET max_slot_wal_keep_size = '64GB';
SELECT pg_reload_conf();
-- Advisory locks, large objects and messages in the WAL are open to every role of a database until a superuser closes them, in this
-- database. Repeat this part if you make the database again, and after an upgrade of PostgreSQL by dump. `zpcode migrate` warns if it is missing.
\connect zpcode
DO $$
DECLARE
  entry regprocedure;
BEGIN
  FOR entry IN
    SELECT oid::regprocedure FROM pg_proc
    WHERE pronamespace = 'pg_catalog'::regnamespace
      AND proname ~ '^(pg_(try_)?advisory_|lo_|lo(read|write)$|pg_logical_emit_message$)'
      AND has_function_privilege('public', oid, 'EXECUTE')
    ORDER BY oid
  LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', entry);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO zpcode_owner', entry);
    IF entry::text ~ '^pg_(try_)?advisory_' THEN
      EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO zpcode', entry);
    END IF;
  END LOOP;
END
$$;
-- A database of an earlier version belongs to zpcode. As a superuser, connected to it, once:
--   REASSIGN OWNED BY zpcode TO zpcode_owner;
