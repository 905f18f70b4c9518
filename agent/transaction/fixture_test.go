package transaction

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sqlite"
	"github.com/wadi-log/wadi/protocol/configs"
)

// flaky is the real store, whose next changes fail as a test says.
type flaky struct {
	*sqlite.Store
	mu     sync.Mutex
	faults []fault
	calls  int
}

// fault says what happens to one change.
type fault struct {
	err error
	// persisted: the change is made, and its answer lost.
	persisted bool
}

func (s *flaky) inject(faults ...fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.calls = faults, 0
}

func (s *flaky) ChangeTransactions(ctx context.Context, requests []metadata.TransactionRequest) (metadata.TransactionsChanged, error) {
	s.mu.Lock()
	s.calls++
	var f fault
	if len(s.faults) > 0 {
		f, s.faults = s.faults[0], s.faults[1:]
	}
	s.mu.Unlock()
	if f.err != nil && !f.persisted {
		return metadata.TransactionsChanged{}, f.err
	}
	changed, err := s.Store.ChangeTransactions(ctx, requests)
	if f.err != nil {
		return metadata.TransactionsChanged{}, f.err
	}
	return changed, err
}

// catalogOf answers from the store, as the catalog does when it is fresh.
type catalogOf struct{ metadata.Topics }

func (c catalogOf) Lookup(ctx context.Context, names []string, _ []uuid.UUID) ([]metadata.Topic, error) {
	return c.TopicsByName(ctx, names)
}

func (c catalogOf) AllTopics(ctx context.Context) ([]metadata.Topic, error) {
	topics, _, err := c.ListTopics(ctx)
	return topics, err
}

// agent is a coordinator over a real store, with the topic "t" of 3 partitions, "u" of
// 1, and an internal one.
type agent struct {
	*Coordinator
	testing.TB
	path  string
	store *flaky
	heard *told
	topic metadata.Topic
}

// template makes the database of an agent once: most of the time goes into migrations.
var template = sync.OnceValues(func() (database []byte, err error) {
	folder, err := os.MkdirTemp("", "wadi-transaction-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	path := filepath.Join(folder, "metadata.db")
	store, err := sqlite.Open(context.Background(), path)
	if err != nil {
		return nil, err
	}
	for _, topic := range []metadata.NewTopic{{Name: "t", Partitions: 3}, {Name: "u", Partitions: 1}, {Name: offsetsTopic, Partitions: 50, Internal: true}} {
		if _, err := store.CreateTopic(context.Background(), topic); err != nil {
			return nil, errors.Join(err, store.Close())
		}
	}
	if err := store.Close(); err != nil { // brings all into the one file
		return nil, err
	}
	return os.ReadFile(path)
})

func newAgent(t testing.TB) *agent {
	t.Helper()
	database, err := template()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "metadata.db")
	if err := os.WriteFile(path, database, 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	topics, err := store.TopicsByName(t.Context(), []string{"t"})
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{TB: t, path: path, store: &flaky{Store: store}, heard: &told{}, topic: topics[0]}
	broker := configs.DefaultBroker()
	a.Coordinator = New(a.store, catalogOf{store}, func() *configs.Broker { return &broker }, a.heard.committed, NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	t.Cleanup(a.Close)
	return a
}

// init makes a producer of the transactional ID.
func (a *agent) init(id string) metadata.ProducerEpoch {
	a.Helper()
	resp := a.InitProducerID(a.Context(), software, initRequest(5, id))
	a.must(resp.ErrorCode)
	return metadata.ProducerEpoch{ID: resp.ProducerID, Epoch: resp.ProducerEpoch}
}

// open makes a producer with an open transaction of the partitions.
func (a *agent) open(id string, partitions ...string) metadata.ProducerEpoch {
	a.Helper()
	producer := a.init(id)
	for _, code := range codesOf(a.AddPartitionsToTxn(a.Context(), software, addRequest(3, id, producer, false, partitions...))) {
		a.must(code)
	}
	return producer
}

func (a *agent) must(code int16) {
	a.Helper()
	if code != 0 {
		a.Fatal(kerr.ErrorForCode(code))
	}
}

// stored is a transactional ID as the store has it.
func (a *agent) stored(id string) metadata.Transaction {
	a.Helper()
	transactions, _, err := a.store.Transactions(a.Context(), []string{id})
	if err != nil {
		a.Fatal(err)
	}
	return transactions[0]
}
