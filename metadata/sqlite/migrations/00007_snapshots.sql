-- +goose Up

-- What was committed before the time (microseconds since the epoch) is in a durable
-- snapshot: one row, none before the first.
CREATE TABLE snapshots (
	id INTEGER PRIMARY KEY CHECK (id = 1),
	at INTEGER NOT NULL
) STRICT;
