package transaction

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/gather"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol/configs"
)

// Store is what transactions ask of the metadata store.
type Store interface {
	metadata.Transactions
	AllocateProducerIDs(ctx context.Context, count int) (first int64, err error)
}

// Topics is what transactions ask of the topic catalog.
type Topics interface {
	// Lookup returns those of the topics that exist, in no set order. With an
	// error nothing is known of those that are missing.
	Lookup(ctx context.Context, names []string, ids []uuid.UUID) ([]metadata.Topic, error)
	AllTopics(ctx context.Context) ([]metadata.Topic, error)
}

// Committed is told of the feed entries that a call made, before its requests are
// answered: who reads after a commit finds it. With lost, the answer of a call was
// lost, and what that may have made only the feed tells.
type Committed func(commits []metadata.Commit, lost bool)

// Coordinator answers the transaction APIs on one agent. Make it with New, keep Run
// running, and close it after the server.
type Coordinator struct {
	store     Store
	topics    Topics
	settings  func() *configs.Broker
	ids       *producerIDs
	changes   *gather.Queue[*change]
	committed Committed
	metrics   *Metrics
	log       *slog.Logger

	// workers end with Close.
	workers *gather.Workers
}

// New makes a coordinator over the store. settings returns the broker configs as they are now.
func New(store Store, topics Topics, settings func() *configs.Broker, committed Committed, metrics *Metrics, log *slog.Logger) *Coordinator {
	c := &Coordinator{
		store: store, topics: topics, settings: settings, ids: &producerIDs{store: store},
		committed: committed, metrics: metrics, log: log, workers: gather.NewWorkers(),
	}
	c.changes = gather.New(1, c.workers.Spawn, next, c.call)
	return c
}

// Run ends transactions that are open for too long, and forgets transactional IDs
// that are no longer used. It returns when ctx ends.
func (c *Coordinator) Run(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() {
		c.every(ctx, "abort transactions that timed out", c.abortInterval, c.abortOverdue)
	})
	loops.Go(func() {
		c.every(ctx, "forget unused transactional IDs", c.forgetInterval, c.forgetUnused)
	})
	loops.Wait()
}

// ForgetProducerIDs wastes those that are reserved and that no producer got. It is called where the store may have lost that
// they are, and others may have got them since.
func (c *Coordinator) ForgetProducerIDs() { c.ids.forget() }

// Close ends the worker and waits for it. Requests under way are refused.
func (c *Coordinator) Close() { c.workers.Close() }

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
