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
	// maxRefusals is the number of requests that the object store may refuse before the items of one call of remove are
	// no longer told apart.
	maxRefusals = 64
)

// Onward fails when the metadata store has gone back in time. What it doesn't know may be newer than it is, and what it took for
// dead since may be in use where it went on: nothing is deleted then.
type Onward func(ctx context.Context) error

// remover deletes the objects of items.
type remover[T any] struct {
	bucket objstore.Bucket
	key    func(T) string
	// deleted is called with items whose objects are gone.
	deleted func([]T) error
	// refused are the items whose objects the store did not let us delete, and refusal is why the first of them.
	refused []T
	refusal error
}

// remove deletes the objects of some items. When the store refuses, which may be for one object alone (a folder
// of another owner, a legal hold), it tries again with both halves, so that the others go all the same: refusals
// are no errors.
func (r *remover[T]) remove(ctx context.Context, items []T) error {
	refusals := 0
	return r.try(ctx, items, &refusals)
}

func (r *remover[T]) try(ctx context.Context, items []T, refusals *int) error {
	keys := make([]string, len(items))
	for i, item := range items {
		keys[i] = r.key(item)
	}
	err := r.bucket.Delete(ctx, keys...)
	switch {
	case err == nil:
		return r.deleted(items)
	case !errors.Is(err, objstore.ErrConfig):
		return err
	}
	r.refusal = cmp.Or(r.refusal, err)
	if *refusals++; len(items) == 1 || *refusals >= maxRefusals {
		r.refused = append(r.refused, items...)
		return nil
	}
	half := len(items) / 2
	if err := r.try(ctx, items[:half], refusals); err != nil {
		return err
	}
	return r.try(ctx, items[half:], refusals)
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
