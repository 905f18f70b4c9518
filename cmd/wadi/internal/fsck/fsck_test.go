package fsck

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance/fsck"
	"github.com/wadi-log/wadi/metadata/sqlite"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/dir"
	"github.com/wadi-log/wadi/objstore/objstoretest"
)

var update = flag.Bool("update", false, "write the golden files")

// reports are what people and programs get to see.
func reports() map[string]result {
	file := uuid.MustParse("0193557a-1000-7000-8000-000000000001")
	at := time.Date(2026, 11, 26, 17, 0, 0, 0, time.UTC)
	clean := fsck.Report{
		ClusterID: "a-cluster", StartedAt: at, EndedAt: at.Add(time.Minute), Partitions: 1, Rows: 2000, Objects: fsck.Count{Number: 12, Bytes: 3 << 20},
		Files: fsck.Count{Number: 10, Bytes: 2 << 20}, ByKind: map[fsck.Kind]int64{}, Findings: []fsck.Finding{},
	}
	bad := clean
	bad.Deep, bad.Repair = true, true
	bad.Read, bad.InFlight, bad.Dead = fsck.Count{Number: 1, Bytes: 1 << 20}, fsck.Count{Number: 1, Bytes: 100}, fsck.Count{Number: 2, Bytes: 300}
	bad.DeletedOrphans, bad.DeletedDead, bad.Corrected, bad.Unmarked = fsck.Count{Number: 1, Bytes: 17}, fsck.Count{Number: 3, Bytes: 30}, 1, 2
	bad.ByKind = map[fsck.Kind]int64{fsck.MissingObject: 2, fsck.Hole: 1, fsck.Orphan: 1001}
	bad.Findings = []fsck.Finding{
		{Kind: fsck.MissingObject, Severity: fsck.Loss, Key: datafile.Key(file), File: &file, Detail: "the object doesn't exist",
			Hit: []fsck.Offsets{{Topic: "orders", Partition: 3, First: 10, Last: 20}, {Partition: 17, First: 5, Last: 5}}, MoreHit: 1200},
		{Kind: fsck.Hole, Severity: fsck.Loss, Detail: "no row covers the offsets", Hit: []fsck.Offsets{{Topic: "orders", Partition: 1, First: 7, Last: 7}}},
		{Kind: fsck.Orphan, Severity: fsck.Waste, Key: datafile.Key(file), File: &file, Detail: "an object of 17 bytes that the metadata store doesn't know", Repaired: "deleted the object"},
	}
	return map[string]result{
		"clean":      {Report: clean, Complete: true},
		"findings":   {Report: bad, Total: bad.Total(), Complete: true},
		"incomplete": {Report: clean, Error: "connection reset"},
	}
}

func TestGolden(t *testing.T) {
	for name, r := range reports() {
		for suffix, write := range map[string]func(*bytes.Buffer) error{
			".txt":  func(b *bytes.Buffer) error { return writeText(b, r) },
			".json": func(b *bytes.Buffer) error { return writeJSON(b, r) },
		} {
			var got bytes.Buffer
			if err := write(&got); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+suffix)
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("%s: got\n%s\nwant\n%s(go test -update writes the files)", path, got.String(), want)
			}
		}
	}
}

// newFolder makes a data folder as an agent does.
func newFolder(t *testing.T) (folder string, bucket *dir.Bucket) {
	t.Helper()
	folder = t.TempDir()
	store, err := sqlite.Open(t.Context(), filepath.Join(folder, "metadata.db"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := store.ClusterID(t.Context())
	if err == nil {
		err = store.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if bucket, err = dir.Open(t.Context(), filepath.Join(folder, "objects")); err == nil {
		err = objstore.Claim(t.Context(), bucket, id)
	}
	if err != nil {
		t.Fatal(err)
	}
	return folder, bucket
}

// runCommand runs the command, and returns what it wrote and its exit code.
func runCommand(t *testing.T, flags ...string) (out string, code int, err error) {
	t.Helper()
	cmd := Command()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(flags)
	var stdout, stderr bytes.Buffer
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	err = cmd.ExecuteContext(t.Context())
	if coded := (interface{ ExitCode() int })(nil); errors.As(err, &coded) {
		code = coded.ExitCode()
	} else if err != nil {
		t.Fatalf("an error without a code: %v", err)
	}
	if stderr.Len() > 0 {
		t.Errorf("on standard error: %q", stderr.String())
	}
	return stdout.String(), code, err
}

func TestExitCodeTellsWhatWasFound(t *testing.T) {
	folder, bucket := newFolder(t)
	out, code, err := runCommand(t, "--data-dir", folder)
	if code != 0 || !strings.HasSuffix(out, "\nno findings\n") {
		t.Fatalf("code %d, %v\n%s", code, err, out)
	}
	id := uuid.MustParse("0193557a-1000-7000-8000-000000000001") // of 2024
	if err := bucket.Put(t.Context(), datafile.Key(id), []byte("orphan")); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{nil, {"--deep"}, {"--repair"}} {
		out, code, err := runCommand(t, append(flags, "--data-dir", folder)...)
		if code != foundCode || err == nil || err.Error() != "the stores disagree: 1 finding" || !strings.Contains(out, "waste: orphan data/") {
			t.Errorf("%v: code %d, %v\n%s", flags, code, err, out)
		}
	}
	if out, code, err := runCommand(t, "--data-dir", folder); code != 0 {
		t.Errorf("after the repair: code %d, %v\n%s", code, err, out)
	}
}

func TestWithoutRepairNothingIsWritten(t *testing.T) {
	folder, bucket := newFolder(t)
	id := uuid.MustParse("0193557a-1000-7000-8000-000000000001") // an orphan, of 2024
	if err := bucket.Put(t.Context(), datafile.Key(id), []byte("orphan")); err != nil {
		t.Fatal(err)
	}
	before := objstoretest.Tree(t, folder)
	if out, code, err := runCommand(t, "--data-dir", folder, "--deep"); code != foundCode {
		t.Errorf("code %d, %v\n%s", code, err, out)
	}
	if after := objstoretest.Tree(t, folder); !slices.Equal(after, before) {
		t.Errorf("before\n%s\nand after\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

func TestJSONIsOneReport(t *testing.T) {
	folder, bucket := newFolder(t)
	if err := bucket.Put(t.Context(), "data/x", []byte("foreign")); err != nil {
		t.Fatal(err)
	}
	out, code, err := runCommand(t, "--data-dir", folder, "--json")
	var r result
	if decodeErr := json.Unmarshal([]byte(out), &r); code != foundCode || decodeErr != nil {
		t.Fatalf("code %d, %v, %v\n%s", code, err, decodeErr, out)
	}
	if !r.Complete || r.Total != 1 || len(r.Findings) != 1 || r.Findings[0].Kind != fsck.ForeignObject || r.Findings[0].Key != "data/x" || r.StartedAt.IsZero() || r.EndedAt.Before(r.StartedAt) {
		t.Errorf("result %+v", r)
	}
}

func TestCheckThatCannotBeDoneHasACodeOfItsOwn(t *testing.T) {
	folder, _ := newFolder(t)
	empty := t.TempDir()
	unclaimed, _ := newFolder(t)
	if err := os.RemoveAll(filepath.Join(unclaimed, "objects", "owner")); err != nil {
		t.Fatal(err)
	}
	other, _ := newFolder(t)
	behind, snapshots := newFolder(t)
	manifest := `{"version":1,"name":"20261126T100000.000Z-00000000","last_seq":1000,"parts":[{"rows":1,"size":1,"raw_size":1}]}`
	if err := snapshots.Put(t.Context(), "snapshots/20261126T100000.000Z-00000000/manifest.json", []byte(manifest)); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		flags []string
		want  string
	}{
		"no metadata store":            {[]string{"--data-dir", empty}, "there is no store at " + filepath.Join(empty, "metadata.db")},
		"no object store":              {[]string{"--data-dir", folder, "--objects", "file:" + filepath.Join(empty, "objects")}, "there is no store at"},
		"stores of the agent alone":    {[]string{"--data-dir", folder, "--objects", "mem:"}, "nobody else sees it"},
		"bucket of nobody":             {[]string{"--data-dir", unclaimed, "--repair"}, "belongs to no cluster yet"},
		"bucket of another cluster":    {[]string{"--data-dir", folder, "--objects", "file:" + filepath.Join(other, "objects"), "--repair"}, "belongs to the cluster"},
		"old copy of the store":        {[]string{"--data-dir", behind, "--repair"}, "it is an old copy"},
		"no server":                    {[]string{"--metadata", "postgres://127.0.0.1:1/wadi", "--data-dir", folder}, "connect"},
		"unknown flag":                 {[]string{"--depp"}, "--depp"},
		"argument":                     {[]string{"now"}, "now"},
		"nothing at a time":            {[]string{"--parallel", "0"}, "at least 1"},
		"value that makes no sense":    {[]string{"--metadata", "oracle:"}, "--metadata"},
		"grace that is no time":        {[]string{"--delete-grace", "soon"}, "soon"},
		"config file that isn't there": {[]string{"--config", filepath.Join(empty, "none.yaml")}, "none.yaml"},
	} {
		out, code, err := runCommand(t, tt.flags...)
		if code != failedCode || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: code %d, error %v, want one with %q\n%s", name, code, err, tt.want, out)
		}
	}
	if entries, err := os.ReadDir(empty); err != nil || len(entries) > 0 {
		t.Errorf("a store was made: %v, %v", entries, err)
	}
}

func TestProgressOfALogIsALineNowAndThen(t *testing.T) {
	now := time.Now()
	var out bytes.Buffer
	p := newProgress(&out)
	p.now = func() time.Time { return now }
	for range 100 {
		now = now.Add(time.Second)
		p.show(fsck.Progress{Step: "files", Done: 1234, Findings: 5})
	}
	p.end()
	if got, want := out.String(), strings.Repeat("checked 1,234 data files, findings so far: 5\n", 3); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProgressOnATerminalIsOneLine(t *testing.T) {
	now := time.Now()
	var out bytes.Buffer
	p := newProgress(&out)
	p.now, p.redraws, p.every = func() time.Time { return now }, true, 200*time.Millisecond
	for range 4 {
		now = now.Add(150 * time.Millisecond)
		p.show(fsck.Progress{Step: "index", Done: 7})
	}
	p.end()
	if got := out.String(); strings.Contains(got, "\n") || strings.Count(got, "checked 7 rows of the index") != 2 || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("got %q", got)
	}
}
