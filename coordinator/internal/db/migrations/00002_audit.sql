-- Who did what to what. Rows are only added.
-- +goose Up
CREATE TABLE audit (
    id      $SERIAL PRIMARY KEY,
    at      BIGINT NOT NULL,
    actor   TEXT   NOT NULL,
    action  TEXT   NOT NULL,
    subject TEXT   NOT NULL,
    detail  TEXT   NOT NULL
);
