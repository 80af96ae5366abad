-- Two roles. The authority owns the database. The scan service may read one view: `zpcode migrate` grants this to
-- ZPCODE_SCAN_ROLE. Set the passwords with \password in psql, not in this file.
CREATE ROLE zpcode LOGIN;
CREATE ROLE zpcode_scan LOGIN CONNECTION LIMIT 200;
CREATE DATABASE zpcode OWNER zpcode;
REVOKE ALL ON DATABASE zpcode FROM PUBLIC;
GRANT CONNECT ON DATABASE zpcode TO zpcode_scan;
ALTER ROLE zpcode_scan SET default_transaction_read_only = on;
