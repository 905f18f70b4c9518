package backup

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wadi-log/wadi/objstore/objstoretest"
)

// run runs the command on a data folder.
func run(t *testing.T, folder string, flags ...string) (string, error) {
	t.Helper()
	cmd := Command()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append(flags, "--data-dir", folder))
	var out bytes.Buffer
	cmd.SetOut(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestWritesAndListsSnapshots(t *testing.T) {
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "objects"), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, folder, "--list", "--json"); err != nil || out != "[]\n" {
		t.Fatalf("at first: %q, %v", out, err)
	}
	out, err := run(t, folder)
	if err != nil || !strings.HasPrefix(out, "wrote snapshot 2") || !strings.Contains(out, ": 1 row, ") {
		t.Fatalf("got %q, %v", out, err)
	}
	var written snapshot
	out, err = run(t, folder, "--json")
	if err != nil || json.Unmarshal([]byte(out), &written) != nil || written.Rows != 1 || written.ClusterID == "" {
		t.Fatalf("got %q, %v", out, err)
	}
	var listed []snapshot
	out, err = run(t, folder, "--list", "--json")
	if err != nil || json.Unmarshal([]byte(out), &listed) != nil || len(listed) != 2 || listed[0] != written {
		t.Fatalf("got %q, %v; want %+v first", out, err, written)
	}
	// Torn and damaged ones are told apart from whole ones.
	manifests, err := filepath.Glob(filepath.Join(folder, "objects", "snapshots", "*", "manifest.json"))
	if err != nil || len(manifests) != 2 {
		t.Fatalf("manifests: %v, %v", manifests, err)
	}
	if err := os.Remove(manifests[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(manifests[1], []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = run(t, folder, "--list")
	if err != nil || strings.Count(out, "unusable: ") != 2 || !strings.Contains(out, "its writer died") || !strings.Contains(out, "damaged snapshot") {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestListWritesNothing(t *testing.T) {
	empty, folder := t.TempDir(), t.TempDir()
	if out, err := run(t, empty, "--list"); err == nil || !strings.Contains(err.Error(), "--objects") {
		t.Errorf("without a store: %q, %v", out, err)
	}
	if entries, err := os.ReadDir(empty); err != nil || len(entries) > 0 {
		t.Errorf("a store was made: %v, %v", entries, err)
	}
	if out, err := run(t, folder); err != nil {
		t.Fatalf("%q, %v", out, err)
	}
	before := objstoretest.Tree(t, folder)
	if out, err := run(t, folder, "--list"); err != nil || !strings.Contains(out, "whole") {
		t.Errorf("%q, %v", out, err)
	}
	if after := objstoretest.Tree(t, folder); !slices.Equal(after, before) {
		t.Errorf("before\n%s\nand after\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// A snapshot of an old copy would be the newest, and those that have more would go in time.
func TestStoreBehindItsNewestSnapshotIsRefused(t *testing.T) {
	folder := t.TempDir()
	if _, err := run(t, folder); err != nil {
		t.Fatal(err)
	}
	manifests, err := filepath.Glob(filepath.Join(folder, "objects", "snapshots", "*", "manifest.json"))
	if err != nil || len(manifests) != 1 {
		t.Fatalf("manifests: %v, %v", manifests, err)
	}
	var m map[string]any
	b, err := os.ReadFile(manifests[0])
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	m["last_seq"] = 1000
	if b, err = json.Marshal(m); err == nil {
		err = os.WriteFile(manifests[0], b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, folder); err == nil || !strings.Contains(err.Error(), "it is an old copy") {
		t.Errorf("got %q, %v", out, err)
	}
}

// A snapshot of another store would be restored as this one's.
func TestAnotherClustersBucketIsRefused(t *testing.T) {
	one, other := t.TempDir(), t.TempDir()
	if _, err := run(t, one); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, other, "--objects", "file:"+filepath.Join(one, "objects"))
	if err == nil || !strings.Contains(err.Error(), "belongs to the cluster") {
		t.Errorf("got %q, %v", out, err)
	}
}
