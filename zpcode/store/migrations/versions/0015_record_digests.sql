-- Digests of records ----------------------------------------------------------------------------------------
-- Entries of the audit log have the digests of the records that were written with them: {"records": {name: digest}}.

CREATE INDEX audit_records ON audit
    USING gin ((jsonb_path_query_array(detail, '$.records.keyvalue().key', '{}', true))) WHERE detail ? 'records';

-- The log has a digest of a contact with this salt, which is deleted with the contact: a digest without a salt could be guessed.
-- The default is for rows of before, and for a process of the version before that still runs.
ALTER TABLE complaint_contact
    ADD COLUMN salt bytea NOT NULL CHECK (length(salt) = 32)
        DEFAULT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
