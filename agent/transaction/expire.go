package transaction

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

const (
	// expireSlice is the number of transactions or IDs that are dealt with at a
	// time, so that nobody holds the sequencer for long.
	expireSlice = 100
	// expireTimeout bounds one query.
	expireTimeout = 10 * time.Second
)

// every does a chore again and again until ctx ends. Every agent does it, at its own
// times; what one has done another doesn't find.
func (c *Coordinator) every(ctx context.Context, chore string, interval func() time.Duration, do func(context.Context) error) {
	for {
		mean := interval()
		timer := time.NewTimer(mean/2 + rand.N(mean))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := do(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("a chore of transactions failed; it is tried again later", "chore", chore, "error", err)
		}
	}
}

func (c *Coordinator) abortInterval() time.Duration {
	return milliseconds(c.settings().TransactionAbortIntervalMs)
}

func (c *Coordinator) forgetInterval() time.Duration {
	return milliseconds(c.settings().TransactionalIDExpireIntervalMs)
}

// abortOverdue aborts all open transactions whose timeout has passed and raises their
// producers' epochs. Whether it has is decided once more by the store, under its lock.
func (c *Coordinator) abortOverdue(ctx context.Context) error {
	for {
		query, cancel := context.WithTimeout(ctx, expireTimeout)
		overdue, err := c.store.OverdueTransactions(query, expireSlice)
		cancel()
		if err != nil {
			return err
		}
		changes := make([]*change, len(overdue))
		for i, o := range overdue {
			changes[i] = c.begin(o.ID, metadata.ExpireTransaction{Producer: o.Producer})
		}
		aborted := 0
		for _, k := range changes {
			if err := k.wait(ctx); err != nil {
				return err
			}
			if k.result.Err == nil {
				aborted++
				c.log.Info("aborted a transaction that was open for longer than its timeout", "transactional_id", k.ID)
			}
		}
		// If none of a full slice could be aborted, others ended them: the next look is soon enough.
		if len(overdue) < expireSlice || aborted == 0 {
			return nil
		}
	}
}

// forgetUnused deletes the transactional IDs that nobody used for
// transactional.id.expiration.ms.
func (c *Coordinator) forgetUnused(ctx context.Context) error {
	for {
		query, cancel := context.WithTimeout(ctx, expireTimeout)
		n, err := c.store.ForgetTransactions(query, milliseconds(c.settings().TransactionalIDExpirationMs), expireSlice)
		cancel()
		c.metrics.forgotten.Add(float64(n))
		if err != nil || n < expireSlice {
			return err
		}
	}
}
