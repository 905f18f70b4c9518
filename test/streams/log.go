package streams

import (
	"cmp"
	"fmt"
	"slices"
)

// Entry is what lies at one offset of a partition: a record, or the marker of a
// transaction's end.
type Entry struct {
	Offset     int64
	ProducerID int64
	Marker     Marker
	Key, Value string
}

// Marker tells markers from records.
type Marker int8

const (
	NoMarker Marker = iota
	Commit
	Abort
)

// Record is a committed record.
type Record struct {
	Offset     int64
	ProducerID int64
	Key, Value string
	// End is the offset of the marker that committed it: records of one partition
	// came with one transaction if they have the same End.
	End int64
}

// committed returns the records of a partition that count, by its markers
// alone, and how many were aborted. The log must be whole, and every transaction in it decided.
func committed(log []Entry) (records []Record, aborted int, err error) {
	ends := make([]Entry, len(log)) // by position in the log
	open := map[int64][]int{}       // by producer, the positions of its undecided records
	for i, e := range log {
		switch {
		case e.Offset != int64(i):
			return nil, 0, fmt.Errorf("offset %d follows %d", e.Offset, i-1)
		case e.ProducerID < 0:
			return nil, 0, fmt.Errorf("offset %d has no producer ID", i)
		case e.Marker == NoMarker:
			open[e.ProducerID] = append(open[e.ProducerID], i)
			continue
		}
		for _, position := range open[e.ProducerID] {
			ends[position] = e
		}
		delete(open, e.ProducerID)
	}
	for producer, positions := range open {
		return nil, 0, fmt.Errorf("the transaction of producer %d from offset %d on has no end", producer, positions[0])
	}
	for i, e := range log {
		switch {
		case e.Marker != NoMarker:
		case ends[i].Marker == Abort:
			aborted++
		default:
			records = append(records, Record{e.Offset, e.ProducerID, e.Key, e.Value, ends[i].Offset})
		}
	}
	return records, aborted, nil
}

// below returns how many of the records lie before the offset.
func below(records []Record, offset int64) int {
	n, _ := slices.BinarySearchFunc(records, offset, func(r Record, offset int64) int { return cmp.Compare(r.Offset, offset) })
	return n
}
