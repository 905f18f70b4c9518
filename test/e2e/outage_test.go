package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/test/harness"
)

// server is a store that a test can stop.
type server interface {
	Stop()
	Start()
}

// TestOutageOfAStoreLosesNothing stops Postgres, then MinIO, under traffic:
// what producers are told meanwhile is retriable, and service comes back by itself.
func TestOutageOfAStoreLosesNothing(t *testing.T) {
	outages := []struct {
		name  string
		start func(t *testing.T) (server, harness.AgentOptions)
	}{
		{"metadata store", func(t *testing.T) (server, harness.AgentOptions) {
			pg, m := harness.StartPostgres(t), harness.MinIO(t)
			return pg, harness.AgentOptions{Metadata: pg.URL(), Objects: m.MinioURL(), AccessKey: m.AccessKey, SecretKey: m.SecretKey}
		}},
		{"object store", func(t *testing.T) (server, harness.AgentOptions) {
			s := harness.StartMinIO(t)
			m := s.Minio()
			return s, harness.AgentOptions{Metadata: harness.Postgres(t), Objects: m.MinioURL(), AccessKey: m.AccessKey, SecretKey: m.SecretKey}
		}},
	}
	for _, o := range outages {
		t.Run(o.name, func(t *testing.T) {
			store, options := o.start(t)
			agent := harness.Agent(t, options)
			createTopic(t, agent.Bootstrap(), "ledger", 6)
			createTopic(t, agent.Bootstrap(), "probe", 2)

			traffic := startTraffic(t, agent.Bootstrap(), "ledger")
			traffic.awaitAcks(t, 500)
			store.Stop()
			if err, _ := produceRaw(t, agent.Bootstrap(), "probe", checksum(batch()), 2*time.Second); !kerr.IsRetriable(err) {
				t.Errorf("during the outage a producer is told %v, want a retriable error", err)
			}
			store.Start()
			traffic.awaitAcks(t, traffic.acks()+500)
			checkLedger(t, traffic.stop(t), readAll(t, agent.Bootstrap(), "ledger"))
			if agent.Metrics()["wadi_request_memory_bytes"] != 0 {
				t.Error("requests are still held in memory")
			}
		})
	}
}

// traffic produces numbered records, idempotently, until it is stopped.
type traffic struct {
	client *kgo.Client
	ledger *ledger
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func startTraffic(t *testing.T, bootstrap, topic string) *traffic {
	t.Helper()
	tr := &traffic{ledger: &ledger{acked: map[string]int64{}}}
	tr.client = client(t, kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic(topic),
		kgo.ProducerLinger(0), kgo.MaxBufferedRecords(200), kgo.ProduceRequestTimeout(2*time.Second),
		kgo.RetryTimeout(3*time.Minute))
	var ctx context.Context
	ctx, tr.cancel = context.WithCancel(t.Context())
	tr.done.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			tr.client.Produce(context.WithoutCancel(ctx), &kgo.Record{Key: fmt.Append(nil, i%64), Value: fmt.Append(nil, i)}, tr.ledger.promise)
		}
	})
	return tr
}

func (tr *traffic) acks() int { return tr.ledger.count() }

func (tr *traffic) awaitAcks(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d records are acknowledged", n), func() bool { return tr.acks() >= n })
}

// stop ends the traffic and returns what was acknowledged.
func (tr *traffic) stop(t *testing.T) *ledger {
	t.Helper()
	tr.cancel()
	tr.done.Wait()
	if err := tr.client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, err := range tr.ledger.failed {
		t.Errorf("the producer was told something that it could not retry: %v", err)
	}
	return tr.ledger
}
