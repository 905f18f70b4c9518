package produce

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// newCluster starts a Kafka with topic t of one partition.
func newCluster(t *testing.T) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

// produce runs the command and returns what it said on standard error.
func produce(ctx context.Context, cluster *kfake.Cluster, in io.Reader, args ...string) (string, error) {
	cmd := Command()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append(args, "--bootstrap", cluster.ListenAddrs()[0]))
	var stderr bytes.Buffer
	cmd.SetIn(in)
	cmd.SetOut(io.Discard)
	cmd.SetErr(&stderr)
	err := cmd.ExecuteContext(ctx)
	return stderr.String(), err
}

// refuse makes the cluster answer each produce request with the error.
func refuse(cluster *kfake.Cluster, err *kerr.Error) {
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: err, Count: -1})
}

func records(cluster *kfake.Cluster) int64 { return cluster.PartitionInfo("t", 0).HighWatermark }

func TestRefusedRecordsAreCountedAndNamed(t *testing.T) {
	cluster := newCluster(t)
	refuse(cluster, kerr.InvalidRecord)
	stderr, err := produce(t.Context(), cluster, strings.NewReader("a\nb\nc\n"), "t")
	if err == nil || stderr != "" {
		t.Fatalf("got %v, stderr %q", err, stderr)
	}
	for _, want := range []string{"producing to t: ", " of ", "records were not acknowledged, the first from line 1 to partition 0: INVALID_RECORD: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestFailureStopsTheReading(t *testing.T) {
	cluster := newCluster(t)
	refuse(cluster, kerr.InvalidRecord)
	r, w := io.Pipe() // an input without an end
	go func() {
		for err := error(nil); err == nil; {
			_, err = w.Write([]byte("line\n"))
		}
	}()
	defer func() { _ = r.Close() }()
	if _, err := produce(t.Context(), cluster, r, "t"); err == nil {
		t.Error("refused records, and no error")
	}
}

func TestUnansweredRecordsTimeOut(t *testing.T) {
	cluster := newCluster(t)
	refuse(cluster, kerr.NotLeaderForPartition) // retried until the timeout
	_, err := produce(t.Context(), cluster, strings.NewReader("a\n"), "t", "--timeout", "4s")
	if err == nil || !strings.Contains(err.Error(), "1 of 1 records were not acknowledged") || !strings.Contains(err.Error(), "no answer within 4s") {
		t.Errorf("got %v", err)
	}
}

func TestInterruptionDeliversWhatWasRead(t *testing.T) {
	cluster := newCluster(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	// The input hangs after its first record, which the cluster answers only
	// once the interruption is there.
	r, w := io.Pipe()
	defer func() { _ = r.Close() }()
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cancel(interrupted)
		return nil, nil, false
	})
	go func() { _, _ = w.Write([]byte("a\n")) }() // ends with r at the latest
	_, err := produce(ctx, cluster, r, "t")
	if !errors.Is(err, interrupted) || !strings.Contains(err.Error(), "stopped after 1 records") {
		t.Errorf("got %v", err)
	}
	if got := records(cluster); got != 1 {
		t.Errorf("%d records arrived, want 1", got)
	}
}

func TestRetriesDoNotDuplicate(t *testing.T) {
	cluster := newCluster(t)
	// The one error that a broker answers after it has written.
	fault := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend})
	if _, err := produce(t.Context(), cluster, strings.NewReader("a\nb\n"), "t"); err != nil {
		t.Fatal(err)
	}
	if fault.Hits() != 1 || records(cluster) != 2 {
		t.Errorf("after %d failed requests there are %d records, want 2", fault.Hits(), records(cluster))
	}
}

func TestLargeInput(t *testing.T) {
	cluster := newCluster(t)
	path := filepath.Join(t.TempDir(), "lines")
	const n = 50_000
	if err := os.WriteFile(path, bytes.Repeat([]byte("k:some value that is not too short\n"), n), 0o600); err != nil {
		t.Fatal(err)
	}
	stderr, err := produce(t.Context(), cluster, nil, "t", "--file", path, "--key-separator", ":")
	if err != nil || !strings.HasPrefix(stderr, "produced 50,000 records (1.7 MiB) to t in ") || records(cluster) != n {
		t.Errorf("got %q, %v, %d records", stderr, err, records(cluster))
	}
}
