package fetch

import (
	"context"
	"errors"
	"fmt"

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
	h, left, err := f.find(ctx, l, found)
	if errors.Is(err, objstore.ErrNotFound) {
		// The run moved to another file since the store was asked.
		f.planner.metrics.replans.Inc()
		var again []metadata.TimestampRun
		if again, err = f.runsByTime(ctx, []listing{l}); err == nil && again[0].Found {
			found = again[0]
			h, left, err = f.find(ctx, l, found)
		}
	}
	if err == nil && h == nil && l.largest && left >= 0 {
		// The record with the largest timestamp is gone; left is what is there.
		l.timestamp, l.largest = left, false
		h, _, err = f.find(ctx, l, found)
	}
	switch {
	case err != nil:
		f.refuse(ctx, l, err)
	case h != nil && h.offset < l.level.end(&found.Bounds):
		l.slot.Offset, l.slot.Timestamp, l.slot.LeaderEpoch = h.offset, h.timestamp, protocol.LeaderEpoch
	}
}

// find walks from the run that was found to the partition's end. Mostly the
// record is in that run. It is further on when retention deleted the record that
// the runs' running maximum comes from, or a producer's batch claims a timestamp that none of
// its records has. Without a hit, left is the largest timestamp on the way.
func (f *Fetcher) find(ctx context.Context, l listing, found metadata.TimestampRun) (h *hit, left int64, err error) {
	left = -1
	runs := []metadata.Run{found.Run}
	for {
		for k := range runs {
			h, top, err := f.reader.searchRun(ctx, &runs[k], found.LogStartOffset, l.timestamp)
			if h != nil || err != nil {
				return h, -1, err
			}
			left = max(left, top)
		}
		next := runs[len(runs)-1].NextOffset()
		if next >= l.level.end(&found.Bounds) {
			return nil, left, nil
		}
		query := metadata.RunQuery{Partition: l.partition, Offset: next, MaxBytes: searchBytes, MaxRuns: metadata.MaxRuns}
		answer, err := f.store.FindRuns(ctx, []metadata.RunQuery{query})
		switch {
		case err != nil:
			return nil, -1, err
		case len(answer) != 1 || !answer[0].Exists:
			return nil, -1, metadata.ErrUnknownPartition
		case len(answer[0].Runs) == 0:
			return nil, left, nil // retention overtook the search
		}
		runs = answer[0].Runs
	}
}

// searchRun returns the first record of the run, not before the offset, whose
// timestamp is at least the one given, or else the largest timestamp that its batches state.
// A marker is no record to consumers.
func (r *reader) searchRun(ctx context.Context, run *metadata.Run, offset, timestamp int64) (h *hit, top int64, err error) {
	if run.Encoding == metadata.EncodingMarker {
		return nil, -1, nil
	}
	c := open(run, newStoredSource(r.blocks, run, Cold, min(int64(run.StoredSize), windowBytes)))
	defer c.close()
	top = -1
	base := run.BaseOffset
	for at := int64(0); at < int64(run.Size); {
		var size, next int64
		head, err := c.peek(ctx, protocol.BatchHeaderSize)
		if err == nil {
			size, next, err = measure(head, base, int64(run.Size)-at, run)
		}
		if err != nil {
			return nil, -1, r.failed(ctx, run, fmt.Errorf("batch at byte %d: %w", at, err))
		}
		if latest := protocol.Batch(head).MaxTimestamp(); next <= offset || latest < timestamp {
			if next > offset {
				top = max(top, latest)
			}
			err = c.skip(ctx, size)
		} else {
			h, err = searchBatch(ctx, c, size, base, offset, timestamp)
		}
		switch {
		case err != nil:
			return nil, -1, r.failed(ctx, run, fmt.Errorf("batch at byte %d: %w", at, err))
		case h != nil:
			return h, -1, nil
		}
		at, base = at+size, next
	}
	return nil, top, nil
}

// searchBatch passes the next batch and looks for the record in it.
func searchBatch(ctx context.Context, c *cursor, size, base, offset, timestamp int64) (*hit, error) {
	b, err := c.appendTo(ctx, make([]byte, 0, size), size)
	if err != nil {
		return nil, err
	}
	batch, _, err := protocol.NextBatch(b)
	if err != nil {
		return nil, err
	}
	if !batch.CheckCRC() {
		return nil, fmt.Errorf("%w: CRC is not %08x", errCorrupt, batch.CRC())
	}
	batch.SetBaseOffset(base)
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
