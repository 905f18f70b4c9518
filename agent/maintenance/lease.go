package maintenance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

const (
	// leasePeriod is how long a lease outlives its agent.
	leasePeriod = 30 * time.Second
	// callTimeout bounds one call of the metadata store.
	callTimeout = 8 * time.Second
)

// ErrLeaseLost: another agent has the lease, or may have it.
var ErrLeaseLost = errors.New("lease lost")

// HoldLease does the work while it holds the lease of the name, and reports whether it got it: if another
// agent has it, no work is done and that is no error. The lease is renewed meanwhile; when it is lost, the
// work's ctx ends, and the error is ErrLeaseLost if the work ended by that. Other errors are the
// store's and the work's.
func HoldLease(ctx context.Context, store metadata.Leases, holder uuid.UUID, name string, work func(ctx context.Context) error) (held bool, err error) {
	keep := func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		ok, err := store.AcquireLease(ctx, holder, name, leasePeriod)
		if err != nil {
			return false, fmt.Errorf("acquire lease %s: %w", name, err)
		}
		return ok, nil
	}
	if held, err = keep(ctx); !held || err != nil {
		return false, err
	}
	working, stop := context.WithCancelCause(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() { Renew(working, stop, leasePeriod, keep) })
	err = work(working)
	lost := errors.Is(context.Cause(working), ErrLeaseLost)
	stop(nil)
	renewing.Wait()
	if lost {
		if err != nil {
			err = fmt.Errorf("%w: %s", ErrLeaseLost, name)
		}
		return true, err
	}
	// Also when ctx has ended: others need not wait for the lease to run out.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout/4)
	defer cancel()
	if releaseErr := store.ReleaseLease(ctx, holder, name); releaseErr != nil {
		err = errors.Join(err, fmt.Errorf("release lease %s: %w", name, releaseErr))
	}
	return true, err
}

// Renew keeps a claim that lasts for the period, by calling keep every third of it until ctx ends, and more
// often while keep fails. When keep reports false, or has failed for as long as the claim lasts, it stops the work with ErrLeaseLost.
func Renew(ctx context.Context, stop context.CancelCauseFunc, period time.Duration, keep func(ctx context.Context) (bool, error)) {
	until, wait := time.Now().Add(period), period/3
	for {
		pause(ctx, min(wait, time.Until(until)))
		if ctx.Err() != nil {
			return
		}
		asked := time.Now()
		asking, cancel := context.WithDeadline(ctx, until)
		ok, err := keep(asking)
		cancel()
		switch {
		case err == nil && ok:
			until, wait = asked.Add(period), period/3
		case err == nil:
			stop(ErrLeaseLost)
			return
		case !time.Now().Before(until):
			// Whether it is still ours nobody knows.
			stop(fmt.Errorf("%w: %w", ErrLeaseLost, err))
			return
		default:
			wait = period / 10
		}
	}
}
