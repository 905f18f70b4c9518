package produce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
)

// delivery counts what became of the records. kgo calls done from goroutines
// of its own.
type delivery struct {
	mu sync.Mutex
	// acknowledged records, and the bytes of their lines.
	records, bytes int64
	failed         int64
	// first is the first failure, with where it was.
	first          error
	firstLine      int64
	firstPartition int32
	// broken is closed at the first failure.
	broken chan struct{}
}

func newDelivery() *delivery { return &delivery{broken: make(chan struct{})} }

// done takes the result of one record.
func (d *delivery) done(it item, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.records++
		d.bytes += int64(it.size)
		return
	}
	if d.failed++; d.failed == 1 {
		d.first, d.firstLine, d.firstPartition = err, it.line, it.record.Partition
		close(d.broken)
	}
}

// counts returns the records and bytes that were acknowledged so far.
func (d *delivery) counts() (records, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.records, d.bytes
}

// run produces the input to its end, to the first failure, or until ctx is
// done. Either way, records under way get their chance first: it returns when each has
// been acknowledged or has failed.
func (d *delivery) run(ctx context.Context, client *bootstrap.Client, in *input, prepare func(*kgo.Record), progress func()) error {
	stop := make(chan struct{})
	items := in.stream(stop)
	failure := func() error {
		defer close(stop)
		for {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-d.broken:
				return nil // result says it better
			case next := <-items:
				if errors.Is(next.err, io.EOF) {
					return nil
				}
				if next.err != nil {
					return next.err
				}
				it := next.item
				prepare(it.record)
				// A signal stops the reading, not what was read: hence not ctx.
				client.Produce(context.WithoutCancel(ctx), it.record, func(_ *kgo.Record, err error) { d.done(it, err) })
				progress()
			}
		}
	}()
	// Bounded by the delivery timeout of every record.
	if err := client.Flush(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("waiting for acknowledgements: %w", err)
	}
	progress()
	return d.result(client, failure)
}

// result says what went wrong, with the count of what did not. stopped is why
// the input was not read to its end, nil when it was.
func (d *delivery) result(client *bootstrap.Client, stopped error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.failed > 0:
		doing := fmt.Sprintf("%d of %d records were not acknowledged, the first from line %d to partition %d", d.failed, d.failed+d.records, d.firstLine, d.firstPartition)
		if errors.Is(d.first, kgo.ErrRecordTimeout) {
			return client.Unanswered(doing)
		}
		return client.Explain(doing, d.first, "")
	case stopped != nil:
		return fmt.Errorf("stopped after %d records: %w", d.records, stopped)
	}
	return nil
}
