package transaction

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

const (
	// callTimeout bounds a call; after it the outcome is unknown.
	callTimeout = 10 * time.Second
	// patience is how long a request may wait for its call. Whoever sent it may by
	// then have asked another agent, and gone on.
	patience = 5 * time.Second
	// callRequests and callRows bound a call, which holds the sequencer: the
	// rows are those that its requests are about to write.
	callRequests = 1000
	callRows     = 10_000
	// endRows is what the end of a transaction is taken for: how many partitions it
	// has only the store knows.
	endRows = 50
)

// change is one request about one transactional ID. All below the line is set when
// done is closed.
type change struct {
	metadata.TransactionRequest
	came time.Time
	done chan struct{}
	// ---
	result metadata.TransactionResult
	err    error
}

// Change makes one change of a transactional ID. Requests of one ID are carried out
// in the order in which they came, and all that comes while the store is busy shares the
// next call. Errors: ErrUnavailable (nothing happened), ErrOutcomeUnknown; the end of ctx is
// one, as it ends the wait alone. What the rules refuse is the result's error.
func (c *Coordinator) Change(ctx context.Context, id string, op metadata.TransactionOp) (metadata.TransactionResult, error) {
	k := c.begin(id, op)
	if err := k.wait(ctx); err != nil {
		return metadata.TransactionResult{}, err
	}
	return k.result, nil
}

// changeWithID is Change for what may need a new producer ID, which it gets with the
// operation. An ID that is surely not used is given to the next who asks.
func (c *Coordinator) changeWithID(ctx context.Context, id string, op func(newID int64) metadata.TransactionOp) (metadata.TransactionResult, error) {
	newID, err := c.ids.take(ctx)
	if err != nil {
		return metadata.TransactionResult{}, err
	}
	k := c.begin(id, op(newID))
	err = k.wait(ctx)
	switch {
	case err != nil:
		// After other errors the change may have been made.
		if errors.Is(err, metadata.ErrUnavailable) && !errors.Is(err, metadata.ErrOutcomeUnknown) {
			c.ids.giveBack(newID)
		}
		return metadata.TransactionResult{}, err
	case k.result.Err != nil || k.result.Producer.ID != newID:
		c.ids.giveBack(newID)
	}
	return k.result, nil
}

// begin queues a change.
func (c *Coordinator) begin(id string, op metadata.TransactionOp) *change {
	k := &change{TransactionRequest: metadata.TransactionRequest{ID: id, Op: op}, came: time.Now(), done: make(chan struct{})}
	if !c.changes.Add(k) {
		k.err = fmt.Errorf("%w: the agent is stopping", metadata.ErrUnavailable)
		close(k.done)
	}
	return k
}

// wait returns when the change is made, or its failure.
func (k *change) wait(ctx context.Context) error {
	select {
	case <-k.done:
		return k.err
	case <-ctx.Done():
		return fmt.Errorf("%w: change transactional ID %q: %w", metadata.ErrOutcomeUnknown, k.ID, ctx.Err())
	}
}

// rows is about how many rows the change writes.
func (k *change) rows() int {
	switch op := k.Op.(type) {
	case metadata.AddToTransaction:
		return 1 + len(op.Partitions)
	case metadata.TransactionOffsets:
		return 1 + len(op.Offsets)
	}
	return endRows
}

// next takes what goes into one call: nothing twice of one ID, as the later
// request may depend on what becomes of the earlier.
func next(waiting []*change) (batch, rest []*change) {
	ids := make(map[string]struct{}, min(len(waiting), callRequests))
	rows := 0
	for i, k := range waiting {
		if len(batch) == callRequests || len(batch) > 0 && rows+k.rows() > callRows {
			return batch, append(rest, waiting[i:]...)
		}
		if _, again := ids[k.ID]; again {
			rest = append(rest, k)
			continue
		}
		ids[k.ID] = struct{}{}
		rows += k.rows()
		batch = append(batch, k)
	}
	return batch, rest
}

// call makes one call of the store and answers its requests. When the store can't deal with
// one of them, the others are served on their own.
//
// It is never made twice, and not late. Where the outcome is unknown the client is told to
// ask again, and only the client knows what it wants by then: it may have asked
// another agent long since. A second end by us could end the producer's next transaction
// (with TransactionV1, whose epoch stays), offsets land over newer ones, an init
// fence a newer producer.
func (c *Coordinator) call(batch []*change) {
	batch = inTime(batch)
	if len(batch) == 0 {
		return
	}
	requests := make([]metadata.TransactionRequest, len(batch))
	for i, k := range batch {
		requests[i] = k.TransactionRequest
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(c.workers.Life(), callTimeout)
	changed, err := c.store.ChangeTransactions(ctx, requests)
	cancel()
	switch {
	case err == nil:
		c.metrics.called(requests, changed.Results, time.Since(began))
		c.committed(changed.Commits, false)
	case unknown(err):
		if !errors.Is(err, metadata.ErrOutcomeUnknown) {
			err = fmt.Errorf("%w: %w", metadata.ErrOutcomeUnknown, err)
		}
		c.metrics.lost.Inc()
		c.committed(nil, true)
	case len(batch) > 1 && !errors.Is(err, metadata.ErrUnavailable):
		for i := range batch {
			c.call(batch[i : i+1])
		}
		return
	}
	for i, k := range batch {
		k.err = err
		if err == nil {
			k.result = changed.Results[i]
		}
		close(k.done)
	}
}

// inTime refuses the changes that have waited for too long and returns the others.
func inTime(batch []*change) (others []*change) {
	for _, k := range batch {
		if waited := time.Since(k.came); waited > patience {
			k.err = fmt.Errorf("%w: the request has waited for %v", metadata.ErrUnavailable, waited.Round(time.Millisecond))
			close(k.done)
			continue
		}
		others = append(others, k)
	}
	return others
}

// unknown tells whether an error leaves open if the change was made.
func unknown(err error) bool {
	return errors.Is(err, metadata.ErrOutcomeUnknown) ||
		errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, metadata.ErrUnavailable)
}
