-- +goose Up

-- Whoever hands out files to merge locks this row first: so claims of many agents
-- take the oldest files, side by side. As sequencer_lock it is never updated.
CREATE TABLE claims_lock (
	id smallint PRIMARY KEY CHECK (id = 1)
);
INSERT INTO claims_lock VALUES (1);

-- A file that has no live run any more moves to dead_files. What is null here is not
-- known of files that an agent of before this migration commits while it is being replaced:
-- they have the level of those that are never merged.
ALTER TABLE files
	-- metadata.FileLevel.
	ADD COLUMN level         smallint NOT NULL DEFAULT -1,
	-- The commit that brought the file, or the smallest of those that it was merged from.
	ADD COLUMN seq           bigint,
	-- The size without the stored bytes of runs that are gone.
	ADD COLUMN live_bytes    bigint,
	-- Who merges the file, and until when.
	ADD COLUMN claimed_until timestamptz,
	ADD COLUMN claimed_by    uuid,
	-- Keys of all runs that the file had, as it has them. They find those that it still has: an index of runs
	-- by file would cost every commit as much as their primary key does.
	ADD COLUMN partitions    integer[],
	ADD COLUMN offsets       bigint[],
	ALTER partitions SET STORAGE EXTERNAL,
	ALTER offsets SET STORAGE EXTERNAL;
-- Neither column changes, but for the level of a damaged file.
CREATE INDEX files_level ON files (level, seq);

-- Files whose objects are to be deleted.
CREATE TABLE dead_files (
	id      uuid        PRIMARY KEY,
	size    bigint      NOT NULL,
	died_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
CREATE INDEX dead_files_died_at ON dead_files (died_at);

-- It fits into what was padding, so that no row grows.
ALTER TABLE runs ADD COLUMN merged boolean NOT NULL DEFAULT false;

-- Progress of compaction: see sequence.CompactionState.
CREATE TABLE compactions (
	partition_id  integer     PRIMARY KEY,
	clean_until   bigint      NOT NULL,
	cleaned_at    timestamptz NOT NULL,
	settled_until bigint      NOT NULL,
	settled_at    timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE leases (
	name   text        COLLATE "C" PRIMARY KEY,
	holder uuid        NOT NULL,
	until  timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
