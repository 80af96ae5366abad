-- Continuity ----------------------------------------------------------------------------------------------
-- A database restored from a backup is older than Redis, the code files and the signer's records. docs/recovery.md

CREATE TABLE continuity (                                    -- one row
    id              int PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    installation    text NOT NULL DEFAULT replace(gen_random_uuid()::text, '-', ''),
    recoveries      int NOT NULL DEFAULT 0,                  -- how often `zpcode recover` brought this database forward
    behind_since    timestamptz,                             -- when a process found it behind; NULL: it is not
    evidence        jsonb NOT NULL DEFAULT '[]'              -- in what; kept because a witness may be emptied later
);
INSERT INTO continuity DEFAULT VALUES;

CREATE TABLE recovery (                                      -- one row for each recovery, in order
    id              int PRIMARY KEY,
    at              timestamptz NOT NULL,
    actor           text NOT NULL,
    audit           bigint NOT NULL,                         -- its entry in the audit log
    taken_in        jsonb NOT NULL                           -- the marks of each witness that it took in
);
CREATE TRIGGER recovery_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON recovery
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

CREATE TABLE lost_batch (                                    -- a batch whose codes may exist and whose record is lost
    number          bigint PRIMARY KEY,
    recovery        int NOT NULL,
    card            bytea                                    -- its card in Redis at that time, if there was one
);

CREATE TABLE held_decision (                                 -- Redis showed a milder state than the decisions give
    scope           text NOT NULL,
    target          text NOT NULL,
    first           bigint NOT NULL DEFAULT 0,               -- scope range: first and last index
    last            bigint NOT NULL DEFAULT 0,
    recovery        int NOT NULL,
    timeline        bytea NOT NULL,                          -- what Redis showed: MessagePack, zpcode.wire.card.Timeline
    confirmed_at    timestamptz,
    PRIMARY KEY (scope, target, first, last, recovery)
);

-- A database that is behind says so to the scan service: its head is below every head that a process may have met, so no
-- process believes its cards.
CREATE OR REPLACE VIEW scan_view AS
    SELECT key, revision, body FROM card
    UNION ALL
    SELECT 'h:' || batch::text || ':' || index::text,
           0::bigint,
           convert_to(json_build_array(scans, extract(epoch FROM first_at)::bigint, first_city)::text, 'UTF8')
      FROM item_history
    UNION ALL
    SELECT 'head', CASE WHEN continuity.behind_since IS NULL THEN card_head.revision ELSE -1 END, ''::bytea
      FROM card_head, continuity;
