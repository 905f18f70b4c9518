package sweep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
)

const (
	// callTimeout bounds one call of the metadata store.
	callTimeout = 30 * time.Second
	// maxRefusals is the number of requests of one round that the object store may refuse.
	maxRefusals = 64
)

// Onward fails when the metadata store has gone back in time. What it doesn't know may be newer than it is, and what it took for
// dead since may be in use where it went on: nothing is deleted then.
type Onward func(ctx context.Context) error

// remove deletes the objects of the items and calls deleted with those that are gone. When the
// store refuses, which may be for one object alone (a folder of another owner, a
// legal hold), it tries again with both halves, so that the others go all the same.
func remove[T any](ctx context.Context, bucket objstore.Bucket, items []T, key func(T) string, refusals *int, deleted func([]T) error) error {
	keys := make([]string, len(items))
	for i, item := range items {
		keys[i] = key(item)
	}
	err := bucket.Delete(ctx, keys...)
	if err == nil {
		return deleted(items)
	}
	*refusals++
	if len(items) == 1 || *refusals >= maxRefusals || !errors.Is(err, objstore.ErrConfig) {
		return err
	}
	half := len(items) / 2
	first := remove(ctx, bucket, items[:half], key, refusals, deleted)
	second := remove(ctx, bucket, items[half:], key, refusals, deleted)
	return cmp.Or(first, second)
}

// turn takes a lease for half the time between two rounds of an agent, and so tells whether the
// round is this agent's, or another one had one just now. Nothing hangs on it but work.
func turn(ctx context.Context, leases metadata.Leases, holder uuid.UUID, name string, every time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	mine, err := leases.AcquireLease(ctx, holder, name, every/2)
	if err != nil {
		return false, fmt.Errorf("acquire lease %s: %w", name, err)
	}
	return mine, nil
}
