package sweep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
)

const (
	// filesPrefix is where all data files lie.
	filesPrefix = "data/"
	// askSlice is the number of files that the metadata store is asked about at once.
	askSlice = 1000
	// orphanAge is how long an ID's hour must have been over.
	orphanAge = time.Hour
	// uploadAge is how long an upload must have been under way to be taken for dead, and
	// probeAge how old an object must be with which an agent tried out the store.
	uploadAge, probeAge = 24 * time.Hour, 24 * time.Hour
	// orphansLease is taken for half the time between two walks of an agent.
	orphansLease = "orphans"
	// releaseTimeout bounds what a stopping agent waits for.
	releaseTimeout = 2 * time.Second
	// examples is the number of keys that a log line shows.
	examples = 5
)

// KnownFiles is what [Orphans] asks of the metadata store.
type KnownFiles interface {
	Now(ctx context.Context) (time.Time, error)
	KnownFiles(ctx context.Context, ids []uuid.UUID) ([]bool, error)
	metadata.Leases
}

// Orphans returns the job "orphans", which lists all data files. Objects among them that are no data
// files are somebody else's: they are left alone, and reported once.
func Orphans(store KnownFiles, bucket objstore.Bucket, onward Onward, every time.Duration, holder uuid.UUID, log *slog.Logger) maintenance.Job {
	o := &orphans{store: store, bucket: bucket, onward: onward, every: every, holder: holder, log: log}
	return maintenance.Job{Name: "orphans", Every: func() time.Duration { return o.every }, Round: o.round}
}

// orphans is used by one round at a time.
type orphans struct {
	store  KnownFiles
	bucket objstore.Bucket
	onward Onward
	every  time.Duration
	holder uuid.UUID
	log    *slog.Logger
	// reported are the foreign objects of the last report.
	reported foreign
}

// foreign are objects that are no data files of ours.
type foreign struct {
	count int64
	some  [examples]string
}

// round walks through the whole bucket, if no other agent did lately.
func (o *orphans) round(ctx context.Context, p *maintenance.Progress) (bool, error) {
	mine, err := turn(ctx, o.store, o.holder, orphansLease, o.every)
	if err != nil {
		return false, err
	}
	if !mine {
		p.Elsewhere()
		return false, nil
	}
	if err := o.look(ctx, p); err != nil {
		return false, errors.Join(fmt.Errorf("look for orphaned data files: %w", err), o.giveUp(ctx))
	}
	return false, nil
}

// giveUp leaves the turn to another agent, which may fare better, also when ctx has ended.
func (o *orphans) giveUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if err := o.store.ReleaseLease(ctx, o.holder, orphansLease); err != nil {
		return fmt.Errorf("release lease %s: %w", orphansLease, err)
	}
	return nil
}

// look walks through the whole bucket. Orphans that the store refuses to delete are no failure: they are met again the next
// time, and a walk costs too much to be tried again for them.
func (o *orphans) look(ctx context.Context, p *maintenance.Progress) error {
	if err := o.onward(ctx); err != nil {
		return err
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	now, err := o.store.Now(call)
	cancel()
	if err != nil {
		return fmt.Errorf("ask the metadata store for the time: %w", err)
	}
	w := &walk{orphans: o, progress: p, now: now, left: map[string]orphan{}}
	w.objects = remover[objstore.ObjectInfo]{bucket: o.bucket, key: func(o objstore.ObjectInfo) string { return o.Key }, deleted: w.deleted}
	err = o.bucket.List(ctx, filesPrefix, func(object objstore.ObjectInfo) error { return w.visit(ctx, object) })
	if err == nil {
		err = w.ask(ctx)
	}
	if err == nil {
		w.show() // also that there are none
	}
	if w.files > 0 {
		o.log.Info("deleted orphaned data files, to which no record belongs", "files", w.files, "bytes", w.bytes)
	}
	if n := len(w.objects.refused); n > 0 {
		p.Refused(n)
		o.log.Warn("the object store refuses to delete orphaned data files; it is tried again with the next look for orphans", "files", n, "error", w.objects.refusal)
	}
	if ctx.Err() == nil {
		o.clear(ctx, now)
	}
	if err == nil {
		o.report(w)
	}
	return err
}

// report logs which objects a whole walk found that are none of ours, if that is news.
func (o *orphans) report(w *walk) {
	if w.foreign.count > 0 && w.foreign != o.reported {
		o.log.Warn("objects among the data files are no data files; they are left alone", "objects", w.foreign.count, "some", w.foreign.some)
	}
	o.reported = w.foreign
}

// clear removes what agents leave behind that die while they put an object or try out the store. An error
// (a store may not know such requests, or not allow them) is no reason to look for orphans again.
func (o *orphans) clear(ctx context.Context, now time.Time) {
	uploads, err := objstore.AbortUploads(ctx, o.bucket, filesPrefix, uploadAge)
	if err != nil && ctx.Err() == nil {
		o.log.Warn("uploads that were cut off could not be removed; it is tried again with the next look for orphans", "error", err)
	}
	if uploads > 0 {
		o.log.Info("removed uploads that were cut off", "uploads", uploads)
	}
	var probes []string
	err = o.bucket.List(ctx, objstore.ProbePrefix, func(object objstore.ObjectInfo) error {
		if now.Sub(object.Modified) > probeAge {
			probes = append(probes, object.Key)
		}
		return nil
	})
	if err == nil && len(probes) > 0 {
		err = o.bucket.Delete(ctx, probes...)
	}
	if err != nil && ctx.Err() == nil {
		o.log.Warn("what agents tried out the object store with could not be removed; it is tried again with the next look for orphans", "error", err)
	}
}

// walk is one walk through the bucket.
type walk struct {
	*orphans
	progress *maintenance.Progress
	// now is the metadata store's time before the walk began. It may be old by the end,
	// which spares young files.
	now   time.Time
	batch []objstore.ObjectInfo
	ids   []uuid.UUID
	// left are the orphans that were found and are still there, by key.
	left    map[string]orphan
	files   int64
	bytes   int64
	foreign foreign
	objects remover[objstore.ObjectInfo]
}

// orphan is an object that may be deleted since it was due.
type orphan struct {
	size int64
	due  time.Time
}

// visit takes an object of the listing.
func (w *walk) visit(ctx context.Context, object objstore.ObjectInfo) error {
	id, err := datafile.ParseKey(object.Key)
	if err != nil {
		if w.foreign.count < examples {
			w.foreign.some[w.foreign.count] = object.Key
		}
		w.foreign.count++
		return nil
	}
	if w.now.Sub(hourOver(id)) <= orphanAge {
		return nil
	}
	w.batch, w.ids = append(w.batch, object), append(w.ids, id)
	if len(w.ids) < askSlice {
		return nil
	}
	return w.ask(ctx)
}

// hourOver is when the hour ends in which the file's ID was made.
func hourOver(id uuid.UUID) time.Time { return datafile.IDTime(id).Truncate(time.Hour).Add(time.Hour) }

// ask asks which of the batch's files are known, and deletes the others.
func (w *walk) ask(ctx context.Context) error {
	if len(w.ids) == 0 {
		return nil
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	known, err := w.store.KnownFiles(call, w.ids)
	cancel()
	if err != nil {
		return fmt.Errorf("ask the metadata store which files it knows: %w", err)
	}
	var unknown []objstore.ObjectInfo
	for i, object := range w.batch {
		if !known[i] {
			unknown = append(unknown, object)
			w.left[object.Key] = orphan{object.Size, hourOver(w.ids[i]).Add(orphanAge)}
		}
	}
	w.batch, w.ids = w.batch[:0], w.ids[:0]
	if len(unknown) == 0 {
		return nil
	}
	// A walk takes long: the store that answered may be another one than at the beginning.
	if err := w.onward(ctx); err != nil {
		return err
	}
	w.show()
	return w.objects.remove(ctx, unknown)
}

// show shows the orphans that are there.
func (w *walk) show() {
	var bytes int64
	var oldest time.Duration
	for _, o := range w.left {
		bytes += o.size
		oldest = max(oldest, w.now.Sub(o.due))
	}
	w.progress.Backlog(int64(len(w.left)), oldest)
	w.progress.BacklogBytes(bytes)
}

// deleted counts orphans that are gone.
func (w *walk) deleted(objects []objstore.ObjectInfo) error {
	var bytes int64
	for _, object := range objects {
		bytes += object.Size
		delete(w.left, object.Key)
		w.log.Debug("deleted an orphaned data file", "key", object.Key, "bytes", object.Size)
	}
	w.files += int64(len(objects))
	w.bytes += bytes
	w.progress.Files(len(objects))
	w.progress.Deleted(bytes)
	w.show()
	return nil
}
