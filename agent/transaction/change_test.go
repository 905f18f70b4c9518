package transaction

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol/configs"
)

// scripted is a store that answers calls as the test says; there is nothing behind it.
// Each call is noted as the IDs in it.
type scripted struct {
	Store
	answer func(ctx context.Context, requests []metadata.TransactionRequest) (metadata.TransactionsChanged, error)

	mu    sync.Mutex
	calls []string
	next  int64
}

func (s *scripted) ChangeTransactions(ctx context.Context, requests []metadata.TransactionRequest) (metadata.TransactionsChanged, error) {
	ids := make([]string, len(requests))
	for i, r := range requests {
		ids[i] = r.ID
	}
	s.mu.Lock()
	s.calls = append(s.calls, strings.Join(ids, " "))
	s.mu.Unlock()
	return s.answer(ctx, requests)
}

func (s *scripted) AllocateProducerIDs(_ context.Context, count int) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next += int64(count)
	return s.next - int64(count), nil
}

func (s *scripted) made() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// yes answers each request with its place as the epoch.
func yes(requests []metadata.TransactionRequest) (metadata.TransactionsChanged, error) {
	changed := metadata.TransactionsChanged{Results: make([]metadata.TransactionResult, len(requests))}
	for i := range requests {
		changed.Results[i].Producer = metadata.ProducerEpoch{ID: -1, Epoch: int16(i)}
	}
	return changed, nil
}

// told is what the agent's tail was told.
type told struct {
	mu      sync.Mutex
	commits []metadata.Commit
	lost    int
}

func (t *told) committed(commits []metadata.Commit, lost bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.commits = append(t.commits, commits...)
	if lost {
		t.lost++
	}
}

func newScripted(t *testing.T, answer func(context.Context, []metadata.TransactionRequest) (metadata.TransactionsChanged, error)) (*Coordinator, *scripted, *told) {
	t.Helper()
	store, heard := &scripted{answer: answer}, &told{}
	broker := configs.DefaultBroker()
	c := New(store, nil, func() *configs.Broker { return &broker }, heard.committed, NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	t.Cleanup(c.Close)
	return c, store, heard
}

func TestWhatComesWhileTheStoreIsBusySharesTheNextCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		c, store, _ := newScripted(t, func(_ context.Context, requests []metadata.TransactionRequest) (metadata.TransactionsChanged, error) {
			<-goOn
			return yes(requests)
		})
		var order []string
		var mu sync.Mutex
		var asking sync.WaitGroup
		ask := func(id string, nth int16) {
			asking.Go(func() {
				if _, err := c.Change(t.Context(), id, metadata.EndTransaction{Producer: metadata.ProducerEpoch{Epoch: nth}}); err != nil {
					t.Errorf("%s %d: %v", id, nth, err)
				}
				mu.Lock()
				order = append(order, fmt.Sprint(id, nth))
				mu.Unlock()
			})
			synctest.Wait()
		}
		// The first is alone; of the others nothing twice of an ID is in one call.
		for i, id := range []string{"a", "b", "a", "c", "a", "b", "d"} {
			ask(id, int16(i))
		}
		for range 3 {
			goOn <- struct{}{}
			synctest.Wait()
		}
		asking.Wait()
		if want := []string{"a", "b a c d", "a b"}; !slices.Equal(store.made(), want) {
			t.Errorf("calls of %q, want %q", store.made(), want)
		}
		if slices.Index(order, "a0") > slices.Index(order, "a2") || slices.Index(order, "a2") > slices.Index(order, "a4") {
			t.Errorf("answered in the order %q", order)
		}
	})
}

func TestCallsAreBounded(t *testing.T) {
	many := func(n, partitions int) (waiting []*change) {
		for i := range n {
			op := metadata.AddToTransaction{Partitions: make([]metadata.PartitionID, partitions)}
			waiting = append(waiting, &change{TransactionRequest: metadata.TransactionRequest{ID: strconv.Itoa(i), Op: op}})
		}
		return waiting
	}
	end := &change{TransactionRequest: metadata.TransactionRequest{ID: "end", Op: metadata.EndTransaction{}}}
	offsets := &change{TransactionRequest: metadata.TransactionRequest{ID: "offsets", Op: metadata.TransactionOffsets{Offsets: make([]metadata.Offset, callRows)}}}
	for name, test := range map[string]struct {
		waiting     []*change
		batch, rest int
	}{
		"by requests":           {many(callRequests+7, 1), callRequests, 7},
		"by rows":               {many(30, 999), 10, 20},
		"one that is too large": {many(2, 2*callRows), 1, 1},
		"ends":                  {append(many(99, 99), end, offsets), 100, 1},
		"offsets":               {[]*change{offsets, end}, 1, 1},
		"all of it":             {many(3, 3), 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			batch, rest := next(test.waiting)
			if len(batch) != test.batch || len(rest) != test.rest {
				t.Errorf("%d go into the call, %d wait; want %d and %d", len(batch), len(rest), test.batch, test.rest)
			}
			if !slices.Equal(append(batch, rest...), test.waiting) {
				t.Error("the order is another one")
			}
		})
	}
}

// TestNoCallIsMadeTwice: by the time of a second the client may have asked elsewhere and
// gone on. It is told to ask again where nobody knows what became of its request.
func TestNoCallIsMadeTwice(t *testing.T) {
	surprise := errors.New("surprise")
	hangs := errors.New("hangs until its time is over")
	for name, test := range map[string]struct {
		answer, want error
		lost         int
		took         time.Duration
	}{
		"done":     {nil, nil, 0, 0},
		"away":     {metadata.ErrUnavailable, metadata.ErrUnavailable, 0, 0},
		"lost":     {metadata.ErrOutcomeUnknown, metadata.ErrOutcomeUnknown, 1, 0},
		"hangs":    {hangs, metadata.ErrOutcomeUnknown, 1, callTimeout},
		"surprise": {surprise, surprise, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, store, heard := newScripted(t, func(ctx context.Context, requests []metadata.TransactionRequest) (metadata.TransactionsChanged, error) {
					switch {
					case errors.Is(test.answer, hangs):
						<-ctx.Done()
						return metadata.TransactionsChanged{}, ctx.Err()
					case test.answer != nil:
						return metadata.TransactionsChanged{}, test.answer
					}
					return yes(requests)
				})
				began := time.Now()
				if _, err := c.Change(t.Context(), "id", metadata.EndTransaction{}); !errors.Is(err, test.want) {
					t.Errorf("%v, want %v", err, test.want)
				}
				if took := time.Since(began); took != test.took {
					t.Errorf("it took %v, want %v", took, test.took)
				}
				if calls := store.made(); !slices.Equal(calls, []string{"id"}) {
					t.Errorf("calls of %q", calls)
				}
				if heard.lost != test.lost {
					t.Errorf("the tail is told of %d lost answers, want %d", heard.lost, test.lost)
				}
			})
		})
	}
}

// TestRequestsThatWaitedForLongAreRefused: their clients may have gone on elsewhere.
func TestRequestsThatWaitedForLongAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		c, store, _ := newScripted(t, func(_ context.Context, requests []metadata.TransactionRequest) (metadata.TransactionsChanged, error) {
			<-goOn
			return yes(requests)
		})
		first := c.begin("first", metadata.EndTransaction{})
		synctest.Wait()
		late := c.begin("late", metadata.EndTransaction{})
		time.Sleep(patience)
		inTime := c.begin("in time", metadata.EndTransaction{})
		time.Sleep(time.Millisecond)
		close(goOn)
		for _, k := range []*change{first, inTime} {
			if err := k.wait(t.Context()); err != nil {
				t.Errorf("%s: %v", k.ID, err)
			}
		}
		if err := late.wait(t.Context()); !errors.Is(err, metadata.ErrUnavailable) || errors.Is(err, metadata.ErrOutcomeUnknown) {
			t.Errorf("late: %v", err)
		}
		if want := []string{"first", "in time"}; !slices.Equal(store.made(), want) {
			t.Errorf("calls of %q, want %q", store.made(), want)
		}
	})
}

// TestRequestThatTheStoreCannotDealWithFailsAlone: those that share its call are served.
func TestRequestThatTheStoreCannotDealWithFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		surprise := errors.New("surprise")
		goOn := make(chan struct{})
		c, store, _ := newScripted(t, func(_ context.Context, requests []metadata.TransactionRequest) (metadata.TransactionsChanged, error) {
			<-goOn
			if slices.ContainsFunc(requests, func(r metadata.TransactionRequest) bool { return r.ID == "bad" }) {
				return metadata.TransactionsChanged{}, surprise
			}
			return yes(requests)
		})
		var changes []*change
		for _, id := range []string{"first", "good", "bad", "fine"} {
			changes = append(changes, c.begin(id, metadata.EndTransaction{}))
			synctest.Wait()
		}
		close(goOn)
		for _, k := range changes {
			if err := k.wait(t.Context()); (k.ID == "bad") != errors.Is(err, surprise) || k.ID != "bad" && err != nil {
				t.Errorf("%s: %v", k.ID, err)
			}
		}
		if want := []string{"first", "good bad fine", "good", "bad", "fine"}; !slices.Equal(store.made(), want) {
			t.Errorf("calls of %q, want %q", store.made(), want)
		}
	})
}

// TestTailIsToldBeforeTheAnswer: who reads after a commit finds it.
func TestTailIsToldBeforeTheAnswer(t *testing.T) {
	c, _, heard := newScripted(t, func(_ context.Context, requests []metadata.TransactionRequest) (metadata.TransactionsChanged, error) {
		changed, err := yes(requests)
		changed.Commits = []metadata.Commit{{Seq: 7}}
		return changed, err
	})
	if _, err := c.Change(t.Context(), "id", metadata.EndTransaction{Commit: true}); err != nil {
		t.Fatal(err)
	}
	heard.mu.Lock()
	defer heard.mu.Unlock()
	if len(heard.commits) != 1 || heard.commits[0].Seq != 7 {
		t.Errorf("told of %+v", heard.commits)
	}
}

// TestWaitEndsWithItsClient: neither a store that hangs nor the agent's end keeps it waiting,
// and what others asked for goes on.
func TestWaitEndsWithItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		c, store, _ := newScripted(t, func(_ context.Context, requests []metadata.TransactionRequest) (metadata.TransactionsChanged, error) {
			<-goOn
			return yes(requests)
		})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Change(ctx, "gone", metadata.EndTransaction{}); !errors.Is(err, metadata.ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
			t.Errorf("the client left: %v", err)
		}
		synctest.Wait() // its call is under way
		close(goOn)
		if _, err := c.Change(t.Context(), "stays", metadata.EndTransaction{}); err != nil {
			t.Errorf("the other: %v", err)
		}
		c.Close()
		if _, err := c.Change(t.Context(), "late", metadata.EndTransaction{}); !errors.Is(err, metadata.ErrUnavailable) {
			t.Errorf("after the end: %v", err)
		}
		if want := []string{"gone", "stays"}; !slices.Equal(store.made(), want) {
			t.Errorf("calls of %q, want %q", store.made(), want)
		}
	})
}

func TestCloseEndsACallThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, _ := newScripted(t, func(ctx context.Context, _ []metadata.TransactionRequest) (metadata.TransactionsChanged, error) {
			<-ctx.Done()
			return metadata.TransactionsChanged{}, fmt.Errorf("%w: %w", metadata.ErrOutcomeUnknown, ctx.Err())
		})
		k := c.begin("id", metadata.EndTransaction{})
		synctest.Wait()
		c.Close()
		if err := k.wait(t.Context()); !errors.Is(err, metadata.ErrOutcomeUnknown) {
			t.Errorf("the request: %v", err)
		}
	})
}

func TestEndsAreCounted(t *testing.T) {
	refused := metadata.ErrProducerFenced
	c, _, _ := newScripted(t, func(_ context.Context, requests []metadata.TransactionRequest) (metadata.TransactionsChanged, error) {
		changed, err := yes(requests)
		if requests[0].ID == "refused" {
			changed.Results[0].Err = refused
		}
		return changed, err
	})
	for _, op := range []metadata.TransactionOp{
		metadata.EndTransaction{Commit: true}, metadata.EndTransaction{Commit: true}, metadata.EndTransaction{}, metadata.ExpireTransaction{},
		metadata.InitProducer{}, metadata.AddToTransaction{},
	} {
		for _, id := range []string{"id", "refused"} {
			if _, err := c.Change(t.Context(), id, op); err != nil {
				t.Fatal(err)
			}
		}
	}
	for how, want := range map[string]float64{"commit": 2, "abort": 1, "expire": 1} {
		if got := testutil.ToFloat64(c.metrics.ended.WithLabelValues(how)); got != want {
			t.Errorf("%s: %v, want %v", how, got, want)
		}
	}
}
