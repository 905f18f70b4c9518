package group

import "math"

// goal is where a reset is to bring a group, as the user says it.
type goal struct {
	kind goalKind
	// n is the offset of toOffset, the step of shiftBy, the ms since the epoch
	// of toTime.
	n int64
	// offsets are those of toFile.
	offsets map[partition]int64
}

type goalKind int

const (
	toEarliest goalKind = iota
	toLatest
	toOffset
	toTime
	toCurrent
	shiftBy
	toFile
)

// position is what there is to know of a partition before a reset.
type position struct {
	partition
	// committed is -1 for none. metadata is what was committed with it.
	committed int64
	metadata  string
	// start and end are the first offset, and the one behind the last.
	start, end int64
	// atTime is the first offset at or after the time of toTime; the end
	// where there is none.
	atTime int64
}

// change is what a reset commits for one partition.
type change struct {
	partition
	// old is -1 for none.
	old int64
	// asked is the offset that the goal means, new the nearest to it that the
	// partition has.
	asked, new int64
	metadata   string
}

// plan returns what to commit to bring the partitions to the goal, in their
// order, and those that it leaves alone: they have no committed offset, and the
// goal depends on one.
func plan(goal goal, positions []position) (changes []change, alone []partition) {
	for _, p := range positions {
		asked, ok := goal.offset(p)
		if !ok {
			alone = append(alone, p.partition)
			continue
		}
		c := change{partition: p.partition, old: p.committed, asked: asked, new: min(max(asked, p.start), p.end)}
		if c.old == c.new {
			c.metadata = p.metadata // it still describes this place
		}
		changes = append(changes, c)
	}
	return changes, alone
}

// offset returns the offset that the goal means in this partition; false where
// it means none.
func (g goal) offset(p position) (int64, bool) {
	switch g.kind {
	case toEarliest:
		return p.start, true
	case toLatest:
		return p.end, true
	case toOffset:
		return g.n, true
	case toTime:
		return p.atTime, true
	case toCurrent:
		return p.committed, p.committed >= 0
	case shiftBy:
		return addSaturated(p.committed, g.n), p.committed >= 0
	default: // toFile: positions are those of the file
		return g.offsets[p.partition], true
	}
}

// addSaturated returns a+b, or the end of the numbers where that does not fit.
func addSaturated(a, b int64) int64 {
	switch {
	case b > 0 && a > math.MaxInt64-b:
		return math.MaxInt64
	case b < 0 && a < math.MinInt64-b:
		return math.MinInt64
	}
	return a + b
}
