package compact

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
)

// steps are the calls that compaction makes of its stores.
var steps = []string{
	"Compactions", "FindRuns", "AcquireLease", "ReleaseLease", "ReplaceRuns", "FinishCompactions", string(objstoretest.Get), string(objstoretest.Put),
}

// inject lets the n-th call of the step fail: not carried out, or carried out without an answer. If the agent is
// killed by it, no later call of it is carried out either. fired reports whether it happened.
func (w *world) inject(step string, n int, persisted, killed bool) (fired func() bool) {
	var mu sync.Mutex
	calls, dead, done := 0, false, false
	at := func(name string, after bool) error {
		mu.Lock()
		defer mu.Unlock()
		if dead {
			return context.Canceled
		}
		if name != step || after != persisted {
			return nil
		}
		if calls++; calls != n {
			return nil
		}
		done, dead = true, killed
		switch {
		case killed:
			return context.Canceled
		case persisted:
			return metadata.ErrOutcomeUnknown
		}
		return metadata.ErrUnavailable
	}
	w.store.before = func(call string) error { return at(call, false) }
	w.store.after = func(call string) error { return at(call, true) }
	w.bucket.Inject(func(op objstoretest.Op, _ string) objstoretest.Fault {
		if err := at(string(op), false); err != nil {
			return objstoretest.Fault{Err: err}
		}
		err := at(string(op), true)
		return objstoretest.Fault{Err: err, Persisted: err != nil}
	})
	return func() bool {
		w.store.before, w.store.after = nil, nil
		w.bucket.Inject(nil)
		return done
	}
}

// fold is what a consumer knows that reads everything.
func (w *world) fold(topic metadata.Topic) map[string]string {
	w.Helper()
	known := map[string]string{}
	for index, id := range topic.Partitions {
		for _, r := range w.read(id, 0, true) {
			if key := fmt.Sprint(index, " ", string(r.Key)); r.Value == nil {
				delete(known, key)
			} else {
				known[key] = string(r.Value)
			}
		}
	}
	return known
}

// busyLog has a bit of everything, in three partitions.
func busyLog(w *world) metadata.Topic {
	topic := w.topic("t", 3, "delete.retention.ms", "0")
	p := w.producer("p")
	for round := range 4 {
		var batches []placed
		for index := range int32(3) {
			id := topic.Partitions[index]
			batches = append(batches,
				placed{topic, index, w.batch(protocol.CodecZstd, kv("a", fmt.Sprint(round)), kv(fmt.Sprint(round), "v"))},
				placed{topic, index, w.by(*p, true, id, w.batch(protocol.CodecNone, kv("b", fmt.Sprint(round)), tombstone(fmt.Sprint(round-1))))})
		}
		w.produce(batches...)
		w.end("p", p, round%2 == 0)
	}
	return topic
}

// TestEveryStepMayFail fails each call that compaction makes, in each way. Consumers never notice, and another agent finishes
// the work.
func TestEveryStepMayFail(t *testing.T) {
	for _, large := range []bool{false, true} {
		for _, step := range steps {
			for _, persisted := range []bool{false, true} {
				for _, killed := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/large=%v,persisted=%v,killed=%v", step, large, persisted, killed), func(t *testing.T) {
						t.Parallel()
						fired := 0
						for n := 1; n <= 3; n++ {
							inWorld(t, func(w *world) {
								if w.failOnce(large, step, n, persisted, killed) {
									fired++
								}
							})
						}
						if fired == 0 {
							t.Error("no such call was made")
						}
					})
				}
			}
		}
	}
}

func (w *world) failOnce(large bool, step string, n int, persisted, killed bool) bool {
	topic := busyLog(w)
	want := w.fold(topic)
	agent := func() *Compactor {
		c := w.compactor(5)
		c.log = silent
		if large {
			c.config.WindowBytes, c.config.FileBytes, c.slice = 1, 1, 500
		}
		return c
	}
	first := agent()
	fired := w.inject(step, n, persisted, killed)
	failures := 0
	for range 60 { // rounds; a failed one is tried again, as the runner does, unless the agent is dead
		more, err := first.Round(w.Context(), w.progress)
		if err != nil {
			if failures++; killed {
				break
			}
			continue
		}
		if !more {
			break
		}
	}
	did := fired()
	if got := w.fold(topic); !maps.Equal(got, want) {
		w.Fatalf("call %d: after it consumers know %v, want %v", n, got, want)
	}
	w.wait(2 * time.Hour) // leases and waits are over
	second := agent()
	w.compact(second)
	if got := w.fold(topic); !maps.Equal(got, want) {
		w.Fatalf("call %d: in the end consumers know %v, want %v", n, got, want)
	}
	for _, id := range topic.Partitions {
		b := w.bounds(id)
		w.checkRows(id, b)
		if b.CleanUntil != b.NextOffset {
			w.Errorf("call %d: partition %d is clean to %d of %d", n, id, b.CleanUntil, b.NextOffset)
		}
		seen := map[string]bool{}
		for _, r := range w.read(id, 0, false) {
			if seen[string(r.Key)] {
				w.Errorf("call %d: two records of key %q stay", n, r.Key)
			}
			seen[string(r.Key)] = true
		}
	}
	return did
}

// TestTwoAgentsOnOnePartition work as if there were no leases.
func TestTwoAgentsOnOnePartition(t *testing.T) {
	for _, large := range []bool{false, true} {
		t.Run(fmt.Sprint("large=", large), func(t *testing.T) {
			inWorld(t, func(w *world) {
				topic := busyLog(w)
				want := w.fold(topic)
				var agents sync.WaitGroup
				for i := range 3 {
					c := New(leaseless{w.store}, w.bucket, w.topics, defaults, uuid.New(), Config{KeyBytes: int64(100 + 300*i), WindowBytes: 1 << 20, FileBytes: 1 << 20}, silent)
					if large {
						c.config.WindowBytes, c.config.FileBytes, c.slice = 1, 1, 500
					}
					agents.Go(func() {
						for range 100 {
							if _, err := c.Round(w.Context(), w.progress); err != nil {
								w.Error(err)
							}
						}
					})
				}
				agents.Wait()
				if got := w.fold(topic); !maps.Equal(got, want) {
					t.Errorf("consumers know %v, want %v", got, want)
				}
				for _, id := range topic.Partitions {
					b := w.bounds(id)
					w.checkRows(id, b)
					if b.CleanUntil != b.NextOffset {
						t.Errorf("partition %d is clean to %d of %d", id, b.CleanUntil, b.NextOffset)
					}
				}
			})
		})
	}
}

type leaseless struct{ *faultyStore }

func (leaseless) AcquireLease(context.Context, uuid.UUID, string, time.Duration) (bool, error) {
	return true, nil
}

func TestOneAgentAtATimeByLease(t *testing.T) {
	inWorld(t, func(w *world) {
		topic := busyLog(w)
		other := uuid.New()
		held := topic.Partitions[1]
		name := fmt.Sprintf("compact/%d", held)
		if ok, err := w.store.AcquireLease(w.Context(), other, name, leasePeriod); !ok || err != nil {
			t.Fatal(ok, err)
		}
		c := w.compactor(100)
		w.compact(c)
		for i, id := range topic.Partitions {
			if b := w.bounds(id); (b.CleanUntil > 0) != (id != held) {
				t.Errorf("partition %d is clean to %d", i, b.CleanUntil)
			}
		}
		w.wait(time.Hour)
		w.compact(c)
		if b := w.bounds(held); b.CleanUntil != b.NextOffset {
			t.Errorf("clean to %d", b.CleanUntil)
		}
	})
}

// TestAPassStaysWithItsAgentWhileOthersHaveTheirTurn runs an agent whose rounds wait for twice as long as a lease lasts, beside one
// that has nothing else to do.
func TestAPassStaysWithItsAgentWhileOthersHaveTheirTurn(t *testing.T) {
	inWorld(t, func(w *world) {
		first, second := w.largePass(), w.agent()
		var agents sync.WaitGroup
		ctx, stop := context.WithTimeout(w.Context(), time.Hour)
		defer stop()
		agents.Go(func() { w.run(ctx, never, first.job(), busy(2*leasePeriod)) })
		w.waitFor(ctx, func() bool { return first.rounds.Load() > 0 })
		agents.Go(func() { w.run(ctx, never, second.job()) })
		w.waitFor(ctx, func() bool { return first.finished.Load()+second.finished.Load() > 0 })
		w.wait(5 * time.Minute) // in which nobody begins anew
		stop()
		agents.Wait()
		if first.rounds.Load() < 4 || first.finished.Load() != 1 || second.finished.Load() != 0 {
			t.Errorf("%d rounds and %d passes of the first agent, %d passes of the second", first.rounds.Load(), first.finished.Load(), second.finished.Load())
		}
		w.checkLargePass(first.topic)
	})
}

// TestAPassGoesToAnotherAgentWhenItsOwnDoesNotGoOn in each way in which it may not.
func TestAPassGoesToAnotherAgentWhenItsOwnDoesNotGoOn(t *testing.T) {
	for _, c := range []struct {
		name string
		// turn is how long other work of the first agent takes each time, within how long the second must be done.
		turn, within  time.Duration
		stops, pauses bool
	}{
		{name: "stopped", turn: time.Minute, within: leasePeriod + 30*time.Second, stops: true},
		{name: "paused", turn: time.Minute, within: leasePeriod + 30*time.Second, pauses: true},
		{name: "its turn doesn't come", turn: 24 * time.Hour, within: longestWait + leasePeriod + 30*time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				first, second := w.largePass(), w.agent()
				var agents sync.WaitGroup
				ctx, stop := context.WithTimeout(w.Context(), 2*time.Hour)
				defer stop()
				firstCtx, stopFirst := context.WithCancel(ctx)
				defer stopFirst()
				var paused atomic.Bool
				agents.Go(func() {
					w.run(firstCtx, func() []string {
						if paused.Load() {
							return []string{"compact"}
						}
						return nil
					}, first.job(), busy(c.turn))
				})
				w.waitFor(ctx, func() bool { return first.rounds.Load() > 0 })
				if c.stops {
					stopFirst()
				}
				paused.Store(c.pauses)
				began := time.Now()
				agents.Go(func() { w.run(ctx, never, second.job()) })
				w.waitFor(ctx, func() bool { return second.finished.Load() > 0 })
				if took := time.Since(began); took > c.within {
					t.Errorf("the second agent was done after %v", took)
				}
				paused.Store(false)
				w.wait(5 * time.Minute) // in which the first one goes on, if it can
				stop()
				agents.Wait()
				if first.finished.Load() != 0 || second.finished.Load() != 1 {
					t.Errorf("%d passes of the first agent, %d of the second", first.finished.Load(), second.finished.Load())
				}
				w.checkLargePass(first.topic)
			})
		})
	}
}

// agent is a compaction whose rounds and passes are counted.
type agent struct {
	*Compactor
	w                *world
	topic            metadata.Topic
	rounds, finished atomic.Int64
}

func (w *world) agent() *agent {
	a := &agent{Compactor: w.compactor(100), w: w}
	a.config.WindowBytes, a.slice = 1, 300 // large is everything
	a.store = countingStore{w.store, &a.finished}
	return a
}

type countingStore struct {
	*faultyStore
	finished *atomic.Int64
}

func (s countingStore) FinishCompactions(ctx context.Context, finished []metadata.CompactedUntil) ([]metadata.Commit, error) {
	s.finished.Add(1)
	return s.faultyStore.FinishCompactions(ctx, finished)
}

// largePass returns an agent that needs some rounds for the partition of its topic.
func (w *world) largePass() *agent {
	a := w.agent()
	a.topic = w.topic("t", 1)
	for i := range 10 {
		w.put(a.topic, kv("a", fmt.Sprint(i)), kv(fmt.Sprint(i), "1"))
	}
	return a
}

func (w *world) checkLargePass(topic metadata.Topic) {
	w.Helper()
	if b := w.bounds(topic.Partitions[0]); b.CleanUntil != b.NextOffset {
		w.Errorf("clean to %d of %d", b.CleanUntil, b.NextOffset)
	}
	if records := w.read(topic.Partitions[0], 0, true); len(records) != 11 {
		w.Errorf("%d records", len(records))
	}
}

func (a *agent) job() maintenance.Job {
	return maintenance.Job{Name: "compact", Heavy: true, Every: every(5 * time.Second), Waits: a.KeepLease, Round: func(ctx context.Context, p *maintenance.Progress) (bool, error) {
		defer a.rounds.Add(1)
		defer a.w.wait(time.Second) // in which who wants the turn next gets in line
		return a.Round(ctx, p)
	}}
}

// waitFor waits until it is so, or ctx ends.
func (w *world) waitFor(ctx context.Context, isSo func() bool) {
	for !isSo() && ctx.Err() == nil {
		w.wait(time.Second)
	}
}

// busy is another heavy job, which has the turn first, for a minute, and later for so long each time.
func busy(d time.Duration) maintenance.Job {
	takes := time.Minute
	return maintenance.Job{Name: "busy", Heavy: true, Every: every(time.Second), Round: func(ctx context.Context, _ *maintenance.Progress) (bool, error) {
		select {
		case <-time.After(takes):
			takes = d
			return true, nil
		case <-ctx.Done():
			return true, ctx.Err()
		}
	}}
}

func every(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

func never() []string { return nil }

// run runs an agent's jobs until ctx ends.
func (w *world) run(ctx context.Context, paused func() []string, jobs ...maintenance.Job) {
	maintenance.NewRunner(jobs, paused, 0, maintenance.NewMetrics(prometheus.NewRegistry()), silent).Run(ctx)
}

// damage changes a file's object, or deletes it.
func (w *world) damage(id uuid.UUID, change func([]byte) []byte) {
	w.Helper()
	key := datafile.Key(id)
	body, err := w.bucket.Get(w.Context(), key, 0, -1)
	if err == nil {
		err = w.bucket.Delete(w.Context(), key)
	}
	if body = change(slices.Clone(body)); err == nil && body != nil {
		err = w.bucket.Put(w.Context(), key, body)
	}
	if err != nil {
		w.Fatal(err)
	}
}

func TestDamageStopsItsPartitionAlone(t *testing.T) {
	for _, c := range []struct {
		name   string
		clean  bool // whether a pass had cleaned what is then damaged
		change func(b []byte, r metadata.Run) []byte
	}{
		{"corrupt", false, func(b []byte, r metadata.Run) []byte { b[r.Position+30]++; return b }},
		{"missing", false, func([]byte, metadata.Run) []byte { return nil }},
		{"short", false, func(b []byte, r metadata.Run) []byte { return b[:r.Position+20] }},
		{"corrupt since the last pass", true, func(b []byte, r metadata.Run) []byte { b[r.Position+30]++; return b }},
		{"missing since the last pass", true, func([]byte, metadata.Run) []byte { return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				topic := w.topic("t", 3)
				compactor := w.compactor(100)
				compactor.log = silent
				w.put(topic, kv("a", "0"), kv("b", "0")) // of partition 0 alone
				if c.clean {
					w.compact(compactor)
				}
				runs, _ := w.runsFrom(topic.Partitions[0], 0)
				w.damage(runs[0].FileID, func(b []byte) []byte { return c.change(b, runs[0]) })
				for i := range 3 {
					var batches []placed
					for index := range int32(3) {
						batches = append(batches, placed{topic, index, w.batch(protocol.CodecNone, kv("a", fmt.Sprint(i)))})
					}
					w.produce(batches...)
				}
				w.compact(compactor)
				w.wantRecords(topic, 1, "2:a=2")
				w.wantRecords(topic, 2, "2:a=2")
				if got, _ := w.runsFrom(topic.Partitions[0], 0); got[0] != runs[0] || len(got) != 4 {
					t.Errorf("runs of the damaged partition: %v", got)
				}
				if n := w.metric("wadi_job_damaged_total"); n != 1 {
					t.Errorf("%v counted as damaged", n)
				}
				// It is not tried all the time.
				gets := w.bucket.Calls(objstoretest.Get)
				w.compact(compactor)
				if n := w.bucket.Calls(objstoretest.Get) - gets; n != 0 {
					t.Errorf("%d reads of what is damaged, at once", n)
				}
				w.wait(firstWait + time.Second)
				w.compact(compactor)
				if n := w.metric("wadi_job_damaged_total"); n != 2 {
					t.Errorf("%v counted as damaged after a while", n)
				}
			})
		})
	}
}

// A batch whose checksum is right may still not decompress: topics that are not compacted never look.
func TestRecordsThatDoNotDecompressAreDamage(t *testing.T) {
	inWorld(t, func(w *world) {
		topic := w.topic("t", 2, "cleanup.policy", "delete")
		bad := w.batch(protocol.CodecNone, kv("a", "1"))
		bad[22] |= byte(protocol.CodecGzip)
		bad.SetLogAppendTime(time.Now().UnixMilli()) // seals it
		w.produce(placed{topic, 0, bad}, placed{topic, 1, w.batch(protocol.CodecNone, kv("a", "1"))})
		w.produce(placed{topic, 1, w.batch(protocol.CodecNone, kv("a", "2"))})
		w.configure(topic, "cleanup.policy", "compact")
		c := w.compactor(100)
		c.log = silent
		w.compact(c)
		w.wantRecords(topic, 1, "1:a=2")
		if n := w.metric("wadi_job_damaged_total"); n != 1 {
			t.Errorf("%v counted as damaged", n)
		}
	})
}

// A minute in which the object store asks to slow down costs only time: consumers read what they did, nothing counts as
// damaged, and the work is done afterwards.
func TestStoreThatAsksToSlowDownIsWaitedFor(t *testing.T) {
	inWorld(t, func(w *world) {
		topic := busyLog(w)
		want := w.fold(topic)
		over := time.Now().Add(time.Minute)
		w.bucket.FailUntil(over, objstore.ErrSlowDown)
		c := w.compactor(100)
		c.log = silent
		refused := 0
		for time.Now().Before(over) {
			if _, err := c.Round(w.Context(), w.progress); errors.Is(err, objstore.ErrSlowDown) {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
			w.wait(10 * time.Second)
		}
		if refused == 0 {
			t.Error("no round met the store")
		}
		w.wait(firstWait + time.Second)
		w.compact(c)
		if n := w.metric("wadi_job_damaged_total"); n != 0 {
			t.Errorf("%v counted as damaged", n)
		}
		if got := w.fold(topic); !maps.Equal(got, want) {
			t.Errorf("read %v, want %v", got, want)
		}
		for i, id := range topic.Partitions {
			if b := w.bounds(id); b.CleanUntil != b.NextOffset {
				t.Errorf("partition %d of %d records is clean to %d", i, b.NextOffset, b.CleanUntil)
			}
		}
	})
}

// The object of a run that was replaced long ago may be gone when an agent that was slow comes to read it.
func TestObjectsThatWereDeletedMeanwhileAreNoDamage(t *testing.T) {
	inWorld(t, func(w *world) {
		topic := w.topic("t", 1)
		for i := range 3 {
			w.put(topic, kv("a", fmt.Sprint(i)))
		}
		var merged atomic.Bool
		w.bucket.Inject(func(op objstoretest.Op, key string) objstoretest.Fault {
			if op != objstoretest.Get || merged.Swap(true) {
				return objstoretest.Fault{}
			}
			runs, _ := w.runsFrom(topic.Partitions[0], 0)
			w.mergeInto(topic, 0, runs)
			return objstoretest.Fault{Err: objstore.ErrNotFound}
		})
		c := w.compactor(100)
		w.compact(c)
		if n := w.metric("wadi_job_damaged_total"); n != 0 {
			t.Errorf("%v counted as damaged", n)
		}
		w.compact(c)
		w.wantRecords(topic, 0, "2:a=2")
	})
}

// What may be everybody's fault ends the round, and the partition that met it is not the first one again.
func TestAPartitionThatCannotBeReadDoesNotHoldUpTheOthers(t *testing.T) {
	inWorld(t, func(w *world) {
		first, second := w.topic("a", 1), w.topic("b", 1)
		for i := range 3 {
			w.put(first, kv("a", fmt.Sprint(i)))
			w.put(second, kv("a", fmt.Sprint(i)))
		}
		runs, _ := w.runsFrom(first.Partitions[0], 0)
		broken := errors.New("this one key is refused")
		w.bucket.Inject(func(op objstoretest.Op, key string) objstoretest.Fault {
			if key == datafile.Key(runs[0].FileID) {
				return objstoretest.Fault{Err: broken}
			}
			return objstoretest.Fault{}
		})
		c := w.compactor(100)
		_, err := c.Round(w.Context(), w.progress)
		if !errors.Is(err, broken) && err != nil {
			t.Fatal(err)
		}
		if err == nil {
			_, err = c.Round(w.Context(), w.progress)
		}
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		w.compact(c)
		w.wantRecords(second, 0, "2:a=2")
	})
}
