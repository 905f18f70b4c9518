package rewrite

import (
	"context"
	"fmt"
	"iter"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/protocol"
)

// MinWindowBytes is the smallest window that a Reader works with.
const MinWindowBytes = 1 << 20

// Reader reads runs from the object store, at the rate that a job may read.
type Reader struct {
	bucket   objstore.Bucket
	progress *maintenance.Progress
	window   int64
}

// NewReader returns a reader that holds up to windowBytes of the object store's bytes in
// memory for each window, and beside them one decoded frame or batch.
func NewReader(bucket objstore.Bucket, progress *maintenance.Progress, windowBytes int64) *Reader {
	return &Reader{bucket, progress, max(windowBytes, MinWindowBytes)}
}

// Batches yields the batches of the runs, run after run in the order given, with their
// real offsets and the leader epoch; a marker is a control batch. Their CRCs are checked. A batch
// is the caller's to change and valid until the next one.
//
// What can't be read comes as a [RunError]; whoever goes on gets the batches of the next
// run. Batches of the run may have come before it.
func (r *Reader) Batches(ctx context.Context, runs []metadata.Run) iter.Seq2[protocol.Batch, error] {
	return func(yield func(protocol.Batch, error) bool) {
		for len(runs) > 0 {
			n := r.Fit(runs)
			window := r.Load(ctx, runs[:n])
			for _, run := range runs[:n] {
				for batch, err := range window.Batches(ctx, run) {
					if !yield(batch, err) {
						return
					}
				}
			}
			runs = runs[n:]
		}
	}
}

// Fit returns how many of the runs, from the first on, fit into a window: at least one, since of a run
// that is larger than a window the rest is read as it is asked for.
func (r *Reader) Fit(runs []metadata.Run) int {
	left := r.window
	for i := range runs {
		if runs[i].Encoding != metadata.EncodingMarker {
			left -= extent(&runs[i])
		}
		if left < 0 {
			return max(i, 1)
		}
	}
	return len(runs)
}

// Standing reports whether the run is in the index, so that damage in its bytes is damage
// of the log.
func Standing(ctx context.Context, log metadata.Log, run metadata.Run) (bool, error) {
	found, err := log.FindRuns(ctx, []metadata.RunQuery{{Partition: run.Partition, Offset: run.BaseOffset, MaxRuns: 1}})
	if err != nil {
		return false, fmt.Errorf("find run at offset %d of partition %d: %w", run.BaseOffset, run.Partition, err)
	}
	if len(found[0].Runs) == 0 {
		// Before the log start nobody reads, whether the row is still there or not.
		return false, nil
	}
	first := found[0].Runs[0]
	return first.BaseOffset == run.BaseOffset && first.FileID == run.FileID, nil
}
