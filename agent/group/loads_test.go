package group

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-log/wadi/metadata"
)

// slowLoads is a store that notes how many groups each query reads, and answers
// when go on is closed. A query with the group "bad" fails.
type slowLoads struct {
	metadata.Store
	goOn chan struct{}
	bad  error

	mu    sync.Mutex
	sizes []int
}

func (s *slowLoads) LoadGroups(ctx context.Context, refs []metadata.GroupRef) ([]metadata.Group, time.Time, error) {
	s.mu.Lock()
	s.sizes = append(s.sizes, len(refs))
	s.mu.Unlock()
	<-s.goOn
	if slices.ContainsFunc(refs, func(r metadata.GroupRef) bool { return r.ID == "bad" }) {
		return nil, time.Time{}, s.bad
	}
	return s.Store.LoadGroups(ctx, refs)
}

func (s *slowLoads) queries() (sizes []int, sum int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.sizes {
		sum += n
	}
	return slices.Clone(s.sizes), sum
}

func (f *fleet) slowLoader(bad error) (*slowLoads, *loader) {
	f.Helper()
	store := &slowLoads{Store: f.open(), goOn: make(chan struct{}), bad: bad}
	c := New(store, nil, catalogOf{store}, f.settings, uuid.New(), NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	f.Cleanup(c.Close)
	return store, c.loads
}

// TestGroupsAreLoadedTogether: what is asked for while the store is busy shares its next queries.
func TestGroupsAreLoadedTogether(t *testing.T) {
	f := newFleet(t, nil)
	store, loads := f.slowLoader(nil)
	const groups = 3 * loadSize
	var asking sync.WaitGroup
	for i := range groups {
		asking.Go(func() {
			id := fmt.Sprint("g", i)
			if k, err := loads.load(t.Context(), metadata.GroupRef{ID: id}); err != nil || k.group.ID != id || k.now.IsZero() || k.asked.IsZero() {
				t.Errorf("%s is loaded as %+v, %v", id, k, err)
			}
		})
	}
	var first []int
	f.eventually("all others wait behind the first queries", func() bool {
		sizes, under := store.queries()
		first = sizes
		return len(sizes) == loadQueries && under+loads.queue.Waiting() == groups
	})
	close(store.goOn)
	asking.Wait()
	sizes, sum := store.queries()
	if most := len(first) + groups/loadSize; sum != groups || len(sizes) > most || slices.Max(sizes) > loadSize {
		t.Errorf("%d groups were loaded in queries of %v, want %d queries at most, of %d at most", groups, sizes, most, loadSize)
	}
}

// TestGroupThatCannotBeLoadedFailsAlone: those that are loaded with it are served. When the
// store itself is away nobody asks it once more for each.
func TestGroupThatCannotBeLoadedFailsAlone(t *testing.T) {
	corrupt := errors.New("beats of group \"bad\": corrupt")
	for _, test := range []struct {
		err   error
		alone bool
		sizes []int
	}{
		{corrupt, true, []int{3, 1, 1, 1}},
		{metadata.ErrUnavailable, false, []int{3}},
	} {
		f := newFleet(t, nil)
		store, loads := f.slowLoader(test.err)
		close(store.goOn)
		batch := []*load{{ref: metadata.GroupRef{ID: "good"}}, {ref: metadata.GroupRef{ID: "bad"}}, {ref: metadata.GroupRef{ID: "fine"}}}
		loads.query(batch)
		for _, k := range batch {
			if fails := k.ref.ID == "bad" || !test.alone; fails != errors.Is(k.err, test.err) || !fails && k.group.ID != k.ref.ID {
				t.Errorf("%v: %s is loaded as %+v, %v", test.err, k.ref.ID, k.group, k.err)
			}
		}
		if sizes, _ := store.queries(); !slices.Equal(sizes, test.sizes) {
			t.Errorf("%v: queries of %v groups, want %v", test.err, sizes, test.sizes)
		}
	}
}

// TestLoadEndsWithItsCaller: neither a store that hangs nor the agent's end keeps it waiting.
func TestLoadEndsWithItsCaller(t *testing.T) {
	f := newFleet(t, nil)
	store, loads := f.slowLoader(nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := loads.load(ctx, metadata.GroupRef{ID: "g"}); !errors.Is(err, metadata.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("the store hangs: %v", err)
	}
	close(store.goOn)
	loads.c.Close()
	if _, err := loads.load(t.Context(), metadata.GroupRef{ID: "g"}); !errors.Is(err, metadata.ErrUnavailable) {
		t.Errorf("after the end: %v", err)
	}
}
