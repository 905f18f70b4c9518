package transaction

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol/configs"
)

// aging is a store with overdue transactions and unused IDs.
type aging struct {
	Store
	mu       sync.Mutex
	fails    int // so many queries fail first
	overdue  []metadata.OverdueTransaction
	stuck    map[string]bool // whose producers ended them a moment ago
	unused   int
	looks    []time.Duration // since the start
	forgets  []time.Duration
	idleFor  time.Duration
	began    time.Time
	expired  []metadata.TransactionRequest
	maxSlice int
}

func (s *aging) OverdueTransactions(_ context.Context, limit int) ([]metadata.OverdueTransaction, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks = append(s.looks, time.Since(s.began))
	if s.fails > 0 {
		s.fails--
		return nil, metadata.ErrUnavailable
	}
	return slices.Clone(s.overdue[:min(limit, len(s.overdue))]), nil
}

func (s *aging) ForgetTransactions(_ context.Context, idleFor time.Duration, limit int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgets, s.idleFor, s.maxSlice = append(s.forgets, time.Since(s.began)), idleFor, max(s.maxSlice, limit)
	n := min(limit, s.unused)
	s.unused -= n
	return n, nil
}

func (s *aging) ChangeTransactions(_ context.Context, requests []metadata.TransactionRequest) (metadata.TransactionsChanged, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := metadata.TransactionsChanged{Results: make([]metadata.TransactionResult, len(requests))}
	for i, r := range requests {
		if s.stuck[r.ID] {
			changed.Results[i].Err = metadata.ErrProducerFenced
			continue
		}
		s.expired = append(s.expired, r)
		s.overdue = slices.DeleteFunc(s.overdue, func(o metadata.OverdueTransaction) bool { return o.ID == r.ID })
	}
	return changed, nil
}

// run lets an agent with the settings look after the store for some time.
func (s *aging) run(t *testing.T, d time.Duration, settings map[string]string) *Coordinator {
	t.Helper()
	broker, err := configs.ParseBroker(settings)
	if err != nil {
		t.Fatal(err)
	}
	s.began = time.Now()
	c := New(s, nil, func() *configs.Broker { return &broker }, func([]metadata.Commit, bool) {}, NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	c.Run(ctx)
	c.Close()
	return c
}

func overdue(n int) (all []metadata.OverdueTransaction) {
	for i := range n {
		all = append(all, metadata.OverdueTransaction{ID: fmt.Sprint("id", i), Producer: metadata.ProducerEpoch{ID: int64(i), Epoch: 3}})
	}
	return all
}

func TestOverdueTransactionsAreAborted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := overdue(3*expireSlice + 5)
		s := &aging{overdue: slices.Clone(want)}
		c := s.run(t, 15*time.Second, nil)
		if len(s.overdue) != 0 || len(s.expired) != len(want) {
			t.Fatalf("%d were aborted, %d are left", len(s.expired), len(s.overdue))
		}
		for i, r := range s.expired {
			if r.ID != want[i].ID || r.Op != (metadata.ExpireTransaction{Producer: want[i].Producer}) {
				t.Errorf("%+v, want %+v", r, want[i])
			}
		}
		if got := testutil.ToFloat64(c.metrics.ended.WithLabelValues("expire")); int(got) != len(want) {
			t.Errorf("%v are counted", got)
		}
		// The first look is after 5 to 15 s, and goes on until nothing is left.
		if len(s.looks) < 4 || s.looks[0] < 5*time.Second || s.looks[3] != s.looks[0] || len(s.looks) > 6 {
			t.Errorf("it was looked after %v", s.looks)
		}
	})
}

// TestOverdueTransactionsThatOthersEndedAreLeft: a full slice of them is no reason to go round and round.
func TestOverdueTransactionsThatOthersEndedAreLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &aging{overdue: overdue(expireSlice), stuck: map[string]bool{}}
		for _, o := range s.overdue {
			s.stuck[o.ID] = true
		}
		c := s.run(t, 15*time.Second, nil)
		if len(s.expired) != 0 || len(s.looks) > 3 {
			t.Errorf("%d aborted, looked after %v", len(s.expired), s.looks)
		}
		if got := testutil.ToFloat64(c.metrics.ended.WithLabelValues("expire")); got != 0 {
			t.Errorf("%v are counted", got)
		}
	})
}

func TestExpiryGoesOnAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &aging{overdue: overdue(1), fails: 2}
		s.run(t, time.Minute, nil)
		if len(s.expired) != 1 {
			t.Errorf("%d are aborted after %v", len(s.expired), s.looks)
		}
	})
}

func TestUnusedTransactionalIDsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &aging{unused: 2*expireSlice + 5}
		c := s.run(t, 90*time.Minute, nil)
		if s.unused != 0 || s.idleFor != 7*24*time.Hour || s.maxSlice != expireSlice {
			t.Errorf("%d are left, asked for those unused for %v, %d at a time", s.unused, s.idleFor, s.maxSlice)
		}
		if s.forgets[0] < 30*time.Minute || s.forgets[2] != s.forgets[0] || len(s.forgets) > 5 {
			t.Errorf("it was looked after %v", s.forgets)
		}
		if got := testutil.ToFloat64(c.metrics.forgotten); got != 2*expireSlice+5 {
			t.Errorf("%v are counted", got)
		}
	})
}

func TestIntervalsFollowTheSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &aging{}
		s.run(t, time.Minute, map[string]string{
			"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
			"transaction.remove.expired.transaction.cleanup.interval.ms":  "2000",
			"transactional.id.expiration.ms":                              "3000",
		})
		if n, m := len(s.looks), len(s.forgets); n < 40 || n > 120 || m < 20 || m > 60 || s.idleFor != 3*time.Second {
			t.Errorf("%d looks for overdue transactions, %d for IDs unused for %v", n, m, s.idleFor)
		}
	})
}
