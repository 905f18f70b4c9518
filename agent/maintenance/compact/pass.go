package compact

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/wadi-log/wadi/agent/maintenance/rewrite"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

const (
	// pieceRuns is the number of rows that one replacement takes from a partition at most, so that
	// it stays short.
	pieceRuns = 5_000
	// pieceTries is how often a part of a large partition is done again because a merge came first.
	pieceTries = 5
)

// errSwitched: the topic's cleanup.policy has lost compact.
var errSwitched = errors.New("the topic is no longer compacted")

// pass is one pass over one partition, of which nobody else makes one. It may take several rounds.
type pass struct {
	candidate
	log partitionLog
	// now is the store's clock when it began.
	now time.Time
	// alone: the partition is so large that it shares no output.
	alone bool
	// left is how many bytes of runs may still be read before the pass lets others work.
	left int64

	// limit is where ends what could be cleaned, end what the pass cleans; known from begun and collected on.
	limit, end       int64
	begun, collected bool
	dirty            dirty
	cleaner          *cleaner
	// next is the first offset that was not read yet: of those to collect keys of, then of those to rewrite.
	next int64
	// notBefore is when min.compaction.lag.ms is over, if it keeps from beginning.
	notBefore time.Time
	// removed counts records that are left out of what was swapped in.
	removed int64

	// done: the last section was written. lost: a section was not taken.
	done, lost bool
}

// step does the next part of the pass, and reports whether nothing is left to do, but for the commit of
// a shared output. The keys are the pass' own from the first step to the last.
func (p *pass) step(ctx context.Context, keys *keys, out *output) (over bool, err error) {
	if !p.begun {
		due, err := p.survey(ctx)
		if err != nil || !due {
			return true, err
		}
		keys.reset(p.limit - p.CleanUntil)
		p.dirty = dirty{keys: keys, from: p.CleanUntil, end: p.CleanUntil}
		p.begun, p.next = true, p.CleanUntil
	}
	if !p.collected {
		if err := p.collect(ctx); err != nil || !p.collected {
			return false, err
		}
		now := p.now.UnixMilli()
		p.cleaner = &cleaner{
			start: p.LogStartOffset, end: p.end, keys: keys, now: now, horizon: horizon(now, p.config.DeleteRetentionMs),
			open: map[int64]struct{}{},
		}
		p.next = p.LogStartOffset
	}
	if p.next < p.LogStartOffset { // which rose since the last step
		p.next = p.LogStartOffset
	}
	if err := p.rewrite(ctx, out); err != nil {
		return false, err
	}
	return p.next >= p.end, nil
}

// survey finds how far the pass may go, and reports whether that is enough to be worth it.
func (p *pass) survey(ctx context.Context) (due bool, err error) {
	p.limit = p.StableOffset
	bytes := p.DirtyBytes
	if lag := p.config.MinCompactionLagMs; lag > 0 || p.StableOffset < p.NextOffset {
		youngest := int64(math.MaxInt64)
		if lag > 0 {
			youngest = p.now.UnixMilli() - lag
		}
		limit, sum, first, err := p.log.cleanable(ctx, p.CleanUntil, p.StableOffset, youngest)
		if err != nil {
			return false, err
		}
		if p.limit, bytes = limit, sum; first > youngest {
			p.notBefore = time.UnixMilli(first + lag)
		}
	}
	return p.due(bytes, p.now.UnixMilli()), nil
}

// collect reads what no pass has cleaned and finds how far this one gets.
func (p *pass) collect(ctx context.Context) error {
	for run, err := range p.log.runs(ctx, p.next, p.limit) {
		if err != nil {
			return err
		}
		for batch, err := range run.batches {
			if err != nil {
				return err
			}
			if batch.BaseOffset() >= p.limit {
				break
			}
			more, err := p.dirty.add(batch, run.aborted)
			if err != nil {
				return damaged(run.Run, err)
			}
			if !more {
				p.end, p.collected = p.dirty.end, true
				return nil
			}
		}
		p.next = run.NextOffset()
		if p.spent(run.Run) && p.next < p.limit {
			return nil
		}
	}
	p.end, p.collected = p.limit, true
	return nil
}

// spent counts the run, and reports whether others are to work now.
func (p *pass) spent(run metadata.Run) bool {
	p.left -= int64(run.Size)
	return p.left <= 0
}

// horizon is when tombstones go that are cleaned now.
func horizon(now, retention int64) int64 {
	if retention > math.MaxInt64-now {
		return math.MaxInt64
	}
	return now + retention
}

// rewrite writes the partition anew, until the pass ends or others are to work. What is swapped in
// stands before what is written next is swapped in.
func (p *pass) rewrite(ctx context.Context, out *output) error {
	for tries := 1; p.next < p.end && p.left > 0; {
		switch still, err := out.c.stillCompacted(ctx, p.topic.ID); {
		case err != nil:
			return err
		case !still:
			return errSwitched
		}
		open := p.cleaner.mark()
		p.cleaner.from = p.next
		after, err := p.piece(ctx, out, p.next)
		if p.done = err == nil && after >= p.end; err == nil && (p.alone || !p.done) {
			if err = out.commit(ctx); err == nil && p.lost {
				err = errMoved
			}
		}
		switch {
		case err == nil:
			p.next, tries = after, 1
		case p.alone && tries < pieceTries && errors.Is(err, errMoved):
			// The same offsets lie in other runs now. What is known of the keys holds.
			p.cleaner.reset(open)
			p.lost, p.log.first = false, nil
			tries++
		default:
			return err
		}
	}
	return nil
}

// piece writes one section: from the run that holds the offset until the output is full or the
// pass ends. It returns the offset behind. After an error nothing was written.
func (p *pass) piece(ctx context.Context, out *output, offset int64) (next int64, err error) {
	defer func() {
		if err != nil {
			out.abandon()
		}
	}()
	var s section
	for run, err := range p.log.runs(ctx, offset, p.end) {
		if err != nil {
			return 0, err
		}
		if s.begun() && !s.holds(run.Run) {
			break
		}
		if !s.begun() {
			if err := out.begin(p, run.BaseOffset); err != nil {
				return 0, err
			}
			s.base = run.BaseOffset
		}
		if err := p.run(run, out, &s); err != nil {
			return 0, err
		}
		if p.spent(run.Run) || out.full() || len(s.replaces) >= pieceRuns {
			break
		}
	}
	if !s.begun() {
		return 0, errMoved
	}
	if s.written < s.next {
		// Offsets have no holes between runs: the last batch stays, without its records.
		if err := out.add(s.last.Empty()); err != nil {
			return 0, err
		}
	}
	if err := out.end(s.next, s.maxTimestamp, s.replaces, s.removed); err != nil {
		return 0, err
	}
	return s.next, nil
}

// run adds what is left of one run to the section.
func (p *pass) run(run reading, out *output, s *section) error {
	p.cleaner.aborted = run.aborted
	for batch, err := range run.batches {
		if err != nil {
			return err
		}
		left, err := p.cleaner.clean(batch)
		if err != nil {
			return damaged(run.Run, err)
		}
		s.removed += int64(batch.NumRecords())
		if left == nil {
			// The batch is gone with the next one; its header may be needed.
			s.last = append(s.last[:0], batch[:protocol.BatchHeaderSize]...)
			continue
		}
		if err := out.add(left); err != nil {
			return err
		}
		s.removed -= int64(left.NumRecords())
		s.written = left.BaseOffset() + int64(left.LastOffsetDelta()) + 1
		s.bytes += int64(len(left))
	}
	s.replaces = append(s.replaces, metadata.RunKey{BaseOffset: run.BaseOffset, FileID: run.FileID})
	s.next, s.maxTimestamp = run.NextOffset(), run.MaxTimestamp
	return nil
}

// section is what a pass writes into one output.
type section struct {
	base, next   int64
	maxTimestamp int64
	replaces     []metadata.RunKey
	// written is the offset behind the last batch written, last the header of the last one left out.
	written int64
	last    protocol.Batch
	bytes   int64
	removed int64
}

func (s *section) begun() bool { return len(s.replaces) > 0 }

// holds reports whether the run fits, too: a row of the index counts bytes and offsets with 31 bits. Batches grow by a delete
// horizon, but not to twice their size.
func (s *section) holds(run metadata.Run) bool {
	return run.NextOffset()-s.base < math.MaxInt32 && s.bytes+2*int64(run.Size) < math.MaxInt32
}

// damaged says that a run's batches can't be understood, although their checksums are right. It lasts, like
// other damage.
func damaged(run metadata.Run, err error) error {
	return &rewrite.RunError{Run: run, Err: fmt.Errorf("%w: %w", rewrite.ErrDamaged, err)}
}
