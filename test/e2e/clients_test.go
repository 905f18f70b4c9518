package e2e

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/test/harness"
)

// run runs a program to its end and returns what it wrote to standard output.
func run(t testing.TB, program string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if filepath.Base(program) == "kcat" {
		args = append(patient(), args...)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, stderr.String())
	}
	return stdout.Bytes()
}

// kcat returns the path of kcat, which stands for librdkafka's world.
func kcat(t testing.TB) string {
	t.Helper()
	return harness.Tool(t, "kcat")
}

// patient are the arguments of a kcat that waits for the metadata of a busy machine for more than 5 s, and goes on
// where librdkafka hints, as no error, that no connection is open at the moment. An agent that hung closes all.
func patient() []string { return []string{"-m", "60", "-E"} }

// clientLife is how long a client of a test lives. What waits for records that never come, which franz-go does for
// ever, fails then, in its own test, with "client closed".
const clientLife = 15 * time.Minute

// client returns a franz-go client of the agents, closed with the test.
func client(t testing.TB, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clientLife)
	t.Cleanup(cancel)
	// An agent that dies while it greets a client doesn't ask for TLS.
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.WithContext(ctx), kgo.AlwaysRetryEOF()}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// createTopic creates a topic through the agent.
func createTopic(t testing.TB, bootstrap, name string, partitions int32) {
	t.Helper()
	admin := kadm.NewClient(client(t, kgo.SeedBrokers(bootstrap)))
	if _, err := admin.CreateTopic(t.Context(), partitions, 1, nil, name); err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
}

// readAll reads a topic from its start to its present end with franz-go.
func readAll(t testing.TB, bootstrap, topic string) []received {
	t.Helper()
	c := client(t, kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	admin := kadm.NewClient(c)
	starts, err := admin.ListStartOffsets(t.Context(), topic)
	if err = errors.Join(err, starts.Error()); err != nil {
		t.Fatal(err)
	}
	ends, err := admin.ListEndOffsets(t.Context(), topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		t.Fatal(err)
	}
	missing := int64(0)
	ends.Each(func(o kadm.ListedOffset) { missing += o.Offset })
	starts.Each(func(o kadm.ListedOffset) { missing -= o.Offset })
	var all []received
	for missing > 0 {
		fetches := c.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			all = append(all, received{r.Partition, r.Offset, string(r.Key), string(r.Value)})
			missing--
		})
	}
	return all
}
