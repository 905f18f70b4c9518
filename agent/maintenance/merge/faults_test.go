package merge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/objstoretest"
)

// TestMergeSurvivesEveryFault fails each call that a merge makes, the first and a later one, in every way, and
// looks at the log after it and after the next agent went on.
func TestMergeSurvivesEveryFault(t *testing.T) {
	for _, step := range []string{"ClaimFiles", "ListTopics", "get", "Now", "put", "ReplaceRuns", "FindRuns", "ReleaseFiles", "MergeBacklog"} {
		for _, kind := range []string{"failed", "failed but persisted", "killed before", "killed after"} {
			for _, nth := range []int{1, 2} {
				t.Run(fmt.Sprintf("%s %d %s", step, nth, kind), func(t *testing.T) { testFault(t, step, nth, kind) })
			}
		}
	}
}

func testFault(t *testing.T, step string, nth int, kind string) {
	c := newCluster(t, 6)
	c.produceSome(t, seeded(t), 4)
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	away := errors.New("away")

	var mu sync.Mutex
	calls, dead := 0, false
	// decide says what happens to a call: it fails, before or after it was carried out, and whether its agent dies by it.
	decide := func(called string) (fails, persisted bool) {
		mu.Lock()
		defer mu.Unlock()
		if dead {
			return true, false
		}
		if called == step {
			calls++
		}
		if called != step || calls != nth {
			return false, false
		}
		if strings.HasPrefix(kind, "killed") {
			dead = true
			defer kill()
		}
		return true, kind == "failed but persisted" || kind == "killed after"
	}
	c.store.inject(func(method string) fault {
		fails, persisted := decide(method)
		if !fails {
			return fault{}
		}
		err := away
		if step == "ReplaceRuns" && !persisted {
			err = metadata.ErrUnavailable
		} else if step == "ReplaceRuns" {
			err = metadata.ErrOutcomeUnknown
		}
		return fault{err: err, persisted: persisted}
	})
	c.bucket.Inject(func(op objstoretest.Op, _ string) objstoretest.Fault {
		fails, persisted := decide(string(op))
		if !fails {
			return objstoretest.Fault{}
		}
		return objstoretest.Fault{Err: away, Persisted: persisted}
	})
	// Small files: several puts and swaps a merge.
	m := shortClaims(c.merger(Config{}))
	m.config.FileBytes = 8 << 10
	if _, err := m.Round(ctx, progress()); err != nil && !errors.Is(err, away) && !errors.Is(err, context.Canceled) &&
		!errors.Is(err, metadata.ErrUnavailable) && !errors.Is(err, metadata.ErrOutcomeUnknown) {
		t.Errorf("the round failed with %v", err)
	}
	c.store.inject(nil)
	c.bucket.Inject(nil)
	c.check(t)

	// Another agent, or this one again, does what is left, at the latest when the claims have run out.
	next := c.merger(Config{})
	eventually(t, func() error {
		drain(t, next)
		for partition := range c.want {
			for _, run := range c.runs(t, partition) {
				if !run.Merged {
					return fmt.Errorf("a run at %d of partition %d is not merged", run.BaseOffset, partition)
				}
			}
		}
		return nil
	})
	c.check(t)
}

// Two agents never work on the same files, and what both did is right.
func TestMergesOfTwoAgentsShareTheWork(t *testing.T) {
	c := newCluster(t, 4, 4)
	c.produceSome(t, seeded(t), 40)
	var mu sync.Mutex
	held := map[uuid.UUID]bool{}
	both := 0
	var agents sync.WaitGroup
	for range 2 {
		m := c.merger(Config{})
		m.store = watched{c.store, func(files []metadata.ClaimedFile) {
			mu.Lock()
			defer mu.Unlock()
			for _, f := range files {
				if held[f.ID] {
					both++
				}
				held[f.ID] = true
			}
		}, func(files []uuid.UUID) {
			mu.Lock()
			defer mu.Unlock()
			for _, f := range files {
				delete(held, f)
			}
		}}
		agents.Go(func() {
			for {
				more, err := m.Round(t.Context(), progress())
				if err != nil {
					t.Error(err)
				}
				if err != nil || !more {
					return
				}
			}
		})
	}
	agents.Wait()
	if both > 0 {
		t.Errorf("%d files were given to two", both)
	}
	c.check(t)
	for partition := range c.want {
		if n := len(c.runs(t, partition)); n > 12 {
			t.Errorf("partition %d has %d rows of 40 files", partition, n)
		}
	}
}

// watched tells of claims and releases.
type watched struct {
	*faultyStore
	claimed  func([]metadata.ClaimedFile)
	released func([]uuid.UUID)
}

func (w watched) ClaimFiles(ctx context.Context, claim metadata.FileClaim) ([]metadata.ClaimedFile, error) {
	files, err := w.faultyStore.ClaimFiles(ctx, claim)
	w.claimed(files)
	return files, err
}

func (w watched) ReleaseFiles(ctx context.Context, holder uuid.UUID, files []uuid.UUID, settle bool) error {
	w.released(files)
	return w.faultyStore.ReleaseFiles(ctx, holder, files, settle)
}

// A merge that was held up for longer than its claim lasts may find another at work.
func TestMergeStopsWhenItsClaimIsAnothers(t *testing.T) {
	c := newCluster(t, 3)
	c.produceSome(t, seeded(t), 4)
	rival := c.merger(Config{})
	c.store.inject(func(method string) fault {
		if method == "RenewFiles" {
			return fault{err: metadata.ErrUnavailable}
		}
		return fault{}
	})
	var taken []metadata.ClaimedFile
	block := make(chan struct{})
	c.bucket.Inject(func(op objstoretest.Op, _ string) objstoretest.Fault {
		if op != objstoretest.Get {
			return objstoretest.Fault{}
		}
		return objstoretest.Fault{Block: block} // until the merge is told that its claim is over
	})
	m := shortClaims(c.merger(Config{}))
	if more, err := m.Round(t.Context(), progress()); more || !errors.Is(err, maintenance.ErrLeaseLost) {
		t.Fatalf("merged %v, %v", more, err)
	}
	c.bucket.Inject(nil)
	eventually(t, func() (err error) {
		taken, err = c.store.Store.ClaimFiles(t.Context(), rival.claims[0])
		if err == nil && len(taken) == 0 {
			err = errors.New("the claims have not run out")
		}
		return err
	})
	c.store.inject(nil)
	if changed, err := rival.mergeClaimed(t.Context(), progress(), outputsOf(t, rival), rival.claims[0], taken); !changed || err != nil {
		t.Errorf("the next one: changed %v, %v", changed, err)
	}
	c.check(t)
}

// Whoever swaps second changes nothing: neither rows nor offsets.
func TestMergeOfFilesThatAnotherMergedChangesNothing(t *testing.T) {
	c := newCluster(t, 3)
	c.produceSome(t, seeded(t), 4)
	m, rival := c.merger(Config{}), c.merger(Config{})
	files, err := c.store.Store.ClaimFiles(t.Context(), m.claims[0])
	if err != nil || len(files) != 4 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for i, agent := range []*Merger{rival, m} {
		changed, err := agent.mergeClaimed(t.Context(), progress(), outputsOf(t, agent), agent.claims[0], files)
		if err != nil || changed != (i == 0) {
			t.Errorf("merge %d changed something: %v, %v", i, changed, err)
		}
		c.check(t)
	}
}

// Retention, DeleteRecords and the deletion of topics go on while a merge reads.
func TestMergeGivesWayToDeletions(t *testing.T) {
	c := newCluster(t, 3, 2)
	c.produceSome(t, seeded(t), 4)
	trimmed, emptied := c.topics[0].Partitions[0], c.topics[0].Partitions[1]
	at := c.runs(t, trimmed)[1].BaseOffset
	c.bucket.Inject(func(op objstoretest.Op, _ string) objstoretest.Fault {
		if op != objstoretest.Put {
			return objstoretest.Fault{}
		}
		c.bucket.Inject(nil)
		if _, err := c.store.Store.DeleteRecords(t.Context(), []metadata.RecordsDeletion{{Partition: trimmed, Before: at}, {Partition: emptied, Before: c.next[emptied]}}); err != nil {
			t.Error(err)
		}
		if err := c.store.Store.DeleteTopic(t.Context(), c.topics[1].ID); err != nil {
			t.Error(err)
		}
		return objstoretest.Fault{}
	})
	m := c.merger(Config{})
	if more, err := m.Round(t.Context(), progress()); !more || err != nil {
		t.Fatalf("merged %v, %v", more, err)
	}
	for _, partition := range c.topics[1].Partitions {
		delete(c.want, partition)
	}
	delete(c.want, emptied)
	for i, b := range c.want[trimmed] {
		if b.BaseOffset() >= at {
			// The merged run may begin before the log start; nobody reads that.
			runs := c.runs(t, trimmed)
			if len(runs) != 1 || !runs[0].Merged || runs[0].NextOffset() != c.next[trimmed] {
				t.Errorf("the trimmed partition has %+v", runs)
			}
			if runs[0].BaseOffset == at {
				c.want[trimmed] = c.want[trimmed][i:]
			}
			break
		}
	}
	c.check(t)
	if runs := c.runs(t, emptied); len(runs) > 0 {
		t.Errorf("the emptied partition has %+v", runs)
	}
	c.topics = c.topics[:1]
	c.produceSome(t, seeded(t), 4)
	drain(t, m)
	c.check(t)
}

// eventually tries until attempt returns nil: claims run out by the store's clock.
func eventually(t *testing.T, attempt func() error) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		err := attempt()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
