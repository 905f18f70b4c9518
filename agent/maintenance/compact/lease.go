package compact

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wadi-log/wadi/agent/maintenance"
)

const (
	// leasePeriod is how long a lease outlives its agent.
	leasePeriod = 30 * time.Second
	// leaseCalls is the number of calls for leases under way at the same time.
	leaseCalls = 8
	// leaseTimeout bounds all calls for the leases of a group.
	leaseTimeout = 8 * time.Second
	// longestWait is how long the lease of a pass under way is kept for a round that doesn't come: heavy rounds of other
	// jobs take minutes. Then others may do what this agent doesn't come to.
	longestWait = 30 * time.Minute
)

func leaseOf(p *candidate) string { return fmt.Sprintf("compact/%d", p.partition()) }

// hold does the work with those of the partitions whose leases it gets. The others have an agent that works
// on them. When a lease is lost, the work's ctx ends.
func (c *Compactor) hold(ctx context.Context, group []candidate, work func(ctx context.Context, held []candidate) error) error {
	held, err := c.acquire(ctx, group)
	defer func() {
		if c.large == nil { // else the work goes on soon, see KeepLease
			c.release(ctx, held)
		}
	}()
	if err != nil || len(held) == 0 {
		return err
	}
	working, stop := context.WithCancelCause(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() { c.renew(working, stop, held) })
	err = work(working, held)
	if cause := context.Cause(working); err != nil && errors.Is(cause, maintenance.ErrLeaseLost) {
		err = fmt.Errorf("compaction of %d partitions: %w", len(held), cause)
	}
	stop(nil)
	renewing.Wait()
	return err
}

// KeepLease keeps the lease of a pass under way while its next round waits, until ctx ends, for [longestWait] at most: see
// [maintenance.Job]. Else an agent whose round waits for longer than a lease lasts would lose all that the pass has done to
// another one, and that in turn to this. When the lease is lost, the next round finds out.
func (c *Compactor) KeepLease(ctx context.Context) {
	if c.large == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, longestWait)
	defer cancel()
	c.renew(ctx, func(error) {}, []candidate{c.large.candidate})
}

// renew renews the leases until ctx ends. When one is lost it calls stop.
func (c *Compactor) renew(ctx context.Context, stop context.CancelCauseFunc, held []candidate) {
	maintenance.Renew(ctx, stop, leasePeriod, func(ctx context.Context) (bool, error) {
		still, err := c.acquire(ctx, held)
		return len(still) == len(held), err
	})
}

// acquire returns the partitions whose leases it got, in their order. With an error it got those, too.
func (c *Compactor) acquire(ctx context.Context, group []candidate) ([]candidate, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	got := make([]bool, len(group))
	var calls errgroup.Group
	calls.SetLimit(leaseCalls)
	for i := range group {
		calls.Go(func() (err error) {
			if got[i], err = c.store.AcquireLease(ctx, c.holder, leaseOf(&group[i]), leasePeriod); err != nil {
				err = fmt.Errorf("acquire lease %s: %w", leaseOf(&group[i]), err)
			}
			return err
		})
	}
	err := calls.Wait()
	held := make([]candidate, 0, len(group))
	for i := range group {
		if got[i] {
			held = append(held, group[i])
		}
	}
	return slices.Clip(held), err
}

// release gives the leases up, also when ctx has ended: others need not wait for them to run out.
func (c *Compactor) release(ctx context.Context, held []candidate) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseTimeout/4)
	defer cancel()
	var calls errgroup.Group
	calls.SetLimit(leaseCalls)
	for i := range held {
		calls.Go(func() error { return c.store.ReleaseLease(ctx, c.holder, leaseOf(&held[i])) })
	}
	if err := calls.Wait(); err != nil {
		c.log.Warn("leases of compacted partitions were not given up; they run out by themselves", "error", err)
	}
}
