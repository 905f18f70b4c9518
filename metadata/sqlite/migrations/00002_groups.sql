-- +goose Up

-- Times are microseconds since the epoch in these tables: a time of commit
-- tells two commits of an offset apart. The ID of a group may be long, so all
-- rows of a group are keyed by a hash of it (metadata.GroupKey).

-- The version that a group got last, so that none is used again.
CREATE TABLE group_versions (
	id   INTEGER PRIMARY KEY CHECK (id = 1),
	last INTEGER NOT NULL
) STRICT;
INSERT INTO group_versions VALUES (1, 0);

-- What is listed, polled and watched of a group: small rows, so that looking at
-- all of them is cheap.
CREATE TABLE groups (
	group_key     BLOB    NOT NULL PRIMARY KEY,
	version       INTEGER NOT NULL,
	due_at        INTEGER,
	type          TEXT    NOT NULL,
	phase         TEXT    NOT NULL,
	protocol_type BLOB    NOT NULL,
	name          BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE group_states (
	group_key BLOB NOT NULL PRIMARY KEY,
	state     BLOB NOT NULL
) STRICT;

-- When each agent heard of members last. beats: see package rowcodec.
CREATE TABLE group_beats (
	group_key BLOB    NOT NULL,
	agent     BLOB    NOT NULL,
	at        INTEGER NOT NULL,
	beats     BLOB    NOT NULL,
	PRIMARY KEY (group_key, agent)
) STRICT, WITHOUT ROWID;

-- Until when each agent has told of everybody whom it heard of, and when it said so.
CREATE TABLE group_listeners (
	agent   BLOB    NOT NULL PRIMARY KEY,
	at      INTEGER NOT NULL,
	through INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Committed offsets.
CREATE TABLE group_offsets (
	group_key        BLOB    NOT NULL,
	partition_id     INTEGER NOT NULL,
	committed_offset INTEGER NOT NULL,
	leader_epoch     INTEGER NOT NULL,
	committed_at     INTEGER NOT NULL,
	expire_at        INTEGER,
	metadata         BLOB    NOT NULL,
	PRIMARY KEY (group_key, partition_id)
) STRICT, WITHOUT ROWID;
