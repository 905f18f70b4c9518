package sequence

import (
	"cmp"
	"slices"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

// markerLog is what ends of transactions do to partitions. Each end, one after the other,
// writes its markers: each takes its partition's next offset and leaves the
// partition to the transactions that are still open there.
type markerLog struct {
	state TransactionsState
	// heads and open are of the partitions that got markers.
	heads   map[metadata.PartitionID]Partition
	open    map[metadata.PartitionID][]OpenTransaction
	runs    []metadata.Run
	aborted []metadata.AbortedTransaction
}

func newMarkerLog(state TransactionsState) *markerLog {
	return &markerLog{
		state: state,
		heads: map[metadata.PartitionID]Partition{},
		open:  map[metadata.PartitionID][]OpenTransaction{},
	}
}

// end writes the transaction's markers, where it has written and the partition still exists.
func (l *markerLog) end(e ending) {
	for _, id := range e.partitions {
		p, open, ok := l.partition(id)
		if !ok {
			continue
		}
		own := slices.IndexFunc(open, func(o OpenTransaction) bool { return o.ProducerID == e.producerID })
		if own < 0 {
			continue
		}
		first, marker := open[own].FirstOffset, p.NextOffset
		open = slices.Delete(slices.Clone(open), own, own+1)
		p.NextOffset++
		p.FirstUnstable = firstOffset(open)
		l.heads[id], l.open[id] = p, open
		l.runs = append(l.runs, e.marker(l.state.Now).Run(id, marker, p.MaxTimestamp))
		if !e.commit {
			l.aborted = append(l.aborted, metadata.AbortedTransaction{
				Partition: id, ProducerID: e.producerID,
				FirstOffset: first, LastOffset: marker, StableOffset: p.StableOffset(),
			})
		}
	}
}

func (e ending) marker(now time.Time) metadata.Marker {
	return metadata.Marker{ProducerID: e.producerID, Epoch: e.epoch, Commit: e.commit, Timestamp: now.UnixMilli()}
}

// partition is the partition, and what is open in it, after the markers so far.
func (l *markerLog) partition(id metadata.PartitionID) (Partition, []OpenTransaction, bool) {
	if p, ok := l.heads[id]; ok {
		return p, l.open[id], true
	}
	p, ok := l.state.Partitions[id]
	return p, l.state.Open[id], ok
}

// changes returns the partitions' new states and the feed entry.
func (l *markerLog) changes() ([]PartitionChange, metadata.Commit) {
	heads := partitionChanges(l.heads)
	entry := metadata.Commit{Runs: l.runs, Aborted: l.aborted}
	for _, p := range heads {
		if p.FirstUnstable >= 0 {
			entry.Stable = append(entry.Stable, metadata.StableOffset{Partition: p.ID, Offset: p.StableOffset()})
		}
	}
	return heads, entry
}

// firstOffset is the smallest of the transactions' first offsets, -1 without one.
func firstOffset(open []OpenTransaction) int64 {
	if len(open) == 0 {
		return -1
	}
	return slices.MinFunc(open, func(a, b OpenTransaction) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) }).FirstOffset
}
