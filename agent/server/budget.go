package server

import (
	"context"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// Budget bounds the bytes of requests held in memory. Who wants to read a
// frame takes its size first; that wait is the back-pressure that a producer
// feels when the stores are slower than it is.
type Budget struct {
	limit int64
	sem   *semaphore.Weighted
	used  atomic.Int64
}

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int64) *Budget {
	return &Budget{limit: limit, sem: semaphore.NewWeighted(limit)}
}

// Take waits until n bytes are free (first come, first served) and returns the
// function that gives them back, which may be called more than once. A request
// larger than the budget waits for all of it. The error is ctx's.
func (b *Budget) Take(ctx context.Context, n int64) (giveBack func(), err error) {
	n = min(n, b.limit)
	if err := b.sem.Acquire(ctx, n); err != nil {
		return nil, err
	}
	b.used.Add(n)
	var once sync.Once
	return func() {
		once.Do(func() {
			b.used.Add(-n)
			b.sem.Release(n)
		})
	}, nil
}

// Used returns the bytes taken.
func (b *Budget) Used() int64 { return b.used.Load() }
