-- Complaints ------------------------------------------------------------------------------------------------
-- What somebody said stands apart from who they are: contact and photos are deleted 180 days after the end.

CREATE TABLE complaint (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number          text NOT NULL UNIQUE CHECK (number ~ '^TS-[0-9]{8}-[0-9A-HJKMNP-TV-Z]{7}$'),
    received_at     timestamptz NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('counterfeit', 'quality', 'label', 'seller', 'other')),
    description     text NOT NULL CHECK (length(description) BETWEEN 1 AND 2000),
    place           text NOT NULL DEFAULT '',
    code            text NOT NULL DEFAULT '',                -- as scanned or typed; it may be no code of ours
    language        text NOT NULL,
    proof           text NOT NULL CHECK (proof IN ('sealed', 'forged', 'unsealed', 'unreadable', 'unchecked', 'none')),
    gtin            varchar(14) REFERENCES product,          -- NULL: no registered product is named
    uscc            varchar(18) REFERENCES enterprise,
    region          varchar(6) NOT NULL,                     -- the office it lies with
    state           text NOT NULL CHECK (state IN ('received', 'assigned', 'in_progress', 'answered', 'closed', 'refused')),
    ended_at        timestamptz CHECK ((ended_at IS NOT NULL) = (state IN ('closed', 'refused'))),
    follow_hash     bytea NOT NULL CHECK (length(follow_hash) = 32),
    ticket          bytea NOT NULL UNIQUE CHECK (length(ticket) = 16),
    likeness        bytea CHECK (length(likeness) = 32)      -- tells the same sent again; emptied after a day
);
CREATE INDEX complaint_region ON complaint (region text_pattern_ops, id DESC);
CREATE INDEX complaint_uscc ON complaint (uscc, id DESC);
CREATE INDEX complaint_gtin ON complaint (gtin);
CREATE INDEX complaint_likeness ON complaint (likeness, received_at) WHERE likeness IS NOT NULL;
CREATE INDEX complaint_ended ON complaint (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE complaint_event (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    complaint       bigint NOT NULL REFERENCES complaint,
    step            text NOT NULL CHECK (step IN ('receive', 'assign', 'start', 'answer', 'close', 'refuse')),
    at              timestamptz NOT NULL,
    taken_by        text NOT NULL,                           -- role:subject:key id; 'public' for the first
    authority       jsonb NOT NULL,                          -- public name of whoever took it
    text            text NOT NULL DEFAULT '',                -- public: whoever holds the follow key reads it
    region          varchar(6) NOT NULL DEFAULT '' CHECK ((region <> '') = (step = 'assign'))
);
CREATE INDEX complaint_event_complaint ON complaint_event (complaint, id);
CREATE TRIGGER complaint_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON complaint_event
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

CREATE TABLE complaint_contact (
    complaint       bigint PRIMARY KEY REFERENCES complaint,
    contact         text NOT NULL CHECK (contact <> '')
);
CREATE TABLE complaint_photo (
    complaint       bigint NOT NULL REFERENCES complaint,
    position        int NOT NULL CHECK (position BETWEEN 1 AND 3),
    jpeg            bytea NOT NULL,                          -- decoded and encoded anew, metadata gone
    PRIMARY KEY (complaint, position)
);
ALTER TABLE complaint_photo ALTER COLUMN jpeg SET STORAGE EXTERNAL;

-- What form tickets and follow keys are derived from; every process of the authority has the same. The random bits of
-- four UUIDs (version 4, 122 each) out of PostgreSQL's strong generator.
CREATE TABLE complaint_secret (
    id              int PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    secret          bytea NOT NULL CHECK (length(secret) = 32)
);
INSERT INTO complaint_secret (secret)
    SELECT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
               || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
