package transaction

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/wadi-log/wadi/metadata"
)

const (
	// callTimeout bounds a call with all its tries: clients give up a request
	// after 30 s, and should hear before that it may be repeated.
	callTimeout = 20 * time.Second
	// attemptTimeout bounds one try; after it the outcome is unknown.
	attemptTimeout = 10 * time.Second
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
	done chan struct{}
	// ---
	result metadata.TransactionResult
	// lost: the answer of an earlier try was lost, which may have done it already.
	lost bool
	err  error
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
		// After other errors the change may be made yet, or may have been made.
		if errors.Is(err, metadata.ErrUnavailable) && !errors.Is(err, metadata.ErrOutcomeUnknown) {
			c.ids.giveBack(newID)
		}
		return metadata.TransactionResult{}, err
	case !k.lost && (k.result.Err != nil || k.result.Producer.ID != newID):
		c.ids.giveBack(newID)
	}
	return k.result, nil
}

// begin queues a change.
func (c *Coordinator) begin(id string, op metadata.TransactionOp) *change {
	k := &change{TransactionRequest: metadata.TransactionRequest{ID: id, Op: op}, done: make(chan struct{})}
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
func (c *Coordinator) call(batch []*change) {
	requests := make([]metadata.TransactionRequest, len(batch))
	for i, k := range batch {
		requests[i] = k.TransactionRequest
	}
	began := time.Now()
	changed, lost, err := c.untilKnown(requests)
	if err != nil && len(batch) > 1 && !passes(err) {
		for i := range batch {
			c.call(batch[i : i+1])
		}
		return
	}
	if err == nil {
		c.metrics.called(requests, changed.Results, time.Since(began))
		c.committed(changed.Commits, lost)
	}
	for i, k := range batch {
		k.lost, k.err = lost, err
		if err == nil {
			k.result = changed.Results[i]
		}
		close(k.done)
	}
}

// passes tells whether an error is one of the store's that are over by themselves.
func passes(err error) bool {
	return errors.Is(err, metadata.ErrUnavailable) || errors.Is(err, metadata.ErrOutcomeUnknown)
}

// unknown tells whether an error leaves open if the change was made.
func unknown(err error) bool {
	return errors.Is(err, metadata.ErrOutcomeUnknown) ||
		errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, metadata.ErrUnavailable)
}

// untilKnown repeats a call until it is known what became of it, or its time is over.
// lost tells that there were tries whose answer was lost.
func (c *Coordinator) untilKnown(requests []metadata.TransactionRequest) (changed metadata.TransactionsChanged, lost bool, err error) {
	ctx, cancel := context.WithTimeout(c.life, callTimeout)
	defer cancel()
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 20*time.Millisecond, 2*time.Second
	for {
		attempt, end := context.WithTimeout(ctx, attemptTimeout)
		changed, err = c.store.ChangeTransactions(attempt, requests)
		end()
		// If a later try fails cleanly, nobody knows what became of the earlier.
		lost = lost || unknown(err)
		if err == nil || !lost {
			return changed, lost, err
		}
		c.metrics.repeated.Inc()
		timer := time.NewTimer(pause.NextBackOff())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return changed, lost, fmt.Errorf("%w: change %d transactions: %w", metadata.ErrOutcomeUnknown, len(requests), err)
		}
	}
}
