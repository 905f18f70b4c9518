package txncheck

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// journal writes the history down while it happens. Its methods are safe for
// concurrent use, and take the time themselves.
type journal struct {
	start time.Time
	index map[string][]int32 // partitions by topic

	mu sync.Mutex
	h  History
}

func newJournal(strict bool, topics []Topic) *journal {
	j := &journal{start: time.Now(), index: map[string][]int32{}, h: History{Strict: strict}}
	for _, t := range topics {
		for n := range t.Partitions {
			j.index[t.Name] = append(j.index[t.Name], int32(len(j.h.Partitions)))
			j.h.Partitions = append(j.h.Partitions, Partition{Topic: t.Name, Number: n, Input: t.Input})
		}
	}
	j.h.Log = make([][]Entry, len(j.h.Partitions))
	return j
}

func (j *journal) now() Moment { return time.Since(j.start) }

// begin opens a transaction.
func (j *journal) begin(writer string, transactional bool) int32 {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.h.Txns = append(j.h.Txns, Txn{Writer: writer, Transactional: transactional,
		Ending: Never, Ended: Never, Decidable: Never, Fenced: Never, Superseded: Never})
	return int32(len(j.h.Txns) - 1)
}

// send notes a record that is about to be sent, and returns its name. With the
// first the transaction's time runs.
func (j *journal) send(txn, partition int32, source Source, timeout time.Duration) RecordID {
	j.mu.Lock()
	defer j.mu.Unlock()
	t, now := &j.h.Txns[txn], j.now()
	if t.Transactional {
		t.Decidable = min(t.Decidable, now+timeout)
	}
	t.Records = append(t.Records, Sent{Partition: partition, Offset: -1, At: now, Acked: Never, Source: source})
	return RecordID{txn, int32(len(t.Records) - 1)}
}

// acked notes that a record was acknowledged.
func (j *journal) acked(id RecordID, offset int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := &j.h.Txns[id.Txn].Records[id.Seq]
	s.Offset, s.Acked = offset, j.now()
}

// hasAcked tells whether the transaction surely began.
func (j *journal) hasAcked(txn int32) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.ContainsFunc(j.h.Txns[txn].Records, func(s Sent) bool { return s.Acked != Never })
}

// ending notes that a transaction is about to be ended.
func (j *journal) ending(txn int32, commit bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	t, now := &j.h.Txns[txn], j.now()
	t.Ending, t.SentCommit, t.Decidable = min(t.Ending, now), t.SentCommit || commit, min(t.Decidable, now)
}

// notCommitted takes back a commit that was never sent.
func (j *journal) notCommitted(txn int32) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.h.Txns[txn].SentCommit = false
}

// ended notes what the writer was told.
func (j *journal) ended(txn int32, fate Fate) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.h.Txns[txn].Fate, j.h.Txns[txn].Ended = fate, j.now()
}

// fencing notes that a new producer is about to be initialised over the transactions'.
func (j *journal) fencing(txns []int32) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.now()
	for _, t := range txns {
		j.h.Txns[t].Decidable = min(j.h.Txns[t].Decidable, now)
	}
}

// fenced notes that it was.
func (j *journal) fenced(txns []int32) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.now()
	for _, t := range txns {
		j.h.Txns[t].Fenced = min(j.h.Txns[t].Fenced, now)
		j.h.Txns[t].Superseded = min(j.h.Txns[t].Superseded, now)
	}
}

// superseded notes that the same producer is in its next transaction.
func (j *journal) superseded(txn int32) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.h.Txns[txn].Superseded = min(j.h.Txns[txn].Superseded, j.now())
}

func (j *journal) overslept(txn int32) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.h.Txns[txn].Overslept = true
}

// consumed notes which input a transaction transforms.
func (j *journal) consumed(txn int32, inputs []Input) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.h.Txns[txn].Inputs = inputs
}

// read notes what a reader was given. to is -1 for where the last record ends.
func (j *journal) read(reader int32, committed bool, partition int32, from, to int64, stable int64, records []*kgo.Record) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := Read{Reader: reader, Committed: committed, Partition: partition, At: j.now(), From: from, To: to, StableOffset: stable}
	for _, record := range records {
		j.enter(partition, record)
		if n := len(r.Got); n > 0 && r.Got[n-1].Last+1 == record.Offset {
			r.Got[n-1].Last++
		} else {
			r.Got = append(r.Got, Span{record.Offset, record.Offset})
		}
		if to < 0 {
			r.To = record.Offset + 1
		}
	}
	if r.To < 0 {
		r.To = from
	}
	j.h.Reads = append(j.h.Reads, r)
	return r.To
}

// enter notes what lies at an offset, which must be the same for everybody.
func (j *journal) enter(partition int32, record *kgo.Record) {
	found, err := entryOf(record)
	if err != nil {
		j.fault(Foreign, "%s: offset %d: %v", j.h.Partitions[partition], record.Offset, err)
		return
	}
	log := j.h.Log[partition]
	if missing := record.Offset + 1 - int64(len(log)); missing > 0 {
		log = append(log, make([]Entry, missing)...)
		j.h.Log[partition] = log
	}
	switch before := log[record.Offset]; {
	case before.Kind == Unread:
		log[record.Offset] = found
	case before != found:
		j.fault(Gap, "%s: offset %d was read as %v and as %v", j.h.Partitions[partition], record.Offset, before, found)
	}
}

func (j *journal) snapshot(s Snapshot) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.h.Snapshots = append(j.h.Snapshots, s)
}

func (j *journal) offsets(o Offsets) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.h.Offsets = append(j.h.Offsets, o)
}

// problem notes what is wrong by itself.
func (j *journal) problem(rule Rule, format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fault(rule, format, args...)
}

// fault is problem for whoever holds the lock.
func (j *journal) fault(rule Rule, format string, args ...any) {
	j.h.Faults = append(j.h.Faults, Problem{rule, fmt.Sprintf(format, args...)})
}

// history is what happened; nothing may happen any more.
func (j *journal) history() History {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.h
}

// ends is the offset behind the last record of a partition, as far as it is read; with
// committed, that of the last one that counts.
func (j *journal) ends(partition int, committed bool) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	log := j.h.Log[partition]
	if !committed {
		return int64(len(log))
	}
	decided := map[int64]EntryKind{} // by producer, what its next marker says
	for offset := len(log) - 1; offset >= 0; offset-- {
		switch e := log[offset]; {
		case e.Kind == CommitMarker || e.Kind == AbortMarker:
			decided[e.ProducerID] = e.Kind
		case e.Kind == Data && (!e.Transactional || decided[e.ProducerID] == CommitMarker):
			return int64(offset) + 1
		}
	}
	return 0
}
