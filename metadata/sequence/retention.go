package sequence

import (
	"cmp"
	"slices"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

// RetentionTime is the time (ms) by which retention judges a run: its (running) largest
// timestamp or, where no record had one so far, when its file was made or its marker written.
func RetentionTime(r metadata.Run) int64 {
	if r.MaxTimestamp >= 0 {
		return r.MaxTimestamp
	}
	if marker, ok := r.Marker(); ok {
		return marker.Timestamp
	}
	if at, ok := FileTime(r.FileID); ok {
		return at.UnixMilli()
	}
	return -1
}

// CompactionState is what a store keeps of a partition's compaction. The zero value is that
// of a partition that was never compacted.
type CompactionState struct {
	// CleanUntil is the first offset that no pass has cleaned, CleanedAt when the last pass ended.
	CleanUntil int64
	CleanedAt  time.Time
	// SettledUntil is the offset up to which, since SettledAt, no records of aborted
	// transactions are left: an offset that was clean long enough ago that nobody reads by an older plan.
	SettledUntil int64
	SettledAt    time.Time
}

// Finish returns the state after a pass that cleaned up to the offset and ended now, and up
// to which offset aborted transactions can be forgotten. What the pass cleaned
// waits for one that ends more than MaxFileAge later, however many come in between.
func (c CompactionState) Finish(cleanUntil int64, now time.Time) (next CompactionState, forget int64) {
	next = c
	next.CleanUntil, next.CleanedAt = max(c.CleanUntil, cleanUntil), now
	if !c.SettledAt.IsZero() && now.Sub(c.SettledAt) <= metadata.MaxFileAge {
		return next, 0
	}
	next.SettledUntil, next.SettledAt = next.CleanUntil, now
	return next, c.SettledUntil
}

// FinishedCompaction is what the end of a pass makes of a partition's state.
type FinishedCompaction struct {
	Partition metadata.PartitionID
	State     CompactionState
	// Forget is the offset before which aborted transactions can be forgotten.
	Forget int64
}

// DecideCompactions says what passes that ended now do to the states, which it leaves as they are: one
// result for each partition, ascending, and for the feed those that are clean further than before. States lack
// the partitions that don't exist.
func DecideCompactions(states map[metadata.PartitionID]CompactionState, finished []metadata.CompactedUntil, now time.Time) ([]FinishedCompaction, []metadata.CompactedUntil) {
	ends := map[metadata.PartitionID]int64{}
	for _, f := range finished {
		if _, exists := states[f.Partition]; exists {
			ends[f.Partition] = max(ends[f.Partition], f.Offset)
		}
	}
	next := make([]FinishedCompaction, 0, len(ends))
	for id, end := range ends {
		state, forget := states[id].Finish(end, now)
		next = append(next, FinishedCompaction{Partition: id, State: state, Forget: forget})
	}
	slices.SortFunc(next, func(a, b FinishedCompaction) int { return cmp.Compare(a.Partition, b.Partition) })
	var further []metadata.CompactedUntil
	for _, f := range next {
		if f.State.CleanUntil > states[f.Partition].CleanUntil {
			further = append(further, metadata.CompactedUntil{Partition: f.Partition, Offset: f.State.CleanUntil})
		}
	}
	return next, further
}
