-- Code files ----------------------------------------------------------------------------------------------
-- A file is removed after a time and written again on request; signatures that cannot be repeated are kept. docs/issuing.md

ALTER TABLE batch
    ADD COLUMN signatures_sha256 text NOT NULL DEFAULT '',   -- of the kept signatures; empty: none are kept
    ADD COLUMN file_removed_at timestamptz,                  -- NULL: the file is there
    ADD COLUMN file_requested_at timestamptz;                -- last request to write a removed file again
CREATE INDEX batch_file_kept ON batch (number) WHERE state = 'issued' AND file_removed_at IS NULL;
CREATE INDEX batch_file_awaited ON batch (uscc) WHERE file_requested_at >= file_removed_at;
CREATE INDEX batch_key ON batch (key_id, number);
