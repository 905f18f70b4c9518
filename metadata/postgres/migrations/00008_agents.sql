-- +goose Up

-- What an agent tells of itself beyond an address: JSON, so that agents of several versions can share the
-- table. The columns host and port stay, with the first listener's address, for those that know no other.
ALTER TABLE agents ADD COLUMN details jsonb NOT NULL DEFAULT '{}';

-- What agents prove to each other that they know.
CREATE TABLE cluster_secret (
	id     smallint PRIMARY KEY CHECK (id = 1),
	secret bytea    NOT NULL
);
