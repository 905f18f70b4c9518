package fetch

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

// replacer is what of the store merges need.
type replacer interface {
	ReplaceRuns(context.Context, metadata.Replacement) ([]bool, error)
	DeadFiles(ctx context.Context, diedBefore time.Time, limit int) ([]metadata.DeadFile, error)
	ForgetFiles(ctx context.Context, ids []uuid.UUID) error
}

// runsOf are the runs of a partition of "t", from the log start on.
func (c *cluster) runsOf(t testing.TB, partition int32) []metadata.Run {
	t.Helper()
	var runs []metadata.Run
	for at := c.bounds(t, partition).LogStartOffset; ; at = runs[len(runs)-1].NextOffset() {
		found, err := c.store.Store.FindRuns(t.Context(), []metadata.RunQuery{
			{Partition: c.topic.Partitions[partition], Offset: at, MaxBytes: 1 << 40, MaxRuns: metadata.MaxRuns}})
		if err != nil {
			t.Fatal(err)
		}
		if len(found[0].Runs) == 0 {
			return runs
		}
		runs = append(runs, found[0].Runs...)
	}
}

// batchesOf are the batches of runs as consumers get them, read by nothing of this package.
func (c *cluster) batchesOf(t testing.TB, runs []metadata.Run) (batches []protocol.Batch) {
	t.Helper()
	for _, run := range runs {
		next := run.BaseOffset
		var body []byte
		if marker, ok := run.Marker(); ok {
			body = protocol.EndMarker{ProducerID: marker.ProducerID, ProducerEpoch: marker.Epoch, Commit: marker.Commit, Timestamp: marker.Timestamp}.AppendTo(nil)
		} else {
			stored, err := c.bucket.Bucket.Get(t.Context(), datafile.Key(run.FileID), run.Position, int64(run.StoredSize))
			if err == nil && run.Encoding == metadata.EncodingFramed {
				stored, err = datafile.DecodeRange(stored, int(run.Skip), int(run.Size))
			}
			if err != nil {
				t.Fatal(err)
			}
			body = slices.Clone(stored)
		}
		for len(body) > 0 {
			batch, rest, err := protocol.NextBatch(body)
			if err != nil {
				t.Fatal(err)
			}
			if !run.Merged {
				batch.SetBaseOffset(next)
				batch.SetLeaderEpoch(protocol.LeaderEpoch)
			}
			next = lastOf(batch) + 1
			batches, body = append(batches, batch), rest
		}
	}
	return batches
}

// merge puts one run in the place of neighbouring ones of a partition of "t", and reports whether
// the store took it. keep, unless it is nil, says which records compaction leaves.
func (c *cluster) merge(t testing.TB, compression datafile.Compression, partition int32, runs []metadata.Run, keep func(protocol.Batch, protocol.Key) bool) bool {
	t.Helper()
	base, next := runs[0].BaseOffset, runs[len(runs)-1].NextOffset()
	var batches []protocol.Batch
	for _, b := range c.batchesOf(t, runs) {
		left := b
		if keep != nil && !b.IsControl() {
			var err error
			if left, err = b.Filter(1<<30, protocol.NoHorizon, func(k protocol.Key) bool { return keep(b, k) }); err != nil {
				t.Fatal(err)
			}
		}
		if left == nil && lastOf(b) == next-1 {
			left = b.Empty()
		}
		if left != nil {
			batches = append(batches, left)
		}
	}
	w, err := datafile.NewMergeWriter(compression, nil)
	if err != nil {
		t.Fatal(err)
	}
	section := mergeSection(t, w, partition, base, next, batches)
	file, err := w.Finish(newFileID(t))
	if err == nil {
		err = c.bucket.Bucket.Put(t.Context(), datafile.Key(file.ID), slices.Clone(file.Bytes))
	}
	if err != nil {
		t.Fatal(err)
	}
	run := metadata.NewRun{Run: mergedRun(c.topic.Partitions[partition], file.ID, section)}
	run.MaxTimestamp = runs[len(runs)-1].MaxTimestamp
	for _, r := range runs {
		run.Replaces = append(run.Replaces, metadata.RunKey{BaseOffset: r.BaseOffset, FileID: r.FileID})
	}
	taken, err := c.store.Store.(replacer).ReplaceRuns(t.Context(), metadata.Replacement{
		FileID: file.ID, Size: int64(len(file.Bytes)), Level: metadata.LevelSettled, Runs: []metadata.NewRun{run}})
	if err != nil {
		t.Fatal(err)
	}
	return taken[0]
}

// deleteDead deletes the objects of files that lost their last run before the time.
func (c *cluster) deleteDead(t testing.TB, before time.Time) (deleted int) {
	t.Helper()
	store := c.store.Store.(replacer)
	dead, err := store.DeadFiles(t.Context(), before, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range dead {
		err := c.bucket.Bucket.Delete(t.Context(), datafile.Key(file.ID))
		if err == nil {
			err = store.ForgetFiles(t.Context(), []uuid.UUID{file.ID})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return len(dead)
}
