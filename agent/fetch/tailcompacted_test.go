package fetch

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/test/harness"
)

func compactedUntil(seq int64, p metadata.PartitionID, offset int64) []metadata.Commit {
	return []metadata.Commit{{Seq: seq, Compacted: []metadata.CompactedUntil{{Partition: p, Offset: offset}}}}
}

func TestTailDropsWhatWasCompacted(t *testing.T) {
	for name, c := range map[string]struct {
		offset int64
		start  int64
		left   []int64
	}{
		"nothing":                    {0, 0, []int64{0, 10, 20}},
		"runs":                       {10, 10, []int64{10, 20}},
		"the run that it lies in":    {11, 20, []int64{20}},
		"all, to the end":            {30, 30, nil},
		"all, to within the last":    {29, 30, nil},
		"all, to beyond the feed":    {35, 30, nil},
		"nothing: another partition": {-1, 0, []int64{0, 10, 20}},
	} {
		t.Run(name, func(t *testing.T) {
			tail := startedTail(100, 0)
			tail.learn(tail.snapshot(), 1, learned(0, 0))
			tail.Apply([]metadata.Commit{testCommit(1, testRun(1, 0, 10, 10)), testCommit(2, testRun(1, 10, 10, 10)), testCommit(3, testRun(1, 20, 10, 10))})
			w := tail.wait(readUncommitted, []position{{1, 30, 100}}, 1)
			defer tail.stop(w)
			if c.offset < 0 {
				tail.Apply(compactedUntil(4, 2, 30))
			} else {
				tail.Apply(compactedUntil(4, 1, c.offset))
			}
			// Who waits may have planned to read what was dropped.
			wantWoken(t, w, c.start > 0)
			if got, known := bases(tail, 1, c.start); !known || !slices.Equal(got, c.left) {
				t.Errorf("from %d: runs at %v, known %v; want %v", c.start, got, known, c.left)
			}
			if _, known := bases(tail, 1, c.start-1); known {
				t.Errorf("offset %d is known", c.start-1)
			}
			// The end stays, and long polls on it.
			again := tail.wait(readUncommitted, []position{{1, 30, 100}}, 1)
			defer tail.stop(again)
			wantWoken(t, again, false)
			tail.Apply([]metadata.Commit{testCommit(5, testRun(1, 30, 5, 10))})
			wantWoken(t, again, true)
			if got, known := bases(tail, 1, c.start); !known || !slices.Equal(got, append(c.left, 30)) {
				t.Errorf("with the next commit: runs at %v, known %v", got, known)
			}
		})
	}
}

// TestTailDropsWhatWasAbortedWithWhatWasCompacted: an open transaction begins in a run that was compacted up to there.
func TestTailDropsWhatWasAbortedWithWhatWasCompacted(t *testing.T) {
	tail := startedTail(100, 0)
	tail.learn(tail.snapshot(), 1, learned(0, 0))
	early, late := aborted(5, 10, 15), aborted(15, 31, 32)
	tail.Apply([]metadata.Commit{
		testCommit(1, testRun(1, 0, 10, 100)),
		{Seq: 2, Runs: []metadata.Run{abortRun(1, 10)}, Aborted: []metadata.AbortedTransaction{early}},
		{Seq: 3, Runs: []metadata.Run{testRun(1, 11, 9, 90)}, Stable: stableAt(1, 15)},
	})
	tail.Apply(compactedUntil(4, 1, 15))
	if p, known := committedPlan(tail, 15); !known || len(p.runs) != 0 || p.StableOffset != 15 || p.NextOffset != 20 {
		t.Errorf("at the last stable offset: %+v, known %v", p, known)
	}
	w := tail.wait(readCommitted, []position{{1, 15, 100}}, 1)
	defer tail.stop(w)
	tail.Apply([]metadata.Commit{{Seq: 5, Runs: []metadata.Run{testRun(1, 20, 11, 110)}, Stable: stableAt(1, 15)}})
	wantWoken(t, w, false)
	tail.Apply([]metadata.Commit{{Seq: 6, Runs: []metadata.Run{abortRun(1, 31)}, Aborted: []metadata.AbortedTransaction{late}}})
	wantWoken(t, w, true)
	if _, known := committedPlan(tail, 15); known {
		t.Error("what was dropped is known")
	}
	if p, known := committedPlan(tail, 20); !known || len(p.runs) != 2 || !slices.Equal(p.aborted, []metadata.AbortedTransaction{late}) {
		t.Errorf("behind it: %+v, known %v", p, known)
	}
}

// TestCompactedRunsAreNotLearnedFromAnOldAnswer: the store was asked before they were replaced, and answers after the
// feed told so.
func TestCompactedRunsAreNotLearnedFromAnOldAnswer(t *testing.T) {
	tail := startedTail(100, 0)
	before := tail.snapshot()
	tail.Apply(compactedUntil(1, 1, 10))
	tail.learn(before, 1, learned(0, 20, testRun(1, 0, 10, 10), testRun(1, 10, 10, 10)))
	if got, known := bases(tail, 1, 0); known {
		t.Errorf("the tail has runs at %v", got)
	}
}

// TestWhatWasCompactedWaitsForItsTurn: an agent tells its own tail of a pass before that had all commits before it.
func TestWhatWasCompactedWaitsForItsTurn(t *testing.T) {
	tail := startedTail(100, 0)
	tail.learn(tail.snapshot(), 1, learned(0, 0))
	first, second := testCommit(1, testRun(1, 0, 10, 10)), testCommit(2, testRun(1, 10, 10, 10))
	entry := compactedUntil(3, 1, 20)
	tail.Apply([]metadata.Commit{first})
	if !tail.Apply(entry) {
		t.Error("no gap reported")
	}
	if tail.Apply(slices.Concat([]metadata.Commit{first, second}, entry)) {
		t.Error("gap reported where there is none")
	}
	if got, known := bases(tail, 1, 20); !known || len(got) != 0 {
		t.Errorf("at the end: runs at %v, known %v", got, known)
	}
	if got, known := bases(tail, 1, 0); known {
		t.Errorf("it still has runs at %v", got)
	}
}

// finishCompaction notes that a partition of "t" is compacted, and returns the number of the feed's entry, 0 without one.
func (c *cluster) finishCompaction(t testing.TB, partition int32, until int64) (seq int64) {
	t.Helper()
	commits, err := c.store.Store.(metadata.Maintenance).FinishCompactions(t.Context(), []metadata.CompactedUntil{{Partition: c.topic.Partitions[partition], Offset: until}})
	if err != nil {
		t.Fatal(err)
	}
	for _, commit := range commits {
		seq = commit.Seq
	}
	return seq
}

// TestCompactedLogIsReadAfterThePass, through the agent that had produced the records, and through one whose consumer waits
// with them planned.
func TestCompactedLogIsReadAfterThePass(t *testing.T) {
	c := newCluster(t, 1)
	writer, reader := c.agent(t), c.agent(t)
	producer := c.producer(t)
	batch := makeBatch(t, protocol.CodecNone, recs(4, 100, 0)...)
	for _, a := range []*agent{writer, reader} {
		a.fetch(t, fetchFrom(0)) // so that its tail knows the partition
	}
	writer.produce(t, map[int32][]protocol.Batch{0: {batch}})                    // 0 to 3
	writer.produce(t, map[int32][]protocol.Batch{0: {producer.batch(0, batch)}}) // 4 to 7
	writer.end(t, producer, false)                                               // 8
	writer.produce(t, map[int32][]protocol.Batch{0: {batch}})                    // 9 to 12
	until := c.bounds(t, 0).StableOffset
	writer.produce(t, map[int32][]protocol.Batch{0: {producer.batch(0, batch)}}) // 13 to 16, open
	c.followed(t, writer, reader)

	waiting := fetchFrom(0)
	waiting.MaxWaitMillis, waiting.MinBytes = longWait, 8*int32(batch.Size())
	answer := reader.background(t, t.Context(), waiting)
	kept := func(offset int64) bool { return offset == 1 || offset >= 10 }
	runs := c.runsOf(t, 0)
	if !c.merge(t, datafile.Auto, 0, runs[:len(runs)-1], func(_ protocol.Batch, k protocol.Key) bool { return kept(k.Offset) }) {
		t.Fatal("not taken")
	}
	for _, a := range []*agent{writer, reader} {
		p := a.fetch(t, fetchFrom(0))[0]
		if records, _ := consumed(t, readUncommitted, 0, &p); len(records) != 16 {
			t.Fatalf("before the pass has ended: records %v; the test needs agents that know the old ones", records)
		}
	}
	if c.finishCompaction(t, 0, until) == 0 {
		t.Fatal("the feed does not tell")
	}
	c.followed(t, writer, reader)

	want := map[isolation][]int64{readUncommitted: {1, 10, 11, 12, 13, 14, 15, 16}, readCommitted: {1, 10, 11, 12}}
	for name, a := range map[string]*agent{"writer": writer, "reader": reader} {
		for level, want := range want {
			req := fetchFrom(0)
			req.IsolationLevel = int8(level)
			p := a.fetch(t, req)[0]
			if got, _ := consumed(t, level, 0, &p); !slices.Equal(got, want) {
				t.Errorf("%s, level %d: records %v, want %v", name, level, got, want)
			}
		}
	}
	writer.produce(t, map[int32][]protocol.Batch{0: {makeBatch(t, protocol.CodecNone, recs(1, 10_000, 0)...)}}) // 17
	p := (<-answer).Topics[0].Partitions[0]
	if got, _ := consumed(t, readUncommitted, 0, &p); !slices.Equal(got, append(want[readUncommitted], 17)) {
		t.Errorf("who waited got %v, want %v and 17", got, want[readUncommitted])
	}
}

// followed waits until the agents' followers have brought everything.
func (c *cluster) followed(t testing.TB, agents ...*agent) {
	t.Helper()
	last := c.lastSeq(t)
	for _, a := range agents {
		harness.Eventually(t, time.Minute, func() error {
			if seq := a.tail.Seq(); seq < last {
				a.follower.Kick()
				return fmt.Errorf("at commit %d of %d", seq, last)
			}
			return nil
		})
	}
}
