// Package metadatatest is the contract of metadata.Store as a test suite: both
// stores pass it, and a third would have to.
//
// Each test gets a fresh database and may open several stores on it, as several
// agents would. After each test the suite checks what must hold at all times:
// every offset lies in one row, every file's live runs equal its rows and files without any
// are dead, the feed has no gaps, and nothing is left of groups that are gone and transactions that ended.
package metadatatest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// Database is a fresh, empty metadata database.
type Database interface {
	// Open opens one more store on the database. The database closes it when the
	// test ends.
	Open(t testing.TB) metadata.Store
	// Age makes everything that is stored older by d: feed entries, producer
	// states, agents' beats, transactions, files, claims, leases, compactions, and what is
	// noted, committed, put aside and due of groups. (IDs of files, and what agents heard of members, keep the times
	// that are in them.)
	Age(t testing.TB, d time.Duration)
	// FileCounts returns each file's live-run counter, and the number of rows of
	// the index that name it; also files that have only one of the two. Markers name none.
	FileCounts(t testing.TB) map[uuid.UUID]FileCount
	// Runs returns all rows of the index, ascending by partition and offset.
	Runs(t testing.TB) []metadata.Run
	// Files returns all rows about data files, live and dead.
	Files(t testing.TB) []FileRow
	// GroupLeftovers counts states, offsets and beats without their group, and
	// groups without their state.
	GroupLeftovers(t testing.TB) int
	// TransactionLeftovers counts partitions, groups and offsets that are in no open
	// transaction, offsets put aside for groups that are gone, and aborted
	// transactions of which no run has the marker.
	TransactionLeftovers(t testing.TB) int
	// CompactionLeftovers counts what is noted of compacting partitions that are gone.
	CompactionLeftovers(t testing.TB) int
	// AddFeedEntry appends an entry with the payload, past the store's back.
	AddFeedEntry(t testing.TB, payload []byte)
	// SetLogStart moves a partition's log start and leaves the runs before it, as
	// an agent that dies in DeleteRecords does.
	SetLogStart(t testing.TB, partition metadata.PartitionID, offset int64)
	// LoseChanges takes back the newest n changes, which must be commits of data files without transactions or of nothing, as a replica
	// that lagged by them when it was promoted. What it returns brings them back, and takes back all that came
	// since, as the former primary.
	LoseChanges(t testing.TB, n int) (bringBack func())
	// SetProducerEpoch sets the epoch of a transactional ID, past the store's back.
	SetProducerEpoch(t testing.TB, id string, epoch int16)
}

// FileCount is what the database says of one file.
type FileCount struct {
	LiveRuns int
	Rows     int
}

// Run runs the suite, but for the groups of tests of those names. create makes a fresh database.
func Run(t *testing.T, create func(t testing.TB) Database, except ...string) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"Commit", commitTests},
		{"Producer", producerTests},
		{"Feed", feedTests},
		{"Halts", haltTests},
		{"Runs", runTests},
		{"Records", recordTests},
		{"Topics", topicTests},
		{"Configs", configTests},
		{"Agents", agentTests},
		{"Groups", groupTests},
		{"GroupOffsets", offsetTests},
		{"Transactions", transactionTests},
		{"Claims", claimTests},
		{"Replace", replaceTests},
		{"Retention", retentionTests},
		{"Upkeep", upkeepTests},
		{"Maintenance", randomMaintenanceTests},
		{"Snapshots", snapshotTests},
	} {
		if slices.Contains(except, group.name) {
			continue
		}
		for _, test := range group.tests {
			t.Run(group.name+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, create(t))
				f.create = create
				test.run(f)
				f.checkInvariants()
			})
		}
	}
}

// Check checks what must hold of a database at all times.
func Check(t testing.TB, db Database) {
	t.Helper()
	newFixture(t, db).checkInvariants()
}

type test struct {
	name string
	run  func(f *fixture)
}

// fixture is one test's database with a first store on it.
type fixture struct {
	testing.TB
	ctx   context.Context
	db    Database
	store metadata.Store
	// create makes another database.
	create func(testing.TB) Database
}

func newFixture(t testing.TB, db Database) *fixture {
	return &fixture{TB: t, ctx: t.Context(), db: db, store: db.Open(t)}
}

// other is the same database through a store of its own.
func (f *fixture) other() *fixture {
	return &fixture{TB: f.TB, ctx: f.ctx, db: f.db, store: f.db.Open(f), create: f.create}
}

func (f *fixture) checkInvariants() {
	f.Helper()
	if _, cannot := f.db.(bare); cannot {
		return
	}
	for id, count := range f.db.FileCounts(f) {
		if count.LiveRuns != count.Rows {
			f.Errorf("file %s: %d live runs, but %d rows", id, count.LiveRuns, count.Rows)
		}
	}
	f.checkFiles()
	if n := f.db.GroupLeftovers(f); n != 0 {
		f.Errorf("%d rows of groups that are gone", n)
	}
	if n := f.db.TransactionLeftovers(f); n != 0 {
		f.Errorf("%d rows of transactions that ended", n)
	}
	if n := f.db.CompactionLeftovers(f); n != 0 {
		f.Errorf("%d rows of compacting partitions that are gone", n)
	}
	last, err := f.store.LastSeq(f.ctx)
	f.must(err)
	commits := f.feed(0)
	if len(commits) == 0 {
		if last != 0 {
			f.Errorf("the feed is empty, but its last number is %d", last)
		}
		return
	}
	for i, c := range commits {
		if want := last - int64(len(commits)-1-i); c.Seq != want {
			f.Errorf("entry %d of %d has number %d, want %d", i, len(commits), c.Seq, want)
		}
	}
}

// feed reads all entries after the number, a few at a time.
func (f *fixture) feed(after int64) []metadata.Commit {
	f.Helper()
	var all []metadata.Commit
	for {
		some, err := f.store.Commits(f.ctx, after, 7)
		f.must(err)
		if len(some) == 0 {
			return all
		}
		all = append(all, some...)
		after = some[len(some)-1].Seq
	}
}

// news is the feed without the entries that say nothing, of producer IDs that were handed out.
func (f *fixture) news() []metadata.Commit {
	f.Helper()
	return slices.DeleteFunc(f.feed(0), func(c metadata.Commit) bool { return reflect.DeepEqual(c, metadata.Commit{Seq: c.Seq}) })
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) wantErr(err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Fatalf("got error %v, want %v", err, want)
	}
}

func (f *fixture) topic(name string, partitions int32) metadata.Topic {
	f.Helper()
	topic, err := f.store.CreateTopic(f.ctx, metadata.NewTopic{Name: name, Partitions: partitions})
	f.must(err)
	return topic
}

// commit commits through the fixture's store and requires success.
func (f *fixture) commit(files ...metadata.File) metadata.CommitResult {
	f.Helper()
	result, err := f.store.CommitFiles(f.ctx, files)
	f.must(err)
	if len(result.Files) != len(files) {
		f.Fatalf("%d results for %d files", len(result.Files), len(files))
	}
	return result
}

// commitOne commits one batch in a file of its own and returns its outcome.
func (f *fixture) commitOne(partition metadata.PartitionID, b metadata.Batch) metadata.Outcome {
	f.Helper()
	return f.commit(newFile(f, appendTo(partition, b))).Files[0].Outcomes[0][0]
}

func (f *fixture) bounds(partition metadata.PartitionID) metadata.Bounds {
	f.Helper()
	bounds, err := f.store.Bounds(f.ctx, []metadata.PartitionID{partition})
	f.must(err)
	return bounds[0]
}

// runs reads all runs of a partition from its log start.
func (f *fixture) runs(partition metadata.PartitionID) []metadata.Run {
	f.Helper()
	var all []metadata.Run
	for offset := int64(0); ; {
		found, err := f.store.FindRuns(f.ctx, []metadata.RunQuery{{Partition: partition, Offset: offset, MaxBytes: 1 << 40, MaxRuns: 1000}})
		f.must(err)
		if len(found[0].Runs) == 0 {
			return all
		}
		all = append(all, found[0].Runs...)
		offset = all[len(all)-1].NextOffset()
	}
}

// noneOpen are the bounds of a partition in which no transaction is open.
func noneOpen(b metadata.Bounds) metadata.Bounds {
	b.StableOffset = b.NextOffset
	return b
}

// wantOutcome compares; Err by errors.Is.
func (f *fixture) wantOutcome(got, want metadata.Outcome) {
	f.Helper()
	if got.BaseOffset != want.BaseOffset || got.Duplicate != want.Duplicate || !errors.Is(got.Err, want.Err) {
		f.Fatalf("got %+v, want %+v", got, want)
	}
}

func accepted(offset int64) metadata.Outcome { return metadata.Outcome{BaseOffset: offset} }
func duplicate(offset int64) metadata.Outcome {
	return metadata.Outcome{BaseOffset: offset, Duplicate: true}
}
func refused(err error) metadata.Outcome { return metadata.Outcome{BaseOffset: -1, Err: err} }

// plain is a batch without idempotence, of 10 bytes a record.
func plain(records int32, timestamp int64) metadata.Batch {
	return metadata.Batch{Size: 10 * records, Records: records, MaxTimestamp: timestamp, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
}

// idempotent is a batch of a producer.
func idempotent(producer int64, epoch int16, sequence, records int32) metadata.Batch {
	b := plain(records, 1)
	b.ProducerID, b.ProducerEpoch, b.BaseSequence = producer, epoch, sequence
	return b
}

// appendTo is a raw append at position 100.
func appendTo(partition metadata.PartitionID, batches ...metadata.Batch) metadata.Append {
	a := metadata.Append{Partition: partition, Position: 100, Batches: batches}
	for _, b := range batches {
		a.StoredSize += b.Size
	}
	return a
}

func newFile(t testing.TB, appends ...metadata.Append) metadata.File {
	t.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	return metadata.File{ID: id, Size: 1 << 20, Appends: appends}
}

// datedFile is a file whose ID says that it was made at the time.
func datedFile(t testing.TB, at time.Time, appends ...metadata.Append) metadata.File {
	t.Helper()
	f := newFile(t, appends...)
	ms := at.UnixMilli()
	for i := range 6 {
		f.ID[i] = byte(ms >> (40 - 8*i))
	}
	return f
}

// checkContiguous: the runs start at 0 and follow one another without gaps, and
// their timestamps never fall.
func checkContiguous(t testing.TB, runs []metadata.Run, nextOffset int64) {
	t.Helper()
	checkContiguousFrom(t, runs, 0, nextOffset)
}

func checkContiguousFrom(t testing.TB, runs []metadata.Run, offset, nextOffset int64) {
	t.Helper()
	timestamp := int64(-1)
	for _, r := range runs {
		if r.BaseOffset != offset || r.Records < 1 || r.MaxTimestamp < timestamp {
			t.Fatalf("run %+v does not follow offset %d and timestamp %d", r, offset, timestamp)
		}
		offset, timestamp = r.NextOffset(), r.MaxTimestamp
	}
	if offset != nextOffset {
		t.Fatalf("the runs end at %d, the partition at %d", offset, nextOffset)
	}
}

func sortRuns(runs []metadata.Run) {
	slices.SortFunc(runs, func(a, b metadata.Run) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.BaseOffset, b.BaseOffset))
	})
}

// seeded runs a random test a few times under names that reproduce it.
func seeded(name string, run func(f *fixture, seed uint64)) []test {
	var tests []test
	for seed := range uint64(3) {
		tests = append(tests, test{fmt.Sprintf("%s,seed=%d", name, seed), func(f *fixture) { run(f, seed) }})
	}
	return tests
}
