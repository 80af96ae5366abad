-- Four roles. zpcode_owner owns the database and its tables; only `zpcode migrate` uses it (ZPCODE_MIGRATION_URL), so keep its
-- password from the hosts of the authority. zpcode is the authority: it owns nothing, and `zpcode migrate` grants it what the
-- services need, for example no more than SELECT and INSERT on the audit log. The scan service may read one view: `zpcode migrate`
-- grants this to ZPCODE_SCAN_ROLE. Backups (docs/recovery.md) read the whole server, so their password is worth as much as the data; the
-- role writes nothing. Set the passwords with \password in psql, not in this file.
CREATE ROLE zpcode_owner LOGIN CONNECTION LIMIT 2;
CREATE ROLE zpcode LOGIN;
CREATE ROLE zpcode_scan LOGIN CONNECTION LIMIT 200;
CREATE ROLE zpcode_backup LOGIN REPLICATION CONNECTION LIMIT 8;
GRANT pg_read_all_data TO zpcode_backup;
CREATE DATABASE zpcode OWNER zpcode_owner;
REVOKE ALL ON DATABASE zpcode FROM PUBLIC;
GRANT CONNECT ON DATABASE zpcode TO zpcode, zpcode_scan, zpcode_backup;
ALTER ROLE zpcode_scan SET default_transaction_read_only = on;
ALTER ROLE zpcode_backup SET default_transaction_read_only = on;
-- An archive that has stopped (`zpcode backup --wal`) must not fill the server's disk. Beyond this it has a gap.
ALTER SYSTEM SET max_slot_wal_keep_size = '64GB';
SELECT pg_reload_conf();
-- A database of an earlier version belongs to zpcode. As a superuser, connected to it, once:
--   REASSIGN OWNED BY zpcode TO zpcode_owner;
