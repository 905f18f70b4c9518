package maintenance

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// leases is one lease by the bubble's clock, of a store that fails as the test says. The real stores' clock
// is none that a test can turn.
type leases struct {
	mu     sync.Mutex
	holder uuid.UUID
	until  time.Time
	err    error
	calls  int
}

func (l *leases) AcquireLease(_ context.Context, holder uuid.UUID, _ string, period time.Duration) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	if l.err != nil {
		return false, l.err
	}
	if l.holder != holder && time.Now().Before(l.until) {
		return false, nil
	}
	l.holder, l.until = holder, time.Now().Add(period)
	return true, nil
}

func (l *leases) ReleaseLease(_ context.Context, holder uuid.UUID, _ string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holder == holder {
		l.until = time.Time{}
	}
	return l.err
}

func (l *leases) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

var _ metadata.Leases = (*leases)(nil)

func TestHoldLeaseIsForOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &leases{}
		var others sync.WaitGroup
		held, err := HoldLease(t.Context(), store, uuid.New(), "x", func(ctx context.Context) error {
			pause(ctx, 10*time.Minute) // much longer than the lease lasts
			others.Go(func() {
				held, err := HoldLease(t.Context(), store, uuid.New(), "x", func(context.Context) error {
					t.Error("two hold the lease")
					return nil
				})
				if held || err != nil {
					t.Errorf("held %v, %v", held, err)
				}
			})
			others.Wait()
			return ctx.Err()
		})
		if !held || err != nil {
			t.Errorf("held %v, %v", held, err)
		}
		if held, err := HoldLease(t.Context(), store, uuid.New(), "x", func(context.Context) error { return nil }); !held || err != nil {
			t.Errorf("the lease was not released: held %v, %v", held, err)
		}
	})
}

func TestHoldLeaseEndsTheWorkWhenTheLeaseIsLost(t *testing.T) {
	for _, test := range []struct {
		name string
		lose func(l *leases)
		lost bool
	}{
		{"another took it", func(l *leases) { l.holder, l.until = uuid.New(), time.Now().Add(time.Hour) }, true},
		{"the store is away for longer than it lasts", func(l *leases) { l.err = metadata.ErrUnavailable }, true},
		{"the store is away for a moment", func(l *leases) {
			l.err = metadata.ErrUnavailable
			time.AfterFunc(10*time.Second, func() { l.set(func() { l.err = nil }) })
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &leases{}
				time.AfterFunc(time.Minute, func() { store.set(func() { test.lose(store) }) })
				began := time.Now()
				held, err := HoldLease(t.Context(), store, uuid.New(), "x", func(ctx context.Context) error {
					pause(ctx, time.Hour)
					return ctx.Err()
				})
				if !held || errors.Is(err, ErrLeaseLost) != test.lost {
					t.Errorf("held %v, %v", held, err)
				}
				if took := time.Since(began); test.lost != (took <= time.Minute+leasePeriod) {
					t.Errorf("the work ended after %v", took)
				}
			})
		})
	}
}

func TestHoldLeaseReleasesWhenItsCallerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &leases{}
		ctx, stop := context.WithCancel(t.Context())
		broken := errors.New("broken")
		held, err := HoldLease(ctx, store, uuid.New(), "x", func(context.Context) error {
			stop()
			return broken
		})
		if !held || !errors.Is(err, broken) {
			t.Errorf("held %v, %v", held, err)
		}
		if !store.until.IsZero() {
			t.Error("the lease was not released")
		}
	})
}

func TestHoldLeaseTellsOfAStoreThatIsAway(t *testing.T) {
	store := &leases{err: metadata.ErrUnavailable}
	held, err := HoldLease(t.Context(), store, uuid.New(), "x", func(context.Context) error {
		t.Error("work without the lease")
		return nil
	})
	if held || !errors.Is(err, metadata.ErrUnavailable) {
		t.Errorf("held %v, %v", held, err)
	}
}
