package fetch

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// testRun is a run of records offsets and size bytes.
func testRun(p metadata.PartitionID, base int64, records, size int32) metadata.Run {
	return metadata.Run{Partition: p, BaseOffset: base, Records: records, Size: size, StoredSize: size}
}

func testCommit(seq int64, runs ...metadata.Run) metadata.Commit {
	return metadata.Commit{Seq: seq, Runs: runs}
}

// learned is what the store says of a partition that has these runs.
func learned(logStart, next int64, runs ...metadata.Run) *metadata.PartitionRuns {
	return &metadata.PartitionRuns{
		Bounds: metadata.Bounds{Exists: true, LogStartOffset: logStart, NextOffset: next, StableOffset: next}, Runs: runs}
}

// bases asks the tail for a partition from the offset on and returns the runs' base offsets;
// known is false when the store has to be asked.
func bases(t *Tail, p metadata.PartitionID, offset int64) (found []int64, known bool) {
	plans := make([]plan, 1)
	query := t.look(readUncommitted, []asked{{p, offset, 1 << 30}}, 1<<30, plans)
	for _, r := range plans[0].runs {
		found = append(found, r.BaseOffset)
	}
	return found, len(query) == 0
}

// newRandom prints its seed when the test fails.
func newRandom(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// forget drops the whole chain.
func (t *Tail) forget(p metadata.PartitionID) { t.forgetBefore(p, math.MaxInt64) }

func startedTail(limit int, seq int64) *Tail {
	t := NewTail(limit)
	t.Reset(seq)
	return t
}

func TestTailTakesNothingBeforeItKnowsWhereTheFeedIs(t *testing.T) {
	tail := NewTail(10)
	if !tail.Apply([]metadata.Commit{testCommit(1, testRun(1, 0, 5, 50))}) {
		t.Error("no gap reported before the first Reset")
	}
	if got := tail.Seq(); got != -1 {
		t.Errorf("seq is %d, want -1", got)
	}
}

func TestTailExtendsChainsAndIgnoresWhatItHas(t *testing.T) {
	tail := startedTail(100, 7)
	first := testCommit(8, testRun(1, 10, 5, 50), testRun(2, 0, 1, 10))
	second := testCommit(9, testRun(1, 15, 5, 50))
	for _, time := range []string{"first", "second"} {
		if tail.Apply([]metadata.Commit{first, second}) {
			t.Errorf("gap reported where there is none, the %s time", time)
		}
	}
	tail.learn(tail.snapshot(), 1, learned(0, 20))
	tail.learn(tail.snapshot(), 2, learned(0, 1))
	for _, c := range []struct {
		p      metadata.PartitionID
		offset int64
		want   []int64
		known  bool
	}{
		{1, 10, []int64{10, 15}, true},
		{1, 14, []int64{10, 15}, true},
		{1, 15, []int64{15}, true},
		{1, 20, nil, true},
		{1, 9, nil, false},
		{1, 21, nil, false},
		{2, 0, []int64{0}, true},
		{3, 0, nil, false},
	} {
		got, known := bases(tail, c.p, c.offset)
		if !slices.Equal(got, c.want) || known != c.known {
			t.Errorf("partition %d from %d: runs at %v, known %v; want %v, %v", c.p, c.offset, got, known, c.want, c.known)
		}
	}
}

func TestTailReportsAGapAndStopsThere(t *testing.T) {
	tail := startedTail(100, 7)
	if !tail.Apply([]metadata.Commit{testCommit(8, testRun(1, 0, 1, 1)), testCommit(10, testRun(1, 1, 1, 1))}) {
		t.Error("no gap reported")
	}
	if got := tail.Seq(); got != 8 {
		t.Errorf("seq is %d, want 8", got)
	}
	if tail.Apply([]metadata.Commit{testCommit(9), testCommit(10, testRun(1, 1, 1, 1))}) {
		t.Error("gap reported after it was closed")
	}
	if got := tail.Seq(); got != 10 {
		t.Errorf("seq is %d, want 10", got)
	}
}

func TestTailEvictsTheOldestRunOfAll(t *testing.T) {
	tail := startedTail(4, 0)
	tail.Apply([]metadata.Commit{
		testCommit(1, testRun(1, 0, 1, 1), testRun(2, 0, 1, 1)),
		testCommit(2, testRun(1, 1, 1, 1), testRun(2, 1, 1, 1)),
		testCommit(3, testRun(1, 2, 1, 1)),
	})
	for p, end := range map[metadata.PartitionID]int64{1: 3, 2: 2} {
		// The bounds are entered by hand: learning costs no run here.
		tail.chains[p].logStart = 0
		if _, known := bases(tail, p, end); !known {
			t.Errorf("end of partition %d is not known", p)
		}
	}
	if _, known := bases(tail, 1, 0); known {
		t.Error("the oldest run is still there")
	}
	if got, known := bases(tail, 1, 1); !known || !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("partition 1 has runs at %v, known %v; want 1 and 2", got, known)
	}
	if got, known := bases(tail, 2, 0); !known || !slices.Equal(got, []int64{0, 1}) {
		t.Errorf("partition 2 has runs at %v, known %v; want 0 and 1", got, known)
	}
}

func TestTailForgetsAPartitionWithItsLastRun(t *testing.T) {
	tail := startedTail(2, 0)
	tail.Apply([]metadata.Commit{testCommit(1, testRun(1, 0, 1, 1))})
	w := tail.wait(readUncommitted, []position{{1, 1, 100}}, 1)
	defer tail.stop(w)
	tail.Apply([]metadata.Commit{testCommit(2, testRun(2, 0, 1, 1)), testCommit(3, testRun(2, 1, 1, 1))})
	if len(tail.chains) != 1 {
		t.Errorf("%d chains, want 1", len(tail.chains))
	}
	wantWoken(t, w, true)
}

func TestTailStaysWithinItsLimitWhateverComes(t *testing.T) {
	const limit = 50
	tail := startedTail(limit, 0)
	next := map[metadata.PartitionID]int64{}
	for seq := int64(1); seq <= 2000; seq++ {
		p := metadata.PartitionID(seq * 7 % 13)
		tail.Apply([]metadata.Commit{testCommit(seq, testRun(p, next[p], 2, 1))})
		next[p] += 2
		if seq%5 == 0 {
			q := metadata.PartitionID(100 + seq)
			tail.learn(tail.snapshot(), q, learned(0, 9))
		}
		if seq%31 == 0 {
			tail.forget(p)
		}
		if seq%17 == 0 {
			tail.forgetBefore(p, next[p]-3)
		}
		if seq%23 == 0 {
			seq++
			tail.Apply([]metadata.Commit{{Seq: seq, Compacted: []metadata.CompactedUntil{{Partition: p, Offset: next[p] - seq%4}}}})
		}
		runs := 0
		for _, c := range tail.chains {
			runs += len(c.runs) - c.head
			if at := c.start(); len(c.runs) > c.head {
				for _, r := range c.runs[c.head:] {
					if r.BaseOffset != at {
						t.Fatalf("seq %d: partition %d has a hole at %d", seq, c.partition, at)
					}
					at = r.NextOffset()
				}
				if at != c.end {
					t.Fatalf("seq %d: partition %d ends at %d, says %d", seq, c.partition, at, c.end)
				}
			}
		}
		if runs > limit || len(tail.chains) > limit || tail.order.len() > limit {
			t.Fatalf("seq %d: %d runs, %d chains, %d arrivals; limit %d", seq, runs, len(tail.chains), tail.order.len(), limit)
		}
	}
}

func TestLearnDoesNotTakeOldAnswersForNews(t *testing.T) {
	tail := startedTail(4, 0)
	before := tail.snapshot()
	tail.Reset(10)
	tail.learn(before, 1, learned(0, 5))
	if len(tail.chains) != 0 {
		t.Error("learned from before the reset")
	}
	before = tail.snapshot()
	for seq := int64(11); seq < 15; seq++ {
		tail.Apply([]metadata.Commit{testCommit(seq, testRun(2, seq, 1, 1))})
	}
	tail.learn(before, 1, learned(0, 5))
	if tail.chains[1] != nil {
		t.Error("learned from before so many arrivals that a chain may have come and gone")
	}
}

func TestLearnedChainGoesOnWithTheFeed(t *testing.T) {
	// The store is ahead of the feed: commits 1 and 2 are in its answer already.
	tail := startedTail(100, 0)
	tail.learn(tail.snapshot(), 1, learned(3, 20, testRun(1, 5, 10, 10), testRun(1, 15, 5, 10)))
	tail.Apply([]metadata.Commit{
		testCommit(1, testRun(1, 5, 10, 10)), testCommit(2, testRun(1, 15, 5, 10)), testCommit(3, testRun(1, 20, 5, 10))})
	if got, known := bases(tail, 1, 5); !known || !slices.Equal(got, []int64{5, 15, 20}) {
		t.Errorf("runs at %v, known %v; want 5, 15, 20", got, known)
	}
}

func TestLogStartsRiseWithTheFeed(t *testing.T) {
	tail := startedTail(100, 0)
	tail.Apply([]metadata.Commit{testCommit(1, testRun(1, 0, 10, 10), testRun(2, 0, 10, 10))})
	tail.learn(tail.snapshot(), 1, learned(0, 10))
	starts := func(seq, offset int64) []metadata.Commit {
		return []metadata.Commit{{Seq: seq, LogStarts: []metadata.LogStart{{Partition: 1, Offset: offset}, {Partition: 9, Offset: 1}}}}
	}
	want := func(offset, logStart int64, known bool) {
		t.Helper()
		plans := make([]plan, 1)
		if query := tail.look(readUncommitted, []asked{{1, offset, 1}}, 1, plans); (len(query) == 0) != known {
			t.Fatalf("offset %d: known is %v, want %v", offset, !known, known)
		}
		if known && plans[0].LogStartOffset != logStart {
			t.Fatalf("offset %d: the log starts at %d, want %d", offset, plans[0].LogStartOffset, logStart)
		}
	}
	want(0, 0, true)
	tail.Apply(starts(2, 4))
	want(3, 0, false) // the store must say that it is out of range
	want(4, 4, true)
	// One that comes before its turn counts, and leaves the gap to the follower.
	if !tail.Apply(starts(4, 6)) || tail.Seq() != 2 {
		t.Errorf("no gap reported, or it is passed over: at %d", tail.Seq())
	}
	want(5, 0, false)
	want(6, 6, true)
	// One that comes late changes nothing.
	tail.Apply(starts(3, 5))
	want(6, 6, true)
	tail.Apply(starts(4, 10))
	want(10, 10, true)
	if tail.chains[9] != nil {
		t.Error("a chain was made of a log start alone")
	}
}

// TestLogStartIsNotLearnedFromAnOldAnswer: the store was asked before the log
// start rose, and answers after the feed told so.
func TestLogStartIsNotLearnedFromAnOldAnswer(t *testing.T) {
	tail := startedTail(100, 0)
	before := tail.snapshot()
	tail.Apply([]metadata.Commit{{Seq: 1, LogStarts: []metadata.LogStart{{Partition: 1, Offset: 5}}}})
	tail.learn(before, 1, learned(0, 10))
	if plans := make([]plan, 1); len(tail.look(readUncommitted, []asked{{1, 10, 1}}, 1, plans)) == 0 {
		t.Errorf("the tail knows a log start of %d, and it is 5", plans[0].LogStartOffset)
	}
}

func wantWoken(t *testing.T, w *waiter, want bool) {
	t.Helper()
	woken := false
	select {
	case <-w.woken:
		woken = true
	default:
	}
	if woken != want {
		t.Errorf("woken is %v, want %v", woken, want)
	}
}

func TestWaiterWakesWhenItsBytesAreThere(t *testing.T) {
	for _, c := range []struct {
		name  string
		at    []position
		need  int64
		runs  []metadata.Run
		woken bool
	}{
		{"enough", []position{{1, 10, 1000}}, 100, []metadata.Run{testRun(1, 10, 1, 100)}, true},
		{"too little", []position{{1, 10, 1000}}, 101, []metadata.Run{testRun(1, 10, 1, 100)}, false},
		{"sum over partitions", []position{{1, 10, 1000}, {2, 5, 1000}}, 150,
			[]metadata.Run{testRun(1, 10, 1, 100), testRun(2, 5, 1, 50)}, true},
		{"a partition counts up to its limit", []position{{1, 10, 60}}, 100, []metadata.Run{testRun(1, 10, 1, 1000)}, false},
		{"limits add up", []position{{1, 10, 60}, {2, 5, 40}}, 100,
			[]metadata.Run{testRun(1, 10, 1, 1000), testRun(2, 5, 1, 1000)}, true},
		{"another partition", []position{{1, 10, 1000}}, 1, []metadata.Run{testRun(2, 5, 1, 100)}, false},
		{"planned from a newer answer of the store", []position{{1, 12, 1000}}, 1, []metadata.Run{testRun(1, 10, 2, 100)}, false},
		{"partition that the tail lost", []position{{9, 0, 1000}}, 1, nil, true},
		{"nothing needed", []position{{1, 10, 1000}}, 0, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			tail := startedTail(100, 0)
			tail.learn(tail.snapshot(), 1, learned(0, 10))
			tail.learn(tail.snapshot(), 2, learned(0, 5))
			w := tail.wait(readUncommitted, c.at, c.need)
			tail.Apply([]metadata.Commit{testCommit(1, c.runs...)})
			wantWoken(t, w, c.woken)
			tail.stop(w)

			// The same when the commit came between planning and waiting.
			tail = startedTail(100, 0)
			tail.learn(tail.snapshot(), 1, learned(0, 10))
			tail.learn(tail.snapshot(), 2, learned(0, 5))
			tail.Apply([]metadata.Commit{testCommit(1, c.runs...)})
			w = tail.wait(readUncommitted, c.at, c.need)
			wantWoken(t, w, c.woken)
			tail.stop(w)
			if tail.Waiting() != 0 {
				t.Errorf("%d wait after the last one stopped", tail.Waiting())
			}
			for _, ch := range tail.chains {
				if ch.waiting.next != &ch.waiting || ch.waiting.prev != &ch.waiting {
					t.Errorf("partition %d still has a waiter", ch.partition)
				}
			}
		})
	}
}

func TestWaitersWakeForResetsTopicsAndLogStarts(t *testing.T) {
	for name, happen := range map[string]func(*Tail){
		"reset": func(tail *Tail) { tail.Reset(5) },
		"log start": func(tail *Tail) {
			tail.Apply([]metadata.Commit{{Seq: 1, LogStarts: []metadata.LogStart{{Partition: 1, Offset: 4}}}})
		},
		"topic": func(tail *Tail) { tail.Apply([]metadata.Commit{{Seq: 1, Topics: []uuid.UUID{uuid.New()}}}) },
	} {
		t.Run(name, func(t *testing.T) {
			tail := startedTail(100, 0)
			tail.learn(tail.snapshot(), 1, learned(0, 10))
			w := tail.wait(readUncommitted, []position{{1, 10, 100}}, 1)
			defer tail.stop(w)
			wantWoken(t, w, false)
			happen(tail)
			wantWoken(t, w, true)
		})
	}
}

// TestForgottenChainIsNotLearnedAgainFromAnOldAnswer: an answer from before a
// commit must not become the chain after the chain that had taken the commit is gone.
func TestForgottenChainIsNotLearnedAgainFromAnOldAnswer(t *testing.T) {
	tail := startedTail(100, 0)
	before := tail.snapshot()
	answer := learned(0, 10)
	tail.Apply([]metadata.Commit{testCommit(1, testRun(1, 10, 5, 50))})
	tail.forget(1)
	tail.learn(before, 1, answer)
	if _, known := bases(tail, 1, 10); known {
		t.Error("the tail says that it knows the partition, and has lost offsets 10 to 14")
	}
}
