package fetch

import (
	"context"
	"encoding/binary"
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
}

func newReader(blocks *Blocks, metrics *Metrics, log *slog.Logger) *reader {
	return &reader{blocks: blocks, metrics: metrics, log: log, complaints: rate.NewLimiter(rate.Every(time.Second), 20)}
}

// readPart is what was read of one partition: whole batches, contiguous from the
// one that contains the offset, up to before next. With err it may be empty.
type readPart struct {
	batches []byte
	next    int64
	err     error
}

// limits bound a reading.
type limits struct {
	maxBytes int64
	// noZstd: the consumer doesn't know zstd.
	noZstd bool
}

// read reads the planned partitions in their order, up to the limits, but at
// least one batch in all if there is one. The batches lie in the arena, a pooled
// buffer that the caller puts back. replan is called, at most once a
// partition, when a file that the plan names is gone.
func (r *reader) read(ctx context.Context, parts []asked, plans []plan, lim limits, replan func(i int) plan) (out []readPart, arena []byte) {
	var estimate int64
	for i := range plans {
		estimate += plans[i].bytes
	}
	var served int
	out = make([]readPart, len(parts))
	buffer := pool.Get(int(estimate))
	arena = buffer[:0]
	window := newWindow(r.blocks, parts, plans)
	left := lim.maxBytes
	empty := true
	for i := range parts {
		if plans[i].err != nil || len(plans[i].runs) == 0 {
			continue
		}
		room := min(parts[i].maxBytes, left)
		if room <= 0 && !empty {
			continue
		}
		t := &taking{offset: parts[i].offset, room: room, anyway: empty, noZstd: lim.noZstd, out: arena[len(arena):]}
		err := r.readRuns(ctx, &plans[i], t, func(k int) *storedSource { return window.source(i, k) })
		if errors.Is(err, objstore.ErrNotFound) && len(t.out) == 0 {
			err = r.readAnew(ctx, &plans[i], t, replan(i))
		}
		if len(t.out) > 0 {
			err = nil // the next request will meet it, at its first batch
		}
		out[i] = readPart{batches: t.out[:len(t.out):len(t.out)], next: t.next, err: err}
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
func (r *reader) readAnew(ctx context.Context, old *plan, t *taking, anew plan) error {
	r.metrics.replans.Inc()
	*old = anew
	if anew.err != nil {
		return anew.err
	}
	err := r.readRuns(ctx, old, t, func(k int) *storedSource {
		run := &old.runs[k]
		return newStoredSource(r.blocks, run, old.pool, storedLength(run, t.offset, t.room))
	})
	if errors.Is(err, objstore.ErrNotFound) && len(t.out) == 0 {
		r.metrics.corrupt.Inc()
		r.complain("a data file is missing that the metadata store names; its records cannot be read", err)
	}
	return err
}

// readRuns takes what it may from the runs, in order.
func (r *reader) readRuns(ctx context.Context, p *plan, t *taking, source func(k int) *storedSource) error {
	t.until = p.until
	for k := range p.runs {
		run := &p.runs[k]
		if t.full || t.room <= 0 && !t.anyway {
			return nil
		}
		var err error
		if marker, ok := run.Marker(); ok {
			t.marker(run, marker)
		} else {
			err = t.run(ctx, run, source(k))
		}
		r.metrics.batches.Add(float64(t.batches))
		t.batches = 0
		if err == nil {
			continue
		}
		return r.failed(ctx, run, err)
	}
	return nil
}

// failed says where reading a run failed, and counts and logs it where that is
// somebody's business: damage is, and a store that does not answer.
func (r *reader) failed(ctx context.Context, run *metadata.Run, err error) error {
	err = fmt.Errorf("%w of partition %d from offset %d on, object %s, byte %d: %w",
		errUnread, run.Partition, run.BaseOffset, datafile.Key(run.FileID), run.Position, err)
	switch {
	case isDamage(err):
		r.metrics.corrupt.Inc()
		r.blocks.Drop(run.FileID) // in case it is only our copy that is damaged
		r.complain("records are damaged; consumers of the partition are stuck there", err)
	case ctx.Err() == nil && !errors.Is(err, objstore.ErrNotFound) && !errors.Is(err, errZstd):
		r.complain("records could not be read for now; consumers are told to retry", err)
	}
	return err
}

// readAhead loads what consumers that catch up will ask for next.
func (r *reader) readAhead(plans []plan) {
	for i := range plans {
		p := &plans[i]
		if p.pool != Cold || p.err != nil {
			continue
		}
		for k := range p.ahead {
			run := &p.ahead[k]
			if run.Encoding == metadata.EncodingMarker {
				continue
			}
			if !r.blocks.prefetch(run.FileID, run.Position, min(int64(run.StoredSize), aheadBytes)) {
				return
			}
		}
	}
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

// taking is the state of reading one partition.
type taking struct {
	offset int64 // what was asked for
	until  int64 // where the offsets end that may be taken
	room   int64 // bytes that may still be taken
	anyway bool  // take the first batch even without room
	noZstd bool
	out    []byte
	next   int64 // the offset after those taken
	full   bool  // no further batch fits
	// batches were taken since the caller last looked.
	batches int
}

// run takes what it may of one run.
func (t *taking) run(ctx context.Context, run *metadata.Run, stored *storedSource) error {
	c := open(run, stored)
	defer c.close()
	base, end := run.BaseOffset, int64(run.Size)
	for at := int64(0); at < end; {
		if t.room <= 0 && !t.anyway {
			return nil
		}
		head, err := c.peek(ctx, protocol.BatchHeaderSize)
		if err != nil {
			return fmt.Errorf("batch at byte %d: %w", at, err)
		}
		size, next, err := measure(head, base, end-at, run)
		if err != nil {
			return fmt.Errorf("batch at byte %d: %w", at, err)
		}
		at += size
		switch {
		case next <= t.offset:
			err = c.skip(ctx, size)
		case !t.fits(size, next):
			return nil
		case t.noZstd && protocol.Batch(head).Codec() == protocol.CodecZstd:
			return errZstd
		default:
			err = t.take(ctx, c, size, base, next)
		}
		if err != nil {
			return fmt.Errorf("batch at byte %d: %w", at-size, err)
		}
		base = next
	}
	if base != run.NextOffset() {
		return fmt.Errorf("%w: batches hold offsets up to %d, the index says %d", errCorrupt, base, run.NextOffset())
	}
	return nil
}

// fits reports whether a batch that ends before the offset next may be taken. If
// not, nothing behind it may.
func (t *taking) fits(size, next int64) bool {
	t.full = next > t.until || size > t.room && !t.anyway
	return !t.full
}

// marker takes the batch that a marker is for consumers.
func (t *taking) marker(run *metadata.Run, m metadata.Marker) {
	next := run.NextOffset()
	if next <= t.offset || !t.fits(protocol.EndMarkerSize, next) {
		return
	}
	had := len(t.out)
	t.out = protocol.EndMarker{ProducerID: m.ProducerID, ProducerEpoch: m.Epoch, Commit: m.Commit, Timestamp: m.Timestamp}.AppendTo(t.out)
	t.took(protocol.Batch(t.out[had:]), run.BaseOffset, next)
}

// open returns a cursor at the first byte of the run.
func open(run *metadata.Run, stored *storedSource) *cursor {
	if run.Encoding == metadata.EncodingFramed {
		return &cursor{source: &frameSource{stored: stored, skip: int64(run.Skip)}}
	}
	return &cursor{source: stored}
}

// measure reads a batch's size, and the offset after it, from its header.
func measure(head []byte, base, left int64, run *metadata.Run) (size, next int64, err error) {
	if magic := head[16]; magic != 2 {
		return 0, 0, fmt.Errorf("%w: %d", protocol.ErrMagic, magic)
	}
	size = int64(int32(binary.BigEndian.Uint32(head[8:]))) + 12
	if size < protocol.BatchHeaderSize || size > left {
		return 0, 0, fmt.Errorf("%w: it announces %d bytes, %d are left", errCorrupt, size, left)
	}
	delta := protocol.Batch(head).LastOffsetDelta()
	next = base + int64(delta) + 1
	if delta < 0 || next > run.NextOffset() {
		return 0, 0, fmt.Errorf("%w: it announces %d offsets from %d, the run ends at %d", errCorrupt, int64(delta)+1, base, run.NextOffset())
	}
	return size, next, nil
}

// take copies the next batch out, checks it, and gives it its offset.
func (t *taking) take(ctx context.Context, c *cursor, size, base, next int64) error {
	had := len(t.out)
	out, err := c.appendTo(ctx, t.out, size)
	if err != nil {
		return err
	}
	batch, _, err := protocol.NextBatch(out[had:])
	if err != nil {
		return err
	}
	if !batch.CheckCRC() {
		return fmt.Errorf("%w: CRC is not %08x", errCorrupt, batch.CRC())
	}
	t.out = out
	t.took(batch, base, next)
	return nil
}

// took gives a batch that was copied out its offset, and counts it.
func (t *taking) took(batch protocol.Batch, base, next int64) {
	batch.SetBaseOffset(base)
	batch.SetLeaderEpoch(protocol.LeaderEpoch)
	t.next = next
	t.room -= int64(batch.Size())
	t.anyway = false
	t.batches++
}
