package txncheck

import (
	"slices"
	"sort"
)

// checkWatermarks judges last stable offsets and high watermarks.
func (v *verifier) checkWatermarks() {
	stables, highs := make([]Watermarks, len(v.Snapshots)), make([]Watermarks, len(v.Snapshots))
	for i, s := range v.Snapshots {
		stables[i], highs[i] = s.Stable, s.High
	}
	v.checkMonotone("last stable offset", stables)
	v.checkMonotone("high watermark", highs)

	all := make([]bounds, len(v.Partitions))
	evidence := v.offsetsEvidence()
	for p := range all {
		all[p] = v.bounds(p, evidence)
	}
	for i := range v.Snapshots {
		for p := range v.Partitions {
			v.checkSnapshot(&v.Snapshots[i], p, &all[p])
		}
		if v.Strict {
			v.checkWhole(&v.Snapshots[i], all)
		}
	}
	for i := range v.Reads {
		r := &v.Reads[i]
		v.checkStable(int(r.Partition), r.StableOffset, r.At, noMarker, &all[r.Partition])
	}
}

// checkMonotone: what was answered before another was asked is not above it.
func (v *verifier) checkMonotone(what string, all []Watermarks) {
	byAsked, byAnswered := slices.Clone(all), slices.Clone(all)
	slices.SortFunc(byAsked, func(a, b Watermarks) int { return int(a.Asked - b.Asked) })
	slices.SortFunc(byAnswered, func(a, b Watermarks) int { return int(a.Answered - b.Answered) })
	floor := make([]int64, len(v.Partitions))
	for _, w := range byAsked {
		for len(byAnswered) > 0 && byAnswered[0].Answered <= w.Asked {
			for p, offset := range byAnswered[0].Offsets {
				floor[p] = max(floor[p], offset)
			}
			byAnswered = byAnswered[1:]
		}
		for p, offset := range w.Offsets {
			if offset >= 0 && offset < floor[p] {
				v.report(Backwards, "%s: %s %d at %v, after %d", v.Partitions[p], what, offset, w.Asked, floor[p])
			}
		}
	}
}

// bounds is what is known of a partition's offsets over time.
type bounds struct {
	// high rises with acknowledged records, stable with what was decided of them.
	high, stable steps
	// first finds a transaction by its first offset, start the offset by the transaction.
	first     map[int64]int32
	start     map[int32]int64
	completed map[int32]Moment
	// Of the first transactions up to that of starts[i], decidable[i] is the moment before which
	// the last of them, latest[i], could not have ended, and marker[i] their last marker.
	starts    []int64
	decidable []Moment
	latest    []int32
	marker    []int64
}

// bounds collects them. evidence tells of transactions that were seen to be completed by the group's offsets.
func (v *verifier) bounds(p int, evidence map[int32]Moment) bounds {
	b := bounds{first: map[int64]int32{}, start: map[int32]int64{}, completed: map[int32]Moment{}}
	for _, s := range v.spots[p] {
		done := v.completed(s.txn)
		if at, ok := evidence[s.txn]; ok {
			done = min(done, at)
		}
		b.first[s.first], b.start[s.txn], b.completed[s.txn] = s.txn, s.first, done
		if done != Never {
			b.stable = append(b.stable, step{done, s.last + 1})
		}
		decidable, latest, marker := v.Txns[s.txn].Decidable, s.txn, s.marker
		if n := len(b.starts); n > 0 {
			if b.decidable[n-1] > decidable {
				decidable, latest = b.decidable[n-1], b.latest[n-1]
			}
			marker = max(marker, b.marker[n-1])
		}
		b.starts = append(b.starts, s.first)
		b.decidable, b.latest, b.marker = append(b.decidable, decidable), append(b.latest, latest), append(b.marker, marker)
	}
	for offset, e := range v.Log[p] {
		if e.Kind != Data || !v.known(e.Record) {
			continue
		}
		t := &v.Txns[e.Record.Txn]
		acked := t.Records[e.Record.Seq].Acked
		if acked == Never {
			continue
		}
		b.high = append(b.high, step{acked, int64(offset) + 1})
		if !t.Transactional {
			b.stable = append(b.stable, step{acked, int64(offset) + 1})
		}
	}
	b.high.arrange()
	b.stable.arrange()
	return b
}

func (v *verifier) checkSnapshot(s *Snapshot, p int, b *bounds) {
	stable, high := s.Stable.Offsets[p], s.High.Offsets[p]
	if high >= 0 {
		if least := b.high.at(s.High.Asked); high < least {
			v.report(Stale, "%s: high watermark %d at %v, when %d was acknowledged", v.Partitions[p], high, s.High.Asked, least-1)
		}
	}
	if stable < 0 {
		return
	}
	if high < 0 {
		high = noMarker
	}
	if stable > high {
		v.report(Unstable, "%s: last stable offset %d, then high watermark %d", v.Partitions[p], stable, high)
	}
	v.checkStable(p, stable, s.Stable.Answered, high, b)
	least := b.stable.at(s.Stable.Asked)
	if stable >= least {
		return
	}
	holder, ok := b.first[stable]
	switch {
	case !ok:
		v.report(Stale, "%s: last stable offset %d at %v, when all below %d was decided; no transaction begins there", v.Partitions[p],
			stable, s.Stable.Asked, least)
	case b.completed[holder] <= s.Stable.Asked:
		v.report(Stale, "%s: last stable offset %d at %v, when all below %d was decided; %s, which begins there, was completed at %v",
			v.Partitions[p], stable, s.Stable.Asked, least, v.describe(holder), b.completed[holder])
	}
}

// checkStable: what begins below a stable offset could have ended when it was told, and
// has its marker below high, a high watermark asked for after it.
func (v *verifier) checkStable(p int, stable int64, told Moment, high int64, b *bounds) {
	n := sort.Search(len(b.starts), func(i int) bool { return b.starts[i] >= stable })
	if n == 0 {
		return
	}
	if b.decidable[n-1] > told {
		v.report(Unstable, "%s: last stable offset %d was told at %v, but %s was open until %v", v.Partitions[p], stable, told,
			v.describe(b.latest[n-1]), b.decidable[n-1])
	}
	if high != noMarker && b.marker[n-1] >= high {
		v.report(Unstable, "%s: last stable offset %d, then high watermark %d, but what begins before it ends at %d", v.Partitions[p],
			stable, high, b.marker[n-1])
	}
}

// checkWhole: a transaction that is open in one partition of the answer is so in all.
func (v *verifier) checkWhole(s *Snapshot, all []bounds) {
	for p, stable := range s.Stable.Offsets {
		txn, ok := all[p].first[stable]
		if !ok {
			continue
		}
		for _, sent := range v.Txns[txn].Records {
			q := sent.Partition
			other := s.Stable.Offsets[q]
			if start, wrote := all[q].start[txn]; wrote && start < other {
				v.report(Partial, "at %v, %s is open in %s (last stable offset %d) and decided in %s (%d)", s.Stable.Asked, v.describe(txn),
					v.Partitions[p], stable, v.Partitions[q], other)
				break
			}
		}
	}
}

// step says that an offset is reached from a moment on.
type step struct {
	at     Moment
	offset int64
}

// steps tell what is reached at a moment.
type steps []step

// arrange sorts the steps, and lets each have the largest offset so far.
func (s steps) arrange() {
	slices.SortFunc(s, func(a, b step) int { return int(a.at - b.at) })
	for i := 1; i < len(s); i++ {
		s[i].offset = max(s[i].offset, s[i-1].offset)
	}
}

// at is what is reached at a moment, 0 before the first step.
func (s steps) at(m Moment) int64 {
	n := sort.Search(len(s), func(i int) bool { return s[i].at > m })
	if n == 0 {
		return 0
	}
	return s[n-1].offset
}
