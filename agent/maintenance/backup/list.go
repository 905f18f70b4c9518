package backup

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wadi-log/wadi/objstore"
)

const (
	// Kept is how many whole snapshots stay. Only of the newest all data files are
	// sure to be there; the others are for the case that it can't be read.
	Kept = 3
	// tornFor is how long a torn snapshot stays, by the newest whole one: its writer may be at it still.
	tornFor = 3 * time.Hour
)

// Listing is what there is of snapshots in a bucket.
type Listing struct {
	// Whole are the names of those with a manifest, Torn of the others, the newest first.
	Whole, Torn []string
	keys        map[string][]string
	// sizes are those of all objects, by key.
	sizes map[string]int64
}

// List looks which snapshots there are.
func List(ctx context.Context, bucket objstore.Bucket) (Listing, error) {
	l := Listing{keys: map[string][]string{}, sizes: map[string]int64{}}
	err := bucket.List(ctx, prefix, func(o objstore.ObjectInfo) error {
		if name, _, ok := cutKey(o.Key); ok {
			l.keys[name] = append(l.keys[name], o.Key)
			l.sizes[o.Key] = o.Size
		}
		return nil
	})
	if err != nil {
		return Listing{}, fmt.Errorf("list snapshots: %w", err)
	}
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(l.keys))) {
		if slices.Contains(l.keys[name], manifestKey(name)) {
			l.Whole = append(l.Whole, name)
		} else {
			l.Torn = append(l.Torn, name)
		}
	}
	return l, nil
}

// lacks says which part of the snapshot was not there, or not of the size that was written, when the bucket
// was listed: ErrDamaged; nil when all were.
func (l Listing) lacks(m Manifest) error {
	for i, part := range m.Parts {
		key := partKey(m.Name, i)
		size, ok := l.sizes[key]
		if !ok {
			return fmt.Errorf("%w: %s is missing", ErrDamaged, key)
		}
		if size != part.Size {
			return fmt.Errorf("%w: %s has %d bytes, and should have %d", ErrDamaged, key, size, part.Size)
		}
	}
	return nil
}

// Prune removes whole snapshots beyond the newest few, and those torn long ago. It does so in an order that
// leaves no whole snapshot damaged: dies in the midst, and what is left of one is torn.
func Prune(ctx context.Context, bucket objstore.Bucket, l Listing) error {
	if len(l.Whole) == 0 {
		return nil
	}
	gone := l.Whole[min(Kept, len(l.Whole)):]
	newest := nameTime(l.Whole[0])
	for _, name := range l.Torn {
		if newest.Sub(nameTime(name)) > tornFor {
			gone = append(slices.Clip(gone), name)
		}
	}
	for _, name := range gone {
		keys := slices.DeleteFunc(slices.Clone(l.keys[name]), func(key string) bool { return strings.HasSuffix(key, "/"+manifestFile) })
		err := bucket.Delete(ctx, manifestKey(name))
		if err == nil && len(keys) > 0 {
			err = bucket.Delete(ctx, keys...)
		}
		if err != nil {
			return fmt.Errorf("remove snapshot %s: %w", name, err)
		}
	}
	return nil
}
