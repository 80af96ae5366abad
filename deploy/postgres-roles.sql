-- Two roles: the authority owns the database, the scan service may read one view in it
-- (`zpcode migrate` grants that to ZPCODE_SCAN_ROLE). Give them passwords with \password, not here.
CREATE ROLE zpcode LOGIN;
CREATE ROLE zpcode_scan LOGIN CONNECTION LIMIT 200;
CREATE DATABASE zpcode OWNER zpcode;
REVOKE ALL ON DATABASE zpcode FROM PUBLIC;
GRANT CONNECT ON DATABASE zpcode TO zpcode_scan;
ALTER ROLE zpcode_scan SET default_transaction_read_only = on;
