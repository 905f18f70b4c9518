package consume

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
)

// reader writes the records of spans to out until all are read.
type reader struct {
	client *bootstrap.Client
	out    *bufio.Writer
	format formatter
	// left is how many more records are wanted.
	left   int64
	follow bool
	open   map[string]map[int32]*span
	line   []byte
}

func newReader(client *bootstrap.Client, out io.Writer, format formatter, limit int64, follow bool) *reader {
	return &reader{client: client, out: bufio.NewWriterSize(out, 64<<10), format: format, left: limit, follow: follow}
}

// run reads the spans. It returns nil when all were read or as many records as
// wanted; and, when following, also when ctx is done.
func (r *reader) run(ctx context.Context, spans []span) (err error) {
	defer func() {
		if flushed := r.out.Flush(); err == nil {
			err = flushed
		}
	}()
	r.open = map[string]map[int32]*span{}
	for _, s := range spans {
		if s.next < s.end {
			if r.open[s.topic] == nil {
				r.open[s.topic] = map[int32]*span{}
			}
			r.open[s.topic][s.partition] = &s
		}
	}
	r.client.AddConsumePartitions(offsets(spans))
	for len(r.open) > 0 && r.left > 0 {
		if err := r.poll(ctx); err != nil {
			if r.follow && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
				return nil // how following ends
			}
			return err
		}
		// What a poll brought is shown at once, also to a pipe.
		if err := r.out.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// poll waits for records, at most the timeout unless following: records are
// known to be there, so silence means that the cluster has gone.
func (r *reader) poll(ctx context.Context) error {
	waitCtx := ctx
	if !r.follow {
		bounded, cancel := r.client.Bound(ctx)
		defer cancel()
		waitCtx = bounded
	}
	fetches := r.client.PollFetches(waitCtx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if waitCtx.Err() != nil && fetches.NumRecords() == 0 {
		return r.client.Unanswered("reading")
	}
	for _, failed := range fetches.Errors() {
		if !errors.Is(failed.Err, context.DeadlineExceeded) {
			return r.client.Explain(fmt.Sprintf("reading %s partition %d", failed.Topic, failed.Partition), failed.Err, "")
		}
	}
	for records := fetches.RecordIter(); !records.Done() && r.left > 0; {
		if err := r.take(records.Next()); err != nil {
			return err
		}
	}
	return nil
}

// take writes one record if it is wanted, and closes its span behind the last one.
func (r *reader) take(record *kgo.Record) error {
	s := r.open[record.Topic][record.Partition]
	if s == nil {
		return nil // fetched before the span was closed
	}
	s.next = record.Offset + 1
	// Control records end transactions: nothing to show, but they move us on.
	if record.Offset < s.end && !record.Attrs.IsControl() {
		line, err := r.format(r.line[:0], record)
		if err != nil {
			return err
		}
		r.line = line
		if _, err := r.out.Write(line); err != nil {
			return err
		}
		r.left--
	}
	if s.next >= s.end {
		r.client.RemoveConsumePartitions(map[string][]int32{s.topic: {s.partition}})
		delete(r.open[s.topic], s.partition)
		if len(r.open[s.topic]) == 0 {
			delete(r.open, s.topic)
		}
	}
	return nil
}
