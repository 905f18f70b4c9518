package e2e

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/test/harness"
)

// zone are the agents of one zone, which read from the object store for one another.
type zone []*harness.AgentProcess

// startZone starts agents of a zone that don't merge: a data file of these tests stays one block.
func startZone(t *testing.T, options harness.AgentOptions, name string, agents int) zone {
	options.Flags = slices.Concat(options.Flags, []string{"--zone=" + name, "--peer-listen=127.0.0.1:0", "--roles=produce,consume", "--drain-delay=0s"})
	z := make(zone, agents)
	for i := range z {
		z[i] = harness.Agent(t, options)
	}
	return z
}

// count sums a metric over the zone's agents.
func (z zone) count(metric string) (sum int) {
	for _, a := range z {
		sum += int(a.Metrics()[metric])
	}
	return sum
}

// fallbacks are the reads that another agent should have done.
func (z zone) fallbacks() int {
	return z.count(`wadi_peer_requests_total{result="failed"}`) + z.count(`wadi_peer_requests_total{result="skipped"}`)
}

// produceFiles writes data files of one small batch each through the agent, idempotently: a request may have to be repeated.
func produceFiles(t *testing.T, agent *harness.AgentProcess, topic string, files int) {
	t.Helper()
	writer := client(t, kgo.SeedBrokers(agent.Bootstrap())).SeedBrokers()[0]
	resp, err := writer.RetriableRequest(t.Context(), kmsg.NewPtrInitProducerIDRequest())
	if err != nil {
		t.Fatal(err)
	}
	producer := resp.(*kmsg.InitProducerIDResponse)
	if err := kerr.ErrorForCode(producer.ErrorCode); err != nil {
		t.Fatal(err)
	}
	for sequence := range files {
		b := batch()
		binary.BigEndian.PutUint64(b[43:], uint64(producer.ProducerID))
		binary.BigEndian.PutUint16(b[51:], uint16(producer.ProducerEpoch))
		binary.BigEndian.PutUint32(b[53:], uint32(sequence))
		req := kmsg.NewPtrProduceRequest()
		req.Acks, req.TimeoutMillis = -1, 30_000
		req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{{Records: checksum(b)}}}}
		resp, err := writer.RetriableRequest(t.Context(), pin{req})
		if err != nil {
			t.Fatal(err)
		}
		if err := kerr.ErrorForCode(resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode); err != nil {
			t.Fatal(err)
		}
	}
}

// fetchUpTo reads partition 0 through the agent itself, whatever Metadata says, from an offset up to an end that may
// not be there yet, and returns how long the slowest answer took.
func fetchUpTo(t *testing.T, agent *harness.AgentProcess, topic string, from, end int64) (slowest time.Duration, err error) {
	reader, err := kgo.NewClient(kgo.AlwaysRetryEOF(), kgo.SeedBrokers(agent.Bootstrap()))
	if err != nil {
		return 0, err
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for from < end {
		req := kmsg.NewPtrFetchRequest()
		req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 10_000, 1, 1<<20
		req.Topics = []kmsg.FetchRequestTopic{{Topic: topic, Partitions: []kmsg.FetchRequestTopicPartition{
			{FetchOffset: from, PartitionMaxBytes: 1 << 20, CurrentLeaderEpoch: -1}}}}
		start := time.Now()
		resp, err := reader.SeedBrokers()[0].RetriableRequest(ctx, oldFetch{req})
		if err != nil {
			return 0, err
		}
		slowest = max(slowest, time.Since(start))
		part := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
		if err := kerr.ErrorForCode(part.ErrorCode); err != nil {
			return 0, err
		}
		for b := part.RecordBatches; len(b) > 12; from++ { // batches of one record
			if offset := int64(binary.BigEndian.Uint64(b)); offset != from {
				return 0, fmt.Errorf("offset %d in place of %d", offset, from)
			}
			b = b[12+binary.BigEndian.Uint32(b[8:]):]
		}
	}
	return slowest, nil
}

// fetchEverywhere reads through all agents at once, with two consumers at each.
func fetchEverywhere(t *testing.T, agents []*harness.AgentProcess, topic string, from, end int64) (slowest time.Duration) {
	t.Helper()
	var mu sync.Mutex
	var readers sync.WaitGroup
	for i, a := range slices.Concat(agents, agents) {
		readers.Go(func() {
			took, err := fetchUpTo(t, a, topic, from, end)
			if err != nil {
				t.Errorf("agent %d: %v", i%len(agents), err)
			}
			mu.Lock()
			defer mu.Unlock()
			slowest = max(slowest, took)
		})
	}
	readers.Wait()
	return slowest
}

// acquaint returns when the agents of each zone answer each other, which those do that know of each other by now.
func acquaint(t *testing.T, topic string, zones ...zone) {
	t.Helper()
	createTopic(t, zones[0][0].Bootstrap(), topic, 1)
	for _, z := range zones {
		eventually(t, "the agents of a zone know each other", func() bool { return z.count("wadi_peer_agents") == len(z)*len(z) })
	}
	const files = 20
	end := int64(0)
	harness.Eventually(t, 3*time.Minute, func() error {
		before := make([]int, len(zones))
		for i, z := range zones {
			before[i] = z.fallbacks()
		}
		produceFiles(t, zones[0][0], topic, files)
		fetchEverywhere(t, slices.Concat(zones...), topic, end, end+files)
		end += files
		for i, z := range zones {
			if n := z.fallbacks() - before[i]; n > 0 {
				return fmt.Errorf("agents of zone %d had to read %d blocks that others should have read", i, n)
			}
		}
		return nil
	})
}

// TestAZonePaysForEachBlockOnce has consumers at every agent of two zones, of what an agent of the first zone writes: while
// it writes, and again after a restart, when nobody remembers anything.
func TestAZonePaysForEachBlockOnce(t *testing.T) {
	options := setups[1].options(t)
	near, far := startZone(t, options, "near", 3), startZone(t, options, "far", 3)
	agents := slices.Concat(near, far)
	const topic, files = "shared", 60
	acquaint(t, "warm", near, far)
	createTopic(t, near[0].Bootstrap(), topic, 1)

	// paid reads everything, and says what that cost each zone.
	paid := func(what string, atLeast map[string]int, read func()) {
		t.Helper()
		zones := map[string]zone{"near": near, "far": far}
		gets, fallbacks, answered := map[string]int{}, map[string]int{}, map[string]int{}
		for name, z := range zones {
			gets[name], fallbacks[name] = -z.count("wadi_fetch_gets_total"), -z.fallbacks()
			answered[name] = -z.count(`wadi_peer_requests_total{result="ok"}`)
		}
		read()
		for name, z := range zones {
			gets[name] += z.count("wadi_fetch_gets_total")
			fallbacks[name] += z.fallbacks()
			answered[name] += z.count(`wadi_peer_requests_total{result="ok"}`)
			t.Logf("%s, zone %s: %d GETs for %d blocks at %d agents, %d blocks from other agents, %d that an owner was too slow for",
				what, name, gets[name], files, len(z), answered[name], fallbacks[name])
			// On a busy machine an owner may seem frozen; then the block is read by those who asked as well.
			if gets[name] > files+fallbacks[name] || gets[name] < atLeast[name] {
				t.Errorf("%s, zone %s: %d GETs for %d blocks", what, name, gets[name], files)
			}
			if answered[name] == 0 {
				t.Errorf("%s, zone %s: no agent answered another", what, name)
			}
		}
	}
	// The zone of the writer pays less: the writer has what it wrote.
	paid("tailing", map[string]int{"far": files}, func() {
		var writing sync.WaitGroup
		writing.Go(func() { produceFiles(t, near[0], topic, files) })
		fetchEverywhere(t, agents, topic, 0, files)
		writing.Wait()
	})
	for _, a := range agents {
		a.Restart()
	}
	acquaint(t, "warm-again", near, far)
	paid("from the start", map[string]int{"near": files, "far": files}, func() { fetchEverywhere(t, agents, topic, 0, files) })
}

// TestConsumersGoOnWithoutAnOwner freezes an agent, and kills it later, while others of its zone read what it owns.
func TestConsumersGoOnWithoutAnOwner(t *testing.T) {
	options := setups[1].options(t)
	near, far := startZone(t, options, "near", 1), startZone(t, options, "far", 3)
	readers, victim := far[:2], far[2]
	const topic = "read-on"
	acquaint(t, "warm", far)
	createTopic(t, near[0].Bootstrap(), topic, 1)
	end := int64(0)
	// latencies reads one file after the other, each as soon as it is there.
	latencies := func(what string, files int) {
		t.Helper()
		var took []time.Duration
		for range files {
			produceFiles(t, near[0], topic, 1)
			took = append(took, fetchEverywhere(t, readers, topic, end, end+1))
			end++
		}
		slices.Sort(took)
		t.Logf("%s: the slower of %d consumers waited %v at the median, %v at most", what, 2*len(readers), took[len(took)/2], took[len(took)-1])
	}
	latencies("all agents live", 30)
	before := readers.fallbacks()
	victim.Signal(syscall.SIGSTOP)
	latencies("an owner is frozen", 30)
	if readers.fallbacks() == before {
		t.Error("nobody missed the frozen agent, so this shows nothing")
	}
	victim.Signal(syscall.SIGCONT)
	victim.Ready()
	eventually(t, "it is back", func() bool { return far.count("wadi_peer_agents") == 9 })
	latencies("it lives again", 10)
	victim.Kill()
	latencies("it is dead", 30)
}

// TestAnAgentWithAnotherSecretIsRefused: it neither asks nor answers, and reads for itself.
func TestAnAgentWithAnotherSecretIsRefused(t *testing.T) {
	options := setups[1].options(t)
	writer := startZone(t, options, "elsewhere", 1)
	members := startZone(t, options, "here", 2)
	// Agents read the secret when they start.
	conn, err := pgx.Connect(t.Context(), options.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Exec(t.Context(), "UPDATE cluster_secret SET secret = sha256(secret)")
	if closing := conn.Close(t.Context()); err == nil {
		err = closing
	}
	if err != nil {
		t.Fatal(err)
	}
	stranger := startZone(t, options, "here", 1)
	all := slices.Concat(members, stranger)
	eventually(t, "the agents know each other", func() bool { return all.count("wadi_peer_agents") == 9 })
	const topic, files = "confidential", 60
	createTopic(t, writer[0].Bootstrap(), topic, 1)
	produceFiles(t, writer[0], topic, files)
	fetchEverywhere(t, all, topic, 0, files)
	if n := stranger.count(`wadi_peer_requests_total{result="ok"}`); n != 0 {
		t.Errorf("an agent with another secret got %d answers", n)
	}
	if n := stranger.count(`wadi_peer_bytes_total{direction="out"}`); n != 0 {
		t.Errorf("%d bytes were taken from an agent with another secret", n)
	}
	if stranger.fallbacks() == 0 || members.fallbacks() == 0 {
		t.Errorf("%d and %d reads were refused, so this shows nothing", stranger.fallbacks(), members.fallbacks())
	}
	eventually(t, "the members complain", func() bool {
		return strings.Contains(members[0].Logs()+members[1].Logs(), "certificate signed by unknown authority")
	})
}

// TestAgentsOfTwoVersionsShareAZone has the oldest version that works with this tree's beside it in one zone: each asks the
// other for what that owns, on which they agree, and both know the same of all agents.
func TestAgentsOfTwoVersionsShareAZone(t *testing.T) {
	options := setups[1].options(t)
	previous := options
	previous.Program = harness.OlderBinary(t)
	older := startZone(t, previous, "mixed", 1)
	migrate := exec.CommandContext(t.Context(), harness.Binary(t), "migrate")
	migrate.Env = []string{"WADI_METADATA=" + options.Metadata}
	if said, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("wadi migrate: %v: %s", err, said)
	}
	newer, writer := startZone(t, options, "mixed", 1), startZone(t, options, "elsewhere", 1)
	mixed := slices.Concat(older, newer)
	acquaint(t, "warm", mixed)

	const topic, files = "shared", 60
	createTopic(t, writer[0].Bootstrap(), topic, 1)
	produceFiles(t, writer[0], topic, files)
	gets, fallbacks := mixed.count("wadi_fetch_gets_total"), mixed.fallbacks()
	fetchEverywhere(t, mixed, topic, 0, files)
	gets, fallbacks = mixed.count("wadi_fetch_gets_total")-gets, mixed.fallbacks()-fallbacks
	if gets < files || gets > files+fallbacks {
		t.Errorf("%d GETs for %d blocks, of which an owner was too slow for %d: two versions don't agree on owners", gets, files, fallbacks)
	}
	for name, z := range map[string]zone{"older": older, "newer": newer} {
		if asked := z.count(`wadi_peer_requests_total{result="ok"}`); asked == 0 {
			t.Errorf("the %s agent got no block from the other one", name)
		}
	}

	// What each tells of all agents, by its own beats and the others'.
	type known struct {
		Name, Zone, State, Peer string
		Roles                   []string
		Listeners               []struct {
			Name, Host string
			Port       int
		}
	}
	list := func(program string, agent *harness.AgentProcess) (agents []known) {
		t.Helper()
		if err := json.Unmarshal(run(t, program, "agents", "--json", "--http", agent.HTTP()), &agents); err != nil {
			t.Fatal(err)
		}
		return agents
	}
	var told []known
	harness.Eventually(t, time.Minute, func() error {
		// Each is asked by the other's program.
		told = list(previous.Program, newer[0])
		if other := list(harness.Binary(t), older[0]); len(told) != 3 || !reflect.DeepEqual(told, other) {
			return fmt.Errorf("the newer agent tells of %+v, the older one of %+v", told, other)
		}
		return nil
	})
	for _, a := range told {
		if a.Name == "" || a.Zone == "" || a.State == "" || a.Peer == "" || len(a.Roles) != 2 || len(a.Listeners) != 1 || a.Listeners[0].Port == 0 {
			t.Errorf("too little is told of an agent: %+v", a)
		}
	}
}
