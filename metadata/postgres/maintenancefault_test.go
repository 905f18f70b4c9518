package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/test/harness"
)

// maintained is a database with a partition in which four files of one record each stand.
type maintained struct {
	testing.TB
	database
	s         *Store
	topic     metadata.Topic
	partition metadata.PartitionID
	files     []uuid.UUID
}

func newMaintained(t *testing.T) *maintained {
	t.Helper()
	f := &maintained{TB: t, database: database{url: harness.Postgres(t)}}
	f.s = open(t, f.url)
	topic, err := f.s.CreateTopic(t.Context(), metadata.NewTopic{Name: "t", Partitions: 1})
	f.must(err)
	f.topic, f.partition = topic, topic.Partitions[0]
	for range 4 {
		file := newFile(t, f.partition)
		_, err := f.s.CommitFiles(t.Context(), []metadata.File{file})
		f.must(err)
		f.files = append(f.files, file.ID)
	}
	return f
}

func (f *maintained) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// replacementOf is a file of whose runs each takes the place of some rows.
func replacementOf(groups ...[]metadata.Run) metadata.Replacement {
	r := metadata.Replacement{FileID: uuid.Must(uuid.NewV7()), Size: 100 * int64(len(groups)), Level: 1, Seq: 1}
	for i, rows := range groups {
		first, last := rows[0], rows[len(rows)-1]
		run := metadata.NewRun{Run: metadata.Run{
			Partition: first.Partition, BaseOffset: first.BaseOffset, Records: int32(last.NextOffset() - first.BaseOffset), FileID: r.FileID,
			Position: 100 * int64(i), StoredSize: 50, Size: 50, MaxTimestamp: last.MaxTimestamp, Merged: true,
		}}
		for _, row := range rows {
			run.Replaces = append(run.Replaces, metadata.RunKey{BaseOffset: row.BaseOffset, FileID: row.FileID})
		}
		r.Runs = append(r.Runs, run)
	}
	return r
}

// wantRows requires of the partition rows that begin at the offsets, and that what is
// known of files agrees with them.
func (f *maintained) wantRows(offsets ...int64) {
	f.Helper()
	var got []int64
	live := map[uuid.UUID]int{}
	for _, r := range f.Runs(f) {
		got = append(got, r.BaseOffset)
		live[r.FileID]++
	}
	if !slices.Equal(got, offsets) {
		f.Errorf("rows at %v, want %v", got, offsets)
	}
	for _, file := range f.Files(f) {
		if file.LiveRuns != live[file.ID] || file.Dead != (live[file.ID] == 0) {
			f.Errorf("file %+v has %d rows", file, live[file.ID])
		}
	}
}

func TestReplacementOverBrokenConnection(t *testing.T) {
	for _, c := range []struct {
		name    string
		trigger string
		deliver bool
		want    error
		// replaced tells what became of the first attempt.
		replaced bool
	}{
		{"lock request lost: tried again at once", "FOR UPDATE) r", false, nil, true},
		{"answer to lock request lost: tried again at once", "FOR UPDATE) r", true, nil, true},
		{"COMMIT lost", "COMMIT\x00", false, metadata.ErrOutcomeUnknown, false},
		{"answer to COMMIT lost", "COMMIT\x00", true, metadata.ErrOutcomeUnknown, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newMaintained(t)
			p, through := newProxy(t, f.url)
			s := open(t, through+plainSQL)
			r := replacementOf(f.Runs(t)[1:3])

			p.cutAt(c.trigger, c.deliver)
			taken, err := s.ReplaceRuns(t.Context(), r)
			if !errors.Is(err, c.want) || err == nil && !taken[0] {
				t.Fatalf("taken %v, %v; want %v", taken, err, c.want)
			}
			if c.replaced {
				f.wantRows(0, 1, 3)
			} else {
				f.wantRows(0, 1, 2, 3)
			}
			// The same file again settles it either way, and once more changes nothing.
			for range 2 {
				if taken, err := s.ReplaceRuns(t.Context(), r); err != nil || !taken[0] {
					t.Fatalf("again: taken %v, %v", taken, err)
				}
				f.wantRows(0, 1, 3)
			}
			// Of what was trimmed since, it says that it doesn't stand.
			_, err = f.s.DeleteRecords(t.Context(), []metadata.RecordsDeletion{{Partition: f.partition, Before: 3}})
			f.must(err)
			if taken, err := s.ReplaceRuns(t.Context(), r); err != nil || taken[0] {
				t.Fatalf("trimmed: taken %v, %v", taken, err)
			}
			f.wantRows(3)
		})
	}
}

func TestClaimOverBrokenConnection(t *testing.T) {
	for _, c := range []struct {
		name    string
		trigger string
		deliver bool
		want    error
		// claimed tells what became of the first attempt.
		claimed bool
	}{
		{"lock request lost: tried again at once", "claims_lock", false, nil, true},
		{"COMMIT lost", "COMMIT\x00", false, metadata.ErrOutcomeUnknown, false},
		{"answer to COMMIT lost", "COMMIT\x00", true, metadata.ErrOutcomeUnknown, true},
		{"answer with the runs lost: asked again", "unnest(f.partitions", true, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newMaintained(t)
			p, through := newProxy(t, f.url)
			s := open(t, through+plainSQL)
			claim := metadata.FileClaim{Holder: uuid.New(), For: time.Minute, MaxFiles: 3, MaxBytes: 1 << 30, MaxRuns: 100, Due: time.Nanosecond}

			p.cutAt(c.trigger, c.deliver)
			if _, err := s.ClaimFiles(t.Context(), claim); !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			// Nobody else gets what is claimed, and the same holder gets it again.
			rival := claim
			rival.Holder = uuid.New()
			got, err := f.s.ClaimFiles(t.Context(), rival)
			f.must(err)
			if want := map[bool]int{true: 0, false: 3}[c.claimed]; len(got) != want {
				t.Fatalf("another got %d files, want %d", len(got), want)
			}
			f.must(f.s.ReleaseFiles(t.Context(), rival.Holder, f.files, false))
			got, err = s.ClaimFiles(t.Context(), claim)
			f.must(err)
			if len(got) != 3 || got[2].ID != f.files[2] || len(got[2].Runs) != 1 || got[2].Runs[0].BaseOffset != 2 {
				t.Fatalf("again: %+v", got)
			}
			// Renewing and releasing settle themselves.
			for _, deliver := range []bool{false, true} {
				p.cutAt("claimed_by = NULL", deliver)
				f.must(s.ReleaseFiles(t.Context(), claim.Holder, f.files, false))
			}
			if held, err := s.RenewFiles(t.Context(), claim.Holder, f.files, time.Minute); err != nil || held {
				t.Errorf("renewed what was released: %v, %v", held, err)
			}
		})
	}
}

func TestLeaseOverBrokenConnection(t *testing.T) {
	url := harness.Postgres(t)
	p, through := newProxy(t, url)
	s, other := open(t, through+plainSQL), open(t, url)
	holder := uuid.New()
	for _, deliver := range []bool{false, true} {
		p.cutAt("INSERT INTO leases", deliver)
		if got, err := s.AcquireLease(t.Context(), holder, "work", time.Minute); err != nil || !got {
			t.Fatalf("delivered %v: %v, %v", deliver, got, err)
		}
	}
	if got, err := other.AcquireLease(t.Context(), uuid.New(), "work", time.Minute); err != nil || got {
		t.Fatalf("another got it: %v, %v", got, err)
	}
	p.cutAt("DELETE FROM leases WHERE name", true)
	if err := s.ReleaseLease(t.Context(), holder, "work"); err != nil {
		t.Fatal(err)
	}
	if got, err := other.AcquireLease(t.Context(), uuid.New(), "work", time.Minute); err != nil || !got {
		t.Fatalf("after it was released: %v, %v", got, err)
	}
}

// hold begins a transaction of the test's own with the statements, which lock something.
func (f *maintained) hold(statements ...string) *pgx.Conn {
	f.Helper()
	conn := dial(f, f.url)
	for _, statement := range append([]string{`BEGIN`}, statements...) {
		_, err := conn.Exec(f.Context(), statement)
		f.must(err)
	}
	return conn
}

// meanwhile lets work, which must wait for what the connection holds, get there and
// wait, does what is to be done meanwhile, and lets it go on.
func (f *maintained) meanwhile(holder *pgx.Conn, work, meanwhile func()) {
	f.Helper()
	var wg sync.WaitGroup
	wg.Go(work)
	watch := dial(f, f.url)
	harness.Eventually(f, time.Minute, func() error {
		var waiting int
		err := watch.QueryRow(f.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting)
		if err == nil && waiting == 0 {
			err = errors.New("nobody waits")
		}
		return err
	})
	meanwhile()
	_, err := holder.Exec(f.Context(), `COMMIT`)
	f.must(err)
	wg.Wait()
}

// TestReplacementSeesWhatItWaitedFor: rows were trimmed, or replaced by somebody else, by
// those whom it found at them.
func TestReplacementSeesWhatItWaitedFor(t *testing.T) {
	const trim = `DELETE FROM runs WHERE base_offset <= 1`
	for _, c := range []struct {
		name       string
		statements []string
		// from is the first row that is replaced; all behind it are.
		from  int
		taken bool
		rows  []int64
	}{
		{"trimmed after the log start rose", []string{`UPDATE partitions SET log_start_offset = 2`, trim}, 0, true, []int64{0}},
		{"gone, though the log starts before", []string{trim}, 0, false, []int64{2, 3}},
		{"replaced", []string{`UPDATE runs SET file_id = gen_random_uuid() WHERE base_offset = 1`}, 0, false, []int64{0, 1, 2, 3}},
		{"joined with the row before, which the log start has passed", []string{
			`UPDATE partitions SET log_start_offset = 2`, `DELETE FROM runs WHERE base_offset = 1`, `UPDATE runs SET records = 2 WHERE base_offset = 0`,
		}, 1, false, []int64{0, 2, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newMaintained(t)
			r := replacementOf(f.Runs(t)[c.from:])
			holder := f.hold(append([]string{`SELECT FROM runs WHERE base_offset <= 1 FOR UPDATE`}, c.statements...)...)
			f.meanwhile(holder, func() {
				taken, err := f.s.ReplaceRuns(t.Context(), r)
				if err != nil || taken[0] != c.taken {
					t.Errorf("taken %v, %v; want %v", taken, err, c.taken)
				}
			}, func() {})
			var offsets []int64
			for _, row := range f.Runs(t) {
				offsets = append(offsets, row.BaseOffset)
			}
			if !slices.Equal(offsets, c.rows) {
				t.Errorf("rows at %v, want %v", offsets, c.rows)
			}
		})
	}
}

// TestWhatDeletesAReplacementsRowsComesBackForThem: while a replacement, which has decided,
// waits to write, others can't see its rows; nothing of it may be left in the end.
func TestWhatDeletesAReplacementsRowsComesBackForThem(t *testing.T) {
	for _, c := range []struct {
		name      string
		meanwhile func(f *maintained) error
		again     func(f *maintained) (int, error)
	}{
		{"topic deleted", func(f *maintained) error {
			return f.s.DeleteTopic(f.Context(), f.topic.ID)
		}, func(f *maintained) (int, error) {
			return f.s.ReclaimDeleted(f.Context(), 100)
		}},
		{"records deleted", func(f *maintained) error {
			_, err := f.s.DeleteRecords(f.Context(), []metadata.RecordsDeletion{{Partition: f.partition, Before: 4}})
			return err
		}, func(f *maintained) (int, error) {
			return f.s.TrimRuns(f.Context(), 100)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newMaintained(t)
			r := replacementOf(f.Runs(t))
			holder := f.hold(fmt.Sprintf(`SELECT FROM files WHERE id = '%s' FOR UPDATE`, f.files[0]))
			f.meanwhile(holder, func() {
				if taken, err := f.s.ReplaceRuns(t.Context(), r); err != nil || !taken[0] {
					t.Errorf("taken %v, %v", taken, err)
				}
			}, func() {
				f.must(c.meanwhile(f))
				f.wantRows(0, 1, 2, 3)
			})
			f.wantRows(0)
			for n := 1; n > 0; {
				var err error
				n, err = c.again(f)
				f.must(err)
			}
			f.wantRows()
			var partitions int
			f.must(dial(t, f.url).QueryRow(t.Context(), `SELECT count(*) FROM deleted_partitions`).Scan(&partitions))
			if partitions != 0 || len(f.Files(t)) != 5 {
				t.Errorf("%d deleted partitions are left, and %d dead files of 5", partitions, len(f.Files(t)))
			}
		})
	}
}

// TestClaimLeavesWhatIsRenewedMeanwhile, and what dies.
func TestClaimLeavesWhatIsRenewedMeanwhile(t *testing.T) {
	f := newMaintained(t)
	slow := uuid.New()
	exec(t, f.url, `UPDATE files SET claimed_by = $1, claimed_until = clock_timestamp() - interval '1 second' WHERE seq <= 3`, slow)
	holder := f.hold(
		fmt.Sprintf(`UPDATE files SET claimed_until = clock_timestamp() + interval '1 minute' WHERE id = '%s'`, f.files[1]),
		fmt.Sprintf(`DELETE FROM files WHERE id = '%s'`, f.files[2]),
	)
	claim := metadata.FileClaim{Holder: uuid.New(), For: time.Minute, MaxFiles: 4, MaxBytes: 1 << 30, MaxRuns: 100}
	f.meanwhile(holder, func() {
		got, err := f.s.ClaimFiles(t.Context(), claim)
		if err != nil || len(got) != 2 || got[0].ID != f.files[0] || got[1].ID != f.files[3] {
			t.Errorf("claimed %+v, %v; want the first and the last file", got, err)
		}
	}, func() {})
	// Whom it was taken from learns of it.
	if held, err := f.s.RenewFiles(t.Context(), slow, []uuid.UUID{f.files[1], f.files[2]}, time.Minute); err != nil || !held {
		t.Errorf("renewed: %v, %v", held, err)
	}
	if held, err := f.s.RenewFiles(t.Context(), slow, f.files[:2], time.Minute); err != nil || held {
		t.Errorf("renewed what another has: %v, %v", held, err)
	}
}

// TestMaintenanceDoesNotLockItselfOut: many stores at once commit, claim, replace, trim, compact
// and delete, of the same few partitions. Nothing is tried twice here, so a deadlock shows.
func TestMaintenanceDoesNotLockItselfOut(t *testing.T) {
	patientCalls(t)
	const agents, rounds, partitions = 3, 25, 4
	url := harness.Postgres(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	first := open(t, url)
	topic, err := first.CreateTopic(t.Context(), metadata.NewTopic{Name: "t", Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	// Between two rows there is time for others to come in between.
	exec(t, url, `CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		PERFORM pg_sleep(0.001); IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$`)
	exec(t, url, `CREATE TRIGGER dawdle BEFORE UPDATE OR DELETE ON files FOR EACH ROW EXECUTE FUNCTION dawdle()`)
	var wg sync.WaitGroup
	for agent := range agents {
		for loop, step := range []func(context.Context, *Store, *rand.Rand, []metadata.PartitionID) error{commitSome, replaceSome, claimSome, deleteSome} {
			s, rng := openWithoutRetries(t, url), rand.New(rand.NewPCG(seed, uint64(agent*10+loop)))
			wg.Go(func() {
				for round := range rounds {
					if err := step(t.Context(), s, rng, topic.Partitions); err != nil {
						t.Errorf("agent %d, loop %d, round %d: %v", agent, loop, round, err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	f := database{url: url}
	ends := map[metadata.PartitionID]int64{}
	live := map[uuid.UUID]int{}
	for _, r := range f.Runs(t) {
		if end, ok := ends[r.Partition]; ok && end != r.BaseOffset {
			t.Errorf("run %+v begins where none ends: %d", r, end)
		}
		ends[r.Partition] = r.NextOffset()
		live[r.FileID]++
	}
	for _, file := range f.Files(t) {
		if file.LiveRuns != live[file.ID] || file.Dead != (live[file.ID] == 0) {
			t.Errorf("file %+v has %d rows", file, live[file.ID])
		}
	}
}

// commitSome commits a file of one record for each partition.
func commitSome(ctx context.Context, s *Store, rng *rand.Rand, partitions []metadata.PartitionID) error {
	file := metadata.File{ID: uuid.Must(uuid.NewV7()), Size: 1000}
	batch := metadata.Batch{Size: 10, Records: 1, MaxTimestamp: 1, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
	for _, i := range rng.Perm(len(partitions)) {
		file.Appends = append(file.Appends, metadata.Append{Partition: partitions[i], StoredSize: 10, Batches: []metadata.Batch{batch}})
	}
	_, err := s.CommitFiles(ctx, []metadata.File{file})
	return err
}

// replaceSome replaces a few rows of most partitions.
func replaceSome(ctx context.Context, s *Store, rng *rand.Rand, partitions []metadata.PartitionID) error {
	bounds, err := s.Bounds(ctx, partitions)
	if err != nil {
		return err
	}
	queries := make([]metadata.RunQuery, len(partitions))
	for i, p := range partitions {
		queries[i] = metadata.RunQuery{Partition: p, Offset: bounds[i].LogStartOffset, MaxBytes: 1 << 30, MaxRuns: 100}
	}
	found, err := s.FindRuns(ctx, queries)
	if err != nil {
		return err
	}
	var groups [][]metadata.Run
	for _, f := range found {
		if n := len(f.Runs); n > 0 && rng.IntN(4) > 0 {
			from := rng.IntN(n)
			groups = append(groups, f.Runs[from:from+1+rng.IntN(min(8, n-from))])
		}
	}
	if len(groups) == 0 {
		return nil
	}
	_, err = s.ReplaceRuns(ctx, replacementOf(groups...))
	return err
}

// claimSome claims, renews and releases files, and notes that partitions are compacted.
func claimSome(ctx context.Context, s *Store, rng *rand.Rand, partitions []metadata.PartitionID) error {
	claim := metadata.FileClaim{Holder: uuid.New(), For: time.Minute, MaxFiles: 1 + rng.IntN(8), MaxBytes: 1 << 30, MaxRuns: 100}
	claim.Level, claim.Sparse = int16(rng.IntN(2)), rng.IntN(4) == 0
	files, err := s.ClaimFiles(ctx, claim)
	if err != nil {
		return err
	}
	var ids []uuid.UUID
	for _, i := range rng.Perm(len(files)) {
		ids = append(ids, files[i].ID)
	}
	_, renewErr := s.RenewFiles(ctx, claim.Holder, ids, time.Minute)
	releaseErr := s.ReleaseFiles(ctx, claim.Holder, ids, rng.IntN(10) == 0)
	var finished []metadata.CompactedUntil
	for _, i := range rng.Perm(len(partitions))[:1+rng.IntN(len(partitions))] {
		finished = append(finished, metadata.CompactedUntil{Partition: partitions[i], Offset: rng.Int64N(10)})
	}
	_, finishErr := s.FinishCompactions(ctx, finished)
	return errors.Join(renewErr, releaseErr, finishErr)
}

// deleteSome moves log starts, trims, and forgets what died of it.
func deleteSome(ctx context.Context, s *Store, rng *rand.Rand, partitions []metadata.PartitionID) error {
	bounds, err := s.Bounds(ctx, partitions)
	if err != nil {
		return err
	}
	var deletions []metadata.RecordsDeletion
	for _, i := range rng.Perm(len(partitions)) {
		b := bounds[i]
		deletions = append(deletions, metadata.RecordsDeletion{Partition: partitions[i], Before: b.LogStartOffset + rng.Int64N(min(3, b.NextOffset-b.LogStartOffset)+1)})
	}
	_, deleteErr := s.DeleteRecords(ctx, deletions)
	_, trimErr := s.TrimRuns(ctx, 5)
	dead, err := s.DeadFiles(ctx, time.Now().Add(time.Hour), 2)
	if err := errors.Join(deleteErr, trimErr, err); err != nil {
		return err
	}
	var ids []uuid.UUID
	for _, d := range dead {
		ids = append(ids, d.ID)
	}
	return s.ForgetFiles(ctx, ids)
}
