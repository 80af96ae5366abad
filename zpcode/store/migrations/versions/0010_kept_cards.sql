-- A product card that Redis had newer than a restored database: shown as it was until the registry is imported again.

CREATE TABLE kept_card (
    key             text PRIMARY KEY CHECK (key LIKE 'p:%'),
    recovery        int NOT NULL,
    body            bytea NOT NULL                           -- MessagePack, zpcode.wire.card.ProductCard
);
