package e2e

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const zoneRecords, zoneRecordBytes = 200, 1000

// TestClientTrafficStaysInItsZone counts every byte that clients in two zones of three agents exchange with them: producers,
// consumers of everything, members of groups that have some in both zones, and transactions. What crosses is
// counted by all agents, and for franz-go at its sockets as well.
func TestClientTrafficStaysInItsZone(t *testing.T) {
	options := setups[1].options(t)
	zones := map[string]zone{"near": startZone(t, options, "near", 3), "far": startZone(t, options, "far", 3)}
	for _, z := range zones {
		eventually(t, "the agents of a zone know each other", func() bool { return z.count("wadi_peer_agents") == len(z)*len(z) })
	}
	createTopic(t, zones["near"][0].Bootstrap(), "records", 24)
	createTopic(t, zones["far"][0].Bootstrap(), "more", 24)

	meters := map[string]*meter{"near": newMeter(), "far": newMeter()}
	var clients sync.WaitGroup
	for name, z := range zones {
		clients.Go(func() { throughFranz(t, name, z, meters[name]) })
		clients.Go(func() { throughLibrdkafka(t, name, z) })
	}
	clients.Wait()

	for name, z := range zones {
		addresses := map[string]string{}
		for other, agents := range zones {
			for _, a := range agents {
				addresses[a.Bootstrap()] = other
			}
		}
		dialed := map[string]int{}
		for address, n := range meters[name].counted() {
			dialed[addresses[address]] += n
		}
		t.Logf("zone %s: its agents exchanged %d bytes with clients of the zone, %d with those of another, %d with those that have none; "+
			"its franz-go clients counted %v by zone of the agent", name, z.traffic("same"), z.traffic("other"), z.traffic("unknown"), dialed)
		if n := z.traffic("other"); n != 0 {
			t.Errorf("agents of zone %s exchanged %d bytes with clients of another", name, n)
		}
		if zonesDialed := slices.Collect(maps.Keys(dialed)); !slices.Equal(zonesDialed, []string{name}) {
			t.Errorf("clients of zone %s connected to agents of %q", name, zonesDialed)
		}
		// Each zone has produced to two topics, and consumed what both have produced to each of them twice.
		if n, least := z.traffic("same"), (2+2*2*2)*zoneRecords*zoneRecordBytes; n < least {
			t.Errorf("agents of zone %s exchanged %d bytes with clients of the zone, who have produced and consumed %d", name, n, least)
		}
	}

	// A client that goes elsewhere nevertheless is counted, or the zero would show nothing.
	stray := client(t, kgo.SeedBrokers(zones["far"][0].Bootstrap()), kgo.ClientID("wadi_az=near"))
	if _, err := stray.SeedBrokers()[0].RetriableRequest(t.Context(), kmsg.NewPtrMetadataRequest()); err != nil {
		t.Fatal(err)
	}
	if zones["far"].traffic("other") == 0 {
		t.Error("a client of another zone was not counted")
	}
}

// traffic is what the zone's agents exchanged with clients of the same zone, of another or of an unknown one.
func (z zone) traffic(zone string) int {
	return z.count(fmt.Sprintf("wadi_client_bytes_total{direction=%q,zone=%q}", "in", zone)) +
		z.count(fmt.Sprintf("wadi_client_bytes_total{direction=%q,zone=%q}", "out", zone))
}

func (z zone) bootstrap() []string {
	var list []string
	for _, a := range z {
		list = append(list, a.Bootstrap())
	}
	return list
}

// throughFranz has franz-go produce what a zone produces, with and without a transaction, and consume
// what both do, alone and as a group with the members of both.
func throughFranz(t *testing.T, name string, z zone, m *meter) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	start := func(options ...kgo.Opt) *kgo.Client {
		c, err := kgo.NewClient(append(options, kgo.AlwaysRetryEOF(), kgo.SeedBrokers(z.bootstrap()...), kgo.ClientID("app,wadi_az="+name), kgo.Dialer(m.dial),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), uncompressed())...)
		if err != nil {
			t.Error(err)
		}
		return c
	}
	alone := start(kgo.ConsumeTopics("records"))
	defer alone.Close()
	// A group hands each record to one member, so each zone has a group of two for everything. Of a third group each zone has a member.
	group := []*kgo.Client{start(kgo.ConsumeTopics("records"), kgo.ConsumerGroup(name)), start(kgo.ConsumeTopics("records"), kgo.ConsumerGroup(name))}
	assigned := make(chan struct{}, 1)
	shared := start(kgo.ConsumeTopics("records"), kgo.ConsumerGroup("shared"),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			if len(partitions["records"]) > 0 {
				select {
				case assigned <- struct{}{}:
				default:
				}
			}
		}))
	defer shared.CloseAllowingRebalance()
	producer := start(kgo.DefaultProduceTopic("records"))
	defer producer.Close()
	transactional := start(kgo.DefaultProduceTopic("records"), kgo.TransactionalID(name))
	defer transactional.Close()

	if err := transactional.BeginTransaction(); err != nil {
		t.Error(err)
	}
	for i := range zoneRecords {
		by := producer
		if i%2 == 0 {
			by = transactional
		}
		by.Produce(ctx, &kgo.Record{Key: fmt.Append(nil, i), Value: bytes.Repeat([]byte{'x'}, zoneRecordBytes)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("zone %s: produce: %v", name, err)
			}
		})
	}
	if err := transactional.Flush(ctx); err != nil {
		t.Errorf("zone %s: %v", name, err)
	}
	if err := transactional.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Errorf("zone %s: %v", name, err)
	}
	if err := producer.Flush(ctx); err != nil {
		t.Errorf("zone %s: %v", name, err)
	}
	var consuming sync.WaitGroup
	consuming.Go(func() { poll(ctx, t, name, 2*zoneRecords, alone) })
	consuming.Go(func() { poll(ctx, t, name, 2*zoneRecords, group...) })
	consuming.Wait()
	select {
	case <-assigned:
	case <-ctx.Done():
		t.Errorf("zone %s: its member of the shared group got no partitions", name)
	}
	for _, c := range group {
		c.CloseAllowingRebalance()
	}
}

// poll consumes until the clients have got so many records together. What a group gets twice counts once.
func poll(ctx context.Context, t *testing.T, name string, want int, clients ...*kgo.Client) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	type place struct {
		topic     string
		partition int32
		offset    int64
	}
	got := map[place]struct{}{}
	var polling sync.WaitGroup
	for _, c := range clients {
		polling.Go(func() {
			for ctx.Err() == nil {
				records := c.PollFetches(ctx).Records()
				mu.Lock()
				for _, r := range records {
					got[place{r.Topic, r.Partition, r.Offset}] = struct{}{}
				}
				if len(got) >= want {
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	polling.Wait()
	if len(got) != want {
		t.Errorf("zone %s: %d clients consumed %d of %d records", name, len(clients), len(got), want)
	}
}

// throughLibrdkafka has kcat do likewise, with another topic.
func throughLibrdkafka(t *testing.T, name string, z zone) {
	kcat, id := kcat(t), "client.id=ws_az="+name+";kcat"
	brokers := strings.Join(z.bootstrap(), ",")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	kcatDoes := func(stdin string, args ...string) []byte {
		cmd := exec.CommandContext(ctx, kcat, slices.Concat(patient(), []string{"-b", brokers, "-X", id}, args)...)
		cmd.Stdin = strings.NewReader(stdin)
		var out, complaints bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &complaints
		if err := cmd.Run(); err != nil {
			t.Errorf("zone %s: kcat %q: %v\n%s", name, args, err, &complaints)
		}
		return out.Bytes()
	}
	kcatDoes(strings.Repeat(strings.Repeat("x", zoneRecordBytes)+"\n", zoneRecords), "-P", "-t", "more")
	count := fmt.Sprint(2 * zoneRecords)
	for _, args := range [][]string{
		{"-C", "-t", "more", "-o", "beginning", "-c", count, "-q"},
		{"-G", "kcat-" + name, "-X", "auto.offset.reset=earliest", "-c", count, "-q", "more"},
	} {
		if got := bytes.Count(kcatDoes("", args...), []byte("\n")); got != 2*zoneRecords {
			t.Errorf("zone %s: kcat %q consumed %d of %d records", name, args, got, 2*zoneRecords)
		}
	}
}

// meter counts what clients exchange with each address, in both directions.
type meter struct {
	mu    sync.Mutex
	bytes map[string]int
}

func newMeter() *meter { return &meter{bytes: map[string]int{}} }

func (m *meter) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return metered{conn, m, address}, nil
}

func (m *meter) add(address string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes[address] += n
}

func (m *meter) counted() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.bytes)
}

type metered struct {
	net.Conn
	meter   *meter
	address string
}

func (c metered) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.meter.add(c.address, n)
	return n, err
}

func (c metered) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.meter.add(c.address, n)
	return n, err
}
