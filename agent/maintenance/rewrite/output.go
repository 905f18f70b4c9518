package rewrite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

const (
	// MaxReplaced is about how many rows one file should replace, so that the transaction that
	// swaps it in is short.
	MaxReplaced = 10_000
	// storeTimeout bounds one call of the metadata store, storeTries how often one that may
	// pass is made.
	storeTimeout = time.Minute
	storeTries   = 6
)

// Store is what an Output asks of the metadata store.
type Store interface {
	Now(ctx context.Context) (time.Time, error)
	ReplaceRuns(ctx context.Context, replacement metadata.Replacement) (taken []bool, err error)
}

// Place is a partition, as files and as the metadata store know it.
type Place struct {
	TopicID uuid.UUID
	// Index is the partition's number in its topic.
	Index     int32
	Partition metadata.PartitionID
}

// Origin is what is noted about a new file: its level before [metadata.FileLevel], and what
// it was made from.
type Origin struct {
	Level int16
	// Sources are the files whose runs it replaces, with their Seq as in metadata.ClaimedFile; the file's
	// own is the smallest of them.
	Sources []datafile.Source
}

// Output is a data file in the making, and after its commit the next one. It holds the
// file in memory. Not safe for concurrent use.
//
//	for each section:  Begin, Add or AddStored..., End (or Abandon)
//	then:              Commit
//
// Errors of filling it, but those of AddStored, are the caller's mistakes.
type Output struct {
	bucket      objstore.Bucket
	store       Store
	progress    *maintenance.Progress
	compression datafile.Compression
	file        *datafile.MergeWriter

	place    Place
	base     int64
	runs     []metadata.NewRun
	replaced int
}

// NewOutput returns an empty file, whose batches are compressed like that.
func NewOutput(bucket objstore.Bucket, store Store, progress *maintenance.Progress, compression datafile.Compression) (*Output, error) {
	o := &Output{bucket: bucket, store: store, progress: progress, compression: compression}
	return o, o.renew()
}

// Begin begins a section, which will be one run from the offset base on. Sections ascend by (topic ID,
// index, base).
func (o *Output) Begin(place Place, base int64) error {
	o.place, o.base = place, base
	return o.file.Begin(place.TopicID, place.Index, base)
}

// Add adds a batch, which carries its offsets, to the open section. It is copied.
func (o *Output) Add(batch protocol.Batch) error {
	return o.file.Append(datafile.MergedBatch{
		Bytes: batch, Compressed: batch.Codec() != protocol.CodecNone,
		BaseOffset: batch.BaseOffset(), LastOffset: batch.BaseOffset() + int64(batch.LastOffsetDelta()),
		MaxTimestamp: batch.MaxTimestamp(),
	})
}

// AddStored adds all batches of a merged run of the window as they are stored, and reports
// whether it did: else the caller adds them one by one. A [RunError] is as of [Reader.Batches].
func (o *Output) AddStored(ctx context.Context, w *Window, run metadata.Run) (bool, error) {
	stored, index, ok, err := w.stored(ctx, &run)
	if err != nil {
		return false, runError(run, err)
	}
	if !ok {
		return false, nil
	}
	ok, err = o.file.AppendStored(datafile.Section{
		Encoding: datafile.Encoding(run.Encoding), Size: run.Size, StoredSize: run.StoredSize, NextOffset: run.NextOffset(),
	}, index, stored)
	if err != nil {
		return false, runError(run, err)
	}
	return ok, nil
}

// End ends the section: a run up to the offset next (exclusive), which its last batch must end
// before. maxTimestamp is the run's, which is that of the last run that it replaces.
func (o *Output) End(next, maxTimestamp int64, replaces []metadata.RunKey) error {
	section, err := o.file.End(next)
	if err != nil {
		return err
	}
	o.runs = append(o.runs, metadata.NewRun{
		Run: metadata.Run{
			Partition: o.place.Partition, BaseOffset: o.base, Records: int32(next - o.base),
			Encoding: metadata.Encoding(section.Encoding), Position: section.Position, StoredSize: section.StoredSize,
			Size: section.Size, MaxTimestamp: maxTimestamp, Merged: true,
		},
		Replaces: replaces,
	})
	o.replaced += len(replaces)
	return nil
}

// Abandon drops the open section, as if it had never begun. Without one it does nothing.
func (o *Output) Abandon() { o.file.Abandon() }

// Size is about how many bytes the file has so far.
func (o *Output) Size() int64 { return o.file.Size() }

// Sections is how many sections have ended.
func (o *Output) Sections() int { return len(o.runs) }

// Replaced is how many runs those sections replace.
func (o *Output) Replaced() int { return o.replaced }

// Commit puts the file and swaps it in, and tells which of its runs were taken, in the order of the
// sections: the others were changed by somebody else meanwhile. Without a section it does nothing.
// Whatever comes of it, the output is empty afterwards. With an error, the
// file may have been swapped in or not: who goes on looks at the index anew.
func (o *Output) Commit(ctx context.Context, origin Origin) (taken []bool, err error) {
	runs := o.runs
	o.runs, o.replaced = nil, 0
	if len(runs) == 0 {
		return nil, nil
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.renew())
		}
	}()
	id, err := o.newID(ctx)
	if err != nil {
		return nil, err
	}
	o.file.SetSources(origin.Sources)
	file, err := o.file.Finish(id)
	if err != nil {
		return nil, err
	}
	size := int64(len(file.Bytes))
	if err := o.progress.Write(ctx, size); err != nil {
		return nil, err
	}
	if err := o.bucket.Put(ctx, datafile.Key(id), file.Bytes); err != nil {
		return nil, fmt.Errorf("put merged data file %v: %w", id, err)
	}
	// Killed here: the object is an orphan.
	order := storeOrder(runs, id)
	r := metadata.Replacement{FileID: id, Size: size, Level: metadata.FileLevel(origin.Level, size, len(runs)), Seq: origin.seq(), Runs: make([]metadata.NewRun, len(runs))}
	for i, at := range order {
		r.Runs[i] = runs[at]
	}
	sorted, err := o.swap(ctx, r)
	if err != nil {
		return nil, err
	}
	o.progress.Files(1)
	taken = make([]bool, len(runs))
	for i, at := range order {
		if taken[at] = sorted[i]; sorted[i] {
			o.progress.Runs(len(runs[at].Replaces))
		}
	}
	return taken, nil
}

// storeOrder enters the file's ID and returns the runs' indices in the order of the metadata store: files
// are sorted by topic ID and index, the store by its own partition IDs.
func storeOrder(runs []metadata.NewRun, id uuid.UUID) []int {
	order := make([]int, len(runs))
	for i := range runs {
		runs[i].FileID = id
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(runs[a].Partition, runs[b].Partition), cmp.Compare(runs[a].BaseOffset, runs[b].BaseOffset))
	})
	return order
}

// renew begins the first file, or another one after one that failed halfway.
func (o *Output) renew() (err error) {
	o.file, err = datafile.NewMergeWriter(o.compression, nil)
	return err
}

// newID makes the file's ID by the store's clock, which judges its age.
func (o *Output) newID(ctx context.Context) (uuid.UUID, error) {
	now, err := retry(ctx, "ask the metadata store for its time", o.store.Now)
	if err != nil {
		return uuid.Nil, err
	}
	return datafile.NewID(now)
}

// swap puts the runs in place of the older ones. A lost answer is asked for again by the same ID. Should the file have been swapped
// in, died and been forgotten meanwhile, it is too old for the store: dead files stay for at least MaxFileAge.
func (o *Output) swap(ctx context.Context, r metadata.Replacement) ([]bool, error) {
	return retry(ctx, "replace runs by merged ones", func(ctx context.Context) ([]bool, error) {
		taken, err := o.store.ReplaceRuns(ctx, r)
		if errors.Is(err, metadata.ErrFileTooOld) {
			err = fmt.Errorf("%w: the object store took longer than %v for %d bytes", err, metadata.MaxFileAge, r.Size)
		}
		return taken, err
	})
}

// retry repeats a call of the metadata store that failed for a reason that may pass.
func retry[T any](ctx context.Context, what string, call func(context.Context) (T, error)) (T, error) {
	result, err := backoff.Retry(ctx, func() (T, error) {
		attempt, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		result, err := call(attempt)
		passing := errors.Is(err, metadata.ErrUnavailable) || errors.Is(err, metadata.ErrOutcomeUnknown) || errors.Is(err, context.DeadlineExceeded)
		if err != nil && (!passing || ctx.Err() != nil) {
			err = backoff.Permanent(err)
		}
		return result, err
	}, backoff.WithMaxTries(storeTries))
	if err != nil {
		return result, fmt.Errorf("%s: %w", what, err)
	}
	return result, nil
}

// seq is the smallest of the sources'.
func (o Origin) seq() int64 {
	if len(o.Sources) == 0 {
		return 0
	}
	return slices.MinFunc(o.Sources, func(a, b datafile.Source) int { return cmp.Compare(a.Seq, b.Seq) }).Seq
}
