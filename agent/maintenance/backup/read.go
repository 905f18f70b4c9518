package backup

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
)

// Rows reads the snapshot's rows from the bucket, a part at a time, and ends with the first error: ErrDamaged,
// the bucket's, ctx's.
func (m Manifest) Rows(ctx context.Context, bucket objstore.Bucket, p *maintenance.Progress) iter.Seq2[metadata.SnapshotRow, error] {
	return func(yield func(metadata.SnapshotRow, error) bool) {
		first := true
		for i, part := range m.Parts {
			err := m.readPart(ctx, bucket, p, i, part, func(row metadata.SnapshotRow) error {
				if first && !m.heads(row) {
					return fmt.Errorf("%w: its head is not the manifest's", ErrDamaged)
				}
				if first = false; !yield(row, nil) {
					return errStopped
				}
				return nil
			})
			if errors.Is(err, errStopped) {
				return
			}
			if err != nil {
				yield(metadata.SnapshotRow{}, fmt.Errorf("part %d of snapshot %s: %w", i, m.Name, err))
				return
			}
		}
	}
}

var errStopped = errors.New("whoever reads the rows has enough")

func (m Manifest) heads(row metadata.SnapshotRow) bool {
	head := row.Head
	return head != nil && head.ClusterID == m.ClusterID && head.State == m.State && head.At.Equal(m.At)
}

func (m Manifest) readPart(ctx context.Context, bucket objstore.Bucket, p *maintenance.Progress, i int, part Part, visit func(metadata.SnapshotRow) error) error {
	if err := p.Read(ctx, part.Size); err != nil {
		return err
	}
	b, err := bucket.Get(ctx, partKey(m.Name, i), 0, part.Size+1)
	if errors.Is(err, objstore.ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return err
	}
	return part.read(b, visit)
}
