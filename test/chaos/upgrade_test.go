package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/test/chaos"
	"github.com/wadi-log/wadi/test/harness"
)

// migrations is where those of Postgres lie, from the module's root.
const migrations = "metadata/postgres/migrations"

// release is a version to come: this tree with migrations that it has not yet.
type release struct {
	program string
	schema  int // its version
}

// releaseIn builds the first version to come, which adds to the schema, or the second, which asks for what the first one added.
func releaseIn(t *testing.T, versions int) release {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", migrations, "*.sql"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	number, _, _ := strings.Cut(filepath.Base(files[len(files)-1]), "_")
	newest, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	// sequencer is in every change of every agent, topics in many a query.
	add := `-- +goose Up
SET LOCAL lock_timeout = '2s';

ALTER TABLE sequencer ADD COLUMN weight bigint;
ALTER TABLE topics ADD COLUMN note text;
CREATE TABLE notes (topic_id uuid PRIMARY KEY, note text NOT NULL);
`
	ask := fmt.Sprintf(`-- +goose Up
SET LOCAL lock_timeout = '2s';

UPDATE sequencer SET compatible_from = %d;
UPDATE topics SET note = '' WHERE note IS NULL;
ALTER TABLE topics ALTER COLUMN note SET DEFAULT '', ALTER COLUMN note SET NOT NULL;
`, newest+1)
	further := map[string]string{}
	for i, text := range []string{add, ask}[:versions] {
		further[fmt.Sprintf("%s/%05d_to_come.sql", migrations, newest+1+i)] = text
	}
	return release{harness.BinaryWith(t, further), newest + versions}
}

// TestUpgradeShowsClientsRetriableErrorsAtMost replaces agents one by one while clients work: the oldest version that goes with this tree by a version to
// come. What the migration of that adds is made under the older agents, which go on, and one goes back to the older
// version. What the version after it asks for is refused while an older agent lives, made under those that aren't
// older, and keeps older ones out from then on.
func TestUpgradeShowsClientsRetriableErrorsAtMost(t *testing.T) {
	older := harness.OlderBinary(t)
	adding, asking := releaseIn(t, 1), releaseIn(t, 2)
	options := storesOf(t)
	options.Program = older
	// With the cache of a zone, in which agents of both versions ask each other.
	options.Flags = []string{"--drain-delay=1s", "--zone=a", "--peer-listen=127.0.0.1:0"}
	agents, bootstrap := startAgents(t, 3, options, func(agent int) []string { return []string{fmt.Sprintf("--name=agent-%d", agent)} })
	load := startLoad(t, bootstrap, "")
	stop := func(agent int) {
		t.Helper()
		if code := agents[agent].Stop(); code != 0 {
			t.Errorf("agent %d ended with code %d", agent, code)
		}
	}
	replace := func(agent int, program string) {
		t.Helper()
		stop(agent)
		agents[agent].Become(program)
		agents[agent].Restart()
		load.progress()
	}
	// refused starts an agent that must not start, and must say this.
	refused := func(agent int, program, says string) {
		t.Helper()
		stop(agent)
		agents[agent].Become(program)
		before := len(agents[agent].Logs())
		if err := agents[agent].TryRestart(); err == nil {
			t.Error("an agent started on a schema that is not for it")
		} else if said := agents[agent].Logs()[before:]; !strings.Contains(said, says) {
			t.Errorf("an agent that must not start says %q, want %q", said, says)
		}
		load.progress()
	}

	load.progress()
	refused(0, adding.program, "run `wadi migrate`")
	// This tree's own migrations since are among them.
	migrates(t, adding, options.Metadata)
	load.progress() // with two older agents alone
	agents[0].Restart()
	load.progress()
	replace(0, older) // and back
	replace(0, adding.program)
	// An agent whose beat is late on a busy machine is not among them until it beats again.
	forbidden := func(agents string) {
		t.Helper()
		harness.Eventually(t, time.Minute, func() error {
			said, err := migrate(t, asking.program, options.Metadata)
			if err == nil {
				t.Fatalf("wadi migrate went through under %s: %s", agents, said)
			}
			if !strings.Contains(said, "not go on with the new schema: "+agents+"; stop them first") {
				return fmt.Errorf("wadi migrate under %s: %w: %s", agents, err, said)
			}
			return nil
		})
	}
	forbidden("agent-1, agent-2")
	replace(1, adding.program)
	forbidden("agent-2")
	replace(2, adding.program)
	migrates(t, asking, options.Metadata)
	load.progress()
	refused(2, older, "use the newer wadi")
	agents[2].Become(asking.program)
	agents[2].Restart()
	load.progress()
	load.judge()
}

// TestForcedUpgradeTakesClientsFromOlderAgents while these still run: they acknowledge nothing more, and newer agents name them to
// nobody.
func TestForcedUpgradeTakesClientsFromOlderAgents(t *testing.T) {
	const topic, partitions = "ledger", 6
	options := storesOf(t)
	options.Program = harness.OlderBinary(t)
	asking := releaseIn(t, 2)
	older := harness.Agent(t, options)
	connect := func(options ...kgo.Opt) *kgo.Client {
		t.Helper()
		client, err := kgo.NewClient(append(options, kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		return client
	}
	first := connect(kgo.SeedBrokers(older.Bootstrap()))
	if _, err := kadm.NewClient(first).CreateTopic(t.Context(), partitions, -1, nil, topic); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"before": true}
	if err := first.ProduceSync(t.Context(), kgo.StringRecord("before")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if said, err := migrate(t, asking.program, options.Metadata, "--force"); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	between := make(chan error, 1) // not before the client has found another agent, or is closed
	first.Produce(t.Context(), kgo.StringRecord("between"), func(_ *kgo.Record, err error) { between <- err })
	harness.Eventually(t, time.Minute, func() error {
		resp, err := http.Get(older.HTTP() + "/readyz")
		if err != nil {
			return err
		}
		if err := resp.Body.Close(); err != nil {
			return err
		}
		if resp.StatusCode == http.StatusOK {
			return errors.New("the older agent is ready")
		}
		return nil
	})
	select {
	case err := <-between:
		t.Fatalf("the older agent answered, with error %v", err)
	default:
	}

	options.Program = asking.program
	newer := harness.Agent(t, options)
	second := connect(kgo.SeedBrokers(older.Bootstrap(), newer.Bootstrap()))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for p := range int32(partitions) {
		value := fmt.Sprint("after ", p)
		want[value] = true
		if err := second.ProduceSync(ctx, &kgo.Record{Partition: p, Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	reader := connect(kgo.SeedBrokers(newer.Bootstrap()), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for len(want) > 0 {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if value := string(r.Value); !want[value] && value != "between" {
				t.Fatalf("read %q, once more or never written", value)
			}
			delete(want, string(r.Value))
		})
	}
}

// progress returns when every kind of work has gone on from now.
func (l *load) progress() {
	l.t.Helper()
	const records, transactions = 50, 3
	type work struct {
		world chaos.World
		kind  chaos.Kind
	}
	enough := map[work]int{}
	for _, world := range l.worlds {
		enough[work{world, chaos.Got}] = records
		if world.Transforms {
			enough[work{world, chaos.Acked}] = records
			enough[work{world, chaos.Ended}] = transactions
		}
	}
	l.check()
	for w := range enough {
		enough[w] += l.journal.Count(w.world, w.kind)
	}
	harness.Eventually(l.t, patience, func() error {
		l.check()
		for w, want := range enough {
			if n := l.journal.Count(w.world, w.kind); n < want {
				return fmt.Errorf("%s: %d events of kind %q, of %d that show progress", w.world.Name, n, w.kind, want)
			}
		}
		return nil
	})
}

// migrate runs the program's `wadi migrate`, and returns what it says.
func migrate(t *testing.T, program, metadata string, flags ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, append([]string{"migrate"}, flags...)...)
	cmd.Env = []string{"WADI_METADATA=" + metadata}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// migrates fails the test unless the release brings the store to its schema.
func migrates(t *testing.T, r release, metadata string) {
	t.Helper()
	said, err := migrate(t, r.program, metadata)
	if want := fmt.Sprintf("to %d\n", r.schema); err != nil || !strings.HasSuffix(said, want) {
		t.Fatalf("wadi migrate: %v: %s, want %q", err, said, want)
	}
}
