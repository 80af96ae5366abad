-- The heads of the projection are authenticated: a forged one is no witness. docs/adr/0016

ALTER TABLE continuity                                       -- fingerprint of the key under which every head is written
    ADD COLUMN head_key text NOT NULL DEFAULT '';            -- empty: some head has no valid code, so every head counts
