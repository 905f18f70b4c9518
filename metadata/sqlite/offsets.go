package sqlite

import (
	"context"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// Bounds implements metadata.Offsets.
func (s *Store) Bounds(ctx context.Context, partitions []metadata.PartitionID) ([]metadata.Bounds, error) {
	out := make([]metadata.Bounds, len(partitions))
	err := s.read(ctx, "read offsets", func(t *tx) error {
		for i, id := range partitions {
			var err error
			if out[i], _, err = s.boundsOf(t, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// boundsOf also returns the offset of the last abort's marker, -1 without one.
func (s *Store) boundsOf(t *tx, id metadata.PartitionID) (bounds metadata.Bounds, lastAborted int64, err error) {
	var p sequence.Partition
	row := t.stmt(s.prepared.bounds).QueryRowContext(t.ctx, id)
	found, err := scanOptional(row, &p.LogStartOffset, &p.NextOffset, &p.MaxTimestamp, &p.FirstUnstable, &lastAborted)
	if !found {
		return metadata.Bounds{LogStartOffset: -1, NextOffset: -1, StableOffset: -1, MaxTimestamp: -1}, -1, err
	}
	return metadata.Bounds{
		Exists: true, LogStartOffset: p.LogStartOffset, NextOffset: p.NextOffset, StableOffset: p.StableOffset(), MaxTimestamp: p.MaxTimestamp,
	}, lastAborted, nil
}

// RunByTimestamp implements metadata.Offsets, by binary search: see package postgres.
func (s *Store) RunByTimestamp(ctx context.Context, queries []metadata.TimestampQuery) ([]metadata.TimestampRun, error) {
	out := make([]metadata.TimestampRun, len(queries))
	err := s.read(ctx, "find runs by timestamp", func(t *tx) error {
		for i, q := range queries {
			var err error
			if out[i], err = s.runByTimestamp(t, q); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// runByTimestamp narrows [low, high): every run that ends at or before low is
// too early, the run at high (or the end of the log) is not. The probe at the
// middle moves one of them to the border of the run it hit.
func (s *Store) runByTimestamp(t *tx, q metadata.TimestampQuery) (metadata.TimestampRun, error) {
	bounds, _, err := s.boundsOf(t, q.Partition)
	out := metadata.TimestampRun{Bounds: bounds}
	if err != nil || !bounds.Exists || q.Timestamp > bounds.MaxTimestamp {
		return out, err
	}
	probe := func(offset int64) (metadata.Run, error) {
		return scanRun(t.stmt(s.prepared.probeRun).QueryRowContext(t.ctx, q.Partition, offset), q.Partition)
	}
	low, high := bounds.LogStartOffset, bounds.NextOffset
	for low < high {
		run, err := probe(low + (high-low)/2)
		if err != nil {
			return out, err
		}
		if run.MaxTimestamp < q.Timestamp {
			low = run.NextOffset()
		} else {
			high = run.BaseOffset
		}
	}
	if low >= bounds.NextOffset {
		return out, nil
	}
	out.Found = true
	out.Run, err = probe(low)
	return out, err
}
