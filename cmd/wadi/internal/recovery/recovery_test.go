package recovery

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/agent/maintenance/backup"
	"github.com/wadi-log/wadi/agent/maintenance/recovery"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sqlite"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/dir"
	"github.com/wadi-log/wadi/objstore/objstoretest"
)

// result is what a run of the command left.
type result struct {
	out, progress string
	code          int
	err           error
}

// runCommand runs the command with the objects of one folder and the metadata store of another.
func runCommand(t *testing.T, objects, data string, flags ...string) result {
	t.Helper()
	cmd := Command()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append(flags, "--objects", "file:"+objects, "--data-dir", data))
	var stdout, stderr bytes.Buffer
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	r := result{err: cmd.ExecuteContext(t.Context())}
	if r.err != nil {
		r.code = 1
		if coded := (interface{ ExitCode() int })(nil); errors.As(r.err, &coded) {
			r.code = coded.ExitCode()
		}
	}
	r.out, r.progress = stdout.String(), stderr.String()
	return r
}

// lostCluster has lost its metadata store, in which a transaction was open.
func lostCluster(t *testing.T) (objects string, put func(key string, body []byte)) {
	t.Helper()
	objects = t.TempDir()
	bucket, err := dir.Open(t.Context(), objects)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bucket.Close(); err != nil {
			t.Error(err)
		}
	})
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "metadata.db"))
	if err != nil {
		t.Fatal(err)
	}
	topic, err := store.CreateTopic(t.Context(), metadata.NewTopic{Name: "orders", Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []metadata.TransactionOp{
		metadata.InitProducer{Timeout: time.Minute, Expected: metadata.NoProducer, NewProducerID: 7},
		metadata.AddToTransaction{Producer: metadata.ProducerEpoch{ID: 7}, Partitions: topic.Partitions},
	} {
		if changed, err := store.ChangeTransactions(t.Context(), []metadata.TransactionRequest{{ID: "tx", Op: op}}); err != nil || changed.Results[0].Err != nil {
			t.Fatal(changed, err)
		}
	}
	progress := maintenance.NewProgress("test", rate.NewLimiter(rate.Inf, 1), maintenance.NewMetrics(prometheus.NewRegistry()))
	if _, err := backup.Write(t.Context(), store, bucket, progress); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return objects, func(key string, body []byte) {
		t.Helper()
		if err := bucket.Put(t.Context(), key, body); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOperatorDecidesOnTransactions(t *testing.T) {
	objects, _ := lostCluster(t)
	data := t.TempDir()
	for _, flags := range [][]string{nil, {"--dry-run"}} {
		r := runCommand(t, objects, data, flags...)
		if r.code != 3 || !strings.Contains(r.out, `"tx" (producer 7) was open in the snapshot`) || !strings.Contains(r.err.Error(), "--unfinished abort") {
			t.Errorf("%q: code %d, %v\n%s", flags, r.code, r.err, r.out)
		}
	}
	r := runCommand(t, objects, data, "--unfinished", "abort", "--dry-run")
	if r.code != 0 || !strings.HasPrefix(r.out, "would restore snapshot ") || !strings.Contains(r.out, "topic orders: 0 records") {
		t.Errorf("dry run: code %d, %v\n%s", r.code, r.err, r.out)
	}
	r = runCommand(t, objects, data, "--unfinished", "abort")
	if r.code != 0 || !strings.HasPrefix(r.out, "restored snapshot ") || !strings.Contains(r.out, "now aborted") || !strings.Contains(r.progress, "wadi: read snapshot") {
		t.Errorf("code %d, %v\n%s%s", r.code, r.err, r.out, r.progress)
	}
	store, err := sqlite.Open(t.Context(), filepath.Join(data, "metadata.db"))
	if err != nil {
		t.Fatal(err)
	}
	topics, _, err := store.ListTopics(t.Context())
	if err != nil || len(topics) != 1 || topics[0].Name != "orders" {
		t.Errorf("topics: %+v, %v", topics, err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if r := runCommand(t, objects, data, "--unfinished", "abort"); r.code != 1 || !errors.Is(r.err, metadata.ErrStoreNotEmpty) {
		t.Errorf("once more: code %d, %v", r.code, r.err)
	}
}

func TestOnlyTheMetadataStoreIsWritten(t *testing.T) {
	objects, _ := lostCluster(t)
	data := t.TempDir()
	before, empty := objstoretest.Tree(t, objects), objstoretest.Tree(t, data)
	for _, flags := range [][]string{{"--dry-run"}, nil} {
		if r := runCommand(t, objects, data, append(flags, "--unfinished", "abort")...); r.code != 0 {
			t.Errorf("%q: code %d, %v\n%s", flags, r.code, r.err, r.out)
		}
		if after := objstoretest.Tree(t, objects); !slices.Equal(after, before) {
			t.Errorf("%q: before\n%s\nand after\n%s", flags, strings.Join(before, "\n"), strings.Join(after, "\n"))
		}
		if after := objstoretest.Tree(t, data); flags != nil && !slices.Equal(after, empty) {
			t.Errorf("a dry run left\n%s", strings.Join(after, "\n"))
		}
	}
}

func TestLossesHaveTheirExitCode(t *testing.T) {
	objects, put := lostCluster(t)
	id, err := datafile.NewID(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	put(datafile.Key(id), []byte("no data file"))
	r := runCommand(t, objects, t.TempDir(), "--unfinished", "commit", "--json")
	var report recovery.Report
	if err := json.Unmarshal([]byte(r.out), &report); err != nil || r.code != 4 {
		t.Fatalf("code %d, %v, %v\n%s", r.code, r.err, err, r.out)
	}
	if report.TransactionsEnded != "commit" || len(report.Damaged) != 1 || report.Damaged[0].Key != datafile.Key(id) || len(report.Topics) != 1 {
		t.Errorf("report: %+v", report)
	}
	r = runCommand(t, objects, t.TempDir(), "--unfinished", "commit")
	if !strings.Contains(r.out, "DAMAGED: "+datafile.Key(id)) {
		t.Errorf("code %d\n%s", r.code, r.out)
	}
}

func TestWithoutSnapshotItSaysWhatCanBeDone(t *testing.T) {
	r := runCommand(t, t.TempDir(), t.TempDir())
	if r.code != 1 || !errors.Is(r.err, backup.ErrNoSnapshot) || !strings.Contains(r.err.Error(), "check --objects") || !strings.Contains(r.err.Error(), "wadi inspect") {
		t.Errorf("code %d, %v", r.code, r.err)
	}
}

func TestBadFlags(t *testing.T) {
	id := uuid.NewString()
	for want, flags := range map[string][]string{
		"maybe":                         {"--unfinished", "maybe"},
		"want ID=NAME":                  {"--topic", "orders"},
		`--topic "x=orders"`:            {"--topic", "x=orders"},
		"invalid topic name":            {"--topic", id + "=a/b"},
		"is given twice":                {"--topic", id + "=a", "--topic", id + "=b"},
		"invalid topic name: it is emp": {"--topic", id + "="},
		"no snapshot":                   {"--snapshot", "../../etc"},
	} {
		if r := runCommand(t, t.TempDir(), t.TempDir(), flags...); r.code != 1 || !strings.Contains(r.err.Error(), want) || r.out != "" {
			t.Errorf("%q: code %d, %v, want %q\n%s", flags, r.code, r.err, want, r.out)
		}
	}
}
