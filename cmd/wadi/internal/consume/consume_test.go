package consume

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
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

func newClient(t *testing.T, cluster *kfake.Cluster, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DefaultProduceTopic("t"))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func produce(t *testing.T, client *kgo.Client, values ...string) {
	t.Helper()
	for _, value := range values {
		if err := client.ProduceSync(t.Context(), kgo.StringRecord(value)).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// consume runs the command and returns what it printed.
func consume(ctx context.Context, cluster *kfake.Cluster, out io.Writer, args ...string) error {
	cmd := Command()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append(args, "--bootstrap", cluster.ListenAddrs()[0]))
	cmd.SetOut(out)
	cmd.SetErr(io.Discard)
	return cmd.ExecuteContext(ctx)
}

// lines is a writer that hands on what it is given, line by line.
type lines struct {
	part []byte
	c    chan string
}

func (l *lines) Write(b []byte) (int, error) {
	l.part = append(l.part, b...)
	for {
		line, rest, found := bytes.Cut(l.part, []byte("\n"))
		if !found {
			return len(b), nil
		}
		l.c <- string(line)
		l.part = bytes.Clone(rest)
	}
}

func TestFollowShowsNewRecordsUntilInterrupted(t *testing.T) {
	cluster := newCluster(t)
	client := newClient(t, cluster)
	produce(t, client, "old", "last")
	ctx, cancel := context.WithCancelCause(t.Context())
	out := &lines{c: make(chan string, 10)}
	ended := make(chan error, 1)
	go func() { ended <- consume(ctx, cluster, out, "t", "--follow", "--offset", "-1") }()

	if got := <-out.c; got != "last" {
		t.Fatalf("got %q first", got)
	}
	for _, value := range []string{"new", "newer"} {
		produce(t, client, value)
		if got := <-out.c; got != value {
			t.Fatalf("got %q, want %q", got, value)
		}
	}
	cancel(errors.New("interrupted"))
	if err := <-ended; err != nil {
		t.Errorf("an interruption is how following ends; got %v", err)
	}
}

func TestFollowEndsByCount(t *testing.T) {
	cluster := newCluster(t)
	produce(t, newClient(t, cluster), "a", "b", "c")
	var out bytes.Buffer
	if err := consume(t.Context(), cluster, &out, "t", "--follow", "--count", "2"); err != nil || out.String() != "a\nb\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestReadEndsWhereThePartitionEndedAtTheStart(t *testing.T) {
	cluster := newCluster(t)
	client := newClient(t, cluster)
	produce(t, client, "a", "b")
	// A record that arrives between the plan and the first fetch is not shown.
	cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.SleepControl(func() { produce(t, client, "late") })
		return nil, nil, false
	})
	var out bytes.Buffer
	if err := consume(t.Context(), cluster, &out, "t"); err != nil || out.String() != "a\nb\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestTransactions(t *testing.T) {
	cluster := newCluster(t)
	client := newClient(t, cluster, kgo.TransactionalID("x"))
	transact := func(end kgo.TransactionEndTry, values ...string) {
		t.Helper()
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produce(t, client, values...)
		if err := client.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	transact(kgo.TryCommit, "committed")
	transact(kgo.TryAbort, "aborted")
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produce(t, client, "undecided")

	// Both reads end, though the last offsets of the decided part are no
	// records but the marker of the abort.
	for isolation, want := range map[string]string{
		"read_committed":   "0 committed\n",
		"read_uncommitted": "0 committed\n2 aborted\n4 undecided\n",
	} {
		var out bytes.Buffer
		err := consume(t.Context(), cluster, &out, "t", "--isolation", isolation, "--format", "%o %v")
		if err != nil || out.String() != want {
			t.Errorf("%s: got %q, %v; want %q", isolation, out.String(), err, want)
		}
	}
	if err := client.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
}

func TestInterruptedReadIsAnError(t *testing.T) {
	cluster := newCluster(t)
	produce(t, newClient(t, cluster), "a")
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		cancel(interrupted)
		return nil, nil, false
	})
	if err := consume(ctx, cluster, io.Discard, "t"); !errors.Is(err, interrupted) {
		t.Errorf("got %v", err)
	}
}

func TestSilentClusterIsAnErrorAfterTheTimeout(t *testing.T) {
	cluster := newCluster(t)
	produce(t, newClient(t, cluster), "a")
	cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		response := req.ResponseKind().(*kmsg.FetchResponse)
		return response, nil, true // nothing, for ever
	})
	for deadline := time.Now().Add(time.Minute); ; { // a busy machine may take as long for what comes before
		err := consume(t.Context(), cluster, io.Discard, "t", "--timeout", "300ms")
		if err != nil && strings.Contains(err.Error(), "reading: no answer within 300ms") {
			return
		}
		if err == nil || time.Now().After(deadline) {
			t.Fatalf("got %v", err)
		}
	}
}

func TestVanishedOffsetIsAnError(t *testing.T) {
	cluster := newCluster(t)
	produce(t, newClient(t, cluster), "a", "b", "c")
	cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		request := req.(*kmsg.FetchRequest)
		response := req.ResponseKind().(*kmsg.FetchResponse)
		for _, topic := range request.Topics {
			answer := kmsg.NewFetchResponseTopic()
			answer.Topic, answer.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				partition := kmsg.NewFetchResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, kerr.OffsetOutOfRange.Code
				answer.Partitions = append(answer.Partitions, partition)
			}
			response.Topics = append(response.Topics, answer)
		}
		return response, nil, true
	})
	err := consume(t.Context(), cluster, io.Discard, "t")
	if err == nil || !strings.Contains(err.Error(), "reading t partition 0: OFFSET_OUT_OF_RANGE") {
		t.Errorf("got %v", err)
	}
}

func TestTimestampsSelectTheRecordsBetween(t *testing.T) {
	cluster := newCluster(t)
	client := newClient(t, cluster)
	for _, text := range []string{"1000", "2000", "3000"} {
		p, err := parsePosition("@" + text)
		if err != nil {
			t.Fatal(err)
		}
		r := kgo.StringRecord(text)
		r.Timestamp = time.UnixMilli(p.n)
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"--offset", "@2000"}, []string{"2000", "3000"}},
		{[]string{"--offset", "@2001"}, []string{"3000"}},
		{[]string{"--until", "@2000"}, []string{"1000"}},
		{[]string{"--offset", "@1500", "--until", "@1970-01-01T00:00:02.5Z"}, []string{"2000"}},
		{[]string{"--offset", "@3001"}, nil},
		{[]string{"--offset", "@3000", "--until", "@1000"}, nil},
	} {
		var out bytes.Buffer
		err := consume(t.Context(), cluster, &out, append(test.args, "t")...)
		if got := strings.Fields(out.String()); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%v: got %v, %v; want %v", test.args, got, err, test.want)
		}
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestFullOutputIsAnError(t *testing.T) {
	cluster := newCluster(t)
	produce(t, newClient(t, cluster), "a")
	full := errors.New("no space left on device")
	if err := consume(t.Context(), cluster, failingWriter{full}, "t"); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}
