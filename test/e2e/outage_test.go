package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
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

// TestOutageOfTheMetadataStoreRemovesNoAgent: it lasts for longer than a silent agent is taken for alive, and at
// no time, not even when only some have beaten again, may an agent tell clients of fewer than all.
func TestOutageOfTheMetadataStoreRemovesNoAgent(t *testing.T) {
	pg, m := harness.StartPostgres(t), harness.MinIO(t)
	options := harness.AgentOptions{Metadata: pg.URL(), Objects: m.MinioURL(), AccessKey: m.AccessKey, SecretKey: m.SecretKey}
	agents := startAgents(t, options, "", "", "")
	createTopic(t, agents[0].Bootstrap(), "t", 12)
	var clients []*kgo.Broker
	for _, a := range agents {
		clients = append(clients, client(t, kgo.SeedBrokers(a.Bootstrap())).SeedBrokers()[0])
	}
	ask := func(i int) *kmsg.MetadataResponse {
		t.Helper()
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: kmsg.StringPtr("t")})
		resp, err := req.RequestWith(t.Context(), clients[i])
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	for i := range agents {
		eventually(t, "all agents know the topic", func() bool { return ask(i).Topics[0].ErrorCode == 0 })
	}
	before := ask(0)
	check := func() {
		t.Helper()
		for i := range agents {
			now := ask(i)
			if err := kerr.ErrorForCode(now.Topics[0].ErrorCode); err != nil {
				t.Fatalf("agent %d tells of the topic: %v", i, err)
			}
			for p := range before.Topics[0].Partitions {
				if was, is := before.Topics[0].Partitions[p].Leader, now.Topics[0].Partitions[p].Leader; is != was {
					t.Fatalf("agent %d leads clients of partition %d to %d, not to %d; its brokers are %+v", i, p, is, was, now.Brokers)
				}
			}
			if len(now.Brokers) != len(agents) {
				t.Fatalf("agent %d tells of %+v", i, now.Brokers)
			}
		}
	}
	during := func(d time.Duration) {
		t.Helper()
		for over := time.After(d); ; {
			check()
			select {
			case <-over:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	pg.Stop()
	during(metadata.AgentTimeout + time.Second)
	pg.Start()
	eventually(t, "all agents are registered again", func() bool {
		check()
		return !slices.ContainsFunc(agents, func(a *harness.AgentProcess) bool {
			return !strings.Contains(a.Logs(), "this agent's registration is renewed again")
		})
	})
	during(4 * time.Second) // and have beaten once more
}
