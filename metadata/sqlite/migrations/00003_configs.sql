-- +goose Up

-- What was set over the wire on brokers, loggers, client metrics subscriptions
-- and groups. Topics have theirs in topics.
CREATE TABLE configs (
	-- Kafka's number of the resource type.
	kind    INTEGER NOT NULL,
	name    BLOB    NOT NULL,
	-- A JSON object.
	configs TEXT    NOT NULL,
	PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
