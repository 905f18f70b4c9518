package backup

import (
	"context"
	"errors"
	"fmt"

	"github.com/wadi-log/wadi/objstore"
)

// Commits counts the commits of a metadata store.
type Commits interface {
	// LastSeq is the newest number, as of metadata.Feed.
	LastSeq(ctx context.Context) (int64, error)
}

// CheckNotBehind refuses a metadata store that has seen less than the newest snapshot in its bucket, with ErrConfig: it was
// restored from a backup, or went back in time otherwise. Its agents would take all newer data files for orphans and
// delete them. A snapshot that can't be read proves nothing.
func CheckNotBehind(ctx context.Context, store Commits, bucket objstore.Bucket) error {
	name, least, err := NewestSeq(ctx, bucket)
	if err != nil {
		return err
	}
	// The store second: it only goes on.
	last, err := store.LastSeq(ctx)
	if err != nil {
		return fmt.Errorf("ask the metadata store how far it is: %w", err)
	}
	if last < least {
		return fmt.Errorf("%w: --metadata: the store has %d changes, and its snapshot %s in --objects was written after %d: it is an old copy, "+
			"and agents or repairs would delete what was written since; use the store that was in use last, or wadi recover with an empty one "+
			"(or, to lose what came later, delete the newer snapshots)", objstore.ErrConfig, last, name, least)
	}
	return nil
}

// NewestSeq returns the newest snapshot's name and how many commits the metadata store had seen then; 0 when there is
// no snapshot, or its manifest can't be read.
func NewestSeq(ctx context.Context, bucket objstore.Bucket) (name string, lastSeq int64, err error) {
	l, err := List(ctx, bucket)
	if err != nil || len(l.Whole) == 0 {
		return "", 0, err
	}
	m, err := ReadManifest(ctx, bucket, l.Whole[0])
	if errors.Is(err, ErrDamaged) || errors.Is(err, ErrVersion) || errors.Is(err, ErrNoSnapshot) {
		return l.Whole[0], 0, nil
	}
	return l.Whole[0], m.LastSeq, err
}
