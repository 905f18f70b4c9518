package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/test/harness"
)

// TestLostMetadataStoreIsRecovered is the drill: traffic, a snapshot, more traffic, the metadata store gone with all
// agents, recovery, and what clients find then.
func TestLostMetadataStoreIsRecovered(t *testing.T) {
	for _, s := range []struct {
		name string
		// options are those of the cluster, lose destroys its metadata store and returns an empty one's URL.
		options func(t *testing.T) (options harness.AgentOptions, lose func() string)
	}{
		{"embedded", func(t *testing.T) (harness.AgentOptions, func() string) {
			folder := t.TempDir()
			database := func(name string) string { return "sqlite:" + filepath.Join(folder, name, "metadata.db") }
			return harness.AgentOptions{Metadata: database("old"), Objects: "file:" + filepath.Join(folder, "objects")}, func() string {
				if err := os.RemoveAll(filepath.Join(folder, "old")); err != nil {
					t.Fatal(err)
				}
				return database("new")
			}
		}},
		{"postgres+minio", func(t *testing.T) (harness.AgentOptions, func() string) {
			m, pg := harness.MinIO(t), harness.StartPostgres(t)
			return harness.AgentOptions{Metadata: pg.URL(), Objects: m.MinioURL(), AccessKey: m.AccessKey, SecretKey: m.SecretKey}, func() string {
				pg.Kill()
				return harness.Postgres(t)
			}
		}},
	} {
		t.Run(s.name, func(t *testing.T) {
			d := &drill{T: t, acked: map[string]int64{}, committed: map[string]bool{}, aborted: map[string]bool{}}
			d.options, d.lose = s.options(t)
			// Merges soon, and deletes as soon as it may: what a recovery needs must stay all the same.
			d.options.Flags = []string{"--snapshot-interval=1h", "--merge-after=1s", "--delete-grace=1s"}
			d.run()
		})
	}
}

const drillPartitions = 4

type drill struct {
	*testing.T
	options harness.AgentOptions
	lose    func() string
	agents  []*harness.AgentProcess

	mu sync.Mutex
	// acked are the offsets of acknowledged records.
	acked map[string]int64
	// committed and aborted are the values of transactions, of those aborted since the snapshot none.
	committed, aborted map[string]bool
}

func (d *drill) run() {
	d.start()
	createTopic(d, d.agents[0].Bootstrap(), "events", drillPartitions)
	createTopic(d, d.agents[0].Bootstrap(), "tx", drillPartitions)
	d.produce("early", 300)
	d.transact("early", 3)
	consumed := d.consume(time.Minute)
	merges := func() (runs float64) {
		for _, a := range d.agents {
			runs += a.Metrics()[`wadi_job_runs_total{name="merge"}`]
		}
		return runs
	}
	before := d.wadi(0, "backup", "--json")
	mergesBefore := merges()
	atSnapshot := d.copyAcked()

	for part := range 3 {
		d.produce(fmt.Sprint("late", part), 200)
		d.transact(fmt.Sprint("late", part), 3)
	}
	open := d.openTransaction()
	d.consume(time.Minute) // these offsets are lost
	eventually(d, "something is merged that the snapshot doesn't know", func() bool { return merges() > mergesBefore })
	for _, a := range d.agents {
		a.Kill()
	}
	d.options.Metadata = d.lose()

	report := d.recover(before)
	d.checkReport(report)
	d.wadi(0, "fsck", "--deep")
	d.start()
	d.checkEvents(atSnapshot)
	d.checkTransactions(open)
	d.checkGroup(consumed)
	// And on it goes.
	d.produce("new", 100)
	d.transact("new", 3)
	d.checkEvents(atSnapshot)
	d.checkTransactions(open)
	d.wadi(0, "fsck", "--deep")
}

func (d *drill) start() {
	d.Helper()
	d.agents = []*harness.AgentProcess{harness.Agent(d, d.options), harness.Agent(d, d.options)}
	for _, a := range d.agents {
		eventually(d, "all agents know of each other", func() bool { return len(agentStates(d, a)) == len(d.agents) })
	}
}

func (d *drill) seeds() kgo.Opt {
	return kgo.SeedBrokers(d.agents[0].Bootstrap(), d.agents[1].Bootstrap())
}

// wadi runs a command on the cluster's stores, requires the exit code, and returns what it printed.
func (d *drill) wadi(code int, args ...string) []byte {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.Binary(d), append(args, "--objects", d.options.Objects)...)
	cmd.Env = append(os.Environ(), "WADI_METADATA="+d.options.Metadata,
		"WADI_OBJECTS_ACCESS_KEY="+d.options.AccessKey, "WADI_OBJECTS_SECRET_KEY="+d.options.SecretKey)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		d.Fatalf("wadi %s: exit code %d, want %d; %v\n%s%s", strings.Join(args, " "), got, code, err, stderr.String(), stdout.String())
	}
	return stdout.Bytes()
}

// produce has an idempotent producer for each partition write so many records, all at the same time.
func (d *drill) produce(phase string, records int) {
	d.Helper()
	var producers sync.WaitGroup
	for partition := range drillPartitions {
		c := client(d, d.seeds(), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(time.Millisecond), kgo.MaxBufferedRecords(20))
		producers.Go(func() {
			for i := range records {
				c.Produce(d.Context(), &kgo.Record{Topic: "events", Partition: int32(partition), Value: fmt.Appendf(nil, "%s/%d/%d", phase, partition, i)},
					func(r *kgo.Record, err error) {
						d.mu.Lock()
						defer d.mu.Unlock()
						if err != nil {
							d.Errorf("record %s: %v", r.Value, err)
							return
						}
						d.acked[string(r.Value)] = r.Offset
					})
			}
			if err := c.Flush(d.Context()); err != nil {
				d.Error(err)
			}
		})
	}
	producers.Wait()
}

func (d *drill) copyAcked() map[string]int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := map[string]int64{}
	for value, offset := range d.acked {
		c[value] = offset
	}
	return c
}

// transact commits all but every third transaction.
func (d *drill) transact(phase string, transactions int) {
	d.Helper()
	c := client(d, d.seeds(), kgo.TransactionalID("drill-"+phase))
	for i := range transactions {
		end := kgo.TryCommit
		if i%3 == 2 {
			end = kgo.TryAbort
		}
		values := d.inTransaction(c, fmt.Sprint(phase, "/", i))
		if err := c.EndTransaction(d.Context(), end); err != nil {
			d.Fatal(err)
		}
		for _, value := range values {
			if end == kgo.TryCommit {
				d.committed[value] = true
			} else if phase != "late0" && phase != "late1" && phase != "late2" {
				d.aborted[value] = true // and will stay so
			}
		}
	}
}

// inTransaction begins a transaction and writes to each partition.
func (d *drill) inTransaction(c *kgo.Client, name string) (values []string) {
	d.Helper()
	if err := c.BeginTransaction(); err != nil {
		d.Fatal(err)
	}
	for i := range 2 * drillPartitions {
		value := fmt.Sprint(name, "/", i)
		values = append(values, value)
		if err := c.ProduceSync(d.Context(), &kgo.Record{Topic: "tx", Key: []byte(value), Value: []byte(value)}).FirstErr(); err != nil {
			d.Fatal(err)
		}
	}
	return values
}

// openTransaction leaves a transaction open, and returns its values.
func (d *drill) openTransaction() []string {
	d.Helper()
	return d.inTransaction(client(d, d.seeds(), kgo.TransactionalID("drill-open")), "open")
}

// consume has the group read to the end and commit, and returns what it committed.
func (d *drill) consume(within time.Duration) map[int32]int64 {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), within)
	defer cancel()
	c := client(d, d.seeds(), kgo.ConsumerGroup("drill"), kgo.ConsumeTopics("events"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	admin := kadm.NewClient(c)
	for {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			d.Fatal(err)
		}
		if err := c.CommitUncommittedOffsets(ctx); err != nil {
			d.Fatal(err)
		}
		ends, err := admin.ListEndOffsets(ctx, "events")
		if err != nil {
			d.Fatal(err)
		}
		at := d.groupOffsets(admin)
		behind := false
		ends.Each(func(o kadm.ListedOffset) { behind = behind || at[o.Partition] < o.Offset })
		if !behind {
			c.LeaveGroup()
			return at
		}
	}
}

func (d *drill) groupOffsets(admin *kadm.Client) map[int32]int64 {
	d.Helper()
	fetched, err := admin.FetchOffsets(d.Context(), "drill")
	if err != nil {
		d.Fatal(err)
	}
	at := map[int32]int64{}
	fetched.Each(func(o kadm.OffsetResponse) { at[o.Partition] = o.At })
	return at
}

// drillReport is what the drill looks at of the report of wadi recover.
type drillReport struct {
	Snapshot struct {
		Name string `json:"name"`
	} `json:"snapshot"`
	Files struct {
		Restored int `json:"restored"`
		ByCommit int `json:"by_commit"`
		Merged   int `json:"merged"`
	} `json:"files"`
	Topics []struct {
		Name     string `json:"name"`
		Restored int64  `json:"restored_records"`
		Forced   []any  `json:"forced"`
	} `json:"topics"`
	Transactions []struct {
		ID string `json:"transactional_id"`
	} `json:"transactions"`
	Missing []any `json:"missing"`
	Damaged []any `json:"damaged"`
}

// recover rebuilds the metadata store, once it was told what to do about transactions.
func (d *drill) recover(backup []byte) (report drillReport) {
	d.Helper()
	d.wadi(3, "recover")
	d.wadi(0, "recover", "--unfinished", "commit", "--dry-run")
	if err := json.Unmarshal(d.wadi(0, "recover", "--unfinished", "commit", "--json"), &report); err != nil {
		d.Fatal(err)
	}
	var written struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(backup, &written); err != nil || written.Name != report.Snapshot.Name {
		d.Errorf("restored snapshot %q, the last one is %q, %v", report.Snapshot.Name, written.Name, err)
	}
	d.wadi(1, "recover", "--unfinished", "commit") // it isn't empty any more
	return report
}

func (d *drill) checkReport(r drillReport) {
	d.Helper()
	if r.Files.Restored == 0 || r.Files.Merged == 0 || r.Files.ByCommit == 0 || len(r.Missing)+len(r.Damaged) > 0 {
		d.Errorf("report: %+v", r)
	}
	for _, topic := range r.Topics {
		if len(topic.Forced) > 0 {
			d.Errorf("topic %s: %v were forced", topic.Name, topic.Forced)
		}
		if want := int64(3 * 200 * drillPartitions); topic.Name == "events" && topic.Restored != want {
			d.Errorf("%d events were restored, want %d", topic.Restored, want)
		}
	}
	// Each phase since the snapshot had a transactional ID of its own, and so has the open transaction. All are newer than it.
	if len(r.Transactions) != 4 {
		d.Errorf("transactions: %+v", r.Transactions)
	}
}

// checkEvents: what was acknowledged is there once, in the order of each producer, and up to the snapshot where it was.
func (d *drill) checkEvents(atSnapshot map[string]int64) {
	d.Helper()
	seen := map[string]int64{}
	next := map[string]int{} // by phase and partition
	for _, r := range readAll(d, d.agents[0].Bootstrap(), "events") {
		if _, again := seen[r.value]; again {
			d.Errorf("record %s is there twice", r.value)
		}
		seen[r.value] = r.offset
		phase, number, _ := strings.Cut(r.value, "/")
		partition, number, _ := strings.Cut(number, "/")
		if want := fmt.Sprint(next[phase+partition]); number != want {
			d.Errorf("partition %d: %s, where record %s should be", r.partition, r.value, want)
		}
		next[phase+partition]++
	}
	for value := range d.acked {
		if _, ok := seen[value]; !ok {
			d.Errorf("record %s was acknowledged and is lost", value)
		}
	}
	for value, offset := range atSnapshot {
		if seen[value] != offset {
			d.Errorf("record %s has moved from offset %d to %d", value, offset, seen[value])
		}
	}
}

// checkTransactions: what was committed is there once, what was aborted before the snapshot isn't. The rest was committed
// by the recovery.
func (d *drill) checkTransactions(open []string) {
	d.Helper()
	c := client(d, d.seeds(), kgo.ConsumeTopics("tx"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	ctx, cancel := context.WithTimeout(d.Context(), time.Minute)
	defer cancel()
	want := map[string]bool{}
	for value := range d.committed {
		want[value] = true
	}
	for _, value := range open {
		want[value] = true
	}
	seen := map[string]bool{}
	for len(want) > 0 {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			d.Fatalf("%v; missing %v", err, want)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			value := string(r.Value)
			if seen[value] || d.aborted[value] {
				d.Errorf("record %s is there, twice: %v, aborted: %v", value, seen[value], d.aborted[value])
			}
			seen[value] = true
			delete(want, value)
		})
	}
}

// checkGroup: the group goes on where it was at the snapshot.
func (d *drill) checkGroup(at map[int32]int64) {
	d.Helper()
	admin := kadm.NewClient(client(d, d.seeds()))
	if got := d.groupOffsets(admin); fmt.Sprint(got) != fmt.Sprint(at) {
		d.Errorf("the group is at %v, want %v", got, at)
	}
	d.consume(time.Minute)
}
