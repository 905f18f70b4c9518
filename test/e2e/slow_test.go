package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/test/harness"
)

// TestSlowAgentStepsAsideAndComesBack makes the way of one of two agents to the object store slow. Both of them
// then name only the other one to clients, until its way is as good as before.
func TestSlowAgentStepsAsideAndComesBack(t *testing.T) {
	m := harness.MinIO(t)
	way := newWay(t, m.Endpoint)
	options := harness.AgentOptions{Metadata: harness.Postgres(t), Objects: m.MinioURL(), AccessKey: m.AccessKey, SecretKey: m.SecretKey}
	usual := harness.Agent(t, options)
	m.Endpoint = way.address
	options.Objects = m.MinioURL()
	late := harness.Agent(t, options)
	createTopic(t, usual.Bootstrap(), "t", 1)

	// Both put all the while, whoever clients are sent to.
	stop := make(chan struct{})
	var producing sync.WaitGroup
	for _, agent := range []*harness.AgentProcess{usual, late} {
		c := client(t, kgo.SeedBrokers(agent.Bootstrap()))
		producing.Go(func() { produceAlways(t, c, "t", stop) })
	}
	told := func(want ...string) func() bool {
		return func() bool {
			for _, agent := range []*harness.AgentProcess{usual, late} {
				states := agentStates(t, agent)
				if len(states) != len(want) {
					return false
				}
				for i := range want {
					if states[i] != want[i] {
						return false
					}
				}
			}
			return true
		}
	}
	eventually(t, "both serve", told("serving", "serving"))
	way.delay.Store(int64(800 * time.Millisecond))
	began := time.Now()
	eventually(t, "one is slow", told("serving", "slow"))
	t.Logf("slow after %v", time.Since(began))
	for _, agent := range []*harness.AgentProcess{usual, late} {
		if got := brokersOf(t, agent); len(got) != 1 || got[0] != usual.Bootstrap() {
			t.Errorf("clients are told of %v", got)
		}
	}
	// From here on only its probes tell of its store.
	close(stop)
	producing.Wait()
	way.delay.Store(0)
	began = time.Now()
	eventually(t, "both serve again", told("serving", "serving"))
	t.Logf("serving again after %v", time.Since(began))
	for _, agent := range []*harness.AgentProcess{usual, late} {
		if got := brokersOf(t, agent); len(got) != 2 {
			t.Errorf("clients are told of %v", got)
		}
	}
}

// agentStates are what GET /v1/agents tells, by node ID.
func agentStates(t testing.TB, agent *harness.AgentProcess) (states []string) {
	t.Helper()
	resp, err := http.Get(agent.HTTP() + "/v1/agents")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct{ State string }
	if err := errors.Join(json.NewDecoder(resp.Body).Decode(&list), resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		states = append(states, a.State)
	}
	return states
}

// brokersOf are the addresses that the agent tells clients of.
func brokersOf(t *testing.T, agent *harness.AgentProcess) (brokers []string) {
	t.Helper()
	resp, err := client(t, kgo.SeedBrokers(agent.Bootstrap())).SeedBrokers()[0].RetriableRequest(t.Context(), kmsg.NewPtrMetadataRequest())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range resp.(*kmsg.MetadataResponse).Brokers {
		brokers = append(brokers, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))))
	}
	return brokers
}

// produceAlways sends one batch after the other to just the agent that is the client's seed.
func produceAlways(t *testing.T, c *kgo.Client, topic string, stop <-chan struct{}) {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 30_000
	rt, rp := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	rp.Records = checksum(batch())
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	for {
		select {
		case <-stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
		resp, err := c.SeedBrokers()[0].RetriableRequest(t.Context(), pin{req})
		if err != nil {
			t.Errorf("produce: %v", err)
			return
		}
		if code := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
			t.Errorf("produce: error %d", code)
		}
	}
}

// way is a TCP proxy that holds back what it forwards to the server.
type way struct {
	address string
	delay   atomic.Int64
}

func newWay(t *testing.T, server string) *way {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &way{address: ln.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return // closed below
			}
			open.Go(func() { w.forward(ctx, conn, server) })
		}
	})
	t.Cleanup(func() {
		cancel()
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		open.Wait()
	})
	return w
}

// forward copies both ways until one of the ends hangs up; what is lost then, a client repeats.
func (w *way) forward(ctx context.Context, conn net.Conn, server string) {
	up, err := net.Dial("tcp", server)
	if err != nil {
		_ = conn.Close()
		return
	}
	hangUp := func() { _, _ = conn.Close(), up.Close() }
	stop := context.AfterFunc(ctx, hangUp)
	defer stop()
	var both sync.WaitGroup
	both.Go(func() {
		defer hangUp()
		_, _ = io.Copy(conn, up)
	})
	both.Go(func() {
		defer hangUp()
		buffer := make([]byte, 256<<10)
		for {
			n, err := conn.Read(buffer)
			if n > 0 {
				<-time.After(time.Duration(w.delay.Load()))
				if _, err := up.Write(buffer[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	both.Wait()
}
