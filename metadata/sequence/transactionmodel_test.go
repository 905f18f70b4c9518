package sequence

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

// modelTransaction is one transaction, which the model remembers for ever.
type modelTransaction struct {
	producerID int64
	version    metadata.TransactionVersion
	startedAt  time.Time
	partitions map[metadata.PartitionID]bool
	groups     map[string]bool
	offsets    map[metadata.OffsetKey]metadata.Offset
	fate       metadata.TransactionState // Ongoing, Committed or Aborted
}

// modelID is a transactional ID: the history of the producers that ever had it.
type modelID struct {
	producers []modelProducer
	timeout   time.Duration
	open      *modelTransaction
	// ended is how the present producer's last transaction ended, nil before it has.
	ended *modelEnd
}

type modelProducer struct {
	metadata.ProducerEpoch
	// exchanged: the producer before it asked for it, or timed out.
	exchanged bool
}

type modelEnd struct {
	commit  bool
	version metadata.TransactionVersion
}

// mayEnter returns the transactional ID whose transaction the batch may enter.
func (m *model) mayEnter(partition metadata.PartitionID, b metadata.Batch) (*modelID, error) {
	for _, id := range m.ids {
		switch present := id.present(); {
		case present.ID != b.ProducerID:
			continue
		case present.Epoch != b.ProducerEpoch:
			return nil, metadata.ErrInvalidProducerEpoch
		case !b.AddsPartition && (id.open == nil || !id.open.partitions[partition]):
			return nil, metadata.ErrInvalidTransactionState
		}
		return id, nil
	}
	return nil, metadata.ErrProducerIDMapping
}

func (id *modelID) present() metadata.ProducerEpoch {
	return id.producers[len(id.producers)-1].ProducerEpoch
}

// isLost tells whether the producer is the one that exchanged itself for the present one
// and may not have heard of it.
func (id *modelID) isLost(p metadata.ProducerEpoch) bool {
	n := len(id.producers)
	return n > 1 && id.producers[n-1].exchanged && id.producers[n-2].ProducerEpoch == p && id.open == nil
}

func (id *modelID) begin(version metadata.TransactionVersion, now time.Time) {
	if id.open == nil {
		id.ended = nil
		id.open = &modelTransaction{
			producerID: id.present().ID, version: version, startedAt: now, fate: metadata.TransactionOngoing,
			partitions: map[metadata.PartitionID]bool{}, groups: map[string]bool{}, offsets: map[metadata.OffsetKey]metadata.Offset{},
		}
	}
}

// next makes the next producer.
func (id *modelID) next(exchanged bool, newID int64) {
	p := id.present()
	if p.Epoch < 32766 {
		p.Epoch++
	} else {
		p = metadata.ProducerEpoch{ID: newID}
	}
	id.producers = append(id.producers, modelProducer{p, exchanged})
}

// modelMarker is a marker that the model wrote.
type modelMarker struct {
	partition metadata.PartitionID
	offset    int64
	marker    metadata.Marker
	tx        *modelTransaction
}

// finish ends the open transaction, in all partitions at once.
func (m *model) finish(id *modelID, commit bool, epoch int16, now time.Time) (markers []modelMarker) {
	tx := id.open
	id.open = nil
	tx.fate = outcome(commit)
	for _, p := range slices.Sorted(maps.Keys(tx.partitions)) {
		wrote := slices.ContainsFunc(m.partitions[p], func(b modelBatch) bool { return b.tx == tx })
		if !wrote {
			continue
		}
		offset := m.nextOffset(p)
		m.partitions[p] = append(m.partitions[p], modelBatch{
			Batch: metadata.Batch{Records: 1, MaxTimestamp: -1, ProducerID: tx.producerID}, offset: offset, tx: tx, marker: true,
		})
		markers = append(markers, modelMarker{p, offset, metadata.Marker{
			ProducerID: tx.producerID, Epoch: epoch, Commit: commit, Timestamp: now.UnixMilli(),
		}, tx})
	}
	return markers
}

// modelAnswer is what a request leads to.
type modelAnswer struct {
	err      error
	producer metadata.ProducerEpoch
	absent   []metadata.PartitionID
	ended    *modelTransaction
	markers  []modelMarker
}

func (m *model) request(r metadata.TransactionRequest, now time.Time, groups map[string]int64) (a modelAnswer) {
	id := m.ids[r.ID]
	if id == nil {
		op, ok := r.Op.(metadata.InitProducer)
		if !ok {
			return modelAnswer{err: metadata.ErrProducerIDMapping}
		}
		id = &modelID{timeout: op.Timeout, producers: []modelProducer{{ProducerEpoch: metadata.ProducerEpoch{ID: op.NewProducerID}}}}
		m.ids[r.ID] = id
		return modelAnswer{producer: id.present()}
	}
	present := id.present()
	finish := func(commit bool, epoch int16) {
		a.ended = id.open
		a.markers = m.finish(id, commit, epoch, now)
	}
	mayUse := func(p metadata.ProducerEpoch) error {
		switch {
		case p.ID != present.ID:
			return metadata.ErrProducerIDMapping
		case p.Epoch != present.Epoch:
			return metadata.ErrProducerFenced
		}
		return nil
	}
	switch op := r.Op.(type) {
	case metadata.InitProducer:
		known := op.Expected == present
		switch {
		case known || op.Expected == metadata.NoProducer:
			if id.open != nil {
				finish(false, present.Epoch+1)
			}
			id.next(known, op.NewProducerID)
		case !id.isLost(op.Expected):
			return modelAnswer{err: metadata.ErrProducerFenced}
		}
		id.ended, id.timeout = nil, op.Timeout
		a.producer = id.present()
	case metadata.AddToTransaction:
		if a.err = mayUse(op.Producer); a.err != nil {
			return a
		}
		if op.VerifyOnly {
			for _, p := range op.Partitions {
				if id.open == nil || !id.open.partitions[p] {
					a.absent = append(a.absent, p)
				}
			}
			return a
		}
		id.begin(metadata.TransactionV1, now)
		for _, p := range op.Partitions {
			id.open.partitions[p] = true
		}
		if op.Group != nil {
			id.open.groups[*op.Group] = true
		}
	case metadata.TransactionOffsets:
		if a.err = mayUse(op.Producer); a.err != nil {
			return a
		}
		if op.Version == metadata.TransactionV1 && (id.open == nil || !id.open.groups[op.GroupID]) {
			return modelAnswer{err: metadata.ErrInvalidTransactionState}
		}
		if version, exists := groups[op.GroupID]; !exists || version != op.GroupVersion {
			return modelAnswer{err: metadata.ErrGroupVersion}
		}
		id.begin(op.Version, now)
		id.open.groups[op.GroupID] = true
		for _, o := range op.Offsets {
			o.CommittedAt = now
			id.open.offsets[metadata.OffsetKey{GroupID: o.GroupID, Partition: o.Partition}] = o
		}
	case metadata.EndTransaction:
		return m.end(id, op, mayUse(op.Producer), now)
	case metadata.ExpireTransaction:
		if a.err = mayUse(op.Producer); a.err != nil {
			return a
		}
		if id.open == nil || now.Sub(id.open.startedAt) <= id.timeout {
			return modelAnswer{err: metadata.ErrInvalidTransactionState}
		}
		present.Epoch++
		finish(false, present.Epoch)
		id.producers = append(id.producers, modelProducer{present, present.Epoch <= 32766})
		id.ended = &modelEnd{commit: false, version: metadata.TransactionV2}
	}
	return a
}

func (m *model) end(id *modelID, op metadata.EndTransaction, mayUse error, now time.Time) (a modelAnswer) {
	v2 := op.Version == metadata.TransactionV2
	same := id.ended != nil && id.ended.commit == op.Commit
	switch {
	case v2 && id.ended != nil && id.ended.version == metadata.TransactionV2 && id.isLost(op.Producer):
		if !same {
			return modelAnswer{err: metadata.ErrInvalidTransactionState}
		}
		return modelAnswer{producer: id.present()}
	case mayUse != nil:
		return modelAnswer{err: mayUse}
	case id.open == nil && !v2 && same:
		return modelAnswer{producer: id.present()}
	case id.open == nil && (!v2 || op.Commit):
		return modelAnswer{err: metadata.ErrInvalidTransactionState}
	}
	if a.ended = id.open; id.open != nil {
		epoch := id.present().Epoch
		if v2 {
			epoch++
		}
		a.markers = m.finish(id, op.Commit, epoch, now)
	}
	if v2 {
		id.next(true, op.NewProducerID)
	}
	id.ended = &modelEnd{op.Commit, op.Version}
	a.producer = id.present()
	return a
}

// firstUnstable is where the partition's first batch lies whose fate is open, -1 without one.
func (m *model) firstUnstable(id metadata.PartitionID) int64 {
	for _, b := range m.partitions[id] {
		if b.tx != nil && b.tx.fate == metadata.TransactionOngoing {
			return b.offset
		}
	}
	return -1
}

// transactionRows is what a store keeps for transactions next to State.
type transactionRows struct {
	transactions map[string]metadata.Transaction // without Partitions and Groups
	inGroups     map[int64][]string
	aside        map[int64]map[metadata.OffsetKey]metadata.Offset
	groups       map[string]int64
	offsets      map[metadata.OffsetKey]metadata.Offset
	aborted      []metadata.AbortedTransaction
	// stable is what an agent that follows the feed knows of last stable offsets.
	stable map[metadata.PartitionID]int64
	// modelOffsets are what offsets should be.
	modelOffsets map[metadata.OffsetKey]metadata.Offset
}

func newTransactionRows() transactionRows {
	return transactionRows{
		transactions: map[string]metadata.Transaction{},
		inGroups:     map[int64][]string{},
		aside:        map[int64]map[metadata.OffsetKey]metadata.Offset{},
		groups:       map[string]int64{},
		offsets:      map[metadata.OffsetKey]metadata.Offset{},
		stable:       map[metadata.PartitionID]int64{},
		modelOffsets: map[metadata.OffsetKey]metadata.Offset{},
	}
}

func (w *world) putTransaction(c TransactionChange) {
	w.t.Helper()
	before, known := w.transactions[c.ID]
	if known == c.New || !c.UpdatedAt.Equal(w.state.Now) {
		w.t.Fatalf("%+v goes over %+v, %v", c, before, known)
	}
	delete(w.state.Transactions, before.ProducerID)
	w.transactions[c.ID] = c.Transaction
	w.state.Transactions[c.ProducerID] = c.Transaction
}

// readTransactions returns what a store would read of the state: what TransactionKeys names.
func (w *world) readTransactions(requests []metadata.TransactionRequest) TransactionsState {
	ref := TransactionKeys(requests)
	s := TransactionsState{
		Now:          w.state.Now,
		Transactions: map[string]metadata.Transaction{},
		Partitions:   map[metadata.PartitionID]Partition{},
		Open:         map[metadata.PartitionID][]OpenTransaction{},
		Groups:       pick(w.groups, ref.Groups),
	}
	for _, id := range ref.IDs {
		t, ok := w.transactions[id]
		if !ok {
			continue
		}
		for key := range w.state.InTransaction {
			if key.ProducerID == t.ProducerID {
				t.Partitions = append(t.Partitions, key.Partition)
			}
		}
		slices.Sort(t.Partitions)
		t.Groups = slices.Sorted(slices.Values(w.inGroups[t.ProducerID]))
		s.Transactions[id] = t
		for _, p := range t.Partitions {
			if partition, ok := w.state.Partitions[p]; ok {
				s.Partitions[p] = partition
				s.Open[p] = w.openIn(p)
			}
		}
	}
	return s
}

func (w *world) openIn(p metadata.PartitionID) (open []OpenTransaction) {
	for key, first := range w.state.InTransaction {
		if key.Partition == p && first >= 0 {
			open = append(open, OpenTransaction{ProducerID: key.ProducerID, FirstOffset: first})
		}
	}
	slices.SortFunc(open, func(a, b OpenTransaction) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	return open
}

// change decides on the requests, compares with the model and applies the new states.
func (w *world) change(requests ...metadata.TransactionRequest) TransactionsDecision {
	w.t.Helper()
	if err := ValidateTransactions(requests); err != nil {
		w.t.Fatalf("ValidateTransactions: %v", err)
	}
	state := w.readTransactions(requests)
	before := fmt.Sprint(state)
	d := DecideTransactions(state, requests)
	if after := fmt.Sprint(state); after != before {
		w.t.Fatalf("DecideTransactions changed its input:\n%s\n%s", before, after)
	}
	var want []modelMarker
	var ended []EndedTransaction
	stable := map[metadata.PartitionID][]int64{}
	for i, r := range requests {
		got, answer := d.Results[i], w.model.request(r, w.state.Now, w.groups)
		if !errors.Is(got.Err, answer.err) || answer.err == nil && got.Err != nil || got.Producer != answer.producer || !slices.Equal(got.Absent, answer.absent) {
			w.t.Fatalf("%s: %T%+v: got %+v, want %+v", r.ID, r.Op, r.Op, got, answer)
		}
		want = append(want, answer.markers...)
		for _, m := range answer.markers {
			stable[m.partition] = append(stable[m.partition], w.modelStable(m.partition))
		}
		if tx := answer.ended; tx != nil {
			ended = append(ended, EndedTransaction{ProducerID: tx.producerID, Commit: tx.fate == metadata.TransactionCommitted})
			if tx.fate == metadata.TransactionCommitted {
				maps.Copy(w.modelOffsets, tx.offsets)
			}
		}
	}
	if !slices.Equal(d.Ended, ended) {
		w.t.Fatalf("ended %+v, want %+v", d.Ended, ended)
	}
	w.checkMarkers(d.Commit, want, stable)
	w.applyTransactions(d)
	w.follow(d.Commit)
	w.check()
	return d
}

// checkMarkers: the feed entry holds the model's markers, and of the aborted transactions
// where they lie. stable are the last stable offsets after each marker of a partition.
func (w *world) checkMarkers(entry metadata.Commit, want []modelMarker, stable map[metadata.PartitionID][]int64) {
	w.t.Helper()
	if len(entry.Runs) != len(want) {
		w.t.Fatalf("markers %+v, want %+v", entry.Runs, want)
	}
	aborted := entry.Aborted
	for i, m := range want {
		run := m.marker.Run(m.partition, m.offset, w.state.Partitions[m.partition].MaxTimestamp)
		if got, ok := entry.Runs[i].Marker(); !ok || entry.Runs[i] != run {
			w.t.Fatalf("marker %+v in %+v, want %+v", got, entry.Runs[i], run)
		}
		after := stable[m.partition][0]
		stable[m.partition] = stable[m.partition][1:]
		if m.marker.Commit {
			continue
		}
		first := slices.IndexFunc(w.model.partitions[m.partition], func(b modelBatch) bool { return b.tx == m.tx })
		range_ := metadata.AbortedTransaction{
			Partition: m.partition, ProducerID: m.tx.producerID,
			FirstOffset: w.model.partitions[m.partition][first].offset, LastOffset: m.offset, StableOffset: after,
		}
		if len(aborted) == 0 || aborted[0] != range_ {
			w.t.Fatalf("aborted %+v, want %+v", aborted, range_)
		}
		aborted = aborted[1:]
	}
	if len(aborted) > 0 {
		w.t.Fatalf("aborted, and have no marker: %+v", aborted)
	}
}

func (w *world) applyTransactions(d TransactionsDecision) {
	w.t.Helper()
	for _, e := range d.Ended {
		maps.DeleteFunc(w.state.InTransaction, func(key ProducerKey, _ int64) bool { return key.ProducerID == e.ProducerID })
		if e.Commit {
			maps.Copy(w.offsets, w.aside[e.ProducerID])
		}
		delete(w.inGroups, e.ProducerID)
		delete(w.aside, e.ProducerID)
	}
	for _, c := range d.Transactions {
		w.putTransaction(c)
	}
	for _, p := range d.Partitions {
		key := ProducerKey{Partition: p.Partition, ProducerID: p.ProducerID}
		if _, ok := w.state.InTransaction[key]; ok || p.FirstOffset != -1 {
			w.t.Fatalf("%+v is added again", p)
		}
		w.state.InTransaction[key] = -1
	}
	for _, g := range d.Groups {
		if slices.Contains(w.inGroups[g.ProducerID], g.GroupID) {
			w.t.Fatalf("%+v is added again", g)
		}
		w.inGroups[g.ProducerID] = append(w.inGroups[g.ProducerID], g.GroupID)
	}
	for _, o := range d.Offsets {
		if w.aside[o.ProducerID] == nil {
			w.aside[o.ProducerID] = map[metadata.OffsetKey]metadata.Offset{}
		}
		w.aside[o.ProducerID][metadata.OffsetKey{GroupID: o.GroupID, Partition: o.Partition}] = o.Offset
	}
	for _, c := range d.Heads {
		w.state.Partitions[c.ID] = c.Partition
	}
	w.aborted = append(w.aborted, d.Commit.Aborted...)
}

func (w *world) modelStable(id metadata.PartitionID) int64 {
	if first := w.model.firstUnstable(id); first >= 0 {
		return max(first, w.state.Partitions[id].LogStartOffset)
	}
	return w.model.nextOffset(id)
}

// follow learns the last stable offsets from a feed entry, as agents do. The model must
// be as of just after it.
func (w *world) follow(entry metadata.Commit) {
	w.t.Helper()
	if !slices.IsSortedFunc(entry.Stable, func(a, b metadata.StableOffset) int { return cmp.Compare(a.Partition, b.Partition) }) {
		w.t.Fatalf("not ascending: %+v", entry.Stable)
	}
	learned := map[metadata.PartitionID]int64{}
	for _, r := range entry.Runs {
		learned[r.Partition] = r.NextOffset()
	}
	for _, s := range entry.Stable {
		if _, ok := learned[s.Partition]; !ok {
			w.t.Fatalf("%+v is none of the runs'", s)
		}
		learned[s.Partition] = s.Offset
	}
	for id, offset := range learned {
		if offset != w.modelStable(id) || offset < w.stable[id] {
			w.t.Fatalf("partition %d: last stable offset %d after %d, want %d", id, offset, w.stable[id], w.modelStable(id))
		}
		w.stable[id] = offset
	}
}

// checkTransactions compares the transactions with the model's, and reads the
// partitions as a consumer does.
func (w *world) checkTransactions() {
	w.t.Helper()
	for id, m := range w.model.ids {
		t := w.transactions[id]
		open := m.open
		if current(t) != m.present() || t.Timeout != m.timeout || (t.State == metadata.TransactionOngoing) != (open != nil) {
			w.t.Fatalf("%s: %+v, want %+v", id, t, m)
		}
		if open == nil {
			open = &modelTransaction{}
		} else if t.Version != open.version {
			w.t.Fatalf("%s: version %d, want %d", id, t.Version, open.version)
		}
		if !t.StartedAt.Equal(open.startedAt) {
			w.t.Fatalf("%s: started at %v, want %v", id, t.StartedAt, open.startedAt)
		}
		stored := w.readTransactions([]metadata.TransactionRequest{{ID: id, Op: metadata.ExpireTransaction{}}}).Transactions[id]
		if !slices.Equal(stored.Partitions, slices.Sorted(maps.Keys(open.partitions))) || !slices.Equal(stored.Groups, slices.Sorted(maps.Keys(open.groups))) ||
			!maps.Equal(w.aside[t.ProducerID], open.offsets) {
			w.t.Fatalf("%s: %+v with offsets %+v, want %+v", id, stored, w.aside[t.ProducerID], open)
		}
	}
	if !maps.Equal(w.offsets, w.modelOffsets) {
		w.t.Fatalf("offsets %+v, want %+v", w.offsets, w.modelOffsets)
	}
	for id, p := range w.state.Partitions {
		if p.FirstUnstable != w.model.firstUnstable(id) || p.StableOffset() != max(w.stable[id], p.LogStartOffset) {
			w.t.Fatalf("partition %d: %+v, first unstable %d, the feed says %d", id, p, w.model.firstUnstable(id), w.stable[id])
		}
		w.checkFates(id)
		for _, from := range []int64{p.LogStartOffset, (p.LogStartOffset + p.StableOffset()) / 2} {
			w.readCommitted(id, from)
		}
	}
}

// checkFates: a transaction that ended has one marker, behind its last batch, and the
// ranges of the aborted ones cover their batches and no others of their producers.
func (w *world) checkFates(id metadata.PartitionID) {
	w.t.Helper()
	marked := map[*modelTransaction]bool{}
	for _, b := range w.model.partitions[id] {
		if b.tx != nil && marked[b.tx] {
			w.t.Fatalf("partition %d: %+v lies behind its marker", id, b)
		}
		if b.marker {
			marked[b.tx] = true
		}
	}
	for _, b := range w.model.partitions[id] {
		if b.marker || b.ProducerID < 0 {
			continue
		}
		if b.tx != nil && marked[b.tx] == (b.tx.fate == metadata.TransactionOngoing) {
			w.t.Fatalf("partition %d: %+v has a marker: %v", id, b, marked[b.tx])
		}
		covered := 0
		for _, a := range w.aborted {
			last := b.offset + int64(b.Records) - 1
			if a.Partition == id && a.ProducerID == b.ProducerID && a.FirstOffset <= last && b.offset <= a.LastOffset {
				covered++
			}
		}
		if aborted := b.tx != nil && b.tx.fate == metadata.TransactionAborted; b.Transactional && (covered == 1) != aborted || covered > 1 {
			w.t.Fatalf("partition %d: %+v of fate %v is covered by %d aborted ranges of %+v", id, b, b.tx, covered, w.aborted)
		}
	}
}

// readCommitted reads from the offset to the last stable one as Kafka's consumer does
// with read_committed, and must see what was committed, and nothing else.
func (w *world) readCommitted(id metadata.PartitionID, from int64) {
	w.t.Helper()
	end := w.state.Partitions[id].StableOffset()
	if from >= end {
		return
	}
	// As a broker looks for them: from the smallest last offset on, until the stable
	// offset of one says that no later one begins before the end.
	var aborted []metadata.AbortedTransaction
	for _, a := range w.aborted {
		if a.Partition != id || a.LastOffset < from {
			continue
		}
		if a.FirstOffset < end {
			aborted = append(aborted, a)
		}
		if a.StableOffset >= end {
			break
		}
	}
	slices.SortFunc(aborted, func(a, b metadata.AbortedTransaction) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	skipping := map[int64]bool{}
	for _, b := range w.model.partitions[id] {
		if last := b.offset + int64(b.Records) - 1; last < from || b.offset >= end {
			continue
		}
		for len(aborted) > 0 && aborted[0].FirstOffset <= b.offset+int64(b.Records)-1 {
			skipping[aborted[0].ProducerID] = true
			aborted = aborted[1:]
		}
		if b.marker {
			delete(skipping, b.ProducerID)
			continue
		}
		seen := !b.Transactional || !skipping[b.ProducerID]
		if should := b.tx == nil || b.tx.fate == metadata.TransactionCommitted; seen != should {
			w.t.Fatalf("partition %d from %d to %d: a consumer sees %+v: %v", id, from, end, b, seen)
		}
	}
}
