package sqlite

import (
	"context"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// RetainedFrom implements metadata.Maintenance. It walks what time drops from the log start
// on, and what size leaves from the end back.
func (s *Store) RetainedFrom(ctx context.Context, queries []metadata.RetentionQuery) ([]int64, error) {
	out := make([]int64, len(queries))
	err := s.read(ctx, "look for records that retention drops", func(t *tx) error {
		for i, q := range queries {
			bounds, _, err := s.boundsOf(t, q.Partition)
			if err != nil {
				return err
			}
			if !bounds.Exists {
				continue
			}
			out[i] = bounds.LogStartOffset
			if q.Before >= 0 {
				if out[i], err = t.retainedByTime(q, bounds); err != nil {
					return err
				}
			}
			if q.MaxBytes >= 0 {
				from, err := t.retainedBySize(q, bounds)
				if err != nil {
					return err
				}
				out[i] = max(out[i], from)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (t *tx) retainedByTime(q metadata.RetentionQuery, bounds metadata.Bounds) (int64, error) {
	from := bounds.NextOffset
	err := t.walk(t.prepared.runsFromOffset, q.Partition, bounds.LogStartOffset, func(r metadata.Run) bool {
		if sequence.RetentionTime(r) < q.Before {
			return true
		}
		from = max(r.BaseOffset, bounds.LogStartOffset)
		return false
	})
	return from, err
}

// retainedBySize: the runs after the first that stays have less than MaxBytes, and with
// it at least as many, or there are no more.
func (t *tx) retainedBySize(q metadata.RetentionQuery, bounds metadata.Bounds) (int64, error) {
	from, size := bounds.NextOffset, int64(0)
	if q.MaxBytes == 0 {
		return from, nil
	}
	err := t.walk(t.prepared.runsFromEnd, q.Partition, bounds.LogStartOffset, func(r metadata.Run) bool {
		from, size = max(r.BaseOffset, bounds.LogStartOffset), size+int64(r.Size)
		return size < q.MaxBytes
	})
	return from, err
}
