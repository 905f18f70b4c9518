-- +goose Up

-- Files from before the last migration. It is a migration of its own because that one
-- keeps commits waiting, and this one doesn't.

WITH gone AS (
	DELETE FROM files WHERE live_runs = 0 RETURNING id, size
)
INSERT INTO dead_files (id, size, died_at) SELECT id, size, clock_timestamp() FROM gone;

-- Commits that are no longer in the feed get the last numbers before it, in the order of
-- time: there are at least as many as files.
WITH feed AS (
	SELECT COALESCE(min(seq), (SELECT last_seq + 1 FROM sequencer)) AS first FROM commits
), numbered AS (
	SELECT f.id, COALESCE(c.seq, feed.first - row_number() OVER (PARTITION BY c.seq IS NULL ORDER BY f.committed_at DESC, f.id DESC)) AS seq
	FROM feed CROSS JOIN files f LEFT JOIN commits c ON c.file_id = f.id
	WHERE f.seq IS NULL
), keys AS (
	SELECT file_id, array_agg(partition_id ORDER BY partition_id, base_offset) AS partitions, array_agg(base_offset ORDER BY partition_id, base_offset) AS offsets
	FROM runs WHERE encoding <> 2 GROUP BY file_id
)
UPDATE files f SET level = 0, seq = n.seq, live_bytes = f.size, partitions = k.partitions, offsets = k.offsets
FROM numbered n JOIN keys k ON k.file_id = n.id
WHERE f.id = n.id;
