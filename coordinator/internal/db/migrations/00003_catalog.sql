-- +goose Up

-- What can be assigned. The rules of a product (what it unlocks, whom it serves, where it sits) are one JSON document:
-- they are read and replaced whole.
CREATE TABLE products (
    part_number TEXT NOT NULL PRIMARY KEY,
    name        TEXT NOT NULL,
    rules       TEXT NOT NULL
);
