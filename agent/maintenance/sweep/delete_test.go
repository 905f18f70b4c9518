package sweep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/objstoretest"
)

func TestDeadFilesAreDeletedAfterTheGracePeriod(t *testing.T) {
	run(t, func(c *cluster) {
		dead := c.die(3)
		live := c.commit(1)
		a := c.deleter(nil)
		c.sleep(grace - a.job.Every())
		c.must(a.round(c.Context()))
		c.wantObjects(true, dead...)
		if n := c.remembered(dead...); n != 3 {
			t.Errorf("%d of the 3 files are known before their time", n)
		}
		a.wantMetrics(map[string]float64{"backlog": 0, "files_total": 0})
		c.sleep(2 * a.job.Every())
		c.must(a.round(c.Context()))
		c.wantObjects(false, dead...)
		if n := c.remembered(dead...); n != 0 {
			t.Errorf("%d files are still known", n)
		}
		a.wantMetrics(map[string]float64{"backlog": 0, "backlog_bytes": 0, "files_total": 3, "deleted_bytes_total": 30})
		c.check(live...)
	})
}

// TestLooksAreAsOftenAsTheGracePeriodAsks: with a short one, what is dead must not wait for a minute.
func TestLooksAreAsOftenAsTheGracePeriodAsks(t *testing.T) {
	for grace, want := range map[time.Duration]time.Duration{
		10 * time.Minute: time.Minute, time.Minute: 15 * time.Second, time.Second: time.Second, 0: time.Second,
	} {
		if got := Delete(nil, nil, nil, nil, DeleteConfig{Grace: grace}, [16]byte{}, nil).Every(); got != want {
			t.Errorf("a grace period of %v is looked at every %v, want %v", grace, got, want)
		}
	}
}

// snapshots is when the last one began.
type snapshots struct {
	at  time.Time
	err error
}

func (s *snapshots) LastSnapshot(context.Context) (time.Time, bool, error) {
	return s.at, !s.at.IsZero(), s.err
}

// TestFilesOfTheNewestSnapshotStay: a recovery from it must find them.
func TestFilesOfTheNewestSnapshotStay(t *testing.T) {
	run(t, func(c *cluster) {
		s := &snapshots{}
		a := c.deleter(s)
		before := c.die(1)
		c.sleep(2 * snapshotMargin)
		during := c.die(1) // dies as the snapshot begins, which may not see it
		s.at = time.Now().Add(snapshotMargin / 2)
		c.sleep(snapshotMargin)
		after := c.die(1)
		c.sleep(grace + time.Second)

		last := s.at
		s.at = time.Time{}
		c.must(a.round(c.Context()))
		c.wantObjects(true, before[0], during[0], after[0])
		a.wantMetrics(map[string]float64{"backlog": 3, "backlog_bytes": 30})
		if a.metric("oldest_due_seconds") < 1 {
			t.Errorf("the oldest has been due for %v s", a.metric("oldest_due_seconds"))
		}

		s.err = errors.New("no answer")
		if err := a.round(c.Context()); !errors.Is(err, s.err) {
			t.Errorf("a round that doesn't know the newest snapshot: %v", err)
		}
		c.wantObjects(true, before[0], during[0], after[0])

		s.at, s.err = last, nil
		c.must(a.round(c.Context()))
		c.wantObjects(false, before[0])
		c.wantObjects(true, during[0], after[0])

		s.at = time.Now()
		c.must(a.round(c.Context()))
		c.wantObjects(false, before[0], during[0], after[0])
		a.wantMetrics(map[string]float64{"backlog": 0, "files_total": 3})
	})
}

// TestFilesOfOthersSnapshotsStay: an agent that takes none itself waits for those that others take, as long as
// they seem to.
func TestFilesOfOthersSnapshotsStay(t *testing.T) {
	for name, test := range map[string]struct {
		age    time.Duration // the newest snapshot's by the end; 0 for none
		takes  bool
		delete bool
	}{
		"others take them":                 {age: time.Hour, delete: false},
		"others took them until yesterday": {age: snapshotsOver + time.Second, delete: true},
		"nobody takes any":                 {delete: true},
		"its own are late":                 {takes: true, age: snapshotsOver + time.Second, delete: false},
		"its own are still to come":        {takes: true, delete: false},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(c *cluster) {
				c.sleep(2 * snapshotsOver)
				s := &snapshots{}
				if test.age > 0 {
					s.at = time.Now()
				}
				dead := c.die(1)
				c.sleep(max(test.age, grace+time.Second))
				c.must(c.deleterOf(s, DeleteConfig{Grace: grace, TakesSnapshots: test.takes}).round(c.Context()))
				c.wantObjects(!test.delete, dead...)
			})
		})
	}
}

// TestNothingIsDeletedByAClockThatWentBack before there is a snapshot by that clock: what died since the newest one, which
// names it, seems to have died before.
func TestNothingIsDeletedByAClockThatWentBack(t *testing.T) {
	for _, takes := range []bool{true, false} {
		run(t, func(c *cluster) {
			s := &snapshots{at: time.Now().Add(2 * time.Hour)} // by the former clock
			dead := c.die(1)
			a := c.deleterOf(s, DeleteConfig{Grace: grace, TakesSnapshots: takes})
			c.sleep(time.Hour)
			c.must(a.round(c.Context()))
			c.wantObjects(true, dead...)
			a.wantMetrics(map[string]float64{"backlog": 1})
			s.at = time.Now()
			a.wait()
			c.must(a.round(c.Context()))
			c.wantObjects(false, dead...)
		})
	}
}

func TestStoreThatWentBackInTimeHasNothingDeleted(t *testing.T) {
	run(t, func(c *cluster) {
		back := errors.New("went back")
		c.onward = func(context.Context) error { return back }
		dead := c.die(2)
		a := c.deleter(nil)
		c.must(a.round(c.Context())) // nothing is due
		c.sleep(grace + time.Second)
		if err := a.round(c.Context()); !errors.Is(err, back) {
			t.Errorf("the round ends with %v", err)
		}
		c.wantObjects(true, dead...)
		if n := c.remembered(dead...); n != 2 {
			t.Errorf("%d files are still known, want 2", n)
		}
	})
}

func TestMissingObjectIsNoError(t *testing.T) {
	run(t, func(c *cluster) {
		dead := c.die(2)
		c.must(c.store.Delete(c.Context(), datafile.Key(dead[0])))
		c.sleep(grace + time.Second)
		c.must(c.deleter(nil).round(c.Context()))
		c.wantObjects(false, dead...)
		if n := c.remembered(dead...); n != 0 {
			t.Errorf("%d files are still known", n)
		}
	})
}

func TestManyFilesAreDeletedWithFewRequests(t *testing.T) {
	run(t, func(c *cluster) {
		const files = 2*deleteSlice + 1
		dead := c.die(files)
		live := c.commit(1)
		c.sleep(grace + time.Second)
		a := c.deleter(nil)
		c.must(a.round(c.Context()))
		c.wantObjects(false, dead...)
		c.check(live...)
		if n := c.bucket.Calls(objstoretest.Delete); n != 3 {
			t.Errorf("%d requests, want 3", n)
		}
		a.wantMetrics(map[string]float64{"files_total": files, "deleted_bytes_total": 10 * files, "backlog": 0})
	})
}

// TestObjectThatTheStoreRefusesToDeleteIsInNobodysWay: the others go, it is tried again.
func TestObjectThatTheStoreRefusesToDeleteIsInNobodysWay(t *testing.T) {
	run(t, func(c *cluster) {
		dead := c.die(300)
		refused := map[string]bool{datafile.Key(dead[0]): true, datafile.Key(dead[137]): true}
		c.sleep(grace + time.Second)
		bucket := picky{c.bucket, refused}
		a := c.deleter(nil)
		d := &deleter{store: calls{c}, snapshots: &snapshots{}, bucket: bucket, onward: c.onward, DeleteConfig: DeleteConfig{Grace: grace}, log: discard}
		_, err := d.round(c.Context(), a.p)
		if !errors.Is(err, objstore.ErrConfig) {
			t.Errorf("the round ends with %v", err)
		}
		for _, id := range dead {
			if c.has(id) != refused[datafile.Key(id)] {
				t.Errorf("object %v: is there: %v", id, c.has(id))
			}
		}
		if n := c.remembered(dead...); n != 2 {
			t.Errorf("%d files are still known, want 2", n)
		}
		clear(refused)
		_, err = d.round(c.Context(), a.p)
		c.must(err)
		c.wantObjects(false, dead...)
	})
}

// TestSliceThatTheStoreRefusesToDeleteIsInNobodysWay: what died later goes in the same round.
func TestSliceThatTheStoreRefusesToDeleteIsInNobodysWay(t *testing.T) {
	run(t, func(c *cluster) {
		refused := map[string]bool{}
		c.bucket = objstoretest.NewFaulty(picky{c.store, refused})
		held := c.die(deleteSlice)
		c.sleep(time.Second)
		later := c.die(deleteSlice + 10)
		for _, id := range append(held, later[500]) {
			refused[datafile.Key(id)] = true
		}
		c.sleep(grace + time.Second)
		a := c.deleter(nil)
		if err := a.round(c.Context()); !errors.Is(err, objstore.ErrConfig) {
			t.Errorf("the round ends with %v", err)
		}
		c.wantObjects(true, held...)
		c.wantObjects(true, later[500])
		c.wantObjects(false, slices.Concat(later[:500], later[501:])...)
		if n := c.bucket.Calls(objstoretest.Delete); n > 2*2*maxRefusals {
			t.Errorf("%d requests", n)
		}
		const left = deleteSlice + 1
		a.wantMetrics(map[string]float64{
			"files_total": deleteSlice + 9, "refused_total": left, "backlog": left, "backlog_bytes": 10 * left, "oldest_due_seconds": 2,
		})
	})
}

// picky refuses to delete some objects, and with them whatever is asked for at the same time.
type picky struct {
	objstore.Bucket
	refused map[string]bool
}

func (p picky) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if p.refused[key] {
			return fmt.Errorf("delete %s: %w", key, objstore.ErrConfig)
		}
	}
	return p.Bucket.Delete(ctx, keys...)
}

// TestRefusalsAreBounded: of a store that refuses everything, not every object is asked for.
func TestRefusalsAreBounded(t *testing.T) {
	run(t, func(c *cluster) {
		dead := c.die(1000)
		c.sleep(grace + time.Second)
		c.bucket.Fail(objstoretest.Delete, 1<<30, objstoretest.Fault{Err: objstore.ErrConfig})
		if err := c.deleter(nil).round(c.Context()); !errors.Is(err, objstore.ErrConfig) {
			t.Errorf("the round ends with %v", err)
		}
		if n := c.bucket.Calls(objstoretest.Delete); n > 2*maxRefusals {
			t.Errorf("%d requests", n)
		}
		c.wantObjects(true, dead...)
	})
}

// TestDeletionThatFailsAnywhereIsRepeatable has each step of a round fail, be carried out and fail,
// and be its agent's last. The next round, of this agent or another, deletes what is dead; what
// lives is never touched, and no file is forgotten whose object is there.
func TestDeletionThatFailsAnywhereIsRepeatable(t *testing.T) {
	for _, step := range []string{"AcquireLease", "Now", "DeadFiles", "delete", "ForgetFiles"} {
		for name, kind := range faultKinds {
			t.Run(step+"/"+name, func(t *testing.T) {
				run(t, func(c *cluster) {
					dead := c.die(3)
					live := c.commit(1)
					c.sleep(grace + time.Second)
					a := c.deleter(nil)
					a.spoil(step, kind)
					c.check(live...)
					for _, id := range dead {
						if c.has(id) && c.remembered(id) == 0 {
							t.Error("a file is forgotten whose object is there")
						}
					}
					if kind.killed {
						a = c.deleter(nil)
					}
					a.wait()
					c.must(a.round(c.Context()))
					c.wantObjects(false, dead...)
					if n := c.remembered(dead...); n != 0 {
						t.Errorf("%d files are still known", n)
					}
					c.check(live...)
				})
			})
		}
	}
}

// TestStoreThatAsksToSlowDownIsWaitedFor: a minute of it costs only time.
func TestStoreThatAsksToSlowDownIsWaitedFor(t *testing.T) {
	run(t, func(c *cluster) {
		dead := c.die(2)
		live := c.commit(1)
		c.sleep(grace + time.Second)
		over := time.Now().Add(time.Minute)
		c.bucket.FailUntil(over, objstore.ErrSlowDown)
		a := c.deleter(nil)
		for err := a.round(c.Context()); err != nil; err = a.round(c.Context()) {
			if !errors.Is(err, objstore.ErrSlowDown) || time.Now().After(over) {
				t.Fatalf("%v until the store answers again: %v", time.Until(over), err)
			}
			c.check(append(dead, live...)...)
			c.sleep(10 * time.Second)
		}
		c.wantObjects(false, dead...)
		c.check(live...)
	})
}

// TestTwoAgentsDeleteAtOnce: leases only save work. Here both agents work at once, step by step.
func TestTwoAgentsDeleteAtOnce(t *testing.T) {
	for _, step := range []string{"Now", "DeadFiles", "delete", "ForgetFiles"} {
		t.Run(step, func(t *testing.T) {
			run(t, func(c *cluster) {
				dead := c.die(3)
				live := c.commit(1)
				c.sleep(grace + time.Second)
				a, other := c.deleter(nil), c.deleter(nil)
				inside := false
				hook := func(name string) (f objstoretest.Fault) {
					if name == step && !inside {
						inside = true
						c.must(c.ReleaseLease(c.Context(), a.holder, "delete"))
						c.must(other.round(c.Context()))
					}
					return f
				}
				c.call = hook
				c.bucket.Inject(func(op objstoretest.Op, _ string) objstoretest.Fault { return hook(string(op)) })
				c.must(a.round(c.Context()))
				c.wantObjects(false, dead...)
				if n := c.remembered(dead...); n != 0 {
					t.Errorf("%d files are still known", n)
				}
				c.check(live...)
			})
		})
	}
}

func TestOneAgentOfAllDeletes(t *testing.T) {
	run(t, func(c *cluster) {
		agents := []*agent{c.deleter(nil), c.deleter(nil), c.deleter(nil)}
		looks := 0
		c.call = func(name string) (f objstoretest.Fault) {
			if name == "DeadFiles" {
				looks++
			}
			return f
		}
		for range 10 {
			for _, a := range agents {
				c.must(a.round(c.Context()))
			}
			agents[0].wait()
		}
		if looks != 10 {
			t.Errorf("3 agents looked %d times in 10 intervals", looks)
		}
	})
}

// TestBacklogIsShownByTheAgentThatLooks: what the others saw is long over.
func TestBacklogIsShownByTheAgentThatLooks(t *testing.T) {
	run(t, func(c *cluster) {
		s := &snapshots{at: time.Now()} // nothing may be deleted before the next
		dead := c.die(3)
		a, other := c.deleter(s), c.deleter(s)
		c.sleep(grace + time.Second)
		c.must(a.round(c.Context()))
		a.wantMetrics(map[string]float64{"backlog": 3, "backlog_bytes": 30, "oldest_due_seconds": 1})
		a.wait()
		c.must(other.round(c.Context()))
		c.must(a.round(c.Context()))
		a.wantMetrics(map[string]float64{"backlog": 0, "backlog_bytes": 0, "oldest_due_seconds": 0})
		c.sleep(time.Hour) // other is paused
		other.wantMetrics(map[string]float64{"backlog": 3, "backlog_bytes": 30, "oldest_due_seconds": (time.Hour + a.job.Every() + time.Second).Seconds()})
		c.wantObjects(true, dead...)
	})
}

// TestAgentsClocksDontCount has the metadata store's clock two hours off the agents', both ways.
func TestAgentsClocksDontCount(t *testing.T) {
	for _, skew := range []time.Duration{-2 * time.Hour, 2 * time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			run(t, func(c *cluster) {
				c.skew = skew
				s := &snapshots{}
				a := c.deleter(s)
				dead := c.die(1)
				live := c.commit(1)
				c.sleep(snapshotMargin + time.Second)
				s.at = c.now()
				c.sleep(grace - snapshotMargin - 2*time.Second)
				c.must(a.round(c.Context()))
				c.check(append(dead, live...)...)
				c.sleep(2 * time.Second)
				c.must(a.round(c.Context()))
				c.wantObjects(false, dead...)
				c.check(live...)
			})
		})
	}
}
