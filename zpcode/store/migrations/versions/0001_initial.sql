-- The first schema. Every table has one room in zpcode/store: registry, batches, status, audit, access, outbox.
-- Text columns in two languages are jsonb {"zh": …, "en": …}. Dates of validity are calendar dates (Asia/Shanghai).

-- Registry ------------------------------------------------------------------------------------------------

CREATE TABLE enterprise (
    uscc            varchar(18) PRIMARY KEY,
    name            jsonb NOT NULL,
    region          varchar(6) NOT NULL,
    industry        text NOT NULL,
    address         jsonb NOT NULL DEFAULT '{}',
    contact         text NOT NULL DEFAULT '',
    phone           text NOT NULL DEFAULT '',
    email           text NOT NULL DEFAULT '',
    website         text NOT NULL DEFAULT '',
    story           jsonb NOT NULL DEFAULT '{}',
    code_quota      bigint CHECK (code_quota >= 0),          -- NULL: no limit; item codes over the enterprise's life
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX enterprise_region ON enterprise (region varchar_pattern_ops);

CREATE TABLE standard (
    number          text PRIMARY KEY,                        -- own number, e.g. T/ZZB 0664-2018
    registration    text NOT NULL DEFAULT '',                -- ZZB □XXXX-YYYY
    title           jsonb NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('product', 'process', 'method', 'basic', 'producer_service')),
    status          text NOT NULL CHECK (status IN ('in_force', 'under_review', 'amended', 'abolished')),
    version         text NOT NULL DEFAULT '1',
    text_url        text NOT NULL DEFAULT '',
    in_force_from   date,
    replaced_by     text,
    updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE standard_version (                              -- what a standard was before each amendment
    number          text NOT NULL REFERENCES standard,
    version         text NOT NULL,
    record          jsonb NOT NULL,
    replaced_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (number, version, replaced_at)               -- a correction may leave the version as it is
);

CREATE TABLE certification_body (
    code            text PRIMARY KEY,
    name            jsonb NOT NULL,
    approval        text NOT NULL DEFAULT '',
    website         text NOT NULL DEFAULT '',
    updated_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE product (
    gtin            varchar(14) PRIMARY KEY,
    uscc            varchar(18) NOT NULL REFERENCES enterprise,
    name            jsonb NOT NULL,
    brand           text NOT NULL DEFAULT '',
    model           text NOT NULL DEFAULT '',
    category        jsonb NOT NULL DEFAULT '{}',
    tier            text NOT NULL DEFAULT 'brand' CHECK (tier IN ('china_premium', 'zhejiang_premium', 'brand')),
    image           text NOT NULL DEFAULT '',
    updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX product_uscc ON product (uscc);

CREATE TABLE product_standard (
    gtin            varchar(14) NOT NULL REFERENCES product ON DELETE CASCADE,
    number          text NOT NULL REFERENCES standard,
    position        int NOT NULL,
    PRIMARY KEY (gtin, number)
);
CREATE INDEX product_standard_number ON product_standard (number);

CREATE TABLE certificate (
    number          text PRIMARY KEY,
    uscc            varchar(18) NOT NULL REFERENCES enterprise,
    body_code       text NOT NULL REFERENCES certification_body,
    kind            text NOT NULL,                           -- zhejiang_made, ccc, green, international, …
    rule            text NOT NULL DEFAULT '',
    valid_from      date NOT NULL,
    valid_to        date NOT NULL CHECK (valid_to >= valid_from),
    accepted        boolean NOT NULL DEFAULT false,          -- 采信: of another scheme, accepted as evidence
    updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE product_certificate (
    gtin            varchar(14) NOT NULL REFERENCES product ON DELETE CASCADE,
    number          text NOT NULL REFERENCES certificate,
    position        int NOT NULL,
    PRIMARY KEY (gtin, number)
);
CREATE INDEX product_certificate_number ON product_certificate (number);

CREATE TABLE recognition (
    number              text PRIMARY KEY,
    gtin                varchar(14) NOT NULL REFERENCES product,
    path                text NOT NULL CHECK (path IN ('certification', 'self_declaration', 'transfer')),
    valid_from          date NOT NULL,
    valid_to            date NOT NULL CHECK (valid_to >= valid_from),
    old_stock           text NOT NULL DEFAULT 'warned' CHECK (old_stock IN ('valid', 'warned', 'revoked')),
    certificate         text REFERENCES certificate,         -- path certification
    declaration_number  text NOT NULL DEFAULT '',            -- path self_declaration
    declaration_url     text NOT NULL DEFAULT '',
    guarantee_number    text NOT NULL DEFAULT '',
    guarantor           jsonb NOT NULL DEFAULT '{}',
    transferred_scheme  jsonb NOT NULL DEFAULT '{}',         -- path transfer
    transferred_number  text NOT NULL DEFAULT '',
    updated_at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX recognition_gtin ON recognition (gtin, valid_to DESC);

CREATE TABLE indicator (
    gtin            varchar(14) NOT NULL REFERENCES product ON DELETE CASCADE,
    position        int NOT NULL,
    name            jsonb NOT NULL,
    direction       text NOT NULL CHECK (direction IN ('ge', 'le', 'range', 'text')),
    unit            text NOT NULL DEFAULT '',
    product_value   jsonb NOT NULL,
    standard_value  jsonb NOT NULL,
    national_value  jsonb NOT NULL DEFAULT '{}',
    benchmark_value jsonb NOT NULL DEFAULT '{}',
    method          text NOT NULL DEFAULT '',
    report          text NOT NULL DEFAULT '',
    PRIMARY KEY (gtin, position)
);

CREATE TABLE commitment (
    gtin            varchar(14) NOT NULL REFERENCES product ON DELETE CASCADE,
    position        int NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('first_responsibility', 'three_guarantees', 'service',
                                                  'insurance', 'hotline')),
    text            jsonb NOT NULL,
    insurer         jsonb NOT NULL DEFAULT '{}',
    policy          text NOT NULL DEFAULT '',
    phone           text NOT NULL DEFAULT '',
    PRIMARY KEY (gtin, position)
);

CREATE TABLE claim (
    gtin            varchar(14) NOT NULL REFERENCES product ON DELETE CASCADE,
    position        int NOT NULL,
    kind            text NOT NULL,
    text            jsonb NOT NULL,
    value           text NOT NULL DEFAULT '',
    unit            text NOT NULL DEFAULT '',
    evidence        text NOT NULL,
    evidence_url    text NOT NULL DEFAULT '',
    issuer          jsonb NOT NULL DEFAULT '{}',
    valid_to        date,
    PRIMARY KEY (gtin, position)
);

-- Access --------------------------------------------------------------------------------------------------

CREATE TABLE api_key (
    id              text PRIMARY KEY,                        -- the public half of the credential
    secret_hash     bytea NOT NULL,                          -- SHA-256 of 256 random bits: nothing to stretch
    role            text NOT NULL CHECK (role IN ('enterprise', 'regulator', 'operator')),
    subject         text NOT NULL,                           -- USCC, region code, or '*'
    label           text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL,
    revoked_at      timestamptz,
    last_used_at    timestamptz
);

CREATE TABLE idempotency (
    caller          text NOT NULL,                           -- api_key.subject with its role
    key             text NOT NULL,
    request_hash    bytea NOT NULL,
    batch           bigint,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (caller, key)
);

-- Batches -------------------------------------------------------------------------------------------------

CREATE SEQUENCE batch_number MINVALUE 1 MAXVALUE 67108863;   -- 26 bits of the serial; never reused

CREATE TABLE batch (
    number          bigint PRIMARY KEY DEFAULT nextval('batch_number'),
    uscc            varchar(18) NOT NULL REFERENCES enterprise,
    gtin            varchar(14) NOT NULL REFERENCES product,
    level           text NOT NULL CHECK (level IN ('product', 'lot', 'item', 'compact')),
    quantity        bigint NOT NULL CHECK (quantity BETWEEN 1 AND 1000000000),
    lot             text NOT NULL DEFAULT '',
    production_date date,
    expiry_date     date,
    format          text NOT NULL DEFAULT 'csv',
    base            text NOT NULL,                           -- base address as printed; not covered by the seal
    permutation_key bytea NOT NULL CHECK (length(permutation_key) = 16),
    check_key       bytea NOT NULL CHECK (length(check_key) = 16),
    key_id          text NOT NULL DEFAULT '',                -- signing key, fixed when the batch begins
    state           text NOT NULL DEFAULT 'reserved' CHECK (state IN ('reserved', 'issued')),
    sha256          text NOT NULL DEFAULT '',
    bytes           bigint NOT NULL DEFAULT 0,
    activation      text NOT NULL DEFAULT 'on_issue' CHECK (activation IN ('on_issue', 'manual')),
    created_by      text NOT NULL,
    created_at      timestamptz NOT NULL,
    issued_at       timestamptz,
    activated_at    timestamptz,
    problem         text NOT NULL DEFAULT ''                 -- why it still waits, for the enterprise to read
);
CREATE INDEX batch_uscc ON batch (uscc, number DESC);
CREATE INDEX batch_gtin_lot ON batch (gtin, lot);
CREATE INDEX batch_waiting ON batch (created_at) WHERE state = 'reserved';

-- Status --------------------------------------------------------------------------------------------------

CREATE TABLE status_change (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope           text NOT NULL CHECK (scope IN ('code', 'range', 'lot', 'batch', 'product', 'recognition',
                                                   'certificate', 'standard', 'enterprise', 'key')),
    target          text NOT NULL,                           -- as in the card key: NUMBER:INDEX, GTIN:LOT, USCC, …
    first           bigint,                                  -- scope range: first and last index
    last            bigint CHECK (last >= first),
    action          text NOT NULL CHECK (action IN ('flag', 'suspend', 'recall', 'revoke', 'restore')),
    reason          text NOT NULL,
    legal_basis     text NOT NULL DEFAULT '',
    note            jsonb NOT NULL DEFAULT '{}',
    notice          text NOT NULL DEFAULT '',
    effective_at    timestamptz NOT NULL,
    state           text NOT NULL,                           -- wire.card.State it gives
    lifts           text CHECK ((lifts IS NULL) = (action <> 'restore')),   -- restore: whose decision (rules.reasons.Actor)
    uscc            varchar(18) REFERENCES enterprise,       -- whom it concerns; NULL: a standard or a key
    decided_by      text NOT NULL,                           -- role:subject:key id
    authority       jsonb NOT NULL,                          -- public name of whoever decided
    created_at      timestamptz NOT NULL
);
CREATE INDEX status_change_target ON status_change (scope, target, effective_at, id);
CREATE INDEX status_change_uscc ON status_change (uscc, id);
CREATE INDEX status_change_notice ON status_change (id) WHERE notice <> '';

-- Projection: a copy of this table is what Redis holds -----------------------------------------------------

CREATE TABLE card (
    key             text PRIMARY KEY,
    revision        bigint NOT NULL UNIQUE,                  -- grows by one under a lock: commit order
    body            bytea NOT NULL                           -- MessagePack, zpcode.wire.card
);
CREATE INDEX card_prefix ON card (key text_pattern_ops); -- all items of a batch: LIKE 'x:7:%'
CREATE TABLE card_head (                                     -- one row
    id              int PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    revision        bigint NOT NULL,
    turned_on       date NOT NULL DEFAULT '2000-01-01'       -- the day the product cards stand for
);
INSERT INTO card_head (revision) VALUES (0);

-- Scans ---------------------------------------------------------------------------------------------------

CREATE TABLE scan (
    at              timestamptz NOT NULL,
    entry           text NOT NULL,                           -- id in the Redis stream: makes the insert idempotent
    gtin            varchar(14) NOT NULL,
    lot             text NOT NULL DEFAULT '',
    batch           bigint,
    index           bigint,
    verdict         text NOT NULL,
    city            text NOT NULL DEFAULT '',
    network         cidr,                                    -- cut to /24 or /48 before it came here
    visitor         bytea,                                   -- keyed hash, salt changes daily and is thrown away
    language        text NOT NULL DEFAULT '',
    channel         text NOT NULL DEFAULT '',
    PRIMARY KEY (at, entry)
) PARTITION BY RANGE (at);
CREATE TABLE scan_default PARTITION OF scan DEFAULT;

CREATE TABLE item_history (
    batch           bigint NOT NULL,
    index           bigint NOT NULL,
    scans           bigint NOT NULL,
    first_at        timestamptz NOT NULL,
    first_city      text NOT NULL DEFAULT '',
    last_at         timestamptz NOT NULL,
    PRIMARY KEY (batch, index)
);
CREATE INDEX item_history_key ON item_history (('h:' || batch::text || ':' || index::text));

-- The one thing the scan service may read: cards and histories by key.
CREATE VIEW scan_view AS
    SELECT key, revision, body FROM card
    UNION ALL
    SELECT 'h:' || batch::text || ':' || index::text,
           0::bigint,
           convert_to(json_build_array(scans, extract(epoch FROM first_at)::bigint, first_city)::text, 'UTF8')
      FROM item_history
    UNION ALL
    SELECT 'head', revision, ''::bytea FROM card_head;

-- Audit ---------------------------------------------------------------------------------------------------

CREATE TABLE audit (
    id              bigint PRIMARY KEY,                      -- gapless: taken under a lock
    at              timestamptz NOT NULL,
    actor           text NOT NULL,
    action          text NOT NULL,
    object          text NOT NULL,
    detail          jsonb NOT NULL,
    previous        bytea NOT NULL CHECK (length(previous) = 32),
    hash            bytea NOT NULL UNIQUE CHECK (length(hash) = 32)
);
CREATE INDEX audit_object ON audit (object, id);
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit is append-only';
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER status_change_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON status_change
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
