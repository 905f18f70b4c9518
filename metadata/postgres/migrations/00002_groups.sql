-- +goose Up

-- The ID of a group may be longer than an index takes, so all rows of a group
-- are keyed by a hash of it (metadata.GroupKey). Names and what else clients
-- make up are bytes: text refuses some of theirs.

-- Versions of all groups, so that none is used again.
CREATE SEQUENCE group_versions;

-- What is listed, polled and watched of a group: small rows, so that a look at
-- all of them takes a few milliseconds and due_at, which changes all the time,
-- needs no index.
CREATE TABLE groups (
	group_key     uuid        PRIMARY KEY,
	version       bigint      NOT NULL,
	due_at        timestamptz,
	name          bytea       NOT NULL,
	protocol_type bytea       NOT NULL,
	type          text        NOT NULL,
	phase         text        NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_analyze_scale_factor = 0.2, autovacuum_vacuum_cost_delay = 0);

-- The rest of each group, and the row that locks it: whoever writes offsets
-- holds it, and whoever changes the group replaces it first. A table of its own
-- also because those locks must not hide a group from those who look for due ones
-- (SKIP LOCKED).
CREATE TABLE group_states (
	group_key uuid   PRIMARY KEY,
	version   bigint NOT NULL,
	state     bytea  NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0, toast.autovacuum_vacuum_scale_factor = 0,
        toast.autovacuum_vacuum_threshold = 5000, toast.autovacuum_vacuum_cost_delay = 0);

-- When each agent heard of members last. beats: see package rowcodec.
CREATE TABLE group_beats (
	group_key uuid        NOT NULL,
	agent     uuid        NOT NULL,
	at        timestamptz NOT NULL,
	beats     bytea       NOT NULL,
	PRIMARY KEY (group_key, agent)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0, toast.autovacuum_vacuum_scale_factor = 0,
        toast.autovacuum_vacuum_threshold = 5000, toast.autovacuum_vacuum_cost_delay = 0);

-- Until when each agent has told of everybody whom it heard of, and when it said so.
CREATE TABLE group_listeners (
	agent   uuid        PRIMARY KEY,
	at      timestamptz NOT NULL,
	through timestamptz NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Committed offsets.
CREATE TABLE group_offsets (
	group_key        uuid        NOT NULL,
	committed_offset bigint      NOT NULL,
	committed_at     timestamptz NOT NULL,
	expire_at        timestamptz,
	partition_id     integer     NOT NULL,
	leader_epoch     integer     NOT NULL,
	metadata         bytea       NOT NULL,
	PRIMARY KEY (group_key, partition_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_analyze_scale_factor = 0.2, autovacuum_vacuum_cost_delay = 0);
