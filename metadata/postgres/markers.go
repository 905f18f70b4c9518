package postgres

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
)

// readMarkersAround reads the markers that stand next to the files' runs, over other
// markers or directly, as many as the claim may have runs: those that can be merged with
// them. It leaves those at whose other side a run lies that somebody else is merging: of
// two that replace the same marker one would have worked for nothing.
func (s *Store) readMarkersAround(ctx context.Context, claim metadata.FileClaim, files []metadata.ClaimedFile) ([]metadata.Run, error) {
	partitions, firsts, ends := stretches(files)
	rows, err := s.pool.Query(ctx, markersAround, partitions, firsts, ends, claim.Holder, claim.MaxRuns)
	if err != nil {
		return nil, err
	}
	var partition int32
	var run nullRun
	var markers []metadata.Run
	if _, err := pgx.ForEachRow(rows, append([]any{&partition}, run.targets()...), func() error {
		markers = append(markers, run.run(metadata.PartitionID(partition)))
		return nil
	}); err != nil {
		return nil, err
	}
	return markers, nil
}

// stretches are where the files' runs lie: the partition, first and end offset of
// each that has no gaps.
func stretches(files []metadata.ClaimedFile) (partitions []int32, firsts, ends []int64) {
	var runs []metadata.Run
	for _, f := range files {
		runs = append(runs, f.Runs...)
	}
	slices.SortFunc(runs, func(a, b metadata.Run) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.BaseOffset, b.BaseOffset))
	})
	for i, r := range runs {
		if i > 0 && runs[i-1].Partition == r.Partition && runs[i-1].NextOffset() == r.BaseOffset {
			ends[len(ends)-1] = r.NextOffset()
			continue
		}
		partitions, firsts, ends = append(partitions, int32(r.Partition)), append(firsts, r.BaseOffset), append(ends, r.NextOffset())
	}
	return partitions, firsts, ends
}

// markersAround walks the key from each end of each stretch over markers to the first
// row that is none. Both ways find those between two stretches. A row before the
// log start may be missing, and with it all before it.
const markersAround = `WITH RECURSIVE stretches AS (
		SELECT q.i, q.partition_id, q.first_offset, q.end_offset, p.log_start_offset
		FROM unnest($1::int4[], $2::int8[], $3::int8[]) WITH ORDINALITY AS q (partition_id, first_offset, end_offset, i)
		JOIN partitions p ON p.id = q.partition_id
	), behind AS (
		SELECT s.i, s.partition_id, r.* FROM stretches s CROSS JOIN LATERAL (
			SELECT ` + runColumns + ` FROM runs WHERE partition_id = s.partition_id AND base_offset = s.end_offset LIMIT 1
		) r
		UNION ALL
		SELECT w.i, w.partition_id, r.* FROM behind w CROSS JOIN LATERAL (
			SELECT ` + runColumns + ` FROM runs WHERE partition_id = w.partition_id AND base_offset = w.base_offset + 1 LIMIT 1
		) r WHERE w.encoding = 2
	), before AS (
		SELECT s.i, s.log_start_offset, s.partition_id, r.* FROM stretches s CROSS JOIN LATERAL (
			SELECT ` + runColumns + ` FROM runs WHERE partition_id = s.partition_id AND base_offset < s.first_offset AND s.first_offset > s.log_start_offset
			ORDER BY base_offset DESC LIMIT 1
		) r
		UNION ALL
		SELECT w.i, w.log_start_offset, w.partition_id, r.* FROM before w CROSS JOIN LATERAL (
			SELECT ` + runColumns + ` FROM runs WHERE partition_id = w.partition_id AND base_offset < w.base_offset AND w.base_offset > w.log_start_offset
			ORDER BY base_offset DESC LIMIT 1
		) r WHERE w.encoding = 2
	), rows AS (
		SELECT 1 AS way, i, partition_id, ` + runColumns + ` FROM behind
		UNION ALL
		SELECT 2 AS way, i, partition_id, ` + runColumns + ` FROM before
	), held AS (
		SELECT DISTINCT r.way, r.i FROM rows r JOIN files f ON f.id = r.file_id
		WHERE r.encoding <> 2 AND f.claimed_by <> $4 AND f.claimed_until > clock_timestamp()
	)
	SELECT DISTINCT ON (partition_id, base_offset) partition_id, ` + runColumns + ` FROM rows
	WHERE encoding = 2 AND (way, i) NOT IN (SELECT way, i FROM held)
	ORDER BY partition_id, base_offset LIMIT $5`
