package fetch

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

func mergedTestRun(p metadata.PartitionID, base int64, records, size int32) metadata.Run {
	r := testRun(p, base, records, size)
	r.Merged = true
	return r
}

// TestTailLearnsNoMergedRuns: of what the store answers it takes the runs behind them, and the
// aborted transactions that end there.
func TestTailLearnsNoMergedRuns(t *testing.T) {
	early, late := aborted(5, 12, 13), aborted(21, 24, 25)
	for name, c := range map[string]struct {
		runs    []metadata.Run
		start   int64
		bases   []int64
		aborted []metadata.AbortedTransaction
	}{
		"none":    {[]metadata.Run{mergedTestRun(1, 0, 20, 10), mergedTestRun(1, 20, 10, 10)}, 30, nil, nil},
		"some":    {[]metadata.Run{mergedTestRun(1, 0, 20, 10), testRun(1, 20, 4, 10), abortRun(1, 24), testRun(1, 25, 5, 10)}, 20, []int64{20, 24, 25}, []metadata.AbortedTransaction{late}},
		"all":     {[]metadata.Run{testRun(1, 10, 2, 10), abortRun(1, 12), testRun(1, 13, 17, 10)}, 10, []int64{10, 12, 13}, []metadata.AbortedTransaction{early, late}},
		"markers": {[]metadata.Run{mergedTestRun(1, 0, 29, 10), abortRun(1, 29)}, 29, []int64{29}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			tail := startedTail(100, 0)
			answer := learned(0, 30, c.runs...)
			answer.Aborted = []metadata.AbortedTransaction{early, late}
			tail.learn(tail.snapshot(), 1, answer)
			if got, known := bases(tail, 1, c.start); !known || !slices.Equal(got, c.bases) {
				t.Errorf("from %d: runs at %v, known %v; want %v", c.start, got, known, c.bases)
			}
			if _, known := bases(tail, 1, c.start-1); known {
				t.Errorf("offset %d is known", c.start-1)
			}
			if got := tail.chains[1].aborted; !slices.Equal(got, c.aborted) {
				t.Errorf("aborted %v, want %v", got, c.aborted)
			}
			tail.Apply([]metadata.Commit{testCommit(1, testRun(1, 30, 5, 10))})
			if got, known := bases(tail, 1, c.start); !known || !slices.Equal(got, append(c.bases, 30)) {
				t.Errorf("with the next commit: runs at %v, known %v", got, known)
			}
		})
	}
}

func TestTailForgetsRunsUpToOneThatIsGone(t *testing.T) {
	for _, c := range []struct {
		before int64
		start  int64
		kept   bool
	}{{0, 0, true}, {9, 0, true}, {10, 10, true}, {25, 20, true}, {30, 0, false}, {99, 0, false}} {
		tail := startedTail(100, 0)
		before := tail.snapshot()
		tail.Apply([]metadata.Commit{testCommit(1, testRun(1, 0, 10, 10)), testCommit(2, testRun(1, 10, 10, 10)), testCommit(3, testRun(1, 20, 10, 10))})
		tail.learn(before, 1, learned(0, 30))
		w := tail.wait(readUncommitted, []position{{1, 30, 100}}, 1)
		tail.forgetBefore(1, c.before)
		tail.forgetBefore(2, c.before) // which it doesn't know
		wantWoken(t, w, !c.kept)
		tail.stop(w)
		if c.kept != (tail.chains[1] != nil) {
			t.Errorf("before %d: kept %v, want %v", c.before, !c.kept, c.kept)
		} else if c.kept && tail.chains[1].start() != c.start {
			t.Errorf("before %d: it starts at %d, want %d", c.before, tail.chains[1].start(), c.start)
		}
		// An answer from before the end that it had is none that it may learn.
		tail.learn(before, 1, learned(0, 20))
		if c := tail.chains[1]; c != nil && c.end != 30 {
			t.Errorf("the end went back to %d", c.end)
		}
	}
}

func counted(c prometheus.Counter) int { return int(testutil.ToFloat64(c)) }

// TestOldFilesAreLookedUpInTheStore: they may have been merged, and deleted.
func TestOldFilesAreLookedUpInTheStore(t *testing.T) {
	c := newCluster(t, 2)
	a := knowing(t, c)["tail"]
	batch := makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)
	producer := c.producer(t)
	a.produce(t, map[int32][]protocol.Batch{0: {producer.batch(0, batch)}, 1: {batch}})
	a.end(t, producer, true)
	for _, q := range []struct {
		name    string
		age     time.Duration
		offsets []int64
		asked   int
	}{
		{"no limit", 0, []int64{0, 0}, 0},
		{"young", time.Hour, []int64{0, 0}, 0},
		{"old", time.Nanosecond, []int64{0, 0}, 2},
		{"one is old", time.Nanosecond, []int64{10, 0}, 1}, // the other is at a marker
		{"at the end", time.Nanosecond, []int64{11, 10}, 0},
	} {
		a.planner.tailAge = q.age
		asked := counted(a.planner.metrics.queried)
		for i, p := range a.fetch(t, fetchFrom(q.offsets...)) {
			_, next := offsetsOf(t, p.RecordBatches)
			if want := int64(11 - i); p.ErrorCode != 0 || p.HighWatermark != want || q.offsets[i] < want && next != want {
				t.Errorf("%s, partition %d: error %d, up to %d of %d", q.name, i, p.ErrorCode, next, p.HighWatermark)
			}
		}
		if n := counted(a.planner.metrics.queried) - asked; n != q.asked {
			t.Errorf("%s: the store was asked for %d partitions, want %d", q.name, n, q.asked)
		}
	}
}
