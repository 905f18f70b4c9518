package sweep

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
)

const (
	// deleteEvery is the time between two looks for dead files at most; a short grace period makes it shorter.
	deleteEvery = time.Minute
	// deleteSlice is the number of objects that are deleted with one request, deleteRound that of one round.
	deleteSlice = 1000
	deleteRound = 10 * deleteSlice
	// snapshotMargin is how much earlier than a snapshot a file must have died: a file's death is
	// dated at the beginning of its transaction, and seen by others at its end.
	snapshotMargin = time.Minute
	// snapshotsOver is how old the newest snapshot is when an agent that takes none itself takes it that nobody
	// does any more.
	snapshotsOver = 24 * time.Hour
)

// DeadFiles is what [Delete] asks of the metadata store.
type DeadFiles interface {
	Now(ctx context.Context) (time.Time, error)
	DeadFiles(ctx context.Context, diedBefore time.Time, limit int) ([]metadata.DeadFile, error)
	ForgetFiles(ctx context.Context, ids []uuid.UUID) error
	metadata.Leases
}

// Snapshots knows the snapshots of the metadata store that lie in the bucket.
type Snapshots interface {
	// LastSnapshot returns when the newest whole snapshot was begun, by the metadata store's
	// clock; false when there is none.
	LastSnapshot(ctx context.Context) (time.Time, bool, error)
}

// DeleteConfig is what [Delete] goes by.
type DeleteConfig struct {
	// Grace is how long files stay after they died.
	Grace time.Duration
	// TakesSnapshots: this agent does. Others may, even if it doesn't.
	TakesSnapshots bool
}

// Delete returns the job "delete". Files stay for the grace period after they died. And where snapshots are taken, by
// this agent or within the last day by any, nothing is deleted before the first one after it died, since a recovery from an
// older one would miss it.
func Delete(store DeadFiles, snapshots Snapshots, bucket objstore.Bucket, onward Onward, config DeleteConfig, holder uuid.UUID, log *slog.Logger) maintenance.Job {
	d := &deleter{store: store, snapshots: snapshots, bucket: bucket, onward: onward, DeleteConfig: config, holder: holder, log: log}
	return maintenance.Job{Name: "delete", Every: d.every, Round: d.round}
}

// deleter is used by one round at a time.
type deleter struct {
	DeleteConfig
	store     DeadFiles
	snapshots Snapshots
	bucket    objstore.Bucket
	onward    Onward
	holder    uuid.UUID
	log       *slog.Logger
}

func (d *deleter) every() time.Duration {
	return min(max(d.Grace/4, time.Second), deleteEvery)
}

// round deletes what has been dead for long enough, if no other agent did lately.
func (d *deleter) round(ctx context.Context, p *maintenance.Progress) (more bool, err error) {
	mine, err := turn(ctx, d.store, d.holder, "delete", d.every())
	if err != nil {
		return false, err
	}
	if !mine {
		p.Elsewhere()
		return false, nil
	}
	files, due, now, err := d.due(ctx)
	if err != nil {
		return false, err
	}
	d.show(p, files, now)
	if due == 0 {
		return false, nil
	}
	if err := d.onward(ctx); err != nil {
		return false, fmt.Errorf("delete dead data files: %w", err)
	}
	objects := remover[metadata.DeadFile]{bucket: d.bucket, key: keyOf, deleted: func(gone []metadata.DeadFile) error { return d.forget(ctx, p, gone) }}
	left := files
	for some := range slices.Chunk(files[:due], deleteSlice) {
		// The longest dead come first, also in the next round: those that the store refuses
		// to delete must not be in the way of the others.
		if err := objects.remove(ctx, some); err != nil {
			return false, fmt.Errorf("delete dead data files: %w", err)
		}
		left = left[len(some):]
		d.show(p, slices.Concat(objects.refused, left), now)
	}
	if n := len(objects.refused); n > 0 {
		p.Refused(n)
		return false, fmt.Errorf("delete dead data files: %d of %d are refused: %w", n, due, objects.refusal)
	}
	return due == deleteRound, nil
}

// due returns files that died longer ago than the grace period, the longest dead first,
// and how many of them may be deleted now: the first ones.
func (d *deleter) due(ctx context.Context) (files []metadata.DeadFile, due int, now time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if now, err = d.store.Now(ctx); err != nil {
		return nil, 0, now, fmt.Errorf("ask the metadata store for the time: %w", err)
	}
	if files, err = d.store.DeadFiles(ctx, now.Add(-d.Grace), deleteRound); err != nil {
		return nil, 0, now, fmt.Errorf("look for dead files: %w", err)
	}
	if len(files) == 0 {
		return nil, 0, now, nil
	}
	last, ok, err := d.snapshots.LastSnapshot(ctx)
	switch {
	case err != nil:
		return nil, 0, now, fmt.Errorf("ask for the newest snapshot: %w", err)
	case ok && last.After(now):
		// The clock went back: a death by it may come after a snapshot that seems to be later. The next
		// snapshot is by the same clock.
		return files, 0, now, nil
	case !d.TakesSnapshots && (!ok || now.Sub(last) > snapshotsOver):
		return files, len(files), now, nil
	case !ok:
		// The first is still to come. It may be under way, and name any file.
		return files, 0, now, nil
	}
	// A snapshot that is being written counts from its beginning once it is whole.
	before := last.Add(-snapshotMargin)
	due = len(files)
	if named := slices.IndexFunc(files, func(f metadata.DeadFile) bool { return !f.DiedAt.Before(before) }); named >= 0 {
		due = named
	}
	return files, due, now, nil
}

func (d *deleter) show(p *maintenance.Progress, files []metadata.DeadFile, now time.Time) {
	var oldest time.Duration
	if len(files) > 0 {
		oldest = now.Sub(files[0].DiedAt) - d.Grace
	}
	p.Backlog(int64(len(files)), oldest)
	p.BacklogBytes(bytesOf(files))
}

// forget follows the deletion of the files' objects.
func (d *deleter) forget(ctx context.Context, p *maintenance.Progress, files []metadata.DeadFile) error {
	// Dies here: the next round deletes the objects again, and forgets the files.
	ids := make([]uuid.UUID, len(files))
	for i, f := range files {
		ids[i] = f.ID
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := d.store.ForgetFiles(ctx, ids); err != nil {
		return fmt.Errorf("forget deleted data files: %w", err)
	}
	p.Files(len(files))
	p.Deleted(bytesOf(files))
	d.log.Debug("deleted dead data files", "files", len(files), "bytes", bytesOf(files))
	return nil
}

func keyOf(f metadata.DeadFile) string { return datafile.Key(f.ID) }

func bytesOf(files []metadata.DeadFile) (sum int64) {
	for _, f := range files {
		sum += f.Size
	}
	return sum
}
