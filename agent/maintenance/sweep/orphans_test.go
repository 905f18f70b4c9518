package sweep

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/objstoretest"
)

// TestOrphansAreDeletedWhenTheirHourIsLongOver: before that a file might still be committed.
func TestOrphansAreDeletedWhenTheirHourIsLongOver(t *testing.T) {
	run(t, func(c *cluster) {
		c.sleep(30 * time.Minute) // of the first hour
		orphan := c.put(time.Now())
		live := c.commit(1)
		a := c.sweeper()
		c.sleep(30*time.Minute + orphanAge) // the hour has been over for an hour, to the second
		next := c.put(time.Now())
		c.must(a.round(c.Context()))
		c.wantObjects(true, orphan, next)
		c.sleep(time.Second)
		c.must(a.round(c.Context()))
		c.wantObjects(false, orphan)
		c.wantObjects(true, next)
		c.check(live...)
		a.wantMetrics(map[string]float64{"files_total": 1, "deleted_bytes_total": 10, "backlog": 0})
		if !strings.Contains(c.logged.String(), "files=1 bytes=10") {
			t.Errorf("not in the log:\n%s", c.logged.String())
		}
	})
}

// TestDeadFilesAreNoOrphans: they have a grace period, and readers.
func TestDeadFilesAreNoOrphans(t *testing.T) {
	run(t, func(c *cluster) {
		dead := c.die(2)
		c.sleep(24 * time.Hour)
		c.must(c.sweeper().round(c.Context()))
		c.wantObjects(true, dead...)
	})
}

// TestObjectsOfOthersAreLeftAlone and reported once, until there are others.
func TestObjectsOfOthersAreLeftAlone(t *testing.T) {
	run(t, func(c *cluster) {
		id := c.newID(time.Now())
		foreign := []string{
			"data/3f/2000010100/notes.txt", "data/README", "data/zz/" + id.String(),
			strings.Replace(datafile.Key(id), "/2000010100/", "/2000010101/", 1), // its ID, under another hour
			"data/00/2000010100/" + uuid.New().String(),                          // no UUIDv7
			"snapshots/2000/manifest", "elsewhere",
		}
		for _, key := range foreign {
			c.must(c.store.Put(c.Context(), key, []byte("x")))
		}
		orphan := c.put(time.Now())
		c.sleep(3 * time.Hour)
		a := c.sweeper()
		reports := func() int { return strings.Count(c.logged.String(), "left alone") }
		for range 3 {
			c.must(a.round(c.Context()))
		}
		c.wantObjects(false, orphan)
		slices.Sort(foreign)
		if got := c.keys(); !slices.Equal(got, foreign) {
			t.Errorf("left are %q, want %q", got, foreign)
		}
		if n := reports(); n != 1 || !strings.Contains(c.logged.String(), "objects=5") {
			t.Errorf("reported %d times, want once, 5 objects:\n%s", n, c.logged.String())
		}
		c.must(c.store.Put(c.Context(), "data/another", []byte("x")))
		c.must(a.round(c.Context()))
		if n := reports(); n != 2 {
			t.Errorf("one more is not reported:\n%s", c.logged.String())
		}
	})
}

func TestManyFilesAreAskedForAtOnce(t *testing.T) {
	run(t, func(c *cluster) {
		var orphans []uuid.UUID
		for range 2*askSlice + 1 {
			orphans = append(orphans, c.put(time.Now()))
		}
		live := c.commit(1)
		c.sleep(3 * time.Hour)
		asked := 0
		c.call = func(name string) (f objstoretest.Fault) {
			if name == "KnownFiles" {
				asked++
			}
			return f
		}
		a := c.sweeper()
		c.must(a.round(c.Context()))
		c.wantObjects(false, orphans...)
		c.check(live...)
		if n := c.bucket.Calls(objstoretest.Delete); asked != 3 || n != 3 {
			t.Errorf("the metadata store was asked %d times, the object store to delete %d times; want 3", asked, n)
		}
		a.wantMetrics(map[string]float64{"files_total": 2*askSlice + 1})
	})
}

// TestOrphanThatTheStoreRefusesToDeleteIsInNobodysWay: the walk goes on, ends well, and is told of.
func TestOrphanThatTheStoreRefusesToDeleteIsInNobodysWay(t *testing.T) {
	run(t, func(c *cluster) {
		refused := map[string]bool{}
		c.bucket = objstoretest.NewFaulty(picky{c.store, refused})
		var ids []uuid.UUID
		for range 100 {
			ids = append(ids, c.put(time.Now()))
		}
		refused[datafile.Key(ids[42])] = true
		probe := c.probe()
		c.sleep(probeAge + time.Hour)
		a, other := c.sweeper(), c.sweeper()
		c.must(a.round(c.Context()))
		for i, id := range ids {
			if c.has(id) != (i == 42) {
				t.Errorf("orphan %d: is there: %v", i, c.has(id))
			}
		}
		a.wantMetrics(map[string]float64{"files_total": 99, "refused_total": 1, "backlog": 1, "backlog_bytes": 10, "oldest_due_seconds": (probeAge - time.Hour).Seconds()})
		if !strings.Contains(c.logged.String(), "files=1 error=") {
			t.Errorf("not in the log:\n%s", c.logged.String())
		}
		if slices.Contains(c.keys(), probe) {
			t.Error("leftovers of agents stayed")
		}
		lists := c.bucket.Calls(objstoretest.List)
		c.must(other.round(c.Context()))
		if n := c.bucket.Calls(objstoretest.List); n != lists {
			t.Errorf("the next agent walks at once")
		}
		clear(refused)
		c.must(a.round(c.Context()))
		c.wantObjects(false, ids...)
		a.wantMetrics(map[string]float64{"backlog": 0, "backlog_bytes": 0, "oldest_due_seconds": 0})
	})
}

// TestStoreThatRefusesToDeleteAnyOrphanIsAskedALittle: not for every object, and not by a walk after the other.
func TestStoreThatRefusesToDeleteAnyOrphanIsAskedALittle(t *testing.T) {
	run(t, func(c *cluster) {
		var ids []uuid.UUID
		for range 2 * askSlice {
			ids = append(ids, c.put(time.Now()))
		}
		c.sleep(3 * time.Hour)
		c.bucket.Fail(objstoretest.Delete, 1<<30, objstoretest.Fault{Err: objstore.ErrConfig})
		a := c.sweeper()
		c.must(a.round(c.Context()))
		c.wantObjects(true, ids...)
		if n := c.bucket.Calls(objstoretest.Delete); n > 2*2*maxRefusals {
			t.Errorf("%d requests", n)
		}
		a.wantMetrics(map[string]float64{"files_total": 0, "refused_total": 2 * askSlice, "backlog": 2 * askSlice})
	})
}

// TestWalkThatFailsIsLeftToAnotherAgent, and leftovers go all the same.
func TestWalkThatFailsIsLeftToAnotherAgent(t *testing.T) {
	for _, step := range []string{"list", "KnownFiles", "delete"} {
		for name, kind := range faultKinds {
			t.Run(step+"/"+name, func(t *testing.T) {
				run(t, func(c *cluster) {
					probe := c.probe()
					orphan := c.put(time.Now())
					c.sleep(probeAge + time.Second)
					a, other := c.sweeper(), c.sweeper()
					a.spoil(step, kind)
					if left := slices.Contains(c.keys(), probe); left != kind.killed {
						t.Errorf("leftovers of agents are there: %v", left)
					}
					lists := c.bucket.Calls(objstoretest.List)
					c.must(other.round(c.Context()))
					c.wantObjects(false, orphan)
					if c.bucket.Calls(objstoretest.List) == lists {
						t.Error("the next agent doesn't walk")
					}
				})
			})
		}
	}
}

// TestLeftoversOfAgentsThatDiedAreRemoved: what they tried out the store with, and uploads.
func TestLeftoversOfAgentsThatDiedAreRemoved(t *testing.T) {
	run(t, func(c *cluster) {
		c.must(c.store.Put(c.Context(), objstore.ProbePrefix+"old", []byte("x")))
		c.sleep(probeAge + time.Second)
		c.must(c.store.Put(c.Context(), objstore.ProbePrefix+"young", []byte("x")))
		uploads := &uploading{Bucket: c.bucket}
		a := c.sweeper()
		o := &orphans{store: calls{c}, bucket: uploads, onward: c.onward, every: time.Hour, log: discard}
		_, err := o.round(c.Context(), a.p)
		c.must(err)
		if got := c.keys(); !slices.Equal(got, []string{objstore.ProbePrefix + "young"}) {
			t.Errorf("left are %q", got)
		}
		if uploads.prefix != "data/" || uploads.age != 24*time.Hour {
			t.Errorf("uploads of %q are aborted after %v", uploads.prefix, uploads.age)
		}
		// A store that can't do that costs no second walk.
		uploads.err = errInjected
		_, err = o.round(c.Context(), a.p)
		c.must(err)
	})
}

type uploading struct {
	objstore.Bucket
	prefix string
	age    time.Duration
	err    error
}

func (u *uploading) AbortUploads(_ context.Context, prefix string, age time.Duration) (int, error) {
	u.prefix, u.age = prefix, age
	return 1, u.err
}

// TestSweepThatFailsAnywhereIsRepeatable has each step of a walk fail, be carried out and fail, and be
// its agent's last. What lives is never touched; the next walk, of this agent or another, deletes the orphans.
func TestSweepThatFailsAnywhereIsRepeatable(t *testing.T) {
	for _, step := range []string{"AcquireLease", "Now", "list", "KnownFiles", "delete"} {
		for name, kind := range faultKinds {
			t.Run(step+"/"+name, func(t *testing.T) {
				run(t, func(c *cluster) {
					orphans := []uuid.UUID{c.put(time.Now()), c.put(time.Now())}
					live := c.commit(1)
					c.sleep(3 * time.Hour)
					young := c.put(time.Now())
					a := c.sweeper()
					a.spoil(step, kind)
					c.check(live...)
					c.wantObjects(true, young)
					if kind.killed {
						a = c.sweeper()
					}
					a.wait()
					c.must(a.round(c.Context()))
					c.wantObjects(false, append(orphans, young)...)
					c.check(live...)
				})
			})
		}
	}
}

// TestAnswerOfSlowDownCostsOnlyTime, wherever in the walk it comes.
func TestAnswerOfSlowDownCostsOnlyTime(t *testing.T) {
	run(t, func(c *cluster) {
		orphan := c.put(time.Now())
		live := c.commit(1)
		c.sleep(3 * time.Hour)
		over := time.Now().Add(time.Minute)
		c.bucket.FailUntil(over, objstore.ErrSlowDown)
		a := c.sweeper()
		for err := a.round(c.Context()); err != nil; err = a.round(c.Context()) {
			if !errors.Is(err, objstore.ErrSlowDown) || time.Now().After(over) {
				t.Fatalf("%v until the store answers again: %v", time.Until(over), err)
			}
			c.sleep(10 * time.Second)
		}
		c.wantObjects(false, orphan)
		c.check(live...)
	})
}

// TestStoreThatWentBackInTimeHasNoOrphans: what it doesn't know may be what it has lost. It may go back before a
// walk or in the midst of one.
func TestStoreThatWentBackInTimeHasNoOrphans(t *testing.T) {
	for name, from := range map[string]int{"before": 1, "meanwhile": 2} {
		t.Run(name, func(t *testing.T) {
			run(t, func(c *cluster) {
				back, asked := errors.New("went back"), 0
				c.onward = func(context.Context) error {
					if asked++; asked < from {
						return nil
					}
					return back
				}
				orphan := c.put(time.Now())
				c.sleep(3 * time.Hour)
				if err := c.sweeper().round(c.Context()); !errors.Is(err, back) {
					t.Errorf("the round ends with %v", err)
				}
				c.wantObjects(true, orphan)
			})
		})
	}
}

// TestFileIsNotCommittedOnceItMayBeSwept holds the two rules together: when the sweeper first looks at an
// object, the metadata store has long refused to commit it; and what it commits the sweeper leaves alone.
func TestFileIsNotCommittedOnceItMayBeSwept(t *testing.T) {
	run(t, func(c *cluster) {
		a := c.sweeper()
		id := c.put(time.Now())
		for range 150 {
			c.sleep(time.Minute)
			c.must(a.round(c.Context()))
			if c.has(id) {
				continue
			}
			result, err := c.CommitFiles(c.Context(), []metadata.File{c.file(id)})
			c.must(err)
			if err := result.Files[0].Outcomes[0][0].Err; !errors.Is(err, metadata.ErrFileTooOld) {
				t.Fatalf("a file whose object was swept is committed: %v", err)
			}
			return
		}
		t.Error("an orphan is not swept within two and a half hours")
	})
}

// TestSweepersClocksDontCount has the metadata store's clock two hours off the agents', both ways.
func TestSweepersClocksDontCount(t *testing.T) {
	for _, skew := range []time.Duration{-2 * time.Hour, 2 * time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			run(t, func(c *cluster) {
				c.sleep(24 * time.Hour)
				c.skew = skew
				young := c.put(c.now().Add(-time.Hour + time.Second))
				ahead := c.put(c.now().Add(2 * time.Hour)) // of an agent whose clock is ahead
				old := c.put(c.now().Add(-2*time.Hour - time.Second))
				c.must(c.sweeper().round(c.Context()))
				c.wantObjects(true, young, ahead)
				c.wantObjects(false, old)
			})
		})
	}
}
