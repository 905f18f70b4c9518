package sqlite

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// TestLargeReplacementLetsOthersCommit: one that takes several transactions is ended by what happens
// between them, and all counts are right whatever that is.
func TestLargeReplacementLetsOthersCommit(t *testing.T) {
	const parts, rows = 3, replaceAtOnce/2 + 10
	for name, c := range map[string]struct {
		meanwhile func(t *testing.T, s *Store, r *replacing)
		want      []bool
	}{
		"nothing": {func(*testing.T, *Store, *replacing) {}, []bool{true, true, true}},
		"the same is asked for again": {func(t *testing.T, s *Store, r *replacing) {
			taken, err := s.ReplaceRuns(t.Context(), r.Replacement)
			if want := []bool{true, false, false}; err != nil || !slices.Equal(taken, want) {
				t.Errorf("got %v, %v, want %v", taken, err, want)
			}
		}, []bool{true, true, true}},
		"what it has so far goes": {func(t *testing.T, s *Store, r *replacing) {
			first := r.Runs[0]
			if _, err := s.DeleteRecords(t.Context(), []metadata.RecordsDeletion{{Partition: first.Partition, Before: first.NextOffset()}}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.TrimRuns(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
		}, []bool{true, false, false}},
		"another one comes first": {func(t *testing.T, s *Store, r *replacing) {
			rival := replacementOf(database{s.path}.rowsOf(t, r.Runs[2].Partition)[:2]...)
			if taken, err := s.ReplaceRuns(t.Context(), rival); err != nil || !taken[0] {
				t.Fatal(taken, err)
			}
		}, []bool{true, true, false}},
	} {
		t.Run(name, func(t *testing.T) {
			d := database{filepath.Join(t.TempDir(), "metadata.db")}
			s := open(t, d.path)
			topic, err := s.CreateTopic(t.Context(), metadata.NewTopic{Name: "large", Partitions: parts})
			if err != nil {
				t.Fatal(err)
			}
			for range rows {
				file := newFile(topic.Partitions[0])
				for _, p := range topic.Partitions[1:] {
					file.Appends = append(file.Appends, newFile(p).Appends...)
				}
				file.Size = 10 * parts
				if _, err := s.CommitFiles(t.Context(), []metadata.File{file}); err != nil {
					t.Fatal(err)
				}
			}
			r := metadata.Replacement{FileID: uuid.Must(uuid.NewV7()), Size: parts * 50, Level: 1}
			for i, p := range topic.Partitions {
				one := replacementOf(d.rowsOf(t, p)...).Runs[0]
				one.FileID, one.Position = r.FileID, int64(50*i)
				r.Runs = append(r.Runs, one)
			}
			begun := &replacing{Replacement: r, taken: make([]bool, parts)}
			begun.advance()
			if err := s.change(t.Context(), "begin to replace runs", begun.do); err != nil {
				t.Fatal(err)
			}
			c.meanwhile(t, s, begun)
			for begun.to < parts && !begun.over {
				begun.advance()
				if err := s.change(t.Context(), "go on replacing runs", begun.do); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(begun.taken, c.want) {
				t.Errorf("taken %v, want %v", begun.taken, c.want)
			}
			d.checkCounts(t)
		})
	}
}

// rowsOf are the rows of one partition.
func (d database) rowsOf(t testing.TB, partition metadata.PartitionID) []metadata.Run {
	return slices.DeleteFunc(d.Runs(t), func(r metadata.Run) bool { return r.Partition != partition })
}

// checkCounts compares what files say of their runs with the runs.
func (d database) checkCounts(t testing.TB) {
	t.Helper()
	var wrong int
	err := d.raw(t).QueryRowContext(t.Context(), `SELECT count(*) FROM files f WHERE live_runs <> (SELECT count(*) FROM runs r WHERE r.file_id = f.id)
		OR live_runs = 0 OR live_bytes < (SELECT sum(stored_size) FROM runs r WHERE r.file_id = f.id) OR live_bytes > size`).Scan(&wrong)
	if err != nil || wrong > 0 {
		t.Errorf("%d files have wrong counts, %v", wrong, err)
	}
	err = d.raw(t).QueryRowContext(t.Context(), `SELECT count(*) FROM runs WHERE file_id NOT IN (SELECT id FROM files)`).Scan(&wrong)
	if err != nil || wrong > 0 {
		t.Errorf("%d runs of files that don't live, %v", wrong, err)
	}
}
