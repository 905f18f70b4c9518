package backup

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
)

// Store is what [Job] asks of the metadata store.
type Store interface {
	Now(ctx context.Context) (time.Time, error)
	metadata.Snapshots
	metadata.Leases
}

// callTimeout bounds one short call of the metadata store.
const callTimeout = 10 * time.Second

// Job returns the job "snapshot", which writes a snapshot at intervals, by one agent at a time. While
// nothing changes it writes none. onward fails when the store has gone back in time: then none is written or
// removed, since the newest one has what the store lost, and proves that it did.
func Job(store Store, bucket objstore.Bucket, onward func(context.Context) error, interval time.Duration, holder uuid.UUID, log *slog.Logger) maintenance.Job {
	j := &job{store: store, bucket: bucket, onward: onward, interval: interval, holder: holder, log: log}
	return maintenance.Job{Name: "snapshot", Every: j.every, Heavy: true, Round: j.round}
}

type job struct {
	store    Store
	bucket   objstore.Bucket
	onward   func(context.Context) error
	interval time.Duration
	holder   uuid.UUID
	log      *slog.Logger
}

// every is how often an agent looks whether a snapshot is due.
func (j *job) every() time.Duration { return min(max(j.interval/10, time.Second), time.Minute) }

func (j *job) round(ctx context.Context, p *maintenance.Progress) (more bool, err error) {
	if _, due, err := j.due(ctx, p); err != nil || !due {
		return false, err
	}
	_, err = maintenance.HoldLease(ctx, j.store, j.holder, "snapshot", func(ctx context.Context) error {
		// Another agent may have written one since we looked.
		now, due, err := j.due(ctx, p)
		if err != nil || !due {
			return err
		}
		return j.snapshot(ctx, p, now)
	})
	return false, err
}

// due tells whether a snapshot is, and what time it is in the store.
func (j *job) due(ctx context.Context, p *maintenance.Progress) (now time.Time, due bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	now, err = j.store.Now(ctx)
	if err != nil {
		return now, false, err
	}
	last, ok, err := j.store.LastSnapshot(ctx)
	if err != nil {
		return now, false, err
	}
	age := now.Sub(last)
	switch {
	case !ok:
		p.Backlog(1, 0)
		return now, true, nil
	case age < 0:
		// The clock went back. What died since seems to be older than the snapshot, which names it.
		p.Backlog(1, 0)
		return now, true, nil
	case age < j.interval:
		p.Backlog(0, age-j.interval) // it will be due, also if nobody looks any more
		return now, false, nil
	}
	p.Backlog(1, age-j.interval)
	return now, true, nil
}

// snapshot writes a snapshot, unless the newest one has all that is there at the time now.
func (j *job) snapshot(ctx context.Context, p *maintenance.Progress, now time.Time) error {
	if err := j.onward(ctx); err != nil {
		return err
	}
	l, err := List(ctx, j.bucket)
	if err != nil {
		return err
	}
	fits, err := j.stillFits(ctx, l)
	if err != nil {
		return err
	}
	at := now
	if !fits {
		m, err := Write(ctx, j.store, j.bucket, p)
		if err != nil {
			return err
		}
		at = m.At
		j.log.Info("wrote a snapshot of the metadata store", "snapshot", m.Name, "rows", m.RowCount(), "bytes", m.Size())
		if l, err = List(ctx, j.bucket); err != nil {
			return err
		}
	}
	// Dies here: the snapshot counts for recovery, and the next round finds that it still fits, or writes another.
	if err := j.store.NoteSnapshot(ctx, at); err != nil {
		return err
	}
	p.Backlog(0, -j.interval)
	return Prune(ctx, j.bucket, l)
}

// stillFits tells whether the newest snapshot has all that the store has, and is there with all its parts.
func (j *job) stillFits(ctx context.Context, l Listing) (bool, error) {
	if len(l.Whole) == 0 {
		return false, nil
	}
	m, err := ReadManifest(ctx, j.bucket, l.Whole[0])
	if err == nil {
		err = l.lacks(m)
	}
	if errors.Is(err, ErrDamaged) || errors.Is(err, ErrVersion) || errors.Is(err, ErrNoSnapshot) {
		j.log.Warn("the newest snapshot of the metadata store is of no use; writing another", "snapshot", l.Whole[0], "error", err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	state, err := j.store.SnapshotState(ctx)
	return state == m.State, err
}
