package compact

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/wadi-log/wadi/agent/maintenance/rewrite"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// errMoved: somebody else changed the runs while they were worked on, a merge or a deletion. The work is
// worth another try.
var errMoved = errors.New("the partition's runs changed meanwhile")

// page is a stretch of a partition's runs, from one snapshot.
type page struct {
	metadata.PartitionRuns
	// window has the bytes of all of them, nil if they were not read yet.
	window *rewrite.Window
}

// covers reports whether the offset lies in the page's runs.
func (p *page) covers(offset int64) bool {
	return p != nil && len(p.Runs) > 0 && p.Runs[0].BaseOffset <= offset && offset < p.Runs[len(p.Runs)-1].NextOffset()
}

// reading is one run, about to be read.
type reading struct {
	metadata.Run
	// aborted has the aborted transactions that overlap the run.
	aborted aborted
	batches iter.Seq2[protocol.Batch, error]
}

// partitionLog reads a partition's runs, page by page.
type partitionLog struct {
	store     metadata.Log
	reader    *rewrite.Reader
	partition metadata.PartitionID
	// first is a page that is there already, nil if there is none.
	first *page
}

// runs yields the runs from the one that holds the offset to the last that begins before
// until. Pages come from different snapshots, of which each continues the one before. Errors: errMoved when it
// doesn't, and the store's; after one there is nothing more.
func (l *partitionLog) runs(ctx context.Context, offset, until int64) iter.Seq2[reading, error] {
	return func(yield func(reading, error) bool) {
		for began := false; offset < until; began = true {
			p, err := l.page(ctx, offset)
			if err != nil {
				yield(reading{}, err)
				return
			}
			left := p.Runs
			for left[0].NextOffset() <= offset {
				left = left[1:]
			}
			if began && left[0].BaseOffset != offset {
				yield(reading{}, errMoved)
				return
			}
			aborted := newAborted(p.Aborted)
			for len(left) > 0 && offset < until {
				n, window := len(left), p.window
				if window == nil {
					n = l.reader.Fit(left)
					window = l.reader.Load(ctx, left[:n])
				}
				for _, run := range left[:n] {
					if offset >= until {
						return
					}
					if !yield(reading{run, aborted, window.Batches(ctx, run)}, nil) {
						return
					}
					offset = run.NextOffset()
				}
				left = left[n:]
			}
		}
	}
}

// page returns runs from the one that holds the offset.
func (l *partitionLog) page(ctx context.Context, offset int64) (*page, error) {
	if l.first.covers(offset) {
		return l.first, nil
	}
	found, err := l.store.FindRuns(ctx, []metadata.RunQuery{{
		Partition: l.partition, Offset: offset, MaxBytes: math.MaxInt64, MaxRuns: metadata.MaxRuns,
	}})
	if err != nil {
		return nil, fmt.Errorf("find runs from offset %d of partition %d: %w", offset, l.partition, err)
	}
	p := &page{PartitionRuns: found[0]}
	if !p.covers(offset) {
		return nil, errMoved
	}
	return p, nil
}

// cleanable returns where ends what may be cleaned from the offset on: at the last stable offset,
// or before the first run whose timestamps (ms) are above youngest; the bytes of the runs until there; and the timestamp
// of the first run, -1 without any.
func (l *partitionLog) cleanable(ctx context.Context, offset, stable, youngest int64) (limit, bytes, first int64, err error) {
	limit, first = offset, -1
	for limit < stable {
		p, err := l.page(ctx, limit)
		if err != nil {
			return 0, 0, 0, err
		}
		for i := range p.Runs {
			run := &p.Runs[i]
			switch {
			case run.NextOffset() <= limit:
				continue
			case run.BaseOffset >= stable:
				return stable, bytes, first, nil
			case first < 0:
				first = run.MaxTimestamp
			}
			if run.MaxTimestamp > youngest {
				return limit, bytes, first, nil
			}
			bytes += int64(run.Size)
			limit = run.NextOffset()
		}
	}
	return min(limit, stable), bytes, first, nil
}
