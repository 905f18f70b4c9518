package metadatatest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// FileRow is what the database says of one file.
type FileRow struct {
	ID       uuid.UUID
	Size     int64
	Level    int16
	Seq      int64
	LiveRuns int
	// LiveBytes is the size without the stored bytes of runs that are gone.
	LiveBytes int64
	// Dead: the row says that the file has no run, and the rest, but for Size, is 0.
	Dead bool
	// Keys is how many runs it came with.
	Keys int
}

// checkFiles: rows cover all offsets of each partition from its log start on once; what files say of their
// runs is what the rows say; and a file without runs is dead, once.
func (f *fixture) checkFiles() {
	f.Helper()
	runs, bytes := map[uuid.UUID]int{}, map[uuid.UUID]int64{}
	rows := map[metadata.PartitionID][]metadata.Run{}
	for _, r := range f.db.Runs(f) {
		rows[r.Partition] = append(rows[r.Partition], r)
		if r.Encoding != metadata.EncodingMarker {
			runs[r.FileID]++
			bytes[r.FileID] += int64(r.StoredSize)
		}
	}
	for _, file := range f.db.Files(f) {
		n, known := runs[file.ID]
		delete(runs, file.ID)
		switch {
		case file.Dead && !known:
		case file.Dead:
			f.Errorf("file %s is dead, with %d rows", file.ID, n)
		case !known:
			f.Errorf("file %s lives without a row, or is there twice: %+v", file.ID, file)
		case file.LiveRuns != n || file.Keys < n || file.LiveBytes > file.Size || file.Level != 0 && file.LiveBytes < bytes[file.ID]:
			f.Errorf("file %+v has %d rows of %d bytes", file, n, bytes[file.ID])
		}
	}
	for id, n := range runs {
		f.Errorf("file %s is unknown, with %d rows", id, n)
	}
	topics, _, err := f.store.ListTopics(f.ctx)
	f.must(err)
	var partitions []metadata.PartitionID
	for _, topic := range topics {
		partitions = append(partitions, topic.Partitions...)
	}
	bounds, err := f.store.Bounds(f.ctx, partitions)
	f.must(err)
	for i, b := range bounds {
		id := partitions[i]
		// Before the log start there may be holes: trimming passes over rows that somebody replaces just then.
		rows[id] = slices.DeleteFunc(rows[id], func(r metadata.Run) bool { return r.NextOffset() <= b.LogStartOffset })
		if len(rows[id]) == 0 {
			if b.LogStartOffset != b.NextOffset {
				f.Errorf("partition %d has no rows: %+v", id, b)
			}
			continue
		}
		first := rows[id][0].BaseOffset
		if first > b.LogStartOffset {
			f.Errorf("partition %d starts at %d, its rows at %d", id, b.LogStartOffset, first)
		}
		checkContiguousFrom(f, rows[id], first, b.NextOffset)
	}
}

// file returns what the database says of the file.
func (f *fixture) file(id uuid.UUID) FileRow {
	f.Helper()
	for _, file := range f.db.Files(f) {
		if file.ID == id {
			return file
		}
	}
	f.Fatalf("no file %s", id)
	return FileRow{}
}

// claimAll is a claim of a level for a minute, of any two files or more.
func claimAll(level int16) metadata.FileClaim {
	return metadata.FileClaim{
		Holder: uuid.New(), For: time.Minute, Level: level,
		MaxFiles: 1000, MaxBytes: 1 << 40, MaxRuns: 1000, Due: time.Nanosecond,
	}
}

// claimFiles requires as many.
func (f *fixture) claimFiles(claim metadata.FileClaim, want int) []metadata.ClaimedFile {
	f.Helper()
	files, err := f.store.ClaimFiles(f.ctx, claim)
	f.must(err)
	if len(files) != want {
		f.Fatalf("claimed %d files, want %d: %+v", len(files), want, files)
	}
	return files
}

func (f *fixture) replace(r metadata.Replacement, want ...bool) {
	f.Helper()
	taken, err := f.store.ReplaceRuns(f.ctx, r)
	f.must(err)
	if !slices.Equal(taken, want) {
		f.Fatalf("taken: %v, want %v", taken, want)
	}
}

// replacement is a new file, of level 1, each of whose runs replaces some rows.
func replacement(t testing.TB, replaced ...[]metadata.Run) metadata.Replacement {
	t.Helper()
	r := metadata.Replacement{FileID: newFile(t).ID, Level: 1, Seq: 1}
	for _, rows := range replaced {
		last := rows[len(rows)-1]
		n := metadata.NewRun{Run: metadata.Run{
			Partition: last.Partition, BaseOffset: rows[0].BaseOffset, Records: int32(last.NextOffset() - rows[0].BaseOffset), FileID: r.FileID,
			Encoding: metadata.EncodingFramed, Position: r.Size, MaxTimestamp: last.MaxTimestamp, Merged: true,
		}}
		for _, row := range rows {
			n.Replaces = append(n.Replaces, metadata.RunKey{BaseOffset: row.BaseOffset, FileID: row.FileID})
			n.Size += row.Size
		}
		n.StoredSize = n.Size/2 + 1
		r.Size += int64(n.StoredSize)
		r.Runs = append(r.Runs, n)
	}
	return r
}

// rows are those of the partition, all of them.
func (f *fixture) rows(partition metadata.PartitionID) (rows []metadata.Run) {
	f.Helper()
	for _, r := range f.db.Runs(f) {
		if r.Partition == partition {
			rows = append(rows, r)
		}
	}
	return rows
}

func fileIDs(files []metadata.ClaimedFile) (ids []uuid.UUID) {
	for _, file := range files {
		ids = append(ids, file.ID)
	}
	return ids
}
