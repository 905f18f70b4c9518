package sequence

import (
	"slices"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

func TestRetentionTime(t *testing.T) {
	made := time.UnixMilli(1_800_000_000_000)
	for name, tc := range map[string]struct {
		run  metadata.Run
		want int64
	}{
		"timestamp":                   {metadata.Run{MaxTimestamp: 5, FileID: fileID(made, 1)}, 5},
		"zero is one":                 {metadata.Run{MaxTimestamp: 0, FileID: fileID(made, 1)}, 0},
		"of the file":                 {metadata.Run{MaxTimestamp: -1, FileID: fileID(made, 1)}, made.UnixMilli()},
		"of the marker":               {metadata.Marker{Timestamp: 77}.Run(1, 3, -1), 77},
		"marker behind records":       {metadata.Marker{Timestamp: 77}.Run(1, 3, 50), 50},
		"neither, of an unknown file": {metadata.Run{MaxTimestamp: -1}, -1},
	} {
		if got := RetentionTime(tc.run); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

// What a pass cleaned is forgotten by the first pass that ends more than
// MaxFileAge later, however often passes come.
func TestAbortedTransactionsAreForgottenLater(t *testing.T) {
	start := time.UnixMilli(1_800_000_000_000)
	var c CompactionState
	for _, step := range []struct {
		after          time.Duration
		clean          int64
		until, forgets int64
	}{
		{0, 100, 100, 0},
		{metadata.MaxFileAge / 2, 200, 200, 0},
		{metadata.MaxFileAge, 300, 300, 0},
		{metadata.MaxFileAge + 1, 400, 400, 100},
		{metadata.MaxFileAge + 2, 450, 450, 0},
		{2*metadata.MaxFileAge + 1, 460, 460, 0},
		{2*metadata.MaxFileAge + 2, 440, 460, 400}, // a rival that is late takes nothing back
		{5 * metadata.MaxFileAge, 500, 500, 460},
	} {
		now := start.Add(step.after)
		next, forget := c.Finish(step.clean, now)
		if next.CleanUntil != step.until || forget != step.forgets || !next.CleanedAt.Equal(now) {
			t.Errorf("after %v: %+v, forgets %d; want clean until %d, forgets %d", step.after, next, forget, step.until, step.forgets)
		}
		c = next
	}
}

func TestCompactionsThatChangeNothingForReadersAreNotTold(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	old := CompactionState{CleanUntil: 50, CleanedAt: now.Add(-time.Hour), SettledUntil: 40, SettledAt: now.Add(-metadata.MaxFileAge - 1)}
	states := map[metadata.PartitionID]CompactionState{1: {}, 2: old, 3: old, 4: old, 5: {}}
	next, further := DecideCompactions(states, []metadata.CompactedUntil{
		{Partition: 4, Offset: 49}, {Partition: 2, Offset: 60}, {Partition: 2, Offset: 55}, {Partition: 3, Offset: 50},
		{Partition: 1, Offset: 7}, {Partition: 9, Offset: 7}, {Partition: 5, Offset: 0},
	}, now)
	if want := []metadata.CompactedUntil{{Partition: 1, Offset: 7}, {Partition: 2, Offset: 60}}; !slices.Equal(further, want) {
		t.Errorf("told of %v, want %v", further, want)
	}
	finished := func(p metadata.PartitionID, end, forget int64) FinishedCompaction {
		return FinishedCompaction{p, CompactionState{CleanUntil: end, CleanedAt: now, SettledUntil: end, SettledAt: now}, forget}
	}
	if want := []FinishedCompaction{finished(1, 7, 0), finished(2, 60, 40), finished(3, 50, 40), finished(4, 50, 40), finished(5, 0, 0)}; !slices.Equal(next, want) {
		t.Errorf("got  %v\nwant %v", next, want)
	}
	if states[2] != old {
		t.Errorf("the state was changed to %+v", states[2])
	}
}
