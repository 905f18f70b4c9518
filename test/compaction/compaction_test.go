package compaction

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const (
	topic      = "latest"
	partitions = 4
	keys       = 1_000_000
	// rounds of all keys; in each, some are aborted.
	rounds = 3
	// chunk is the number of records of a transaction.
	chunk = 10_000
	// patience is for a machine that does much else.
	patience = 15 * time.Minute
)

// setups are agents of little memory, so that several passes are needed, and three that share the work.
var setups = []struct {
	name  string
	start func(t *testing.T) []*harness.AgentProcess
}{
	{"one agent", func(t *testing.T) []*harness.AgentProcess {
		return []*harness.AgentProcess{harness.Agent(t, harness.AgentOptions{Flags: []string{
			"--kafka-config=log.cleaner.backoff.ms=1000", "--merge-bytes=4MiB", "--job-memory-bytes=16MiB",
		}})}
	}},
	{"three agents", func(t *testing.T) []*harness.AgentProcess {
		store := harness.MinIO(t)
		options := harness.AgentOptions{Metadata: harness.Postgres(t), Objects: store.MinioURL(),
			AccessKey: store.AccessKey, SecretKey: store.SecretKey, Flags: []string{"--kafka-config=log.cleaner.backoff.ms=1000"}}
		return []*harness.AgentProcess{harness.Agent(t, options), harness.Agent(t, options), harness.Agent(t, options)}
	}},
}

// TestAJavaClientReadsTheLatestOfAMillionKeys runs by `make compaction`.
func TestAJavaClientReadsTheLatestOfAMillionKeys(t *testing.T) {
	folder := os.Getenv("WADI_COMPACTION")
	if folder == "" {
		t.Skip("the Java client is installed and run by `make compaction`, since it takes minutes")
	}
	for _, setup := range setups {
		t.Run(setup.name, func(t *testing.T) { run(t, setup.start(t), folder) })
	}
}

func run(t *testing.T, agents []*harness.AgentProcess, folder string) {
	admin := kadm.NewClient(client(t, agents[0]))
	policy, little, lag, day := "compact", "0.01", "0", "86400000"
	// Nothing is compacted before everything is there: a pass over a part proves less.
	created, err := admin.CreateTopic(t.Context(), partitions, -1, map[string]*string{
		"cleanup.policy": &policy, "min.compaction.lag.ms": &day, "delete.retention.ms": &day,
	}, topic)
	if err = errors.Join(err, created.Err); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	table := newTable()
	fill(t, agents, table)
	bytesBefore := size(t, admin)
	t.Logf("produced %d records, %d of them aborted, over %d keys in %v: %d MiB",
		table.produced, table.aborted, keys, time.Since(began).Round(time.Second), bytesBefore>>20)

	began = time.Now()
	changed, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: "min.compaction.lag.ms", Value: &lag}, {Op: kadm.SetConfig, Name: "min.cleanable.dirty.ratio", Value: &little},
	}, topic)
	if err == nil {
		err = changed[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, patience, func() error {
		if removed, want := sum(agents, "records_total"), table.produced-keys; int(removed) != want {
			return fmt.Errorf("%.0f records are gone, of %d that must go", removed, want)
		}
		return nil
	})
	t.Logf("compacted in %v: %d MiB are left; %.0f MiB read, %.0f MiB written in %.0f files",
		time.Since(began).Round(time.Second), size(t, admin)>>20, sum(agents, "read_bytes_total")/(1<<20), sum(agents, "written_bytes_total")/(1<<20), sum(agents, "files_total"))
	if n := sum(agents, "damaged_total") + sum(agents, "errors_total"); n > 0 {
		t.Errorf("%.0f rounds failed or met damage", n)
	}

	// The client reads from agents that have nothing of it in memory.
	for _, a := range agents {
		a.Stop()
		a.Restart()
	}
	began = time.Now()
	table.check(t, agents[0].Bootstrap(), folder)
	t.Logf("the Java client read %d keys in %v", keys, time.Since(began).Round(100*time.Millisecond))
}

// sum adds up a metric of the compaction of all agents.
func sum(agents []*harness.AgentProcess, name string) (total float64) {
	for _, a := range agents {
		total += a.Metrics()[`wadi_job_`+name+`{name="compact"}`]
	}
	return total
}

func size(t *testing.T, admin *kadm.Client) (total int64) {
	t.Helper()
	dirs, err := admin.DescribeAllLogDirs(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		total += dir.Size()
	}
	return total
}

func client(t *testing.T, agent *harness.AgentProcess, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(options, kgo.SeedBrokers(agent.Bootstrap()), kgo.DefaultProduceTopic(topic), kgo.MaxBufferedRecords(50_000))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// table is what must be left: of each key the committed record of the highest offset.
type table struct {
	mu                sync.Mutex
	offsets           []int64 // -1 for none
	partitions        []int32
	values            []uint32
	produced, aborted int
}

func newTable() *table {
	t := &table{offsets: make([]int64, keys), partitions: make([]int32, keys), values: make([]uint32, keys)}
	for i := range t.offsets {
		t.offsets[i] = -1
	}
	return t
}

// note notes records that are committed or aborted.
func (t *table) note(records []*kgo.Record, values []uint32, committed bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.produced += len(records)
	if !committed {
		t.aborted += len(records)
		return nil
	}
	for i, r := range records {
		key, err := strconv.Atoi(string(r.Key[1:]))
		if err != nil {
			return err
		}
		if t.offsets[key] < r.Offset {
			t.offsets[key], t.partitions[key], t.values[key] = r.Offset, r.Partition, values[i]
		}
	}
	return nil
}

// text is the value with the number: some bytes that compress and some that don't.
func text(n uint32) string { return fmt.Sprintf("value-%08x-%08x", n, n*2654435761) }

// fill produces all keys several times, by clients of different codecs side by side. Each
// second chunk is a transaction; of those that are not of the first round some are aborted.
func fill(t *testing.T, agents []*harness.AgentProcess, table *table) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	codecs := []kgo.CompressionCodec{kgo.Lz4Compression(), kgo.ZstdCompression(), kgo.NoCompression(), kgo.SnappyCompression()}
	failed := make(chan error, len(codecs))
	for w, codec := range codecs {
		plain := client(t, agents[w%len(agents)], kgo.ProducerBatchCompression(codec))
		transactional := client(t, agents[w%len(agents)], kgo.ProducerBatchCompression(codec), kgo.TransactionalID(fmt.Sprint("writer ", w)))
		rng := rand.New(rand.NewPCG(seed, uint64(w)))
		go func() { failed <- write(t.Context(), plain, transactional, rng, w, len(codecs), table) }()
	}
	for range codecs {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
}

// write produces one of so many shares of the keys.
func write(ctx context.Context, plain, transactional *kgo.Client, rng *rand.Rand, share, shares int, table *table) error {
	mine := make([]int, 0, keys/shares)
	for key := share; key < keys; key += shares {
		mine = append(mine, key)
	}
	for round := range rounds {
		rng.Shuffle(len(mine), func(i, k int) { mine[i], mine[k] = mine[k], mine[i] })
		for begin := 0; begin < len(mine); begin += chunk {
			some := mine[begin:min(begin+chunk, len(mine))]
			records, values := make([]*kgo.Record, len(some)), make([]uint32, len(some))
			for i, key := range some {
				values[i] = rng.Uint32()
				records[i] = &kgo.Record{Key: fmt.Appendf(nil, "k%07d", key), Value: []byte(text(values[i]))}
			}
			c, committed := plain, true
			if rng.IntN(2) == 0 {
				c, committed = transactional, round == 0 || rng.IntN(3) > 0
				if err := c.BeginTransaction(); err != nil {
					return err
				}
			}
			if err := c.ProduceSync(ctx, records...).FirstErr(); err != nil {
				return err
			}
			if c == transactional {
				if err := c.EndTransaction(ctx, kgo.TransactionEndTry(committed)); err != nil {
					return err
				}
			}
			if err := table.note(records, values, committed); err != nil {
				return err
			}
		}
	}
	return nil
}

// check lets the Java client read the topic, and compares.
func (t *table) check(tb *testing.T, bootstrap, folder string) {
	tb.Helper()
	jars, classes := filepath.Join(folder, "*"), tb.TempDir()
	if out, err := exec.CommandContext(tb.Context(), "javac", "-cp", jars, "-d", classes, "java/Latest.java").CombinedOutput(); err != nil {
		tb.Fatalf("javac: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(tb.Context(), "java", "-Xmx256m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", classes+string(filepath.ListSeparator)+jars, "Latest", bootstrap, topic)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	compareErr := t.compare(out)
	if err := cmd.Wait(); err != nil {
		tb.Fatalf("the Java client: %v\n%s", err, stderr.String())
	}
	if compareErr != nil {
		tb.Fatal(compareErr)
	}
}

// compare reads what Latest.java prints.
func (t *table) compare(out io.Reader) error {
	// Whatever is wrong, the program must not wait for somebody to read the rest.
	defer func() { _, _ = io.Copy(io.Discard, out) }()
	seen := make([]bool, keys)
	read, ended := 0, false
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		if ended = fields[0] == "end"; ended {
			break
		}
		if len(fields) != 4 || len(fields[2]) < 2 {
			return fmt.Errorf("line %q", lines.Text())
		}
		key, err := strconv.Atoi(fields[2][1:])
		if err != nil || key < 0 || key >= keys {
			return fmt.Errorf("key %q", fields[2])
		}
		want := fmt.Sprintf("%d\t%d\tk%07d\t%s", t.partitions[key], t.offsets[key], key, text(t.values[key]))
		switch {
		case lines.Text() != want:
			return fmt.Errorf("got %q, want %q", lines.Text(), want)
		case seen[key]:
			return fmt.Errorf("key %d twice", key)
		}
		seen[key] = true
		read++
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if read != keys || !ended {
		return fmt.Errorf("%d keys of %d, to the end: %v", read, keys, ended)
	}
	return nil
}
