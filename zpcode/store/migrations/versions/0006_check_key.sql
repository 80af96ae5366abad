-- Only a compact batch has a check key. Other batches had one that nothing used; those keep it.
ALTER TABLE batch DROP CONSTRAINT batch_check_key_check;
ALTER TABLE batch ADD CONSTRAINT batch_check_key_check
    CHECK (length(check_key) = 16 OR (level <> 'compact' AND length(check_key) = 0));
