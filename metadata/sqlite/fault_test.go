package sqlite

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/metadatatest"
)

func createTopic(t *testing.T, s *Store) metadata.PartitionID {
	t.Helper()
	topic, err := s.CreateTopic(t.Context(), metadata.NewTopic{Name: "t", Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	return topic.Partitions[0]
}

func newFile(partition metadata.PartitionID) metadata.File {
	batch := metadata.Batch{Size: 10, Records: 1, MaxTimestamp: 1, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
	return metadata.File{ID: uuid.Must(uuid.NewV7()), Size: 10, Appends: []metadata.Append{{Partition: partition, StoredSize: 10, Batches: []metadata.Batch{batch}}}}
}

func nextOffset(t *testing.T, s *Store, partition metadata.PartitionID) int64 {
	t.Helper()
	bounds, err := s.Bounds(t.Context(), []metadata.PartitionID{partition})
	if err != nil {
		t.Fatal(err)
	}
	return bounds[0].NextOffset
}

func TestFullDisk(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "metadata.db"))
	partition := createTopic(t, s)
	// SQLite's own limit on the file's size fails in the same way as the disk.
	var pages int
	if err := s.writer.QueryRowContext(t.Context(), `PRAGMA page_count`).Scan(&pages); err != nil {
		t.Fatal(err)
	}
	limit := func(n int) {
		t.Helper()
		if _, err := s.writer.ExecContext(t.Context(), fmt.Sprintf(`PRAGMA max_page_count = %d`, n)); err != nil {
			t.Fatal(err)
		}
	}
	limit(pages)
	committed := int64(0)
	for ; ; committed++ {
		_, err := s.CommitFiles(t.Context(), []metadata.File{newFile(partition)})
		if err == nil && committed < 10_000 {
			continue
		}
		if !errors.Is(err, metadata.ErrUnavailable) || !strings.Contains(err.Error(), "the disk is full") || !strings.Contains(err.Error(), s.path) {
			t.Fatalf("got %v", err)
		}
		break
	}
	if got := nextOffset(t, s, partition); got != committed {
		t.Fatalf("next offset %d after %d commits", got, committed)
	}
	limit(1 << 30)
	if _, err := s.CommitFiles(t.Context(), []metadata.File{newFile(partition)}); err != nil {
		t.Fatal(err)
	}
}

func TestReadOnlyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metadata.db")
	s := open(t, path)
	partition := createTopic(t, s)
	// The rights on a file don't bind the superuser, whom tests may run as; a
	// connection that was opened read-only fails in the same way.
	frozen, err := sql.Open("sqlite", dsn(path)+"&mode=ro&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	readOnly := &Store{path: path, writer: frozen, reader: s.reader}
	defer func() {
		if err := errors.Join(readOnly.prepared.close(), frozen.Close()); err != nil {
			t.Error(err)
		}
	}()
	if err := readOnly.prepared.prepare(t.Context(), frozen, s.reader); err != nil {
		t.Fatal(err)
	}
	_, err = readOnly.CommitFiles(t.Context(), []metadata.File{newFile(partition)})
	if !errors.Is(err, metadata.ErrUnavailable) || !strings.Contains(err.Error(), "make both writable") || !strings.Contains(err.Error(), path) {
		t.Fatalf("got %v", err)
	}
}

func TestOpenSaysWhatToDo(t *testing.T) {
	folder := t.TempDir()
	garbage := filepath.Join(folder, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("this is no database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, url, text string }{
		{"no path", "sqlite:", "--metadata: want sqlite:PATH"},
		{"in memory", "sqlite::memory:", "--metadata: want sqlite:PATH"},
		{"a host", "sqlite://host/file.db", "--metadata: want sqlite:PATH"},
		{"a folder", folder, "can't be opened or made; check the path in --metadata"},
		{"a file for a folder", garbage + "/metadata.db", "make the folder of the database"},
		{"another file", garbage, "no SQLite database; name another one in --metadata"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Open(t.Context(), c.url)
			if err == nil {
				t.Fatal("opened", s.Close())
			}
			if !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %q", err, c.text)
			}
		})
	}
}

func TestPathsAreTakenLiterally(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, url := range []string{"sqlite:new/folder/a.db", "sqlite:50%?#&.db", "sqlite://" + filepath.Join(t.TempDir(), "abs.db"), "bare.db"} {
		s := open(t, url)
		createTopic(t, s)
		if _, err := os.Stat(s.path); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestSchemaVersions(t *testing.T) {
	d := database{filepath.Join(t.TempDir(), "metadata.db")}
	from, to, err := Migrate(t.Context(), "sqlite:"+d.path, false)
	if err != nil || from != 0 || to < 1 {
		t.Fatalf("from %d to %d, %v", from, to, err)
	}
	open(t, d.path)
	if _, err := d.raw(t).ExecContext(t.Context(), `INSERT INTO schema_version (version_id, is_applied) VALUES (99999, true); UPDATE sequencer SET compatible_from = 99999`); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), d.path); !errors.Is(err, metadata.ErrSchema) || !strings.Contains(err.Error(), "newer wadi") {
		t.Errorf("newer database: %v", err)
	}
}

func TestDeletedFileIsNotReady(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "metadata.db"))
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, metadata.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
}

func TestCommitWaitsNoLongerThanItsDeadline(t *testing.T) {
	d := database{filepath.Join(t.TempDir(), "metadata.db")}
	s := open(t, d.path)
	partition := createTopic(t, s)
	holder, err := d.raw(t).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := holder.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := holder.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.CommitFiles(ctx, []metadata.File{newFile(partition)}); !errors.Is(err, metadata.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	if got := nextOffset(t, s, partition); got != 0 { // readers never wait
		t.Fatalf("next offset %d", got)
	}
	if _, err := holder.ExecContext(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CommitFiles(t.Context(), []metadata.File{newFile(partition)}); err != nil {
		t.Fatal(err)
	}
}

// childPath, in the environment, makes this test binary the second process of
// TestTwoProcesses: it commits to partition 1 and prints each file that is
// acknowledged, until it is killed.
const childPath = "WADI_TEST_SQLITE_CHILD"

func runChild(path string) error {
	s, err := Open(context.Background(), path)
	if err != nil {
		return err
	}
	if os.Getenv(childCounts) != "" {
		return countInGroup(context.Background(), s, func(count int) error {
			_, err := fmt.Println(count)
			return err
		})
	}
	if os.Getenv(childTransactions) != "" {
		return runTransactions(context.Background(), s, func(n int64) error {
			_, err := fmt.Println(n)
			return err
		})
	}
	if os.Getenv(childMerges) != "" {
		return mergeOn(context.Background(), s, func(id uuid.UUID) error {
			_, err := fmt.Println(id)
			return err
		})
	}
	for {
		file := newFile(1)
		var result metadata.CommitResult
		if err := metadatatest.Patiently(func() (err error) {
			result, err = s.CommitFiles(context.Background(), []metadata.File{file})
			return err
		}); err != nil {
			return err
		}
		if _, err := fmt.Println(file.ID, result.Files[0].Outcomes[0][0].BaseOffset); err != nil {
			return err
		}
	}
}

// startChild starts this test binary as a second process on the database. The variables,
// NAME=value, say what it does there.
func startChild(t *testing.T, path string, variables ...string) (child *exec.Cmd, out io.Reader) {
	t.Helper()
	child = exec.Command(os.Args[0])
	child.Env = append(append(os.Environ(), childPath+"="+path), variables...)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	return child, out
}

// TestTwoProcesses: two processes take turns on one file, and one of them is
// killed in the middle. What it acknowledged stays, and nothing is torn.
func TestTwoProcesses(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "metadata.db"))
	partition := createTopic(t, s)
	if partition != 1 {
		t.Fatalf("partition %d", partition)
	}
	child, out := startChild(t, s.path)
	acknowledged := map[string]int64{}
	lines := bufio.NewScanner(out)
	scan := func() {
		var id string
		var offset int64
		if n, _ := fmt.Sscan(lines.Text(), &id, &offset); n == 2 {
			acknowledged[id] = offset
		}
	}
	own := int64(0)
	for len(acknowledged) < 50 && lines.Scan() {
		scan()
		file := newFile(partition)
		if err := metadatatest.Patiently(func() error { _, err := s.CommitFiles(t.Context(), []metadata.File{file}); return err }); err != nil {
			t.Error(err)
			break
		}
		own++
	}
	if err := child.Process.Kill(); err != nil {
		t.Error(err)
	}
	for lines.Scan() {
		scan()
	}
	_, _ = io.Copy(io.Discard, out)
	_ = child.Wait() // killed
	if len(acknowledged) < 50 {
		t.Fatalf("the other process acknowledged %d files", len(acknowledged))
	}

	offset, found := int64(0), 0
	for {
		some, err := s.FindRuns(t.Context(), []metadata.RunQuery{{Partition: partition, Offset: offset, MaxBytes: 1 << 30, MaxRuns: metadata.MaxRuns}})
		if err != nil {
			t.Fatal(err)
		}
		if len(some[0].Runs) == 0 {
			break
		}
		for _, r := range some[0].Runs {
			if r.BaseOffset != offset {
				t.Fatalf("run %+v after offset %d", r, offset)
			}
			if want, ok := acknowledged[r.FileID.String()]; ok {
				found++
				if want != r.BaseOffset {
					t.Errorf("file %s was acknowledged at %d and lies at %d", r.FileID, want, r.BaseOffset)
				}
			}
			offset = r.NextOffset()
		}
	}
	// The file that was under way when the process was killed may be there, too.
	total := own + int64(len(acknowledged))
	if found != len(acknowledged) || offset < total || offset > total+1 {
		t.Fatalf("%d of %d acknowledged files found, %d records, %d own", found, len(acknowledged), offset, own)
	}
}
