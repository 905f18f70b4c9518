package fetch

import (
	"fmt"
	"slices"
	"testing"

	"github.com/wadi-log/wadi/metadata"
)

// abortRun is the marker of an aborted transaction.
func abortRun(p metadata.PartitionID, offset int64) metadata.Run {
	return metadata.Marker{ProducerID: 7}.Run(p, offset, -1)
}

// aborted is a transaction of partition 1.
func aborted(first, last, stable int64) metadata.AbortedTransaction {
	return metadata.AbortedTransaction{Partition: 1, ProducerID: 7, FirstOffset: first, LastOffset: last, StableOffset: stable}
}

func stableAt(p metadata.PartitionID, offset int64) []metadata.StableOffset {
	return []metadata.StableOffset{{Partition: p, Offset: offset}}
}

// committedPlan asks the tail for the committed records of partition 1.
func committedPlan(t *Tail, offset int64) (p plan, known bool) {
	plans := make([]plan, 1)
	query := t.look(readCommitted, []asked{{1, offset, 1 << 30}}, 1<<30, plans)
	return plans[0], len(query) == 0
}

func TestTailPlansWhatIsDecided(t *testing.T) {
	tail := startedTail(100, 0)
	tail.learn(tail.snapshot(), 1, learned(0, 0))
	for _, step := range []struct {
		name    string
		commit  metadata.Commit
		from    int64
		stable  int64
		bases   []int64
		aborted []int64 // by their last offsets
	}{
		{"plain records", testCommit(1, testRun(1, 0, 10, 100)), 0, 10, []int64{0}, nil},
		{"a transaction begins within a run",
			metadata.Commit{Seq: 2, Runs: []metadata.Run{testRun(1, 10, 10, 100)}, Stable: stableAt(1, 15)}, 0, 15, []int64{0, 10}, nil},
		{"it goes on",
			metadata.Commit{Seq: 3, Runs: []metadata.Run{testRun(1, 20, 10, 100)}, Stable: stableAt(1, 15)}, 0, 15, []int64{0, 10}, nil},
		{"the same, of offsets that are not decided",
			metadata.Commit{Seq: 3}, 15, 15, nil, nil},
		{"the same, of later ones", metadata.Commit{Seq: 3}, 30, 15, nil, nil},
		{"it is aborted", metadata.Commit{Seq: 4, Runs: []metadata.Run{abortRun(1, 30)},
			Aborted: []metadata.AbortedTransaction{aborted(15, 30, 31)}}, 0, 31, []int64{0, 10, 20, 30}, []int64{30}},
		{"the next is open while two are aborted at once", metadata.Commit{Seq: 5,
			Runs:    []metadata.Run{testRun(1, 31, 9, 100), abortRun(1, 40), abortRun(1, 41)},
			Aborted: []metadata.AbortedTransaction{aborted(31, 40, 31), aborted(32, 41, 36)}, Stable: stableAt(1, 36)},
			0, 36, []int64{0, 10, 20, 30, 31}, []int64{30, 40, 41}},
		{"from the marker on", metadata.Commit{Seq: 5}, 30, 36, []int64{30, 31}, []int64{30, 40, 41}},
		{"from behind the marker on", metadata.Commit{Seq: 5}, 31, 36, []int64{31}, []int64{40, 41}},
		{"log start above the open transaction", metadata.Commit{Seq: 6, LogStarts: []metadata.LogStart{{Partition: 1, Offset: 38}}}, 38, 38, nil, nil},
	} {
		tail.Apply([]metadata.Commit{step.commit})
		p, known := committedPlan(tail, step.from)
		var bases, ends []int64
		for _, r := range p.runs {
			bases = append(bases, r.BaseOffset)
		}
		for _, a := range p.aborted {
			ends = append(ends, a.LastOffset)
		}
		if !known || p.StableOffset != step.stable || p.until != step.stable || !slices.Equal(bases, step.bases) || !slices.Equal(ends, step.aborted) {
			t.Errorf("%s: known %v, stable up to %d (%d), runs at %v, aborted up to %v; want %+v",
				step.name, known, p.StableOffset, p.until, bases, ends, step)
		}
		plans := make([]plan, 1)
		tail.look(readUncommitted, []asked{{1, step.from, 1 << 30}}, 1<<30, plans)
		if u := plans[0]; u.StableOffset != step.stable || u.until != u.NextOffset || u.aborted != nil {
			t.Errorf("%s: uncommitted records up to %d of %d, stable up to %d, %d aborted", step.name, u.until, u.NextOffset, u.StableOffset, len(u.aborted))
		}
	}
}

func TestTailTakesNoTransactionsOfRunsThatItHas(t *testing.T) {
	// The store's answer is ahead of the feed: commits 1 and 2 are in it already.
	tail := startedTail(100, 0)
	answer := learned(0, 20, testRun(1, 5, 10, 10), abortRun(1, 15), testRun(1, 16, 4, 10))
	answer.StableOffset, answer.Aborted = 18, []metadata.AbortedTransaction{aborted(5, 15, 16)}
	tail.learn(tail.snapshot(), 1, answer)
	tail.Apply([]metadata.Commit{
		{Seq: 1, Runs: answer.Runs[:1], Stable: stableAt(1, 5)},
		{Seq: 2, Runs: answer.Runs[1:2], Aborted: answer.Aborted},
	})
	p, known := committedPlan(tail, 5)
	if !known || p.StableOffset != 18 || !slices.Equal(p.aborted, answer.Aborted) {
		t.Errorf("known %v, stable up to %d, aborted %v; want 18 and %v", known, p.StableOffset, p.aborted, answer.Aborted)
	}
}

func TestTailForgetsTransactionsWithTheirMarkers(t *testing.T) {
	for _, limit := range []int{2, 20} { // less than a commit brings, and more
		t.Run(fmt.Sprint(limit), func(t *testing.T) { forgetTransactions(t, limit) })
	}
}

func forgetTransactions(t *testing.T, limit int) {
	tail := startedTail(limit, 0)
	r := newRandom(t)
	var next, seq int64
	for range 2000 {
		seq++
		commit := metadata.Commit{Seq: seq}
		for range 1 + r.IntN(3) {
			if r.IntN(3) > 0 {
				commit.Runs = append(commit.Runs, abortRun(1, next))
				commit.Aborted = append(commit.Aborted, aborted(max(0, next-r.Int64N(30)), next, next+1))
				next++
			} else {
				commit.Runs = append(commit.Runs, testRun(1, next, 3, 30))
				next += 3
			}
		}
		switch r.IntN(50) {
		case 0: // a hole
			next += 5
		case 1:
			tail.forget(1)
		}
		plans := make([]plan, 1)
		tail.look(readCommitted, []asked{{1, next, 1}}, 1, plans)
		shared := slices.Clone(plans[0].aborted)
		tail.Apply([]metadata.Commit{commit})
		if !slices.Equal(plans[0].aborted, shared) {
			t.Fatal("a plan changed after it was made")
		}
		c := tail.chains[1]
		if c == nil {
			continue
		}
		var markers, ends []int64
		for _, run := range c.runs[c.head:] {
			if run.Encoding == metadata.EncodingMarker {
				markers = append(markers, run.BaseOffset)
			}
		}
		for _, a := range c.aborted {
			ends = append(ends, a.LastOffset)
		}
		if !slices.Equal(ends, markers) {
			t.Fatalf("aborted transactions end at %v, markers are at %v", ends, markers)
		}
	}
}

func TestTailAnswersAtTheStableOffsetOfAnOldTransaction(t *testing.T) {
	tail := startedTail(4, 0)
	tail.learn(tail.snapshot(), 1, learned(0, 0))
	for seq := int64(1); seq <= 20; seq++ {
		tail.Apply([]metadata.Commit{{Seq: seq, Runs: []metadata.Run{testRun(1, seq-1, 1, 10)}, Stable: stableAt(1, 2)}})
	}
	tail.chains[1].logStart = 0 // evicted and made again meanwhile
	for offset, want := range map[int64]bool{1: false, 2: true, 10: true, 20: true, 21: false} {
		if p, known := committedPlan(tail, offset); known != want || len(p.runs) != 0 {
			t.Errorf("offset %d: known is %v, %d runs; want %v", offset, known, len(p.runs), want)
		}
	}
	// Most of what it waits for is not here any more: it wakes to ask for it.
	w := tail.wait(readCommitted, []position{{1, 2, 1000}}, 150)
	defer tail.stop(w)
	tail.Apply([]metadata.Commit{{Seq: 21, Runs: []metadata.Run{testRun(1, 20, 1, 10)}, Stable: stableAt(1, 2)}})
	wantWoken(t, w, false)
	tail.Apply([]metadata.Commit{testCommit(22, abortRun(1, 21))})
	wantWoken(t, w, true)
}

func TestWaiterForCommittedRecordsWakesWhenBytesAreDecided(t *testing.T) {
	undecided := func(seq, base int64) metadata.Commit {
		return metadata.Commit{Seq: seq, Runs: []metadata.Run{testRun(1, base, 10, 100)}, Stable: stableAt(1, 10)}
	}
	marker := func(seq, offset int64) metadata.Commit { return testCommit(seq, abortRun(1, offset)) }
	for _, c := range []struct {
		name    string
		at      []position
		need    int64
		commits []metadata.Commit
		woken   bool
	}{
		{"undecided", []position{{1, 10, 1000}}, 1, []metadata.Commit{undecided(1, 10), undecided(2, 20)}, false},
		{"decided", []position{{1, 10, 1000}}, 178, []metadata.Commit{undecided(1, 10), marker(2, 20)}, true},
		{"decided, and too little", []position{{1, 10, 1000}}, 179, []metadata.Commit{undecided(1, 10), marker(2, 20)}, false},
		{"decided up to its limit", []position{{1, 10, 150}}, 151, []metadata.Commit{undecided(1, 10), marker(2, 20)}, false},
		{"without a transaction", []position{{1, 10, 1000}}, 100, []metadata.Commit{testCommit(1, testRun(1, 10, 10, 100))}, true},
		{"half of a run", []position{{1, 10, 1000}}, 50,
			[]metadata.Commit{{Seq: 1, Runs: []metadata.Run{testRun(1, 10, 10, 100)}, Stable: stableAt(1, 15)}}, true},
		{"less than half of a run", []position{{1, 10, 1000}}, 50,
			[]metadata.Commit{{Seq: 1, Runs: []metadata.Run{testRun(1, 10, 10, 100)}, Stable: stableAt(1, 14)}}, false},
		{"each half once", []position{{1, 10, 1000}}, 179, []metadata.Commit{
			{Seq: 1, Runs: []metadata.Run{testRun(1, 10, 10, 100)}, Stable: stableAt(1, 15)}, marker(2, 20)}, false},
		{"both halves", []position{{1, 10, 1000}}, 178, []metadata.Commit{
			{Seq: 1, Runs: []metadata.Run{testRun(1, 10, 10, 100)}, Stable: stableAt(1, 15)}, marker(2, 20)}, true},
		{"sum over partitions", []position{{1, 10, 1000}, {2, 5, 1000}}, 228,
			[]metadata.Commit{undecided(1, 10), {Seq: 2, Runs: []metadata.Run{testRun(2, 5, 1, 50), abortRun(1, 20)}}}, true},
		{"from above what is decided", []position{{1, 19, 1000}}, 88, []metadata.Commit{undecided(1, 10), marker(2, 20)}, true},
		{"only from there", []position{{1, 19, 1000}}, 89, []metadata.Commit{undecided(1, 10), marker(2, 20)}, false},
		{"planned from a newer answer of the store", []position{{1, 20, 1000}}, 1, []metadata.Commit{testCommit(1, testRun(1, 10, 10, 100))}, false},
		{"partition that the tail lost", []position{{9, 0, 1000}}, 1, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			started := func() *Tail {
				tail := startedTail(100, 0)
				tail.learn(tail.snapshot(), 1, learned(0, 10))
				tail.learn(tail.snapshot(), 2, learned(0, 5))
				return tail
			}
			tail := started()
			w := tail.wait(readCommitted, c.at, c.need)
			for _, commit := range c.commits {
				tail.Apply([]metadata.Commit{commit})
			}
			wantWoken(t, w, c.woken)
			tail.stop(w)

			// The same when the commits came between planning and waiting.
			tail = started()
			tail.Apply(c.commits)
			w = tail.wait(readCommitted, c.at, c.need)
			wantWoken(t, w, c.woken)
			tail.stop(w)
		})
	}
}
