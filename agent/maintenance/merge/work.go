package merge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/agent/maintenance/rewrite"
	"github.com/wadi-log/wadi/metadata"
)

// outputs are the two files that a merge writes at a time: one for large runs, which are settled by that, and one for the
// others, which will be merged again.
type outputs struct{ large, small *rewrite.Output }

func (m *Merger) newOutputs(p *maintenance.Progress) (*outputs, error) {
	large, err := rewrite.NewOutput(m.bucket, m.store, p, m.config.Compression)
	if err != nil {
		return nil, err
	}
	small, err := rewrite.NewOutput(m.bucket, m.store, p, m.config.Compression)
	return &outputs{large, small}, err
}

// of returns the one for a section.
func (o *outputs) of(s section) *rewrite.Output {
	if s.large {
		return o.large
	}
	return o.small
}

// work is one merge under way.
type work struct {
	*Merger
	progress *maintenance.Progress
	out      *outputs
	claim    metadata.FileClaim
	origin   rewrite.Origin
	began    time.Time // and when new files were looked for last

	plan   plan
	reader *rewrite.Reader
	// window has the runs of the plan from first to before end.
	window     *rewrite.Window
	first, end int

	// damaged are files that nobody should merge again; unread are those that the merge went around, since they
	// could not be read before, either. done: it came to its end.
	damaged, unread map[uuid.UUID]*damage
	done            bool
	// late is what went wrong in a merge in between and did not end this one.
	late    error
	changed bool
}

// damage is what was found in one file.
type damage struct {
	runs  int
	first error
}

// do merges the files.
func (w *work) do(ctx context.Context, files []metadata.ClaimedFile) error {
	listing, cancel := context.WithTimeout(ctx, callTimeout)
	topics, _, err := w.store.ListTopics(listing)
	cancel()
	if err != nil {
		return fmt.Errorf("list topics to merge: %w", err)
	}
	w.plan = makePlan(files, placesOf(topics), w.config.FileBytes)
	w.settle()
	w.reader = rewrite.NewReader(w.bucket, w.progress, w.config.window())
	w.damaged, w.unread = map[uuid.UUID]*damage{}, map[uuid.UUID]*damage{}
	defer w.complain()
	for _, s := range w.plan.sections {
		if err := w.write(ctx, s); err != nil {
			return err
		}
		if err := w.interleave(ctx); err != nil {
			return err
		}
	}
	if err := w.commit(ctx, w.out.large, w.out.small); err != nil {
		return err
	}
	w.done = true
	w.acquit(files)
	return errors.Join(w.late, w.goneAround())
}

// goneAround tells of the files that the merge went around, of one for all: many at a time have one reason. With nothing
// merged besides it is the store that is away, and the merge has failed.
func (w *work) goneAround() error {
	if len(w.unread) == 0 {
		return nil
	}
	w.metrics.unread.Add(float64(len(w.unread)))
	files := slices.Collect(maps.Keys(w.unread))
	first := w.unread[files[0]]
	if !w.changed {
		return first.first
	}
	w.log.Warn("data files can't be read for now; they are left out of merges for a while",
		"files", len(files), "again_in", w.setAside, "file", files[0], "runs", first.runs, "first_error", first.first)
	return nil
}

// acquit takes suspicion from the files that could be read, and from those that somebody else must have merged.
func (w *work) acquit(files []metadata.ClaimedFile) {
	for i := range files {
		if w.unread[files[i].ID] == nil {
			delete(w.suspects, files[i].ID)
		}
	}
	maps.DeleteFunc(w.suspects, func(_ uuid.UUID, failed time.Time) bool { return time.Since(failed) > suspectFor })
}

// settle spares large merges of very many partitions the next one: its files would be those of this merge, which have
// no partition in common, so it would join nothing.
func (w *work) settle() {
	next := int(w.claim.Level) + 1
	if w.claim.Sparse || next >= metadata.MaxFileLevel {
		return
	}
	var stored int64
	for _, s := range w.plan.sections {
		stored += s.stored
	}
	if files := stored / w.config.FileBytes; 2*files > int64(w.claims[next].MaxFiles) {
		w.origin.Level = metadata.MaxFileLevel
	}
}

// write writes one section, or what can be read of it.
func (w *work) write(ctx context.Context, s section) error {
	out := w.out.of(s)
	if full := out.Size() > w.config.FileBytes/2 && out.Size()+s.stored > w.config.FileBytes; full || out.Replaced()+s.to-s.from > rewrite.MaxReplaced {
		if err := w.commit(ctx, out); err != nil {
			return err
		}
	}
	bad, err := w.fill(ctx, out, s)
	if err == nil {
		return nil
	}
	out.Abandon()
	if bad < 0 {
		return err
	}
	if err := w.leave(ctx, w.plan.runs[bad], err); err != nil {
		return err
	}
	// What is before and behind the bad run is merged all the same.
	for _, part := range []section{{s.place, s.from, bad, 0, s.large}, {s.place, bad + 1, s.to, 0, s.large}} {
		if part.from < part.to {
			if err := w.write(ctx, part); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill adds the section to the output. With an error that is a run's, it returns the run's index, else -1.
func (w *work) fill(ctx context.Context, out *rewrite.Output, s section) (bad int, err error) {
	if err := out.Begin(s.place, w.plan.runs[s.from].BaseOffset); err != nil {
		return -1, err
	}
	replaces := make([]metadata.RunKey, 0, s.to-s.from)
	for i := s.from; i < s.to; i++ {
		run := w.plan.runs[i]
		if err := w.add(ctx, out, i); err != nil {
			var at *rewrite.RunError
			if errors.As(err, &at) {
				return i, err
			}
			return -1, err
		}
		replaces = append(replaces, metadata.RunKey{BaseOffset: run.BaseOffset, FileID: run.FileID})
	}
	last := &w.plan.runs[s.to-1]
	return -1, out.End(last.NextOffset(), last.MaxTimestamp, replaces)
}

// add adds the i-th run to the output's open section.
func (w *work) add(ctx context.Context, out *rewrite.Output, i int) error {
	if i < w.first || i >= w.end {
		w.first, w.end = i, i+w.reader.Fit(w.plan.runs[i:])
		w.window = nil // the next one takes its memory
		w.window = w.reader.Load(ctx, w.plan.runs[w.first:w.end])
	}
	if err := w.progress.Pace(ctx); err != nil {
		return err
	}
	run := w.plan.runs[i]
	if run.Merged {
		if ok, err := out.AddStored(ctx, w.window, run); ok || err != nil {
			return err
		}
	}
	for batch, err := range w.window.Batches(ctx, run) {
		if err != nil {
			return err
		}
		if err := out.Add(batch); err != nil {
			return err
		}
	}
	return nil
}

// leave decides what becomes of a run that can't be read: the error is the merge's if it must end.
func (w *work) leave(ctx context.Context, run metadata.Run, cause error) error {
	if ctx.Err() != nil {
		return cause
	}
	if !errors.Is(cause, rewrite.ErrDamaged) {
		// A store that is away should not leave holes in what is merged; a single
		// object that stays out of reach should not hold up all others.
		_, suspect := w.suspects[run.FileID]
		w.suspects[run.FileID] = time.Now()
		if !suspect {
			return cause
		}
		note(w.unread, run.FileID, cause)
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	standing, err := rewrite.Standing(asking, w.store, run)
	if err != nil {
		return errors.Join(cause, err)
	}
	if !standing {
		return nil // somebody replaced or removed it meanwhile
	}
	note(w.damaged, run.FileID, cause)
	w.progress.Damaged(1)
	return nil
}

// note adds a run to what was found in its file.
func note(found map[uuid.UUID]*damage, file uuid.UUID, cause error) {
	if found[file] == nil {
		found[file] = &damage{first: cause}
	}
	found[file].runs++
}

// complain tells of damage, once for each file, which may have a run of every partition.
func (w *work) complain() {
	for file, d := range w.damaged {
		w.log.Error("a data file is damaged or missing; its records can't be read and are left out of the merge",
			"file", file, "runs", d.runs, "first_error", d.first)
	}
}

// commit swaps the outputs in.
func (w *work) commit(ctx context.Context, outputs ...*rewrite.Output) error {
	for _, out := range outputs {
		taken, err := out.Commit(ctx, w.origin)
		if err != nil {
			return err
		}
		for _, ok := range taken {
			w.changed = w.changed || ok
		}
	}
	return nil
}

// interleave lets new files be merged in the middle of a merge that takes minutes: they are what makes
// the index grow.
func (w *work) interleave(ctx context.Context) error {
	if w.claim.Level == 0 && !w.claim.Sparse || time.Since(w.began) < w.interleaveEvery {
		return nil
	}
	w.began = time.Now()
	files, err := w.Merger.claim(ctx, w.claims[0])
	if len(files) == 0 || err != nil {
		return err
	}
	// The memory of this merge is the other's meanwhile.
	err = w.commit(ctx, w.out.large, w.out.small)
	w.window, w.first, w.end = nil, 0, 0
	if err != nil {
		return errors.Join(err, w.release(ctx, w.claims[0], idsOf(files), false))
	}
	changed, err := w.mergeClaimed(ctx, w.progress, w.out, w.claims[0], files)
	w.changed = w.changed || changed
	w.late = errors.Join(w.late, err)
	if err == nil {
		return nil
	}
	// What the other has left in the outputs is not of this merge's files.
	fresh, err := w.newOutputs(w.progress)
	if err != nil {
		return err
	}
	*w.out = *fresh
	return nil
}
