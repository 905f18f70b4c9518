package rewrite

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

const (
	// maxGap is how many bytes between two runs are read for nothing to save a request.
	maxGap = 64 << 10
	// maxSpan bounds one request for several runs.
	maxSpan = 16 << 20
	// parallelReads is the number of requests that a window has under way.
	parallelReads = 8
)

// Window holds what was read of some runs.
type Window struct {
	reader *Reader
	spans  map[place]*span
}

// place is where a run's bytes begin.
type place struct {
	file     uuid.UUID
	position int64
}

// span is a range of one file, which holds neighbouring runs.
type span struct {
	file     uuid.UUID
	position int64
	length   int64
	bytes    []byte
	err      error
}

// Load reads the runs, which should fit into a window (see [Reader.Fit]): runs that lie
// near each other in one file, in one request. What can't be read is told by [Window.Batches].
func (r *Reader) Load(ctx context.Context, runs []metadata.Run) *Window {
	sorted := make([]*metadata.Run, 0, len(runs))
	for i := range runs {
		if runs[i].Encoding != metadata.EncodingMarker {
			sorted = append(sorted, &runs[i])
		}
	}
	slices.SortFunc(sorted, func(a, b *metadata.Run) int {
		return cmp.Or(bytes.Compare(a.FileID[:], b.FileID[:]), cmp.Compare(a.Position, b.Position))
	})
	w := &Window{reader: r, spans: make(map[place]*span, len(sorted))}
	// Of files with much between the runs, less is read for nothing: memory is bounded.
	spans, total := w.plan(sorted, maxGap)
	for gap := int64(maxGap); total > r.window && gap > 0; {
		gap /= 8
		spans, total = w.plan(sorted, gap)
	}
	var reads errgroup.Group
	reads.SetLimit(parallelReads)
	for _, s := range spans {
		reads.Go(func() error {
			s.bytes, s.err = r.read(ctx, s.file, s.position, s.length)
			return nil // of a span, for the runs in it
		})
	}
	_ = reads.Wait() // never an error, see above
	return w
}

// plan joins runs, sorted by place, into spans, and returns how many bytes these have.
func (w *Window) plan(runs []*metadata.Run, gap int64) (spans []*span, total int64) {
	clear(w.spans)
	var last *span
	for _, run := range runs {
		length := w.reader.ahead(run)
		end := run.Position + length
		if last == nil || last.file != run.FileID || run.Position-(last.position+last.length) > gap || end-last.position > maxSpan {
			last = &span{file: run.FileID, position: run.Position}
			spans = append(spans, last)
		}
		total -= last.length
		last.length = max(last.length, end-last.position)
		total += last.length
		w.spans[place{run.FileID, run.Position}] = last
	}
	return spans, total
}

// ahead is how much of a run is read with its window: all, or the first piece of a very large one.
func (r *Reader) ahead(run *metadata.Run) int64 {
	if length := extent(run); length <= r.window {
		return length
	}
	return r.piece()
}

// piece is how much of a very large run is read at a time.
func (r *Reader) piece() int64 { return min(r.window, maxSpan) }

// extent is how many bytes of a file are read for a run: with the index behind a merged one.
func extent(run *metadata.Run) int64 {
	if run.Merged {
		return int64(run.StoredSize) + datafile.IndexBound(run.Size)
	}
	return int64(run.StoredSize)
}

// read gets a range of a file. Fewer bytes come where the object ends.
func (r *Reader) read(ctx context.Context, file uuid.UUID, position, length int64) ([]byte, error) {
	if err := r.progress.Read(ctx, length); err != nil {
		return nil, err
	}
	b, err := r.bucket.Get(ctx, datafile.Key(file), position, length)
	if err != nil {
		return nil, fmt.Errorf("read %d bytes: %w", length, err)
	}
	return b, nil
}

// Batches yields the batches of one of the window's runs, as [Reader.Batches] does.
func (w *Window) Batches(ctx context.Context, run metadata.Run) iter.Seq2[protocol.Batch, error] {
	return func(yield func(protocol.Batch, error) bool) {
		if marker, ok := run.Marker(); ok {
			yield(markerBatch(run, marker), nil)
			return
		}
		walk := walk{run: &run, source: w.source(&run), next: run.BaseOffset}
		for walk.left() {
			batch, err := walk.batch(ctx)
			if err != nil {
				yield(nil, runError(run, err))
				return
			}
			if !yield(batch, nil) {
				return
			}
		}
	}
}

// markerBatch is the batch that a marker is for consumers.
func markerBatch(run metadata.Run, m metadata.Marker) protocol.Batch {
	end := protocol.EndMarker{ProducerID: m.ProducerID, ProducerEpoch: m.Epoch, Commit: m.Commit, Timestamp: m.Timestamp}
	batch := protocol.Batch(end.AppendTo(nil))
	batch.SetBaseOffset(run.BaseOffset)
	batch.SetLeaderEpoch(protocol.LeaderEpoch)
	return batch
}

// source begins at the run's first byte.
func (w *Window) source(run *metadata.Run) source {
	stored := &storedSource{reader: w.reader, run: run}
	s := w.spans[place{run.FileID, run.Position}]
	if s == nil {
		panic("rewrite: the run is not of this window")
	}
	if stored.err = s.err; s.err == nil {
		from := min(run.Position-s.position, int64(len(s.bytes)))
		to := min(from+int64(run.StoredSize), int64(len(s.bytes)))
		stored.loaded = s.bytes[from:to:to]
	}
	if run.Encoding == metadata.EncodingFramed {
		return &frameSource{stored: stored, skip: int64(run.Skip)}
	}
	return stored
}

// stored returns a merged run's stored bytes with their index, if the window has both and they fit each
// other: else the batches tell more. Frames are not checked here, batches of a raw run are.
func (w *Window) stored(ctx context.Context, run *metadata.Run) (stored []byte, index datafile.Index, ok bool, err error) {
	s := w.spans[place{run.FileID, run.Position}]
	if s.err != nil {
		return nil, index, false, s.err
	}
	from := run.Position - s.position
	end := from + int64(run.StoredSize)
	if !run.Merged || end+datafile.IndexPrefixSize > int64(len(s.bytes)) {
		return nil, index, false, nil
	}
	size, err := datafile.IndexSize(s.bytes[end:])
	if err != nil || end+int64(size) > int64(len(s.bytes)) {
		return nil, index, false, nil //nolint:nilerr // a damaged index is no loss: the batches make a new one
	}
	if index, err = datafile.ReadIndex(s.bytes[end : end+int64(size)]); err != nil {
		return nil, index, false, nil //nolint:nilerr // likewise
	}
	if run.Encoding == metadata.EncodingRaw {
		for walk := (&walk{run: run, source: w.source(run), next: run.BaseOffset}); walk.left(); {
			if _, err := walk.batch(ctx); err != nil {
				return nil, index, false, err
			}
		}
	}
	return s.bytes[from:end], index, true, nil
}
