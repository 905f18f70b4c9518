package fetch

import (
	"context"
	"errors"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/protocol"
)

const (
	// maxDecodedBatch bounds what a batch decompresses to in a search.
	maxDecodedBatch = 128 << 20
	// searchBytes is how far the runs are planned that a search walks through.
	searchBytes = 64 << 20
)

// hit is the record that a search found.
type hit struct{ offset, timestamp int64 }

// search answers a listing with the first record whose timestamp is at least
// the one asked for. found names the run where the store says that it is.
func (f *Fetcher) search(ctx context.Context, l listing, found metadata.TimestampRun) {
	h, err := f.find(ctx, l, found)
	for err == nil && h == nil && l.largest {
		// No record has the largest timestamp any more, so the largest that is left will do.
		if l.timestamp, err = f.largestBelow(ctx, l, found); err != nil || l.timestamp < 0 {
			break
		}
		if found, err = f.runByTime(ctx, l); err == nil {
			h, err = f.find(ctx, l, found)
		}
	}
	switch {
	case errors.Is(err, objstore.ErrNotFound):
		f.reader.missing(err)
		f.refuse(ctx, l, err)
	case err != nil:
		f.refuse(ctx, l, err)
	case h != nil && h.offset < l.level.end(&found.Bounds):
		l.slot.Offset, l.slot.Timestamp, l.slot.LeaderEpoch = h.offset, h.timestamp, protocol.LeaderEpoch
	}
}

// find looks for the record from the run that was found to the partition's end. Mostly it
// is in that run. It is further on when the record is gone that the runs' running maximum comes
// from, or a producer's batch claims a timestamp that none of its records has.
func (f *Fetcher) find(ctx context.Context, l listing, found metadata.TimestampRun) (h *hit, err error) {
	if !found.Found {
		return nil, nil
	}
	end := l.level.end(&found.Bounds)
	if l.largest {
		end = found.NextOffset // one that the consumer may not read yet is larger nevertheless
	}
	err = f.runsFrom(ctx, l, found, end, func(run *metadata.Run) (bool, error) {
		h, err = certain(func() (*hit, error) { return f.reader.searchRun(ctx, run, found.LogStartOffset, l.timestamp) })
		return h == nil, err
	})
	return h, err
}

// largestBelow returns the largest timestamp, below the one asked for, that a batch of the partition states, -1
// if none does. found is the first run whose running maximum is as large as that asked for.
func (f *Fetcher) largestBelow(ctx context.Context, l listing, found metadata.TimestampRun) (largest int64, err error) {
	largest = -1
	end := found.NextOffset
	for found.Found && found.Run.BaseOffset < end {
		err := f.runsFrom(ctx, l, found, end, func(run *metadata.Run) (bool, error) {
			stated, err := certain(func() (int64, error) { return f.reader.statedBelow(ctx, run, found.LogStartOffset, l.timestamp) })
			largest = max(largest, stated)
			return true, err
		})
		if err != nil {
			return -1, err
		}
		// What compaction took away may have hidden an older record that is larger.
		end = found.Run.BaseOffset
		next := l
		next.timestamp = largest + 1
		if found, err = f.runByTime(ctx, next); err != nil {
			return -1, err
		}
	}
	return largest, nil
}

// runsFrom visits the runs from the one found on that begin before the end, until visit says
// that it has seen enough.
func (f *Fetcher) runsFrom(ctx context.Context, l listing, found metadata.TimestampRun, end int64, visit func(*metadata.Run) (more bool, err error)) error {
	runs := []metadata.Run{found.Run}
	moved := int64(-1)
	for at := found.Run.BaseOffset; at < end; {
		for k := range runs {
			run := &runs[k]
			if run.BaseOffset >= end {
				return nil
			}
			more, err := visit(run)
			if errors.Is(err, objstore.ErrNotFound) && moved != run.BaseOffset {
				// The run moved to another file since the store was asked.
				f.planner.metrics.replans.Inc()
				moved = run.BaseOffset
				break
			}
			if err != nil || !more {
				return err
			}
			at = run.NextOffset()
		}
		if at >= end {
			return nil
		}
		query := metadata.RunQuery{Partition: l.partition, Offset: max(at, found.LogStartOffset), MaxBytes: searchBytes, MaxRuns: metadata.MaxRuns}
		answer, err := f.store.FindRuns(ctx, []metadata.RunQuery{query})
		switch {
		case err != nil:
			return err
		case len(answer) != 1 || !answer[0].Exists:
			return metadata.ErrUnknownPartition
		case len(answer[0].Runs) == 0 && at >= answer[0].LogStartOffset:
			return nil
		}
		runs = answer[0].Runs
		at = max(at, answer[0].LogStartOffset) // retention may overtake the search
	}
	return nil
}

// searchRun returns the first record of the run, not before the offset, whose
// timestamp is at least the one given. A marker is no record to consumers.
func (r *reader) searchRun(ctx context.Context, run *metadata.Run, offset, timestamp int64) (h *hit, err error) {
	if run.Encoding == metadata.EncodingMarker {
		return nil, nil
	}
	from, length := beginning(run), int64(run.StoredSize)
	if r.worthSeeking(run) {
		index, err := r.index(ctx, run, Cold, r.loadIndex(run, Cold))
		if err != nil {
			return nil, r.failed(ctx, run, err, r.blocks.mark())
		}
		if len(index.Entries) > 0 {
			e, ok := index.SeekTimestamp(timestamp)
			if !ok {
				return nil, nil
			}
			if first := index.SeekOffset(offset); first.Offset > e.Offset {
				e = first
			}
			from, length = r.placeIn(run, e), walkSlack
		}
	}
	err = r.walk(ctx, run, from, length, func(w *walk, b passing) (bool, error) {
		if b.next <= offset || b.header.MaxTimestamp() < timestamp || b.header.IsControl() {
			return true, w.skip(ctx, b)
		}
		batch, err := w.take(ctx, b, nil)
		if err == nil {
			h, err = searchBatch(batch, offset, timestamp)
		}
		return h == nil, err
	})
	return h, err
}

// statedBelow returns the largest timestamp, below the one given, that a batch of the run with
// records from the offset on states, -1 if none does.
func (r *reader) statedBelow(ctx context.Context, run *metadata.Run, offset, timestamp int64) (largest int64, err error) {
	largest = -1
	if run.Encoding == metadata.EncodingMarker {
		return -1, nil
	}
	err = r.walk(ctx, run, beginning(run), int64(run.StoredSize), func(w *walk, b passing) (bool, error) {
		if stated := b.header.MaxTimestamp(); b.next > offset && stated < timestamp && !b.header.IsControl() {
			largest = max(largest, stated)
		}
		return true, w.skip(ctx, b)
	})
	return largest, err
}

// walk visits the run's batches from the place on, of which length stored bytes are likely to be
// needed, until visit, which passes them, says that it has seen enough.
func (r *reader) walk(ctx context.Context, run *metadata.Run, from place, length int64, visit func(*walk, passing) (more bool, err error)) error {
	mark := r.blocks.mark()
	w := walkFrom(run, from, newStoredSource(r.blocks, run, Cold, from.stored, length))
	defer w.close()
	for {
		b, ok, err := w.next(ctx)
		more := false
		if ok {
			more, err = visit(w, b)
		}
		if err != nil {
			return r.failed(ctx, run, err, mark)
		}
		if !more {
			return nil
		}
	}
}

// searchBatch looks for the record in a batch.
func searchBatch(batch protocol.Batch, offset, timestamp int64) (*hit, error) {
	for record, err := range batch.Records(maxDecodedBatch) {
		if err != nil {
			return nil, err
		}
		if record.Offset >= offset && record.Timestamp >= timestamp {
			return &hit{record.Offset, record.Timestamp}, nil
		}
	}
	return nil, nil
}
