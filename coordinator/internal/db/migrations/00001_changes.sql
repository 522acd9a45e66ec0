-- The change feed. On PostgreSQL the ID is not taken from the sequence but made of the transaction's own ID, see postgres.go.
-- +goose Up
CREATE TABLE changes (
    id   $SERIAL PRIMARY KEY,
    at   BIGINT NOT NULL,
    kind TEXT   NOT NULL,
    key  TEXT   NOT NULL
);

-- The highest ID that was pruned: a cursor below it has missed something.
CREATE TABLE changes_pruned (
    one   BIGINT PRIMARY KEY CHECK (one = 1),
    below BIGINT NOT NULL
);
INSERT INTO changes_pruned (one, below) VALUES (1, 0);
