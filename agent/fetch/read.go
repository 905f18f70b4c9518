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

// read reads the planned partitions in their order, up to the limits, but at
// least one batch in all if there is one. The batches lie in the arena, a pooled
// buffer that the caller puts back. replan is called, at most once a
// partition, when a file that the plan names is gone, with the end of the run that lay in it.
func (r *reader) read(ctx context.Context, parts []asked, plans []plan, lim limits, replan func(i int, gone int64) plan) (out []readPart, arena []byte) {
	var estimate int64
	for i := range plans {
		estimate += plans[i].bytes
	}
	var served int
	out = make([]readPart, len(parts))
	buffer := pool.Get(int(estimate))
	arena = buffer[:0]
	mark := r.blocks.mark()
	r.seek(ctx, parts, plans)
	window := newWindow(r.blocks, parts, plans)
	left := lim.maxBytes
	empty := true
	if err := lim.turn.take(ctx); err != nil {
		return out, buffer // nobody waits for the answer
	}
	defer lim.turn.leave()
	for i := range parts {
		if plans[i].err != nil || len(plans[i].runs) == 0 {
			continue
		}
		room := min(parts[i].maxBytes, left)
		if room <= 0 && !empty {
			continue
		}
		t := &taking{offset: parts[i].offset, room: room, anyway: empty, noZstd: lim.noZstd, turn: lim.turn, mark: mark, out: arena[len(arena):]}
		err := r.readPlan(ctx, &plans[i], t, func(k int) *storedSource { return window.source(i, k) })
		if errors.Is(err, objstore.ErrNotFound) && len(t.out) == 0 {
			err = r.readAnew(ctx, &parts[i], &plans[i], t, replan(i, plans[i].current().NextOffset()))
		}
		out[i] = readPart{batches: t.out[:len(t.out):len(t.out)], next: t.next, err: err}
		if len(t.out) > 0 {
			out[i].err = nil // the next request will meet it, at its first batch
			if errors.Is(err, objstore.ErrNotFound) {
				out[i].gone = plans[i].current().NextOffset()
			}
		}
		// Without room in the arena, append has moved the partition elsewhere.
		if len(arena)+len(t.out) <= cap(arena) {
			arena = arena[:len(arena)+len(t.out)]
		}
		left -= int64(len(t.out))
		empty = empty && len(t.out) == 0
		served += len(t.out)
	}
	r.metrics.served.Add(float64(served))
	return out, buffer
}

// readAnew reads a partition by a new plan after a file of the old one was
// gone: it was merged into another one, and the store knows which.
func (r *reader) readAnew(ctx context.Context, part *asked, old *plan, t *taking, anew plan) error {
	r.metrics.replans.Inc()
	*old = anew
	if anew.err != nil {
		return anew.err
	}
	one := []plan{anew}
	r.seek(ctx, []asked{*part}, one)
	*old = one[0]
	err := r.readPlan(ctx, old, t, r.sources(old, t))
	if errors.Is(err, objstore.ErrNotFound) && len(t.out) == 0 {
		r.missing(err)
	}
	return err
}

// sources reads the runs of a plan by themselves, outside of a window.
func (r *reader) sources(p *plan, t *taking) func(k int) *storedSource {
	return func(k int) *storedSource {
		run, from := &p.runs[k], p.place(k)
		return newStoredSource(r.blocks, run, p.pool, from.stored, storedLength(run, from, t.offset, t.room))
	}
}

// readPlan takes what it may from the runs of a plan; from the object store alone when what came from
// another agent was damaged. (If it was so behind what was taken, the next request will see to that.)
func (r *reader) readPlan(ctx context.Context, p *plan, t *taking, source func(k int) *storedSource) error {
	from, reached := p.from, p.reached
	err := r.readRuns(ctx, p, t, source)
	for errors.Is(err, errDoubtful) && len(t.out) == 0 {
		p.from, p.reached, t.mark = from, reached, r.blocks.mark()
		err = r.readRuns(ctx, p, t, r.sources(p, t))
	}
	return err
}

// readRuns takes what it may from the runs, in order.
func (r *reader) readRuns(ctx context.Context, p *plan, t *taking, source func(k int) *storedSource) error {
	t.until = p.until
	for p.reached < len(p.runs) {
		run := p.current()
		if t.full || t.room <= 0 && !t.anyway {
			return nil
		}
		done, err := false, p.lost
		if marker, ok := run.Marker(); ok {
			done = t.marker(run, marker)
		} else if err == nil {
			stored := source(p.reached)
			stored.turn = t.turn
			p.from, done, err = t.run(ctx, run, p.from, stored)
		}
		r.metrics.batches.Add(float64(t.batches))
		t.batches = 0
		switch {
		case err != nil:
			return r.failed(ctx, run, err, t.mark)
		case !done:
			if p.from.at > 0 {
				r.places.remember(run, max(t.offset, t.next), p.from)
			}
			return nil
		}
		p.goOn()
	}
	return nil
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
