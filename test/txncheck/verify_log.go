package txncheck

// checkLog walks through each partition's log and finds the transactions in it.
func (v *verifier) checkLog() {
	v.spots = make([][]spot, len(v.Partitions))
	v.outcome = make([]Fate, len(v.Txns))
	for p := range v.Log {
		w := logWalk{v: v, p: p, last: map[string]RecordID{}, open: map[int64]int{}, current: map[int32]int{}}
		for offset, e := range v.Log[p] {
			w.step(int64(offset), e)
		}
		v.spots[p] = w.spots
	}
	v.checkAcked()
}

// logWalk is one partition on the way from its first to its last offset.
type logWalk struct {
	v     *verifier
	p     int
	spots []spot
	// last is each writer's last record.
	last map[string]RecordID
	// open is the transaction that a producer ID has open, as an index into spots.
	open map[int64]int
	// current is the last spot of each transaction; there is one unless it is mixed with others.
	current map[int32]int
}

func (w *logWalk) step(offset int64, e Entry) {
	switch e.Kind {
	case Unread:
		w.v.report(Gap, "%s: nobody found anything at offset %d", w.v.Partitions[w.p], offset)
	case Data:
		w.data(offset, e)
	case CommitMarker, AbortMarker:
		w.marker(offset, e)
	}
}

func (w *logWalk) data(offset int64, e Entry) {
	v, id := w.v, e.Record
	if !v.known(id) {
		v.report(Foreign, "%s: offset %d has record %v, which was never sent", v.Partitions[w.p], offset, id)
		return
	}
	t := &v.Txns[id.Txn]
	sent := &t.Records[id.Seq]
	switch {
	case int(sent.Partition) != w.p:
		v.report(Foreign, "%s: offset %d has record %v, which was sent to %s", v.Partitions[w.p], offset, id, v.Partitions[sent.Partition])
	case e.Transactional != t.Transactional:
		v.report(Foreign, "%s: offset %d has record %v with the transactional bit %v", v.Partitions[w.p], offset, id, e.Transactional)
	case sent.At >= t.Fenced:
		v.report(Foreign, "%s: offset %d has record %v of %s, sent after its producer was fenced", v.Partitions[w.p], offset, id, v.describe(id.Txn))
	}
	if last, ok := w.last[t.Writer]; ok && (id.Txn < last.Txn || id.Txn == last.Txn && id.Seq <= last.Seq) {
		v.report(Order, "%s: offset %d has record %v of %s after its record %v", v.Partitions[w.p], offset, id, t.Writer, last)
	}
	w.last[t.Writer] = id
	if t.Transactional {
		w.extend(offset, e)
	}
}

// extend adds a record to its transaction's spot.
func (w *logWalk) extend(offset int64, e Entry) {
	txn := e.Record.Txn
	i, open := w.open[e.ProducerID]
	switch {
	case !open:
		if before, again := w.current[txn]; again {
			w.v.report(Mixed, "%s: offset %d has a record of %s after its marker at %d", w.v.Partitions[w.p], offset, w.v.describe(txn), w.spots[before].marker)
		}
	case w.spots[i].txn != txn:
		w.v.report(Mixed, "%s: at offset %d, producer %d has a record of %s while %s is open", w.v.Partitions[w.p], offset, e.ProducerID,
			w.v.describe(txn), w.v.describe(w.spots[i].txn))
	default:
		w.spots[i].last = offset
		return
	}
	w.spots = append(w.spots, spot{txn: txn, first: offset, last: offset, marker: noMarker})
	w.open[e.ProducerID] = len(w.spots) - 1
	w.current[txn] = len(w.spots) - 1
}

// marker ends the spot of its producer. One without a transaction is allowed: Kafka writes
// it where a partition was added and nothing followed.
func (w *logWalk) marker(offset int64, e Entry) {
	i, open := w.open[e.ProducerID]
	if !open {
		return
	}
	delete(w.open, e.ProducerID)
	s := &w.spots[i]
	s.marker, s.outcome = offset, Aborted
	if e.Kind == CommitMarker {
		s.outcome = Committed
	}
	if before := w.v.Log[w.p][s.last].ProducerEpoch; e.ProducerEpoch < before || !e.Transactional {
		w.v.report(Marker, "%s: the marker at offset %d has epoch %d and transactional bit %v, its transaction epoch %d", w.v.Partitions[w.p],
			offset, e.ProducerEpoch, e.Transactional, before)
	}
}

// checkAcked looks each acknowledged record up.
func (v *verifier) checkAcked() {
	for txn := range v.Txns {
		for seq, sent := range v.Txns[txn].Records {
			if sent.Acked == Never || sent.Offset < 0 {
				continue
			}
			id := RecordID{int32(txn), int32(seq)}
			log := v.Log[sent.Partition]
			if sent.Offset >= int64(len(log)) || log[sent.Offset].Kind != Data || log[sent.Offset].Record != id {
				v.report(Lost, "%s: record %v of %s was acknowledged with offset %d and does not lie there", v.Partitions[sent.Partition],
					id, v.describe(id.Txn), sent.Offset)
			}
		}
	}
}

// checkFates compares what writers were told with the markers.
func (v *verifier) checkFates() {
	for p := range v.spots {
		for _, s := range v.spots[p] {
			switch known := &v.outcome[s.txn]; {
			case s.marker == noMarker:
				v.report(Undecided, "%s: %s has no marker", v.Partitions[p], v.describe(s.txn))
			case *known == Unknown:
				*known = s.outcome
			case *known != s.outcome:
				v.report(Torn, "%s: %s was %v here and %v elsewhere", v.Partitions[p], v.describe(s.txn), s.outcome, *known)
			}
		}
	}
	for i := range v.Txns {
		t, txn := &v.Txns[i], int32(i)
		if !t.Transactional {
			continue
		}
		switch {
		case t.Fate == Committed && !t.mayCommit():
			v.report(Unfenced, "%s: it was committed after its producer was fenced", v.describe(txn))
		case t.Fate == Committed && v.outcome[i] == Aborted,
			t.Fate == Aborted && v.outcome[i] == Committed,
			v.outcome[i] == Committed && !t.mayCommit():
			v.report(Broken, "%s: its marker says %v", v.describe(txn), v.outcome[i])
		case t.Fate == Committed && v.outcome[i] == Unknown && len(t.Records) > 0:
			v.report(Lost, "%s: nothing of it is there", v.describe(txn))
		}
	}
}
