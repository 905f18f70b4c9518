package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/test/harness"
)

// TestManyStoresShareFewConnections opens twenty stores at once on a server that has thirty connections, of which each
// would take nine, and lets all of them do all kinds of work: whoever gets none waits, and nobody fails.
func TestManyStoresShareFewConnections(t *testing.T) {
	patientCalls(t)
	server := harness.StartPostgres(t, "max_connections=30")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	stores := make([]*Store, 20)
	atOnce(len(stores), func(i int) {
		patiently(ctx, t, func() (err error) {
			stores[i], err = Open(ctx, server.URL())
			return err
		})
	})
	defer func() {
		for _, s := range stores {
			if s != nil {
				_ = s.Close()
			}
		}
	}()
	if t.Failed() {
		return
	}
	partition := createTopic(t, stores[0])
	const rounds = 3
	atOnce(len(stores), func(i int) {
		s := stores[i]
		for range rounds {
			file := newFile(t, partition)
			work := []func() error{
				func() error { _, err := s.CommitFiles(ctx, []metadata.File{file}); return err },
				func() error { return writeOffset(ctx, s, 1) },
				func() error {
					_, err := s.ChangeTransactions(ctx, []metadata.TransactionRequest{{ID: uuid.NewString(), Op: metadata.InitProducer{Timeout: time.Minute, Expected: metadata.NoProducer, NewProducerID: rand.Int64()}}})
					return err
				},
				func() error { _, err := s.Bounds(ctx, []metadata.PartitionID{partition}); return err },
				func() error { _, err := s.Commits(ctx, 0, 1); return err },
			}
			atOnce(len(work), func(i int) { patiently(ctx, t, work[i]) })
		}
	})
	if !t.Failed() {
		wantRecords(t, stores[0], partition, int64(len(stores)*rounds))
	}
}

// atOnce runs the function n times, side by side.
func atOnce(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

// patiently tries again, as agents do, what the server has no connection for.
func patiently(ctx context.Context, t *testing.T, do func() error) {
	for {
		err := do()
		if !errors.Is(err, metadata.ErrNoConnection) {
			if err != nil {
				t.Error(err)
			}
			return
		}
		select {
		case <-time.After(20*time.Millisecond + rand.N(100*time.Millisecond)):
		case <-ctx.Done():
			t.Error(err)
			return
		}
	}
}
