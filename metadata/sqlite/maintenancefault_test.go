package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/metadatatest"
)

// replacementOf is a file whose one run takes the place of the rows.
func replacementOf(rows ...metadata.Run) metadata.Replacement {
	last := rows[len(rows)-1]
	id := uuid.Must(uuid.NewV7())
	run := metadata.NewRun{Run: metadata.Run{
		Partition: last.Partition, BaseOffset: rows[0].BaseOffset, Records: int32(last.NextOffset() - rows[0].BaseOffset), FileID: id,
		StoredSize: 50, Size: 50, MaxTimestamp: last.MaxTimestamp, Merged: true,
	}}
	for _, r := range rows {
		run.Replaces = append(run.Replaces, metadata.RunKey{BaseOffset: r.BaseOffset, FileID: r.FileID})
	}
	return metadata.Replacement{FileID: id, Size: 100, Level: 1, Runs: []metadata.NewRun{run}}
}

// TestReplacementThatFailsHalfWay, and so trimming what it replaced: each statement of it in turn.
func TestReplacementThatFailsHalfWay(t *testing.T) {
	d := database{filepath.Join(t.TempDir(), "metadata.db")}
	s := open(t, d.path)
	partition := createTopic(t, s)
	for range 3 {
		if _, err := s.CommitFiles(t.Context(), []metadata.File{newFile(partition)}); err != nil {
			t.Fatal(err)
		}
	}
	r := replacementOf(d.Runs(t)[:2]...)
	db := d.raw(t)
	for _, c := range []struct {
		name   string
		steps  []string
		change func() error
	}{
		{"replace", []string{
			"DELETE ON runs", "INSERT ON runs", "UPDATE ON files", "INSERT ON dead_files", "DELETE ON files", "DELETE ON file_keys", "INSERT ON files", "INSERT ON file_keys",
		}, func() error {
			taken, err := s.ReplaceRuns(t.Context(), r)
			if err == nil && !taken[0] {
				err = errors.New("not taken")
			}
			return err
		}},
		{"trim", []string{"DELETE ON runs", "UPDATE ON files", "INSERT ON dead_files", "DELETE ON files", "DELETE ON file_keys", "DELETE ON aborted_transactions"}, func() error {
			_, err := s.TrimRuns(t.Context(), 10)
			return err
		}},
		{"forget", []string{"DELETE ON dead_files"}, func() error { return s.ForgetFiles(t.Context(), []uuid.UUID{r.FileID}) }},
	} {
		if c.name == "trim" {
			d.SetLogStart(t, partition, 3)
			// An abort whose marker the merge took in.
			if _, err := db.ExecContext(t.Context(), `INSERT INTO aborted_transactions (partition_id, last_offset, first_offset, stable_offset, producer_id) VALUES (?, 1, 0, 2, 7)`, partition); err != nil {
				t.Fatal(err)
			}
		}
		runs, files := d.Runs(t), d.Files(t)
		for _, step := range c.steps {
			if _, err := db.ExecContext(t.Context(), `CREATE TRIGGER fail BEFORE `+step+` BEGIN SELECT RAISE(ABORT, 'injected'); END`); err != nil {
				t.Fatal(err)
			}
			if err := c.change(); err == nil || !strings.Contains(err.Error(), "injected") {
				t.Errorf("%s, %s: got %v", c.name, step, err)
			}
			if gotRuns, gotFiles := d.Runs(t), d.Files(t); !reflect.DeepEqual(gotRuns, runs) || !reflect.DeepEqual(gotFiles, files) {
				t.Errorf("%s, %s: got\n%+v\n%+v\nwant\n%+v\n%+v", c.name, step, gotRuns, gotFiles, runs, files)
			}
			if _, err := db.ExecContext(t.Context(), `DROP TRIGGER fail`); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.change(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		metadatatest.Check(t, d)
		if reflect.DeepEqual(d.Files(t), files) {
			t.Errorf("%s changed nothing", c.name)
		}
	}
}

// childMerges, in the environment, makes the second process (see childPath) merge what it commits.
const childMerges = "WADI_TEST_SQLITE_CHILD_MERGES"

// mergeOn commits files, four at a time, and merges them with what it merged before; now
// and then it deletes all. It tells of each merged file that stands.
func mergeOn(ctx context.Context, s *Store, tell func(id uuid.UUID) error) error {
	for n := 0; ; n++ {
		for range 4 {
			if _, err := s.CommitFiles(ctx, []metadata.File{newFile(1)}); err != nil {
				return err
			}
		}
		if n%5 == 4 {
			if _, err := s.DeleteRecords(ctx, []metadata.RecordsDeletion{{Partition: 1, Before: metadata.AllRecords}}); err != nil {
				return err
			}
			continue
		}
		claim := metadata.FileClaim{Holder: uuid.New(), For: time.Minute, MaxFiles: 4, MaxBytes: 1 << 30, MaxRuns: 100}
		files, err := s.ClaimFiles(ctx, claim)
		if err != nil {
			return err
		}
		var rows []metadata.Run
		for _, file := range files {
			rows = append(rows, file.Runs...)
		}
		r := replacementOf(rows...)
		taken, err := s.ReplaceRuns(ctx, r)
		if err == nil && !taken[0] {
			err = fmt.Errorf("%+v was not taken", r)
		}
		if err == nil {
			err = tell(r.FileID)
		}
		if err != nil {
			return err
		}
	}
}

// TestKilledWhileItMerges: whatever a process was doing when it was killed, the index is whole,
// and what it was told is true.
func TestKilledWhileItMerges(t *testing.T) {
	d := database{filepath.Join(t.TempDir(), "metadata.db")}
	s := open(t, d.path)
	if partition := createTopic(t, s); partition != 1 {
		t.Fatalf("partition %d", partition)
	}
	child, out := startChild(t, s.path, childMerges+"=1")
	var merged []uuid.UUID
	for lines := bufio.NewScanner(out); lines.Scan(); {
		id, err := uuid.Parse(lines.Text())
		if err != nil {
			t.Error(err)
		}
		if merged = append(merged, id); len(merged) == 20 {
			if err := child.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	_ = child.Wait() // killed
	if len(merged) < 20 {
		t.Fatalf("the other process merged %d files", len(merged))
	}
	known, err := s.KnownFiles(t.Context(), merged)
	if err != nil || slices.Contains(known, false) {
		t.Errorf("of the merged files are known: %v, %v", known, err)
	}
	metadatatest.Check(t, d)
}
