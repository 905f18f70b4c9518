package fetch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	pool "github.com/libp2p/go-buffer-pool"
	"golang.org/x/time/rate"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

var (
	// errCorrupt: bytes of the log are not what was written. The partition
	// cannot be read past them.
	errCorrupt = errors.New("corrupt data")
	// errUnread marks errors of reading records, as opposed to finding them.
	// (The reader logs them.)
	errUnread = errors.New("read records")
	// errZstd: the batch is compressed by zstd, which consumers before Fetch
	// version 10 don't know (KIP-110).
	errZstd = errors.New("zstd batch for a consumer that does not know zstd")
)

// reader turns planned runs into the bytes of a response.
type reader struct {
	blocks     *Blocks
	metrics    *Metrics
	log        *slog.Logger
	complaints *rate.Limiter
	places     places
}

func newReader(blocks *Blocks, metrics *Metrics, log *slog.Logger) *reader {
	return &reader{
		blocks: blocks, metrics: metrics, log: log,
		complaints: rate.NewLimiter(rate.Every(time.Second), 20),
		places:     newPlaces(placesKept),
	}
}

// readPart is what was read of one partition: whole batches, contiguous from the
// one that contains the offset, up to before next. With err it may be empty.
type readPart struct {
	batches []byte
	next    int64
	err     error
	// gone is where a run ends whose file is not there any more, behind the batches; else 0.
	gone int64
}

// limits bound a reading.
type limits struct {
	maxBytes int64
	// noZstd: the consumer doesn't know zstd.
	noZstd bool
	// turn is what the reader waits for to use the CPU; nil for nothing.
	turn *turn
}

// read reads what is planned, file by file, up to the limits, but at least one batch in all if there
// is one: of the first partition that has any. The batches lie in the arena, a pooled
// buffer that the caller puts back. replan is called, at most once a
// partition, when a file that the plan names is gone, with the end of the run that lay in it.
func (r *reader) read(ctx context.Context, parts []asked, plans []plan, lim limits, replan func(i int, gone int64) plan) (out []readPart, arena []byte) {
	var estimate int64
	for i := range plans {
		estimate += plans[i].bytes
	}
	out = make([]readPart, len(parts))
	arena = pool.Get(int(estimate))
	mark := r.blocks.mark()
	r.seek(ctx, parts, plans)
	window := newWindow(r.blocks, parts, plans)
	takings := make([]*taking, len(parts)) // nil where there is nothing to read
	at := int64(0)
	for _, it := range window.items {
		if i := it.part; takings[i] == nil {
			to := at + plans[i].bytes
			takings[i] = &taking{
				offset: parts[i].offset, until: plans[i].until, room: plans[i].room, noZstd: lim.noZstd,
				turn: lim.turn, mark: mark, from: plans[i].from, out: arena[at:at:to],
			}
			at = to
		}
	}
	left := lim.maxBytes
	empty := true
	if err := lim.turn.take(ctx); err != nil {
		return out, arena // nobody waits for the answer
	}
	defer lim.turn.leave()
	for n := range window.items {
		i := window.items[n].part
		p, t := &plans[i], takings[i]
		if window.over[i] {
			continue
		}
		had := len(t.out)
		t.room, t.anyway = min(t.room, left), empty
		window.over[i], t.err = r.readRun(ctx, p, t, func() *storedSource { return window.source(n) })
		if t.err != nil && len(t.out) == 0 {
			t.err = r.readAgain(ctx, &parts[i], p, t, func() plan { return replan(i, p.current().NextOffset()) })
		}
		left -= int64(len(t.out) - had)
		empty = empty && len(t.out) == 0
	}
	var served int
	for i, t := range takings {
		if t == nil {
			continue
		}
		out[i] = readPart{batches: t.out[:len(t.out):len(t.out)], next: t.next, err: t.err}
		if len(t.out) > 0 {
			out[i].err = nil // the next request will meet it, at its first batch
			if errors.Is(t.err, objstore.ErrNotFound) {
				out[i].gone = plans[i].current().NextOffset()
			}
		}
		served += len(t.out)
	}
	r.metrics.served.Add(float64(served))
	return out, arena
}

// readAgain reads a partition of which the first thing failed, if there is another way to it.
func (r *reader) readAgain(ctx context.Context, part *asked, p *plan, t *taking, replan func() plan) error {
	err := t.err
	if errors.Is(err, errDoubtful) {
		p.from, p.reached, t.mark = t.from, 0, r.blocks.mark()
		err = r.readPlan(ctx, p, t)
	}
	if errors.Is(err, objstore.ErrNotFound) && len(t.out) == 0 {
		err = r.readAnew(ctx, part, p, t, replan)
	}
	return err
}

// readAnew reads a partition by a new plan after a file of the old one was
// gone: it was merged into another one, and the store knows which.
func (r *reader) readAnew(ctx context.Context, part *asked, old *plan, t *taking, replan func() plan) error {
	r.metrics.replans.Inc()
	t.turn.leave() // the stores are asked, while others can go on
	anew := []plan{replan()}
	*old = anew[0]
	if old.err != nil {
		return old.err
	}
	r.seek(ctx, []asked{*part}, anew)
	*old = anew[0]
	if err := t.turn.take(ctx); err != nil {
		return err
	}
	err := r.readPlan(ctx, old, t)
	if errors.Is(err, objstore.ErrNotFound) && len(t.out) == 0 {
		r.missing(err)
	}
	return err
}

// readPlan takes what it may from the runs of a plan by itself, outside of a window; from the object store alone when what came from
// another agent was damaged. (If it was so behind what was taken, the next request will see to that.)
func (r *reader) readPlan(ctx context.Context, p *plan, t *taking) error {
	t.until = p.until
	from := p.from
	err := r.readRuns(ctx, p, t)
	for errors.Is(err, errDoubtful) && len(t.out) == 0 {
		p.from, p.reached, t.mark = from, 0, r.blocks.mark()
		err = r.readRuns(ctx, p, t)
	}
	return err
}

func (r *reader) readRuns(ctx context.Context, p *plan, t *taking) (err error) {
	for ended := len(p.runs) == 0; !ended && err == nil; {
		ended, err = r.readRun(ctx, p, t, func() *storedSource {
			run := p.current()
			return newStoredSource(r.blocks, run, p.pool, p.from.stored, storedLength(run, p.from, t.offset, t.room))
		})
	}
	return err
}

// readRun takes what it may from the run that a plan is at. Ended: nothing more may be taken of the plan.
func (r *reader) readRun(ctx context.Context, p *plan, t *taking, source func() *storedSource) (ended bool, err error) {
	if t.full || t.room <= 0 && !t.anyway {
		return true, nil
	}
	run := p.current()
	done, err := false, p.lost
	if marker, ok := run.Marker(); ok {
		done = t.marker(run, marker)
	} else if err == nil {
		stored := source()
		stored.turn = t.turn
		p.from, done, err = t.run(ctx, run, p.from, stored)
	}
	r.metrics.batches.Add(float64(t.batches))
	t.batches = 0
	switch {
	case err != nil:
		return true, r.failed(ctx, run, err, t.mark)
	case !done:
		if p.from.at > 0 {
			r.places.remember(run, max(t.offset, t.next), p.from)
		}
		return true, nil
	}
	p.goOn()
	return p.reached == len(p.runs), nil
}

// failed says where a reading that began at the mark failed, and counts and logs it where that is
// somebody's business: damage is, and a store that does not answer.
func (r *reader) failed(ctx context.Context, run *metadata.Run, err error, mark int64) error {
	err = readError(run, err)
	switch {
	case isDamage(err) && r.blocks.doubt(run.FileID, mark): // or else it was only our copy that was damaged
		return fmt.Errorf("%w: %w", errDoubtful, err)
	case isDamage(err):
		r.metrics.corrupt.Inc()
		r.complain("records are damaged; consumers of the partition are stuck there", err)
	case ctx.Err() == nil && !errors.Is(err, objstore.ErrNotFound) && !errors.Is(err, errZstd):
		r.complain("records could not be read for now; consumers are told to retry", err)
	}
	return err
}

// readAhead loads what consumers that catch up will ask for next.
func (r *reader) readAhead(parts []asked, plans []plan) {
	for i := range plans {
		p := &plans[i]
		if p.pool != Cold || p.err != nil || p.lost != nil {
			continue
		}
		if len(p.runs) == 0 && len(p.ahead) > 0 {
			// There was no room for the partition.
			var known bool
			if p.from, known = r.start(&p.ahead[0], parts[i].offset); !known {
				continue
			}
		}
		if !r.readAheadOf(p) {
			return
		}
	}
}

// readAheadOf loads what follows what was read of a plan, in large steps: up to half of a step
// from there is loaded already, mostly. It reports false when enough is being loaded.
func (r *reader) readAheadOf(p *plan) bool {
	step := r.blocks.config.stepAhead()
	left := step + step/2
	from := p.from.stored
	for _, runs := range [][]metadata.Run{p.runs[p.reached:], p.ahead} {
		for k := range runs {
			run := &runs[k]
			if run.Encoding == metadata.EncodingMarker {
				continue
			}
			begin, end := run.Position+from, run.Position+int64(run.StoredSize)
			from = 0
			if end-begin > left {
				// What comes after it can wait for the next step, which ends as evenly.
				end = max(begin, (begin+left)/step*step)
				left = 0
			}
			if end > begin && !r.blocks.prefetch(run.FileID, begin, end-begin) {
				return false
			}
			if left -= end - begin; left <= 0 {
				return true
			}
		}
	}
	return true
}

// missing counts and logs that a file is gone although the newest plan names it.
func (r *reader) missing(err error) {
	r.metrics.corrupt.Inc()
	r.complain("a data file is missing that the metadata store names; its records cannot be read", err)
}

// complain logs trouble with data, within limits: consumers come back for it.
func (r *reader) complain(msg string, err error) {
	if r.complaints.Allow() {
		r.log.Error(msg, "error", err)
	}
}

// isDamage tells bytes that are wrong from bytes that can't be had.
func isDamage(err error) bool {
	for _, damage := range []error{errCorrupt, errShortFile, datafile.ErrCorrupt, protocol.ErrCorruptBatch,
		protocol.ErrMagic, protocol.ErrInvalidRecord, protocol.ErrUnsupportedCodec, protocol.ErrTooLarge} {
		if errors.Is(err, damage) {
			return true
		}
	}
	return false
}
