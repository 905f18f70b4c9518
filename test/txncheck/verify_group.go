package txncheck

import "sort"

// checkGroup compares the group's output and offsets with its input.
func (v *verifier) checkGroup() {
	v.checkMonotone("committed offset", v.Offsets)
	v.checkOffsets()
	v.checkOutput()
}

// inputEnd names an offset up to which input was transformed.
type inputEnd struct {
	partition int32
	next      int64
}

// checkOffsets: what was seen to be committed is what a committed transaction
// said, and is not older than the last one that was completed before.
func (v *verifier) checkOffsets() {
	setBy := map[inputEnd]int32{}
	least := make([]steps, len(v.Partitions))
	for i := range v.Txns {
		if v.outcome[i] != Committed {
			continue
		}
		done := v.completed(int32(i))
		for _, in := range v.Txns[i].Inputs {
			setBy[inputEnd{in.Partition, in.Next}] = int32(i)
			if done != Never {
				least[in.Partition] = append(least[in.Partition], step{done, in.Next})
			}
		}
	}
	for p := range least {
		least[p].arrange()
	}
	for _, o := range v.Offsets {
		for p, next := range o.Offsets {
			if want := least[p].at(o.Asked); max(next, 0) < want {
				v.report(Stale, "%s: committed offset %d at %v, when %d was committed before", v.Partitions[p], next, o.Asked, want)
			}
			if next < 0 {
				continue
			}
			switch by, ok := setBy[inputEnd{int32(p), next}]; {
			case !ok:
				v.report(Ahead, "%s: offset %d was committed, which no committed transaction did", v.Partitions[p], next)
			case o.Answered < v.Txns[by].Ending:
				v.report(Early, "%s: offset %d was committed at %v, but %s was ended from %v on", v.Partitions[p], next, o.Answered,
					v.describe(by), v.Txns[by].Ending)
			}
		}
	}
}

// offsetsEvidence returns when transactions were seen to be committed by their offsets. For
// Kafka that says nothing of their records: each partition has its marker for itself.
func (v *verifier) offsetsEvidence() map[int32]Moment {
	evidence := map[int32]Moment{}
	if !v.Strict {
		return evidence
	}
	seen := make([]steps, len(v.Partitions))
	for _, o := range v.Offsets {
		for p, next := range o.Offsets {
			seen[p] = append(seen[p], step{o.Answered, next})
		}
	}
	for p := range seen {
		seen[p].arrange()
	}
	for i := range v.Txns {
		if v.outcome[i] != Committed {
			continue
		}
		for _, in := range v.Txns[i].Inputs {
			s := seen[in.Partition]
			n := sort.Search(len(s), func(k int) bool { return s[k].offset >= in.Next })
			if n == len(s) {
				continue
			}
			if at, ok := evidence[int32(i)]; !ok || s[n].at < at {
				evidence[int32(i)] = s[n].at
			}
		}
	}
	return evidence
}

// checkOutput counts how often each input record is in the committed output.
func (v *verifier) checkOutput() {
	made := map[Source]int{}
	for i := range v.Txns {
		for _, sent := range v.Txns[i].Records {
			if s := sent.Source; s.Partition >= 0 && !v.committedAt(s) {
				v.report(Leak, "%s: %s transformed offset %d, which was not committed", v.Partitions[s.Partition], v.describe(int32(i)), s.Offset)
			}
		}
	}
	for p := range v.Log {
		for _, e := range v.Log[p] {
			if !v.committed(e) {
				continue
			}
			if s := v.Txns[e.Record.Txn].Records[e.Record.Seq].Source; s.Partition >= 0 {
				made[s]++
			}
		}
	}
	end := v.lastOffsets()
	for p, partition := range v.Partitions {
		if !partition.Input {
			continue
		}
		for offset, e := range v.Log[p] {
			n := made[Source{int32(p), int64(offset)}]
			switch {
			case n > 1:
				v.report(Repeated, "%s: offset %d is in the output %d times", partition, offset, n)
			case n > 0 && int64(offset) >= end[p]:
				v.report(Ahead, "%s: offset %d is in the output, and the group's offset is %d", partition, offset, end[p])
			case n == 0 && v.committed(e):
				v.report(Missing, "%s: offset %d is not in the output, and the group's offset is %d", partition, offset, end[p])
			}
		}
	}
}

func (v *verifier) committedAt(s Source) bool {
	log := v.Log[s.Partition]
	return s.Offset >= 0 && s.Offset < int64(len(log)) && v.committed(log[s.Offset])
}

// lastOffsets are the group's offsets in the end, -1 where it has none.
func (v *verifier) lastOffsets() []int64 {
	last := Offsets{Asked: -1}
	for _, o := range v.Offsets {
		if o.Asked > last.Asked {
			last = o
		}
	}
	if last.Offsets == nil {
		last.Offsets = make([]int64, len(v.Partitions))
	}
	return last.Offsets
}
