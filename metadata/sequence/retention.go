package sequence

import (
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
