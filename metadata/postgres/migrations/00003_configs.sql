-- +goose Up

-- What was set over the wire on brokers, loggers, client metrics subscriptions
-- and groups. Topics have theirs in topics.
CREATE TABLE configs (
	-- Kafka's number of the resource type.
	kind    smallint NOT NULL,
	-- Bytes: group IDs are no text.
	name    bytea    NOT NULL,
	configs jsonb    NOT NULL,
	PRIMARY KEY (kind, name)
);
