-- What happened to the goods of a batch of codes, or of a lot: one row for each event, never altered or deleted.

CREATE TABLE trace_event (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch           bigint REFERENCES batch,                 -- either a batch of codes …
    gtin            varchar(14) REFERENCES product,          -- … or a lot of goods
    lot             text NOT NULL DEFAULT '',
    uscc            varchar(18) NOT NULL REFERENCES enterprise,
    kind            text NOT NULL CHECK (kind IN ('produced', 'inspected', 'packed', 'stored', 'shipped', 'received',
                                                  'other')),
    at              timestamptz NOT NULL,
    precision       text NOT NULL CHECK (precision IN ('day', 'minute')),
    place           jsonb NOT NULL DEFAULT '{}',
    done_by         jsonb NOT NULL DEFAULT '{}',
    note            jsonb NOT NULL DEFAULT '{}',
    document        text NOT NULL DEFAULT '',
    supersedes      bigint UNIQUE REFERENCES trace_event,    -- the event it takes the place of
    recorded_by     text NOT NULL,                           -- role:subject:key id
    recorded_at     timestamptz NOT NULL,
    withdrawn_at    timestamptz,                             -- no longer shown, and why
    withdrawn_by    text NOT NULL DEFAULT '',
    withdrawal      text NOT NULL DEFAULT '',
    CHECK ((batch IS NULL) = (gtin IS NOT NULL)),
    CHECK ((gtin IS NULL) = (lot = '')),
    CHECK ((withdrawn_at IS NULL) = (withdrawal = ''))
);
CREATE INDEX trace_event_batch ON trace_event (batch, id) WHERE batch IS NOT NULL;
CREATE INDEX trace_event_lot ON trace_event (gtin, lot, id) WHERE gtin IS NOT NULL;

CREATE FUNCTION trace_event_is_only_withdrawn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.withdrawn_at IS NOT NULL OR NEW.withdrawn_at IS NULL OR
        (to_jsonb(NEW) - 'withdrawn_at' - 'withdrawn_by' - 'withdrawal')
        IS DISTINCT FROM (to_jsonb(OLD) - 'withdrawn_at' - 'withdrawn_by' - 'withdrawal')
    THEN
        RAISE EXCEPTION 'an event is withdrawn once and otherwise never altered';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER trace_event_only_withdrawn BEFORE UPDATE ON trace_event
    FOR EACH ROW EXECUTE FUNCTION trace_event_is_only_withdrawn();
CREATE TRIGGER trace_event_append_only BEFORE DELETE OR TRUNCATE ON trace_event
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
