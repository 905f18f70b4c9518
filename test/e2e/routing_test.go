package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/test/harness"
)

// TestEachListenerHasItsOwnAddresses: clients that come from one side are led to the agents'
// addresses on that side, whatever they ask.
func TestEachListenerHasItsOwnAddresses(t *testing.T) {
	options := setups[1].options(t)
	options.Listeners = map[string]string{"EXTERNAL": "localhost"}
	agents := []*harness.AgentProcess{harness.Agent(t, options), harness.Agent(t, options)}
	createTopic(t, agents[0].Bootstrap(), "t", 6)

	var inside, outside []string
	for _, a := range agents {
		inside = append(inside, a.Bootstrap())
		outside = append(outside, strings.Replace(a.Listener("EXTERNAL"), "127.0.0.1", "localhost", 1))
	}
	for name, addresses := range map[string][]string{"inside": inside, "outside": outside} {
		t.Run(name, func(t *testing.T) {
			c := client(t, kgo.SeedBrokers(addresses[0]), kgo.DefaultProduceTopic("t"), kgo.ConsumeTopics("t"), kgo.ConsumerGroup(name),
				kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			admin := kadm.NewClient(c)
			eventually(t, "both agents know of each other", func() bool {
				brokers, err := admin.ListBrokers(t.Context())
				return err == nil && len(brokers) == 2
			})
			brokers, err := admin.ListBrokers(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var told []string
			for _, b := range brokers {
				told = append(told, fmt.Sprintf("%s:%d", b.Host, b.Port))
			}
			slices.Sort(told)
			if want := slices.Sorted(slices.Values(addresses)); !slices.Equal(told, want) {
				t.Errorf("told of %q, want %q", told, want)
			}
			coordinators := admin.FindGroupCoordinators(t.Context(), name)
			if g := coordinators[name]; g.Err != nil || !slices.Contains(addresses, fmt.Sprintf("%s:%d", g.Host, g.Port)) {
				t.Errorf("the coordinator is %+v", g)
			}
			if listed := run(t, kcat(t), "-L", "-b", addresses[1]); bytes.Count(listed, []byte(" at "+addresses[0])) != 1 || bytes.Count(listed, []byte(" at "+addresses[1])) != 1 {
				t.Errorf("kcat is told:\n%s", listed)
			}
			writeAndRead(t, c, "t", 100)
			configs, err := admin.DescribeBrokerConfigs(t.Context(), brokers[0].NodeID)
			if err != nil {
				t.Fatal(err)
			}
			for _, config := range configs[0].Configs {
				if config.Key == "advertised.listeners" && !strings.Contains(config.MaybeValue(), ",EXTERNAL://localhost:") {
					t.Errorf("%s is %s", config.Key, config.MaybeValue())
				}
			}
		})
	}
}

// TestClientCanChooseTheAddressOfAllAgents: through a tunnel, say, of which the agents know nothing.
func TestClientCanChooseTheAddressOfAllAgents(t *testing.T) {
	agent := harness.Agent(t, harness.AgentOptions{Flags: []string{"--advertise=nowhere.invalid:9092"}})
	c := client(t, kgo.SeedBrokers(agent.Bootstrap()), kgo.ClientID("app,wadi_host="+agent.Bootstrap()), kgo.AllowAutoTopicCreation(),
		kgo.DefaultProduceTopic("t"), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	writeAndRead(t, c, "t", 10)
}

// uncompressed lets one tell from an agent's bytes how many records it served. Each client
// needs an option of its own, since franz-go writes to the codecs in it.
func uncompressed() kgo.ProducerOpt { return kgo.ProducerBatchCompression(kgo.NoCompression()) }

// writeAndRead produces records and consumes as many.
func writeAndRead(t *testing.T, c *kgo.Client, topic string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i := range n {
		c.Produce(ctx, &kgo.Record{Topic: topic, Key: fmt.Append(nil, i), Value: bytes.Repeat([]byte{'x'}, 1000)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("produce: %v", err)
			}
		})
	}
	if err := c.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for got := 0; got < n; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("consumed %d of %d: %v", got, n, err)
		}
		got += fetches.NumRecords()
	}
}

// counters are how much an agent has done for clients.
type counters struct{ connections, records, fetches, sent float64 }

func count(a *harness.AgentProcess) counters {
	m := a.Metrics()
	return counters{m["wadi_connections"], m["wadi_produce_records_total"], m[`wadi_request_duration_seconds_count{api="Fetch"}`], m["wadi_kafka_sent_bytes_total"]}
}

// during returns what each agent has done for the clients that the function closes again.
func during(t *testing.T, agents []*harness.AgentProcess, f func()) []counters {
	t.Helper()
	var before, done []counters
	for _, a := range agents {
		before = append(before, count(a))
	}
	f()
	for i, a := range agents {
		var now counters
		eventually(t, "the clients are gone", func() bool {
			now = count(a)
			return now.connections <= before[i].connections
		})
		done = append(done, counters{0, now.records - before[i].records, now.fetches - before[i].fetches, now.sent - before[i].sent})
	}
	return done
}

// startAgents starts an agent with each of the flags, and returns when all know of each other.
func startAgents(t *testing.T, options harness.AgentOptions, flags ...string) (agents []*harness.AgentProcess) {
	t.Helper()
	common := options.Flags
	for _, f := range flags {
		options.Flags = append(slices.Clone(common), strings.Fields(f)...)
		agents = append(agents, harness.Agent(t, options))
	}
	for _, a := range agents {
		eventually(t, "all agents know of each other", func() bool { return len(agentStates(t, a)) == len(flags) })
	}
	return agents
}

// TestClientsStayInTheirZone, however their zone is told, with all that they write and read.
func TestClientsStayInTheirZone(t *testing.T) {
	options := setups[1].options(t)
	options.Flags = []string{"--zone-cidr=b=127.0.0.2/32,c=127.0.0.0/30", "--zone-listener=SIDE=b"}
	options.Listeners = map[string]string{"SIDE": "127.0.0.1"}
	zones := []string{"a", "b", "a", "b", "c"}
	agents := startAgents(t, options, "--zone=a", "--zone=b", "--zone=a", "--zone=b", "--zone=c")
	from := func(ip string) kgo.Opt {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		return kgo.Dialer(dialer.DialContext)
	}
	for _, tc := range []struct {
		name, bootstrap, zone string
		options               []kgo.Opt
	}{
		{"by client.id", agents[4].Bootstrap(), "a", []kgo.Opt{kgo.ClientID("app|wadi_az=a|x"), from("127.0.0.2")}},
		{"by network", agents[0].Bootstrap(), "b", []kgo.Opt{from("127.0.0.2")}},
		{"by a wider network", agents[0].Bootstrap(), "c", []kgo.Opt{kgo.ClientID("app")}},
		{"by listener", agents[0].Listener("SIDE"), "b", []kgo.Opt{from("127.0.0.9")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			topic := strings.ReplaceAll(tc.name, " ", "-")
			createTopic(t, agents[0].Bootstrap(), topic, 24)
			done := during(t, agents, func() {
				c := client(t, append(tc.options, kgo.SeedBrokers(tc.bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
				defer c.Close()
				writeAndRead(t, c, topic, 500)
			})
			checkZone(t, done, zones, tc.zone)
		})
	}
	t.Run("kcat", func(t *testing.T) {
		createTopic(t, agents[0].Bootstrap(), "t", 24)
		done := during(t, agents, func() {
			cmd := exec.CommandContext(t.Context(), kcat(t), append(patient(), "-P", "-b", agents[4].Bootstrap(), "-t", "t", "-X", "client.id=ws_az=b;kcat", "-X", "linger.ms=0")...)
			cmd.Stdin = strings.NewReader(strings.Repeat("0123456789\n", 500))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("kcat: %v\n%s", err, out)
			}
			run(t, kcat(t), "-C", "-b", agents[4].Bootstrap(), "-t", "t", "-e", "-q", "-X", "client.id=ws_az=b;kcat")
		})
		checkZone(t, done, zones, "b")
	})
}

// checkZone: the agents of one zone had all requests, and all of them had some.
func checkZone(t *testing.T, done []counters, zones []string, zone string) {
	t.Helper()
	for i, d := range done {
		if at := zones[i] == zone; at != (d.records > 0) || at != (d.fetches > 0) {
			t.Errorf("a client of zone %s: agent %d in zone %s took %v records and %v fetches", zone, i+1, zones[i], d.records, d.fetches)
		}
	}
}

// TestAgentsWithRolesTakeTheirPart: what producers send goes to agents with that role, and consumers are served
// by those with theirs, whichever agent a client is told of first; without them, by the others.
func TestAgentsWithRolesTakeTheirPart(t *testing.T) {
	agents := startAgents(t, setups[1].options(t), "--roles=produce,jobs", "--roles=consume")
	const records, size = 500, 1000
	createTopic(t, agents[1].Bootstrap(), "t", 6)
	check := func(t *testing.T, done []counters) {
		t.Helper()
		if done[0].records < records || done[1].records != 0 {
			t.Errorf("the one for producers took %v records, the other %v", done[0].records, done[1].records)
		}
		if done[0].sent > records*size/2 || done[1].sent < records*size {
			t.Errorf("the one for producers sent %v bytes, the one for consumers %v of %d", done[0].sent, done[1].sent, records*size)
		}
	}
	t.Run("franz-go", func(t *testing.T) {
		check(t, during(t, agents, func() {
			c := client(t, uncompressed(), kgo.SeedBrokers(agents[1].Bootstrap()), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			defer c.Close()
			writeAndRead(t, c, "t", records)
		}))
	})
	t.Run("kcat", func(t *testing.T) {
		createTopic(t, agents[1].Bootstrap(), "k", 1)
		check(t, during(t, agents, func() {
			cmd := exec.CommandContext(t.Context(), kcat(t), append(patient(), "-P", "-b", agents[1].Bootstrap(), "-t", "k", "-X", "enable.idempotence=true")...)
			cmd.Stdin = strings.NewReader(strings.Repeat(strings.Repeat("x", size)+"\n", records))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("kcat: %v\n%s", err, out)
			}
			if got := bytes.Count(run(t, kcat(t), "-C", "-b", agents[1].Bootstrap(), "-t", "k", "-e", "-q"), []byte("\n")); got != records {
				t.Errorf("kcat read %d of %d records", got, records)
			}
		}))
	})
	t.Run("without the one for consumers", func(t *testing.T) {
		createTopic(t, agents[1].Bootstrap(), "u", 6)
		// This client asks its leader again only after that time, whether the replica is gone or not.
		c := client(t, kgo.RecheckPreferredReplicaInterval(time.Second), kgo.SeedBrokers(agents[0].Bootstrap()), kgo.ConsumeTopics("u"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		writeAndRead(t, c, "u", 10)
		if code := agents[1].Stop(); code != 0 {
			t.Errorf("the agent ended with %d", code)
		}
		writeAndRead(t, c, "u", 10)
	})
}

// TestConsumerReadsInItsRack: client.rack is all that it tells of its zone, and only with a fetch (KIP-392).
func TestConsumerReadsInItsRack(t *testing.T) {
	agents := startAgents(t, setups[1].options(t), "--zone=a", "--zone=b", "--zone=a", "--zone=a")
	const records, size = 500, 1000
	createTopic(t, agents[0].Bootstrap(), "t", 6)
	writeAndRead(t, client(t, uncompressed(), kgo.SeedBrokers(agents[0].Bootstrap()), kgo.ConsumeTopics("t")), "t", records)
	check := func(t *testing.T, done []counters) {
		t.Helper()
		for i, d := range done {
			// Those of other racks answer with where to go.
			if i == 1 && d.sent < records*size/2 || i != 1 && d.sent > records*size/4 {
				t.Errorf("agent %d sent %v bytes", i+1, d.sent)
			}
		}
	}
	t.Run("franz-go", func(t *testing.T) {
		check(t, during(t, agents, func() {
			c := client(t, kgo.SeedBrokers(agents[0].Bootstrap()), kgo.Rack("b"), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			defer c.Close()
			for got := 0; got < records; {
				fetches := c.PollFetches(t.Context())
				if err := fetches.Err(); err != nil {
					t.Fatal(err)
				}
				got += fetches.NumRecords()
			}
		}))
	})
	t.Run("kcat", func(t *testing.T) {
		check(t, during(t, agents, func() {
			out := run(t, kcat(t), "-C", "-b", agents[0].Bootstrap(), "-t", "t", "-e", "-q", "-o", "beginning", "-X", "client.rack=b")
			if got := bytes.Count(out, []byte("\n")); got != records {
				t.Errorf("kcat read %d of %d records", got, records)
			}
		}))
	})
}

// TestConsumersGoOnWhenTheirReplicaDies: franz-go keeps to the replica that it was sent to, and finds another agent under
// its node ID; kcat does likewise, or asks the leader again, by its version.
func TestConsumersGoOnWhenTheirReplicaDies(t *testing.T) {
	agents := startAgents(t, setups[1].options(t), "--zone=a", "--zone=b")
	const records = 100
	createTopic(t, agents[0].Bootstrap(), "t", 6)
	produce := func() {
		t.Helper()
		c := client(t, kgo.SeedBrokers(agents[0].Bootstrap()), kgo.DefaultProduceTopic("t"), kgo.ClientID("zone=a"))
		defer c.Close()
		for i := range records {
			if err := c.ProduceSync(t.Context(), kgo.StringRecord(fmt.Sprint(i))).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	produce()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	before := count(agents[1]) // the consumer begins at once
	consumer := client(t, kgo.SeedBrokers(agents[0].Bootstrap()), kgo.Rack("b"), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	consume := func() {
		t.Helper()
		for got := 0; got < records; {
			fetches := consumer.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatalf("franz-go has %d of %d records: %v", got, records, err)
			}
			got += fetches.NumRecords()
		}
	}
	var out, complaints bytes.Buffer
	cat := exec.CommandContext(ctx, kcat(t), append(patient(), "-C", "-u", "-b", agents[0].Bootstrap(), "-t", "t", "-o", "beginning", "-c", fmt.Sprint(2*records), "-X", "client.rack=b")...)
	cat.Stdout, cat.Stderr = &out, &complaints
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	consume()
	eventually(t, "both read in their zone", func() bool { return count(agents[1]).connections >= before.connections+2 })
	agents[1].Kill()
	killed := time.Now()
	produce()
	consume()
	t.Logf("franz-go had all %v after the replica was killed", time.Since(killed))
	err := cat.Wait()
	t.Logf("kcat had all %v after the replica was killed", time.Since(killed))
	if err != nil {
		t.Errorf("kcat: %v, with %d of %d records\n%s", err, bytes.Count(out.Bytes(), []byte("\n")), 2*records, &complaints)
	}
}
