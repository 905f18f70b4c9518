package txncheck

// checkReads compares what readers were given with the log.
func (v *verifier) checkReads() {
	type cursor struct{ reader, partition int32 }
	next := map[cursor]int64{}
	for i := range v.Reads {
		r := &v.Reads[i]
		at := cursor{r.Reader, r.Partition}
		if r.From != next[at] {
			v.report(Skipped, "%s: reader %d went on at offset %d instead of %d", v.Partitions[r.Partition], r.Reader, r.From, next[at])
		}
		next[at] = r.To
		v.checkRead(r)
	}
}

// checkRead walks through the offsets that a read passed over.
func (v *verifier) checkRead(r *Read) {
	p, log := v.Partitions[r.Partition], v.Log[r.Partition]
	if r.To > int64(len(log)) {
		v.report(Gap, "%s: reader %d went on at offset %d, beyond the last, %d", p, r.Reader, r.To, len(log)-1)
	}
	got := r.Got
	for offset := r.From; offset < min(r.To, int64(len(log))); offset++ {
		for len(got) > 0 && got[0].Last < offset {
			got = got[1:]
		}
		given := len(got) > 0 && got[0].First <= offset
		e := log[offset]
		wanted := !r.Committed || v.committed(e)
		switch {
		case given && !wanted:
			v.report(Leak, "%s: reader %d of committed records got offset %d: %s", p, r.Reader, offset, v.describeEntry(e))
		case wanted && !given:
			v.report(Skipped, "%s: reader %d did not get offset %d on its way from %d to %d", p, r.Reader, offset, r.From, r.To)
		case given && r.Committed && offset >= r.StableOffset:
			v.report(Leak, "%s: reader %d got offset %d with an answer that says %d is the last stable one", p, r.Reader, offset, r.StableOffset)
		case given && r.Committed && v.Txns[e.Record.Txn].Transactional && r.At < v.Txns[e.Record.Txn].Ending:
			v.report(Early, "%s: reader %d got offset %d at %v, but %s was ended from %v on", p, r.Reader, offset, r.At,
				v.describe(e.Record.Txn), v.Txns[e.Record.Txn].Ending)
		}
	}
	for _, span := range r.Got {
		if span.First < r.From || span.Last >= r.To {
			v.report(Skipped, "%s: reader %d asked from %d to %d and got %d to %d", p, r.Reader, r.From, r.To, span.First, span.Last)
		}
	}
}
