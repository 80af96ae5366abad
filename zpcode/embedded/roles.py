"""What the superuser of PostgreSQL takes from the roles, because the owner of the tables cannot: the same text as in deploy/postgres-roles.sql.

PostgreSQL lets every role take advisory locks, make large objects and write messages into the WAL. With the password of the scan
service, one session could thus stop every decision (it takes `Lock.AUDIT` of `zpcode.store.locks` and keeps it) or fill the disk.
"""

from __future__ import annotations

from typing import Final

SERVER: Final = """\
ALTER ROLE zpcode_scan CONNECTION LIMIT 40;
ALTER ROLE zpcode_scan SET default_transaction_read_only = on;
ALTER ROLE zpcode_scan SET temp_file_limit = '64MB';
ALTER ROLE zpcode_backup CONNECTION LIMIT 8;
ALTER ROLE zpcode_backup SET default_transaction_read_only = on;
REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE postgres TO zpcode_owner;
"""
"""For the whole server. Of these, a role can switch off only `default_transaction_read_only`."""

DATABASE: Final = """\
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
"""
"""Inside the database `zpcode`: rights on functions belong to a database. A copy of the database has them too.

The owner keeps them all: a dump repeats the statements, and PostgreSQL refuses them to a role that has no right on the function.
"""
