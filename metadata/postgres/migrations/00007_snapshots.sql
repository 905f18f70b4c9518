-- +goose Up

-- What was committed before the time is in a durable snapshot: one row, none before the first.
CREATE TABLE snapshots (
	id smallint    PRIMARY KEY CHECK (id = 1),
	at timestamptz NOT NULL
) WITH (fillfactor = 10);
