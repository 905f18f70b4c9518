package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// FindRuns implements metadata.Log. One statement is one snapshot. Per query it
// probes the key for the run that contains the offset and walks on from there:
// over a few runs, and over the rest of MaxRuns only when those leave some of
// the byte budget. So the cost follows what is asked for, never the lag.
//
// Only partitions that have an aborted transaction at the offset or behind it cost
// another round trip, which readAborted makes as good as one snapshot. (Rejected: all
// in one statement. Looking for what is nearly never there costs a fetch of one run
// of each of 64 partitions a tenth, and one of a single partition a third.)
func (s *Store) FindRuns(ctx context.Context, queries []metadata.RunQuery) ([]metadata.PartitionRuns, error) {
	partitions, offsets := make([]int32, len(queries)), make([]int64, len(queries))
	maxBytes, maxRuns := make([]int64, len(queries)), make([]int32, len(queries))
	for i, q := range queries {
		partitions[i], offsets[i] = int32(q.Partition), q.Offset
		maxBytes[i], maxRuns[i] = q.MaxBytes, int32(max(1, min(q.MaxRuns, metadata.MaxRuns)))
	}
	out := make([]metadata.PartitionRuns, len(queries))
	err := s.read(ctx, "find runs", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, findRuns, partitions, offsets, maxBytes, maxRuns)
		if err != nil {
			return err
		}
		clear(out)
		var aborted abortedRanges
		budget := slices.Clone(maxBytes)
		if err := eachRun(rows, func(i int, bounds nullBounds, run metadata.Run, found bool) {
			out[i].Bounds = bounds.bounds()
			budget[i] -= int64(run.Size)
			if found && (budget[i] >= 0 || len(out[i].Runs) == 0) {
				out[i].Runs = append(out[i].Runs, run)
			}
			if found && bounds.lastAborted != nil && *bounds.lastAborted >= offsets[i] {
				aborted.add(i, offsets[i], &out[i])
			}
		}); err != nil {
			return err
		}
		return s.readAborted(ctx, &aborted, out)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// runColumns are the columns of a run, in the order of nullRun.targets, and
// boundsColumns those of a partition p, in the order of nullBounds.targets.
const (
	runColumns    = `base_offset, records, file_id, encoding, position, stored_size, skip, size, max_timestamp, merged`
	boundsColumns = `p.log_start_offset, p.next_offset, p.max_timestamp AS newest, p.first_unstable, p.last_aborted`
)

const findRuns = `
SELECT q.i, q.partition_id, ` + boundsColumns + `, r.*
FROM unnest($1::int4[], $2::int8[], $3::int8[], $4::int4[]) WITH ORDINALITY AS q (partition_id, start, max_bytes, max_runs, i)
LEFT JOIN partitions p ON p.id = q.partition_id
LEFT JOIN LATERAL (
	WITH first AS MATERIALIZED (
		SELECT ` + runColumns + ` FROM runs
		WHERE partition_id = q.partition_id AND base_offset >= (
			SELECT base_offset FROM runs
			WHERE partition_id = q.partition_id AND base_offset <= q.start
			ORDER BY base_offset DESC LIMIT 1)
		ORDER BY base_offset LIMIT least(q.max_runs, 8)
	)
	SELECT ` + runColumns + ` FROM first
	UNION ALL (
		SELECT ` + runColumns + ` FROM runs
		WHERE partition_id = q.partition_id AND base_offset > (SELECT max(base_offset) FROM first)
		AND (SELECT sum(size) FROM first) < q.max_bytes
		ORDER BY base_offset LIMIT greatest(q.max_runs - 8, 0)
	)
) r ON q.start >= p.log_start_offset AND q.start < p.next_offset
ORDER BY q.i, r.base_offset`

// eachRun visits rows of (ordinality, partition, bounds, run), where bounds and
// run may be null.
func eachRun(rows pgx.Rows, visit func(i int, bounds nullBounds, run metadata.Run, found bool)) error {
	var i int64
	var partition int32
	var b nullBounds
	var r nullRun
	targets := append([]any{&i, &partition}, b.targets()...)
	_, err := pgx.ForEachRow(rows, append(targets, r.targets()...), func() error {
		visit(int(i-1), b, r.run(metadata.PartitionID(partition)), r.base != nil)
		return nil
	})
	return err
}

type nullBounds struct{ logStart, next, timestamp, firstUnstable, lastAborted *int64 }

func (b *nullBounds) targets() []any {
	return []any{&b.logStart, &b.next, &b.timestamp, &b.firstUnstable, &b.lastAborted}
}

func (b *nullBounds) bounds() metadata.Bounds {
	if b.next == nil {
		return metadata.Bounds{LogStartOffset: -1, NextOffset: -1, StableOffset: -1, MaxTimestamp: -1}
	}
	p := sequence.Partition{LogStartOffset: *b.logStart, NextOffset: *b.next, MaxTimestamp: *b.timestamp, FirstUnstable: -1}
	if b.firstUnstable != nil {
		p.FirstUnstable = *b.firstUnstable
	}
	return metadata.Bounds{Exists: true, LogStartOffset: p.LogStartOffset, NextOffset: p.NextOffset, StableOffset: p.StableOffset(), MaxTimestamp: p.MaxTimestamp}
}

type nullRun struct {
	base, position, timestamp   *int64
	records, stored, skip, size *int32
	encoding                    *int16
	merged                      *bool
	file                        *[16]byte
}

func (r *nullRun) targets() []any {
	return []any{&r.base, &r.records, &r.file, &r.encoding, &r.position, &r.stored, &r.skip, &r.size, &r.timestamp, &r.merged}
}

func (r *nullRun) run(partition metadata.PartitionID) metadata.Run {
	if r.base == nil {
		return metadata.Run{}
	}
	return metadata.Run{
		Partition: partition, BaseOffset: *r.base, Records: *r.records,
		FileID: *r.file, Encoding: metadata.Encoding(*r.encoding), Position: *r.position, StoredSize: *r.stored,
		Skip: *r.skip, Size: *r.size, MaxTimestamp: *r.timestamp, Merged: *r.merged,
	}
}
