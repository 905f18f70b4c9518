-- +goose Up

-- The run was written by a merge or by compaction (metadata.Run.Merged).
ALTER TABLE runs ADD COLUMN merged INTEGER NOT NULL DEFAULT 0;

-- How often the file's records were merged (metadata.FileLevel), and its place among
-- files: the number of the commit that brought it, or the smallest of those that it was
-- merged from. Commits that are no longer in the feed get the last numbers before it, in
-- the order of time: there are at least as many as files.
ALTER TABLE files ADD COLUMN level INTEGER NOT NULL DEFAULT 0;
ALTER TABLE files ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
-- The size without the stored bytes of runs that are gone.
ALTER TABLE files ADD COLUMN live_bytes INTEGER NOT NULL DEFAULT 0;
-- Who merges the file, until when; NULL unless somebody does.
ALTER TABLE files ADD COLUMN claimed_by BLOB;
ALTER TABLE files ADD COLUMN claimed_until INTEGER;
UPDATE files SET live_bytes = size, seq = n.seq FROM (
	SELECT f.id, COALESCE(c.seq, (SELECT COALESCE((SELECT min(seq) FROM commits), last_seq + 1) FROM sequencer)
		- row_number() OVER (PARTITION BY c.seq IS NULL ORDER BY f.committed_at DESC, f.id DESC)) AS seq
	FROM files f LEFT JOIN commits c ON c.file_id = f.id
) n WHERE n.id = files.id;

-- The keys of a file's runs when it came, live or not: a JSON array of [partition, base
-- offset]. They take the place of an index on runs, which each commit would pay for; in a
-- table of their own, so that counting a file down stays cheap.
CREATE TABLE file_keys (
	file_id BLOB NOT NULL PRIMARY KEY,
	keys    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO file_keys SELECT file_id, json_group_array(json_array(partition_id, base_offset))
	FROM (SELECT * FROM runs WHERE file_id IN (SELECT id FROM files WHERE live_runs > 0) ORDER BY partition_id, base_offset) GROUP BY file_id;

-- Files that lost their last run: their objects are to be deleted. All others are in files.
CREATE TABLE dead_files (
	id      BLOB    NOT NULL PRIMARY KEY,
	size    INTEGER NOT NULL,
	died_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX dead_files_died_at ON dead_files (died_at);
INSERT INTO dead_files SELECT id, size, unixepoch() * 1000 FROM files WHERE live_runs <= 0;
DELETE FROM files WHERE live_runs <= 0;

CREATE INDEX files_level ON files (level, seq);
-- Merged files of which less than half is live.
CREATE INDEX files_sparse ON files (seq) WHERE level <> 0 AND level <> -2 AND size > live_bytes * 2;

-- How far partitions are compacted: sequence.CompactionState.
CREATE TABLE compactions (
	partition_id  INTEGER PRIMARY KEY,
	clean_until   INTEGER NOT NULL,
	cleaned_at    INTEGER NOT NULL,
	settled_until INTEGER NOT NULL,
	settled_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE leases (
	name   TEXT    NOT NULL PRIMARY KEY,
	holder BLOB    NOT NULL,
	until  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
