package compact

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
)

// wantRecords reads a partition from its start, as text.
func (w *world) wantRecords(topic metadata.Topic, index int32, want ...string) {
	w.Helper()
	id := topic.Partitions[index]
	if got := pairs(w.read(id, w.bounds(id).LogStartOffset, true)); !slices.Equal(got, want) {
		w.Errorf("partition %d holds %q, want %q", index, got, want)
	}
	w.checkRows(id, w.bounds(id))
}

func TestTheLatestRecordOfEachKeyStays(t *testing.T) {
	inWorld(t, func(w *world) {
		topic := w.topic("t", 1)
		w.put(topic, kv("a", "1"), kv("b", "1"), kv("a", "2"))
		w.put(topic, kv("c", "1"))
		w.put(topic, kv("a", "3"), kv("c", "2"), tombstone("b"))
		c := w.compactor(100)
		w.compact(c)
		w.wantRecords(topic, 0, "4:a=3", "5:c=2", "6:b gone")
		w.put(topic, kv("c", "3"))
		w.compact(c)
		w.wantRecords(topic, 0, "4:a=3", "6:b gone", "7:c=3")
		if runs, _ := w.runsFrom(topic.Partitions[0], 0); len(runs) != 1 || !runs[0].Merged {
			t.Errorf("runs %+v", runs)
		}
		if removed := w.metric("wadi_job_records_total"); removed != 5 {
			t.Errorf("%v records counted as removed", removed)
		}
	})
}

func TestUntouchedBatchesKeepTheirBytes(t *testing.T) {
	inWorld(t, func(w *world) {
		topic := w.topic("t", 1)
		var batches []placed
		for codec := protocol.CodecNone; codec <= protocol.CodecZstd; codec++ {
			batches = append(batches, placed{topic, 0, w.batch(codec, kv(fmt.Sprint(codec), strings.Repeat("v", 100)), kv(fmt.Sprint(codec, "x"), ""))})
		}
		w.produce(batches...)
		w.put(topic, kv("none", "again"))
		runs, _ := w.runsFrom(topic.Partitions[0], 0)
		before := w.batches(runs)
		w.compact(w.compactor(100))
		runs, _ = w.runsFrom(topic.Partitions[0], 0)
		after := w.batches(runs)
		if len(after) != len(before) || bytes.Equal(before[0], after[0]) {
			t.Fatalf("%d batches of %d, or the first was not touched", len(after), len(before))
		}
		for i := range before[1:] {
			if !bytes.Equal(before[i+1], after[i+1]) {
				t.Errorf("batch %d is another", i+1)
			}
		}
	})
}

func TestTombstonesStayForAWhile(t *testing.T) {
	inWorld(t, func(w *world) {
		topic := w.topic("t", 1, "delete.retention.ms", "60000")
		w.put(topic, kv("a", "1"))
		w.put(topic, tombstone("a"))
		c := w.compactor(100)
		w.compact(c)
		w.wantRecords(topic, 0, "1:a gone")
		w.wait(59 * time.Second)
		w.put(topic, kv("b", "1"))
		w.compact(c)
		w.wantRecords(topic, 0, "1:a gone", "2:b=1")
		w.wait(2 * time.Second)
		w.put(topic, kv("b", "2"))
		w.compact(c)
		w.wantRecords(topic, 0, "3:b=2")
	})
}

func TestTransactionsLeaveNothingWhenTheirRecordsAreGone(t *testing.T) {
	inWorld(t, func(w *world) {
		topic := w.topic("t", 1, "delete.retention.ms", "60000")
		id := topic.Partitions[0]
		p := w.producer("p")
		w.produce(placed{topic, 0, w.by(*p, true, id, w.batch(protocol.CodecNone, kv("a", "aborted")))})
		w.end("p", p, false)
		w.produce(placed{topic, 0, w.by(*p, true, id, w.batch(protocol.CodecNone, kv("a", "1")))})
		w.end("p", p, true)
		w.produce(placed{topic, 0, w.by(*p, true, id, w.batch(protocol.CodecNone, kv("b", "1")))}) // open
		c := w.compactor(100)
		offsets := func() (offsets []int64) {
			runs, _ := w.runsFrom(id, 0)
			for _, b := range w.batches(runs) {
				offsets = append(offsets, b.BaseOffset())
			}
			return offsets
		}
		want := func(want ...int64) {
			t.Helper()
			if got := offsets(); !slices.Equal(got, want) {
				t.Errorf("batches at %v, want %v", got, want)
			}
		}
		w.compact(c)
		want(1, 2, 3, 4) // the aborted record is gone, its marker is not
		w.end("p", p, true)
		w.put(topic, kv("a", "2"))
		w.compact(c)
		want(1, 3, 4, 5, 6) // the marker at 1 has a horizon, that at 3 not: its record was there until now
		w.wait(2 * time.Minute)
		w.put(topic, kv("a", "3"))
		w.compact(c)
		want(1, 3, 4, 5, 7) // consumers are told of the aborted transaction for some time
		w.wait(11 * time.Minute)
		w.put(topic, kv("a", "4"))
		w.compact(c) // forgets it
		w.put(topic, kv("a", "5"))
		w.compact(c)
		want(4, 5, 9)
		w.wantRecords(topic, 0, "4:b=1", "9:a=5")
		if _, aborted := w.runsFrom(id, 0); len(aborted) != 0 {
			t.Errorf("still known: %v", aborted)
		}
	})
}

func TestManyKeysTakeManyPassesInLittleMemory(t *testing.T) {
	inWorld(t, func(w *world) {
		topic := w.topic("t", 1)
		const keys = 500
		for round := range 3 {
			for key := 0; key < keys; key += 50 {
				var records []keyed
				for i := range 50 {
					records = append(records, kv(fmt.Sprintf("%03d", (key+i*7)%keys), fmt.Sprint(round)))
				}
				w.put(topic, records...)
			}
		}
		want := map[string]string{}
		for _, r := range w.read(topic.Partitions[0], 0, true) {
			want[string(r.Key)] = string(r.Value)
		}
		c := w.compactor(60)
		most := 0
		for more := true; more; {
			var err error
			if more, err = c.Round(w.Context(), w.progress); err != nil {
				t.Fatal(err)
			}
			most = max(most, len(c.keys.table))
		}
		if most == 0 || int64(most*slotBytes) > c.config.KeyBytes {
			t.Errorf("the table had %d slots, %d bytes are allowed", most, c.config.KeyBytes)
		}
		got := map[string]string{}
		for _, r := range w.read(topic.Partitions[0], 0, true) {
			if _, twice := got[string(r.Key)]; twice {
				t.Fatalf("key %q twice", r.Key)
			}
			got[string(r.Key)] = string(r.Value)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

func TestSmallPartitionsShareAFile(t *testing.T) {
	inWorld(t, func(w *world) {
		const partitions = 100
		topic, other := w.topic("t", partitions), w.topic("u", 1)
		for round := range 3 {
			batches := []placed{{other, 0, w.batch(protocol.CodecNone, kv("k", fmt.Sprint(round)))}}
			for i := range int32(partitions) {
				batches = append(batches, placed{topic, i, w.batch(protocol.CodecNone, kv("k", fmt.Sprint(round)))})
			}
			w.produce(batches...)
		}
		puts, gets, notes := w.bucket.Calls(objstoretest.Put), w.bucket.Calls(objstoretest.Get), 0
		w.store.before = func(call string) error {
			if call == "FinishCompactions" {
				notes++
			}
			return nil
		}
		w.compact(w.compactor(1000))
		puts, gets = w.bucket.Calls(objstoretest.Put)-puts, w.bucket.Calls(objstoretest.Get)-gets
		if puts != 1 || gets > 3 || notes != 1 {
			t.Errorf("%d PUTs, %d GETs and %d notes for %d partitions in 3 files", puts, gets, notes, partitions+1)
		}
		for i := range int32(partitions) {
			w.wantRecords(topic, i, "2:k=2")
		}
		w.wantRecords(other, 0, "2:k=2")
	})
}

// A large partition is written in several files. A merge that comes in between costs a part of the work.
func TestMergesInBetweenCostAPartOfTheWork(t *testing.T) {
	inWorld(t, func(w *world) {
		topic := w.topic("t", 1)
		id := topic.Partitions[0]
		var want []string
		for i := range 12 {
			w.put(topic, kv("a", fmt.Sprint(i)), kv(fmt.Sprint(i), "1"))
			want = append(want, fmt.Sprintf("%d:%d=1", 2*i+1, i))
			if i == 11 {
				want = slices.Insert(want, 11, "22:a=11")
			}
		}
		c := w.compactor(100)
		c.config.WindowBytes, c.config.FileBytes = 1, 1 // large is everything, and a file is full with its first run
		replaced := 0
		w.store.before = func(call string) error {
			if call != "ReplaceRuns" {
				return nil
			}
			if replaced++; replaced%3 == 2 {
				w.store.before = nil
				defer func(b func(string) error) { w.store.before = b }(nil)
				runs, _ := w.runsFrom(id, 0)
				runs = slices.DeleteFunc(runs, func(r metadata.Run) bool { return r.Merged })
				if len(runs) > 1 {
					w.mergeInto(topic, 0, runs[:2])
				}
			}
			return nil
		}
		if _, err := c.Round(w.Context(), w.progress); err != nil {
			t.Fatal(err)
		}
		w.wantRecords(topic, 0, want...)
		if b := w.bounds(id); b.CleanUntil != b.NextOffset {
			t.Errorf("clean to %d of %d", b.CleanUntil, b.NextOffset)
		}
	})
}

func TestALargePartitionTakesSeveralRounds(t *testing.T) {
	inWorld(t, func(w *world) {
		topic := w.topic("t", 1)
		for i := range 10 {
			w.put(topic, kv("a", fmt.Sprint(i)), kv(fmt.Sprint(i), "1"))
		}
		c, other := w.compactor(100), w.compactor(100)
		c.config.WindowBytes, c.slice = 1, 300
		other.config.WindowBytes = 1
		rounds := 0
		for more := true; more; rounds++ {
			var err error
			if more, err = c.Round(w.Context(), w.progress); err != nil {
				t.Fatal(err)
			}
			// The lease stays between the rounds.
			if _, err := other.Round(w.Context(), w.progress); err != nil {
				t.Fatal(err)
			}
			if c.large != nil && w.bounds(topic.Partitions[0]).CleanUntil > 0 {
				t.Error("another agent works on it")
			}
		}
		if rounds < 4 {
			t.Errorf("%d rounds", rounds)
		}
		if records := w.read(topic.Partitions[0], 0, true); len(records) != 11 {
			t.Errorf("%d records", len(records))
		}
		if ok, err := w.store.AcquireLease(w.Context(), other.holder, fmt.Sprintf("compact/%d", topic.Partitions[0]), time.Second); !ok || err != nil {
			t.Errorf("the lease was not given up: %v", err)
		}
	})
}

// TestWhatWasCleanedAndThenMergedKeepsItsMarkers: consumers that are told of an aborted transaction skip its
// producer's records up to the marker.
func TestWhatWasCleanedAndThenMergedKeepsItsMarkers(t *testing.T) {
	inWorld(t, func(w *world) {
		topic := w.topic("t", 1, "delete.retention.ms", "1")
		id := topic.Partitions[0]
		p := w.producer("p")
		w.produce(placed{topic, 0, w.by(*p, true, id, w.batch(protocol.CodecNone, kv("a", "aborted")))})
		w.end("p", p, false)
		w.produce(placed{topic, 0, w.by(*p, true, id, w.batch(protocol.CodecNone, kv("b", "1")))})
		w.end("p", p, true)
		c := w.compactor(100)
		c.config.WindowBytes, c.config.FileBytes = 1, 1 // large is everything, and a file is full with its first run
		w.compact(c)
		w.put(topic, kv("a", "1"))
		w.compact(c) // the marker at 1 has a delete horizon, and the store knows of its transaction
		w.wait(time.Second)
		w.put(topic, kv("a", "2"))
		replaced := 0
		w.store.before = func(call string) error {
			if call != "ReplaceRuns" {
				return nil
			}
			if replaced++; replaced == 3 {
				w.store.before = nil
				runs, _ := w.runsFrom(id, 0)
				if runs[1].BaseOffset != 1 || runs[2].BaseOffset != 2 {
					t.Fatalf("runs are %+v", runs)
				}
				w.mergeInto(topic, 0, runs[1:3]) // what the pass has just written, with what it writes now
			}
			return nil
		}
		w.compact(c)
		if replaced < 3 {
			t.Fatalf("%d parts", replaced)
		}
		w.wantRecords(topic, 0, "2:b=1", "5:a=2")
		if b := w.bounds(id); b.CleanUntil != b.NextOffset {
			t.Errorf("clean to %d of %d", b.CleanUntil, b.NextOffset)
		}
	})
}

func TestPolicySwitchedInTheMiddle(t *testing.T) {
	inWorld(t, func(w *world) {
		topic := w.topic("t", 1)
		id := topic.Partitions[0]
		for i := range 10 {
			w.put(topic, kv("a", fmt.Sprint(i)))
		}
		c := w.compactor(100)
		c.config.WindowBytes, c.config.FileBytes = 1, 1
		w.store.after = func(call string) error {
			if call == "ReplaceRuns" {
				w.store.after = nil
				w.configure(topic, "cleanup.policy", "delete")
			}
			return nil
		}
		w.compact(c)
		if b := w.bounds(id); b.CleanUntil != 0 {
			t.Errorf("clean to %d", b.CleanUntil)
		}
		if got := pairs(w.read(id, 0, true)); len(got) != 9 || got[0] != "1:a=1" {
			t.Errorf("one of ten records may be gone: %q", got)
		}
		w.put(topic, keyed{nil, []byte("no key"), 0}, kv("b", "1"))
		w.configure(topic, "cleanup.policy", "compact,delete")
		w.compact(c)
		w.wantRecords(topic, 0, "9:a=9", "11:b=1")
		w.configure(topic, "cleanup.policy", "delete")
		w.put(topic, keyed{nil, []byte("no key"), 0}, kv("a", "10"))
		w.compact(c)
		w.wantRecords(topic, 0, "9:a=9", "11:b=1", "12:=no key", "13:a=10")
		w.configure(topic, "cleanup.policy", "compact")
		w.compact(c)
		w.wantRecords(topic, 0, "11:b=1", "13:a=10")
	})
}

func TestWhatIsNotDueIsLeft(t *testing.T) {
	for _, c := range []struct {
		name    string
		configs []string
		wait    time.Duration
		due     bool
	}{
		{"dirty enough", []string{"min.cleanable.dirty.ratio", "0.3"}, 0, true},
		{"not dirty enough", []string{"min.cleanable.dirty.ratio", "0.9"}, 0, false},
		{"not dirty enough, but old", []string{"min.cleanable.dirty.ratio", "0.9", "max.compaction.lag.ms", "60000"}, 61 * time.Second, true},
		{"not dirty enough, and not old", []string{"min.cleanable.dirty.ratio", "0.9", "max.compaction.lag.ms", "60000"}, 59 * time.Second, false},
		{"too young", []string{"min.compaction.lag.ms", "60000"}, 59 * time.Second, false},
		{"old enough", []string{"min.compaction.lag.ms", "60000"}, 61 * time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				topic := w.topic("t", 1, c.configs...)
				compactor := w.compactor(100)
				w.put(topic, kv("x", strings.Repeat("1", 300)), kv("y", "1"))
				w.wait(time.Hour)
				w.compact(compactor) // everything is dirty
				before := w.bounds(topic.Partitions[0]).CleanUntil
				w.put(topic, kv("y", strings.Repeat("2", 300)))
				w.wait(c.wait)
				w.compact(compactor)
				if got := w.bounds(topic.Partitions[0]).CleanUntil > before; got != c.due || before != 2 {
					t.Errorf("compacted: %v, want %v", got, c.due)
				}
			})
		})
	}
}

func TestAPartOfWhatIsDirtyMayBeTooYoung(t *testing.T) {
	inWorld(t, func(w *world) {
		topic := w.topic("t", 1, "min.compaction.lag.ms", "60000")
		c := w.compactor(100)
		w.put(topic, kv("a", "1"))
		w.put(topic, kv("a", "2"))
		w.wait(50 * time.Second)
		w.put(topic, kv("a", "3"))
		w.compact(c)
		w.wantRecords(topic, 0, "0:a=1", "1:a=2", "2:a=3")
		w.wait(11 * time.Second)
		w.compact(c)
		w.wantRecords(topic, 0, "1:a=2", "2:a=3")
		w.wait(50 * time.Second)
		w.compact(c)
		w.wantRecords(topic, 0, "2:a=3")
		// Who lowers the lag need not wait for what was to be waited for.
		w.put(topic, kv("a", "4"))
		w.compact(c)
		w.configure(topic, "min.compaction.lag.ms", "0")
		w.compact(c)
		w.wantRecords(topic, 0, "3:a=4")
	})
}

func TestTheMostUrgentComesFirst(t *testing.T) {
	inWorld(t, func(w *world) {
		lazy := w.topic("lazy", 1, "min.cleanable.dirty.ratio", "0.9", "max.compaction.lag.ms", "600000")
		half, full := w.topic("half", 1), w.topic("full", 1)
		c := w.compactor(100)
		w.put(lazy, kv("k", "1"))
		w.put(half, kv("k", "1"))
		w.wait(time.Second)
		w.compact(c)
		w.put(lazy, kv("l", "1"))
		w.wait(11 * time.Minute)
		w.put(half, kv("l", "1"))
		w.put(full, kv("k", "1"))
		due, err := c.findDue(w.Context(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, d := range due {
			names = append(names, d.topic.Name)
		}
		if want := []string{"lazy", "full", "half"}; !slices.Equal(names, want) {
			t.Errorf("due are %q, want %q", names, want)
		}
		c.due = due
		c.showBacklog(w.progress, time.Now())
		if n := w.metric("wadi_job_backlog"); n != 3 {
			t.Errorf("backlog %v", n)
		}
		if s := w.metric("wadi_job_oldest_due_seconds"); s < 660 || s > 662 {
			t.Errorf("the oldest is due for %v s", s)
		}
	})
}

func TestRecordsDeletedInTheMiddle(t *testing.T) {
	for _, large := range []bool{false, true} {
		t.Run(fmt.Sprint("large=", large), func(t *testing.T) {
			inWorld(t, func(w *world) {
				topic := w.topic("t", 2)
				for i := range 6 {
					v := fmt.Sprint(i)
					w.produce(placed{topic, 0, w.batch(protocol.CodecNone, kv("a", v), kv(v, v))}, placed{topic, 1, w.batch(protocol.CodecNone, kv("a", v))})
				}
				c := w.compactor(100)
				if large {
					c.config.WindowBytes, c.config.FileBytes = 1, 1
				}
				w.store.before = func(call string) error {
					if call == "ReplaceRuns" {
						w.store.before = nil
						_, err := w.store.DeleteRecords(w.Context(), []metadata.RecordsDeletion{{Partition: topic.Partitions[0], Before: 5}})
						return err
					}
					return nil
				}
				w.compact(c)
				w.compact(c) // what moved is done again
				w.wantRecords(topic, 0, "5:2=2", "7:3=3", "9:4=4", "10:a=5", "11:5=5")
				w.wantRecords(topic, 1, "5:a=5")
			})
		})
	}
}

func TestTopicDeletedInTheMiddle(t *testing.T) {
	inWorld(t, func(w *world) {
		gone, topic := w.topic("gone", 1), w.topic("t", 1)
		for i := range 3 {
			w.produce(placed{gone, 0, w.batch(protocol.CodecNone, kv("a", fmt.Sprint(i)))}, placed{topic, 0, w.batch(protocol.CodecNone, kv("a", fmt.Sprint(i)))})
		}
		w.store.before = func(call string) error {
			if call == "ReplaceRuns" {
				w.store.before = nil
				return w.store.DeleteTopic(w.Context(), gone.ID)
			}
			return nil
		}
		w.compact(w.compactor(100))
		w.wantRecords(topic, 0, "2:a=2")
	})
}

// A config of a newer version may say that the topic is not to be compacted.
func TestConfigsThatAreNotUnderstoodKeepEverything(t *testing.T) {
	inWorld(t, func(w *world) {
		topic := w.topic("t", 1)
		w.put(topic, kv("a", "1"), kv("a", "2"))
		w.configure(topic, "cleanup.policy.of.tomorrow", "x")
		w.compact(w.compactor(100))
		w.wantRecords(topic, 0, "0:a=1", "1:a=2")
	})
}
