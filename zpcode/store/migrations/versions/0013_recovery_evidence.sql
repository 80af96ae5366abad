-- What a recovery took from Redis alone waits until a person confirms or rejects it. docs/recovery.md

ALTER TABLE held_decision
    ADD COLUMN kind text NOT NULL DEFAULT 'milder' CHECK (kind IN ('graver', 'milder')),
    ADD COLUMN rejected_at timestamptz,                      -- when a person said that Redis was wrong
    DROP CONSTRAINT held_decision_pkey,
    ADD PRIMARY KEY (scope, target, first, last, recovery, kind);

ALTER TABLE lost_batch                                       -- the signer's log proves the codes that the card describes
    ADD COLUMN signed boolean NOT NULL DEFAULT false;

CREATE TABLE held_activation (                               -- Redis showed a batch as activated that is not
    number          bigint PRIMARY KEY REFERENCES batch,
    recovery        int NOT NULL,
    activated_at    timestamptz NOT NULL
);
