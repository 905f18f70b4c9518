-- +goose Up

-- Times are milliseconds since the epoch. UUIDs are blobs of 16 bytes.

-- The one row that numbers the changes.
CREATE TABLE sequencer (
	id                INTEGER PRIMARY KEY CHECK (id = 1),
	last_seq          INTEGER NOT NULL,
	next_partition_id INTEGER NOT NULL,
	next_producer_id  INTEGER NOT NULL
) STRICT;
INSERT INTO sequencer VALUES (1, 0, 1, 1);

CREATE TABLE cluster (
	id         INTEGER PRIMARY KEY CHECK (id = 1),
	cluster_id TEXT    NOT NULL
) STRICT;

CREATE TABLE topics (
	id         BLOB    NOT NULL PRIMARY KEY,
	name       TEXT    NOT NULL UNIQUE,
	internal   INTEGER NOT NULL,
	-- IDs of the partitions, by index: a JSON array.
	partitions TEXT    NOT NULL,
	-- A JSON object.
	configs    TEXT    NOT NULL,
	created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Kafka's rule: names that differ only in '.' and '_' collide.
CREATE UNIQUE INDEX topics_collision ON topics (replace(name, '.', '_'));

-- One row per partition, updated by every commit that touches it.
CREATE TABLE partitions (
	id               INTEGER PRIMARY KEY,
	log_start_offset INTEGER NOT NULL,
	next_offset      INTEGER NOT NULL,
	max_timestamp    INTEGER NOT NULL
) STRICT;

-- The index of all data, stored in the order of its key. The key doubles as a
-- safety net against overlaps.
CREATE TABLE runs (
	partition_id  INTEGER NOT NULL,
	base_offset   INTEGER NOT NULL,
	records       INTEGER NOT NULL,
	file_id       BLOB    NOT NULL,
	encoding      INTEGER NOT NULL,
	position      INTEGER NOT NULL,
	stored_size   INTEGER NOT NULL,
	skip          INTEGER NOT NULL,
	size          INTEGER NOT NULL,
	max_timestamp INTEGER NOT NULL,
	PRIMARY KEY (partition_id, base_offset)
) STRICT, WITHOUT ROWID;

-- State of idempotent producers. last_batches: see package rowcodec.
CREATE TABLE producers (
	partition_id INTEGER NOT NULL,
	producer_id  INTEGER NOT NULL,
	epoch        INTEGER NOT NULL,
	last_batches BLOB    NOT NULL,
	seen_at      INTEGER NOT NULL,
	PRIMARY KEY (partition_id, producer_id)
) STRICT, WITHOUT ROWID;

-- live_runs counts the rows of runs that name the file; 0 means deletable.
CREATE TABLE files (
	id           BLOB    NOT NULL PRIMARY KEY,
	size         INTEGER NOT NULL,
	live_runs    INTEGER NOT NULL,
	committed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The feed: one entry per number of the sequencer. With a file, also the
-- replay record of its commit. payload and replay: see package rowcodec.
CREATE TABLE commits (
	seq     INTEGER PRIMARY KEY,
	-- When the entry was made or, if that is later, the time in the file's ID:
	-- the entry must outlive MaxFileAge by both.
	at      INTEGER NOT NULL,
	file_id BLOB,
	payload BLOB    NOT NULL,
	replay  BLOB
) STRICT;
CREATE UNIQUE INDEX commits_file_id ON commits (file_id) WHERE file_id IS NOT NULL;

-- Partitions of deleted topics whose runs and producers still have to go.
CREATE TABLE deleted_partitions (
	id INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE agents (
	node_id     INTEGER PRIMARY KEY,
	incarnation BLOB    NOT NULL,
	name        TEXT    NOT NULL,
	host        TEXT    NOT NULL,
	port        INTEGER NOT NULL,
	zone        TEXT    NOT NULL,
	beat_at     INTEGER NOT NULL
) STRICT;
