package merge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/agent/maintenance/rewrite"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
)

// merge claims files and merges them, and reports whether it changed anything.
func (m *Merger) merge(ctx context.Context, p *maintenance.Progress, out *outputs, claim metadata.FileClaim) (changed bool, err error) {
	files, err := m.claim(ctx, claim)
	if len(files) == 0 || err != nil {
		return false, err
	}
	return m.mergeClaimed(ctx, p, out, claim, files)
}

// claim asks for files.
func (m *Merger) claim(ctx context.Context, claim metadata.FileClaim) ([]metadata.ClaimedFile, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	files, err := m.store.ClaimFiles(ctx, claim)
	if err != nil {
		return nil, fmt.Errorf("claim files to merge: %w", err)
	}
	return files, nil
}

// mergeClaimed merges files while it keeps their claims, and gives these up.
func (m *Merger) mergeClaimed(ctx context.Context, p *maintenance.Progress, out *outputs, claim metadata.FileClaim, files []metadata.ClaimedFile) (changed bool, err error) {
	ids := idsOf(files)
	working, stop := context.WithCancelCause(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() {
		maintenance.Renew(working, stop, claim.For, func(ctx context.Context) (bool, error) {
			return m.store.RenewFiles(ctx, claim.Holder, ids, claim.For)
		})
	})
	w := &work{Merger: m, progress: p, out: out, claim: claim, origin: origin(claim, files), began: time.Now()}
	err = w.do(working, files)
	lost := errors.Is(context.Cause(working), maintenance.ErrLeaseLost)
	stop(nil)
	renewing.Wait()
	if lost {
		return w.changed, fmt.Errorf("merge of %d files: %w", len(files), context.Cause(working))
	}
	if releaseErr := w.giveUp(ctx, files); releaseErr != nil {
		err = errors.Join(err, releaseErr)
	}
	return w.changed, err
}

// giveUp gives the claims up, also when ctx has ended: then others need not wait for them to run out. What is
// damaged is nobody's to merge again. What the merge went around since it can't be read for now stays claimed for a
// while: as the oldest of its level it would make a merge due at once, of whatever came meanwhile.
func (w *work) giveUp(ctx context.Context, files []metadata.ClaimedFile) error {
	var free, damaged, aside []uuid.UUID
	for i := range files {
		switch id := files[i].ID; {
		case w.damaged[id] != nil:
			damaged = append(damaged, id)
		case w.done && w.unread[id] != nil:
			aside = append(aside, id)
		default:
			free = append(free, id)
		}
	}
	return errors.Join(w.release(ctx, w.claim, free, false), w.release(ctx, w.claim, damaged, true), w.keep(ctx, aside))
}

// release gives up the claims of some of its files.
func (m *Merger) release(ctx context.Context, claim metadata.FileClaim, files []uuid.UUID, settle bool) error {
	if len(files) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if err := m.store.ReleaseFiles(ctx, claim.Holder, files, settle); err != nil {
		return fmt.Errorf("release %d merged files: %w", len(files), err)
	}
	return nil
}

// keep has nobody merge the files for a while, not even this merger.
func (w *work) keep(ctx context.Context, files []uuid.UUID) error {
	if len(files) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	w.newHolder()
	if _, err := w.store.RenewFiles(ctx, w.claim.Holder, files, w.setAside); err != nil {
		return fmt.Errorf("set %d files aside that can't be read: %w", len(files), err)
	}
	return nil
}

// idsOf are the IDs of files.
func idsOf(files []metadata.ClaimedFile) []uuid.UUID {
	ids := make([]uuid.UUID, len(files))
	for i := range files {
		ids[i] = files[i].ID
	}
	return ids
}

// origin is that of the files which come of the claim. Sparse files stay at their level.
func origin(claim metadata.FileClaim, files []metadata.ClaimedFile) rewrite.Origin {
	o := rewrite.Origin{Level: claim.Level + 1}
	if claim.Sparse {
		o.Level = 1
	}
	for _, f := range files {
		if claim.Sparse {
			level := f.Level
			if level == metadata.LevelSettled {
				level = metadata.MaxFileLevel
			}
			o.Level = max(o.Level, level)
		}
		o.Sources = append(o.Sources, datafile.Source{FileID: f.ID, Seq: f.Seq})
	}
	return o
}
