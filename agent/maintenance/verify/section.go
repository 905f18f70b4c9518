// Package verify checks what lies in data files, down to the records: what the format
// (package datafile) can't know, since it doesn't look into batches.
//
// It works on bytes that were read, and knows no store: `wadi inspect` uses it on a file, `wadi
// fsck` on every object.
package verify

import (
	"errors"
	"fmt"
	"math"

	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

// maxProblems bounds what is said about one section.
const maxProblems = 16

// errMore stands for the problems beyond maxProblems.
var errMore = errors.New("there are more problems like these")

// Section checks the batches of a decoded section one by one, their sums against the
// footer, and in a merged file their offsets and the index. visit, which may be nil, gets each
// batch and its position in the section, as far as they can be told apart. It
// returns what is wrong, none if nothing is.
func Section(c datafile.Content, visit func(position int, b protocol.Batch)) []error {
	w := walk{section: c.Section, index: c.Index.Entries, last: c.BaseOffset - 1, newest: math.MinInt64}
	for rest := c.Bytes; len(rest) > 0; {
		at := len(c.Bytes) - len(rest)
		b, next, err := protocol.NextBatch(rest)
		if err != nil {
			w.fail(fmt.Errorf("batch %d at byte %d of the decoded section: %w", w.batches, at, err))
			return w.problems // where the next one begins is unknown
		}
		w.batch(at, b)
		if visit != nil {
			visit(at, b)
		}
		rest = next
	}
	w.end()
	return w.problems
}

// walk is the state of Section from batch to batch.
type walk struct {
	section datafile.Section
	// index are the entries that no batch has been found for yet; open is the one found
	// last, whose timestamp counts up to the next one.
	index []datafile.IndexEntry
	open  *datafile.IndexEntry

	batches int32
	records int64
	newest  int64
	// last is the last offset so far.
	last     int64
	problems []error
}

func (w *walk) fail(err error) {
	switch {
	case len(w.problems) < maxProblems:
		w.problems = append(w.problems, err)
	case len(w.problems) == maxProblems:
		w.problems = append(w.problems, errMore)
	}
}

func (w *walk) batch(at int, b protocol.Batch) {
	validate := b.Validate
	if w.section.Merged {
		validate = b.ValidateStored
	}
	if err := validate(); err != nil {
		w.fail(fmt.Errorf("batch %d at byte %d of the decoded section: %w", w.batches, at, err))
	}
	if w.section.Merged {
		if err := w.offsets(at, b); err != nil {
			w.fail(fmt.Errorf("batch %d at byte %d of the decoded section: %w", w.batches, at, err))
		}
		w.last = b.BaseOffset() + int64(b.LastOffsetDelta())
	}
	w.batches++
	w.records += int64(b.LastOffsetDelta()) + 1
	w.newest = max(w.newest, b.MaxTimestamp())
}

// offsets checks where a merged batch stands, and the index's entry of it, if it has one.
func (w *walk) offsets(at int, b protocol.Batch) error {
	first, last := b.BaseOffset(), b.BaseOffset()+int64(b.LastOffsetDelta())
	switch {
	case first <= w.last || last < first || last >= w.section.NextOffset:
		return fmt.Errorf("its offsets are %d to %d, behind %d in a section up to %d", first, last, w.last, w.section.NextOffset-1)
	case b.LeaderEpoch() != protocol.LeaderEpoch:
		return fmt.Errorf("its leader epoch is %d, not %d", b.LeaderEpoch(), protocol.LeaderEpoch)
	case len(w.index) == 0 || int(w.index[0].Position) > at:
		return nil
	}
	w.closeEntry()
	e := w.index[0]
	w.index = w.index[1:]
	w.open = &e
	if int(e.Position) != at || e.Offset != first {
		return fmt.Errorf("the index has offset %d at byte %d, which is %d at byte %d", e.Offset, e.Position, first, at)
	}
	return nil
}

// closeEntry compares the timestamp of the entry before the current batch.
func (w *walk) closeEntry() {
	if w.open != nil && w.open.MaxTimestamp != w.newest {
		w.fail(fmt.Errorf("the index has largest timestamp %d up to the entry behind offset %d, which is %d", w.open.MaxTimestamp, w.open.Offset, w.newest))
	}
}

func (w *walk) end() {
	s := w.section
	if w.batches != s.Batches || w.records != int64(s.Records) || w.newest != s.MaxTimestamp {
		w.fail(fmt.Errorf("the footer states %d batches, %d records, largest timestamp %d; there are %d, %d and %d",
			s.Batches, s.Records, s.MaxTimestamp, w.batches, w.records, w.newest))
	}
	if !s.Merged {
		return
	}
	w.closeEntry()
	if len(w.index) > 0 {
		w.fail(fmt.Errorf("the index has offset %d at byte %d, where no batch begins", w.index[0].Offset, w.index[0].Position))
	}
	if w.last != s.NextOffset-1 {
		w.fail(fmt.Errorf("the last batch ends with offset %d, the section with %d", w.last, s.NextOffset-1))
	}
}
