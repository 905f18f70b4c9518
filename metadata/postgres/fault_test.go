package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/metadatatest"
	"github.com/wadi-log/wadi/test/harness"
)

// Without prepared statements the SQL is on the wire, where the proxy sees it.
const plainSQL = "&default_query_exec_mode=exec"

func createTopic(t *testing.T, s *Store) metadata.PartitionID {
	t.Helper()
	topic, err := s.CreateTopic(t.Context(), metadata.NewTopic{Name: "t", Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	return topic.Partitions[0]
}

func newFile(t *testing.T, partition metadata.PartitionID) metadata.File {
	t.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	batch := metadata.Batch{Size: 10, Records: 1, MaxTimestamp: 1, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
	return metadata.File{ID: id, Size: 10, Appends: []metadata.Append{{Partition: partition, StoredSize: 10, Batches: []metadata.Batch{batch}}}}
}

// wantRecords requires that the partition holds exactly the records 0 to n-1.
func wantRecords(t *testing.T, s *Store, partition metadata.PartitionID, n int64) {
	t.Helper()
	bounds, err := s.Bounds(t.Context(), []metadata.PartitionID{partition})
	if err != nil {
		t.Fatal(err)
	}
	if bounds[0].NextOffset != n {
		t.Fatalf("next offset %d, want %d", bounds[0].NextOffset, n)
	}
}

func TestCommitOverBrokenConnection(t *testing.T) {
	for _, c := range []struct {
		name    string
		trigger string
		deliver bool
		want    error
		// committed tells what became of the first attempt.
		committed bool
	}{
		{"lock request lost: tried again at once", "FOR UPDATE", false, nil, false},
		{"answer to lock request lost: tried again at once", "FOR UPDATE", true, nil, false},
		{"COMMIT lost", "COMMIT\x00", false, metadata.ErrOutcomeUnknown, false},
		{"answer to COMMIT lost", "COMMIT\x00", true, metadata.ErrOutcomeUnknown, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			direct := harness.Postgres(t)
			observer := open(t, direct)
			partition := createTopic(t, observer)
			p, through := newProxy(t, direct)
			s := open(t, through+plainSQL)
			file := newFile(t, partition)

			p.cutAt(c.trigger, c.deliver)
			_, err := s.CommitFiles(t.Context(), []metadata.File{file})
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if c.want == nil {
				wantRecords(t, observer, partition, 1)
				return
			}
			if c.committed {
				wantRecords(t, observer, partition, 1)
			} else {
				wantRecords(t, observer, partition, 0)
			}
			// The same file again settles it either way.
			result, err := s.CommitFiles(t.Context(), []metadata.File{file})
			if err != nil {
				t.Fatal(err)
			}
			if got := result.Files[0].Outcomes[0][0]; got.BaseOffset != 0 || got.Err != nil {
				t.Fatalf("got %+v", got)
			}
			if fresh := len(result.Commits) == 1; fresh == c.committed {
				t.Fatalf("feed entries %+v, but the first attempt committed: %v", result.Commits, c.committed)
			}
			wantRecords(t, observer, partition, 1)
		})
	}
}

func TestDeleteRecordsOverBrokenConnection(t *testing.T) {
	for _, c := range []struct {
		name    string
		trigger string
		deliver bool
		want    error
		// deleted tells what became of the first attempt.
		deleted bool
	}{
		{"lock request lost: tried again at once", "FOR UPDATE", false, nil, true},
		{"COMMIT lost", "COMMIT\x00", false, metadata.ErrOutcomeUnknown, false},
		{"answer to COMMIT lost", "COMMIT\x00", true, metadata.ErrOutcomeUnknown, true},
		{"removal of runs lost: it is not what was asked for", "SKIP LOCKED", false, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			direct := harness.Postgres(t)
			observer := open(t, direct)
			partition := createTopic(t, observer)
			if _, err := observer.CommitFiles(t.Context(), []metadata.File{newFile(t, partition)}); err != nil {
				t.Fatal(err)
			}
			p, through := newProxy(t, direct)
			s := open(t, through+plainSQL)
			deletions := []metadata.RecordsDeletion{{Partition: partition, Before: metadata.AllRecords}}

			p.cutAt(c.trigger, c.deliver)
			if _, err := s.DeleteRecords(t.Context(), deletions); !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			bounds, err := observer.Bounds(t.Context(), []metadata.PartitionID{partition})
			if err != nil {
				t.Fatal(err)
			}
			if deleted := bounds[0].LogStartOffset == 1; deleted != c.deleted {
				t.Fatalf("the log starts at %d, but the first attempt deleted: %v", bounds[0].LogStartOffset, c.deleted)
			}
			// The same again settles it either way.
			again, err := s.DeleteRecords(t.Context(), deletions)
			if err != nil {
				t.Fatal(err)
			}
			if got := again.Partitions[0]; got.LogStartOffset != 1 || got.Err != nil {
				t.Fatalf("got %+v", got)
			}
			if fresh := len(again.Commits) == 1; fresh == c.deleted {
				t.Fatalf("feed entries %+v, but the first attempt deleted: %v", again.Commits, c.deleted)
			}
			// And maintenance removes what an attempt that broke off left.
			if _, err := s.TrimRuns(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
			for id, count := range (database{url: direct}).FileCounts(t) {
				if count != (metadatatest.FileCount{}) {
					t.Errorf("file %s: %+v", id, count)
				}
			}
		})
	}
}

func TestUnreachableServerIsUnavailable(t *testing.T) {
	p, through := newProxy(t, harness.Postgres(t))
	s := open(t, through)
	partition := createTopic(t, s)
	p.setDown(true)
	_, commitErr := s.CommitFiles(t.Context(), []metadata.File{newFile(t, partition)})
	_, boundsErr := s.Bounds(t.Context(), []metadata.PartitionID{partition})
	for _, err := range []error{commitErr, boundsErr, s.Ping(t.Context())} {
		if !errors.Is(err, metadata.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	}
	p.setDown(false)
	if _, err := s.CommitFiles(t.Context(), []metadata.File{newFile(t, partition)}); err != nil {
		t.Fatal(err)
	}
	wantRecords(t, s, partition, 1)
}

// TestServerRestartsUnderTraffic: committers that repeat what failed, as the
// agent does, end with every file committed once.
func TestServerRestartsUnderTraffic(t *testing.T) {
	const committers, files = 3, 60
	server := harness.StartPostgres(t)
	stores := make([]*Store, committers)
	for i := range stores {
		stores[i] = open(t, server.URL())
	}
	partition := createTopic(t, stores[0])
	var done sync.WaitGroup
	progress := make(chan struct{}, committers*files)
	for _, s := range stores {
		done.Go(func() {
			for range files {
				file := newFile(t, partition)
				for {
					_, err := s.CommitFiles(t.Context(), []metadata.File{file})
					if err == nil {
						progress <- struct{}{}
						break
					}
					if !errors.Is(err, metadata.ErrUnavailable) && !errors.Is(err, metadata.ErrOutcomeUnknown) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for _, end := range []func(){server.Stop, server.Kill} {
		for range committers * files / 4 {
			<-progress
		}
		end()
		server.Start()
	}
	done.Wait()
	wantRecords(t, stores[0], partition, committers*files)
	commits, err := stores[0].Commits(t.Context(), 1, 1000)
	if err != nil || len(commits) != committers*files {
		t.Fatalf("%d feed entries, %v", len(commits), err)
	}
	for i, c := range commits {
		if c.Runs[0].BaseOffset != int64(i) {
			t.Fatalf("entry %d is %+v", i, c)
		}
	}
}

func TestCommitWaitsNoLongerThanItsDeadline(t *testing.T) {
	url := harness.Postgres(t)
	s := open(t, url)
	partition := createTopic(t, s)
	// Another agent froze while it held the lock.
	frozen := dial(t, url)
	if _, err := frozen.Exec(t.Context(), `BEGIN`); err != nil {
		t.Fatal(err)
	}
	if _, err := frozen.Exec(t.Context(), `SELECT FROM sequencer_lock FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := s.CommitFiles(ctx, []metadata.File{newFile(t, partition)})
	if !errors.Is(err, metadata.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	// Readers never wait for the lock.
	wantRecords(t, s, partition, 0)
	if _, err := s.Commits(t.Context(), 0, 10); err != nil {
		t.Fatal(err)
	}
	if _, err := frozen.Exec(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CommitFiles(t.Context(), []metadata.File{newFile(t, partition)}); err != nil {
		t.Fatal(err)
	}
}

// TestFrozenAgentHoldsOthersUpForASecond with each of its connections that has, or waits for, the sequencer's lock.
func TestFrozenAgentHoldsOthersUpForASecond(t *testing.T) {
	for connections := range 2 {
		connections++
		t.Run(fmt.Sprintf("with %d connections", connections), func(t *testing.T) {
			t.Parallel()
			url := harness.Postgres(t)
			s := open(t, url)
			partition := createTopic(t, s)
			watch := dial(t, url)
			var all []*pgx.Conn // before any holds the lock, for a second
			for range connections {
				all = append(all, dial(t, url))
			}
			var waiting sync.WaitGroup
			defer waiting.Wait()
			var locked atomic.Int32
			for i, frozen := range all {
				lock := func() {
					b := &pgx.Batch{}
					for _, query := range []string{begin, shipped, lockSequencer} {
						b.Queue(query)
					}
					if err := frozen.SendBatch(t.Context(), b).Close(); err != nil {
						t.Error(err)
					}
					locked.Add(1)
				}
				if i == 0 {
					lock()
					continue
				}
				waiting.Go(lock)
				harness.Eventually(t, time.Minute, func() error {
					var waits int
					err := watch.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waits)
					if err == nil && waits < i && int(locked.Load()) <= i { // or has it already, on a busy machine
						err = errors.New("it doesn't wait yet")
					}
					return err
				})
			}
			start := time.Now()
			// It would give up in the end (callTimeout).
			if _, err := s.CommitFiles(t.Context(), []metadata.File{newFile(t, partition)}); err != nil {
				t.Fatal(err)
			}
			t.Logf("a commit waited for %v", time.Since(start).Round(time.Millisecond))
		})
	}
}

// failing makes every insert into runs run the PL/pgSQL statements.
func failing(t *testing.T, url, statements string) {
	t.Helper()
	exec(t, url, `CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN `+statements+` RETURN NEW; END $$`)
	exec(t, url, `CREATE TRIGGER fail BEFORE INSERT ON runs FOR EACH ROW EXECUTE FUNCTION fail()`)
}

func TestServerErrorsDuringCommit(t *testing.T) {
	for _, c := range []struct {
		name, code string
		want       error
		text       string
	}{
		{"serialization failure that lasts", "40001", metadata.ErrUnavailable, "tried several times"},
		{"deadlock that lasts", "40P01", metadata.ErrUnavailable, "tried several times"},
		{"disk full", "53100", metadata.ErrUnavailable, "disk is full"},
		{"lock timeout", "55P03", metadata.ErrUnavailable, ""},
		{"statement timeout", "57014", metadata.ErrUnavailable, ""},
		{"read-only", "25006", metadata.ErrUnavailable, "standby"},
		{"statement that a pooler forgot", "26000", metadata.ErrUnavailable, "max_prepared_statements"},
		{"no such column", "42703", metadata.ErrSchema, "wadi migrate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := harness.Postgres(t)
			s := open(t, url)
			partition := createTopic(t, s)
			failing(t, url, fmt.Sprintf(`RAISE EXCEPTION 'injected' USING ERRCODE = '%s';`, c.code))
			_, err := s.CommitFiles(t.Context(), []metadata.File{newFile(t, partition)})
			if !errors.Is(err, c.want) || errors.Is(err, metadata.ErrOutcomeUnknown) || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("got %v", err)
			}
			wantRecords(t, s, partition, 0)
			exec(t, url, `DROP TRIGGER fail ON runs`)
			if _, err := s.CommitFiles(t.Context(), []metadata.File{newFile(t, partition)}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestSerializationFailureThatPassesIsRepeated(t *testing.T) {
	url := harness.Postgres(t)
	s := open(t, url)
	partition := createTopic(t, s)
	exec(t, url, `CREATE SEQUENCE attempts`) // not rolled back with the transaction
	failing(t, url, `IF nextval('attempts') < 3 THEN RAISE EXCEPTION 'injected' USING ERRCODE = '40001'; END IF;`)
	result, err := s.CommitFiles(t.Context(), []metadata.File{newFile(t, partition)})
	if err != nil || len(result.Commits) != 1 {
		t.Fatalf("got %+v, %v", result, err)
	}
	wantRecords(t, s, partition, 1)
}

// TestOverlapIsNotCommitted: the key of runs is the last line of defence.
func TestOverlapIsNotCommitted(t *testing.T) {
	url := harness.Postgres(t)
	s := open(t, url)
	partition := createTopic(t, s)
	exec(t, url, `INSERT INTO runs (partition_id, base_offset, records, file_id, encoding, position, stored_size, skip, size, max_timestamp)
		VALUES ($1, 0, 1, gen_random_uuid(), 0, 0, 1, 0, 1, 0)`, partition)
	_, err := s.CommitFiles(t.Context(), []metadata.File{newFile(t, partition)})
	if err == nil || errors.Is(err, metadata.ErrUnavailable) || errors.Is(err, metadata.ErrOutcomeUnknown) {
		t.Fatalf("got %v, want an error that nobody retries", err)
	}
	wantRecords(t, s, partition, 0)
}

// TestTransactionSettings: the server's defaults, however careless, do not matter.
func TestTransactionSettings(t *testing.T) {
	url := harness.Postgres(t)
	exec(t, url, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database());
		EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''serializable''', current_database());
		EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`)
	admin := dial(t, url)
	if _, err := admin.Exec(t.Context(), `SET default_transaction_read_only = off`); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), url)
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
		t.Fatal("set up a database that refuses to be written")
	}
	if !errors.Is(err, metadata.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	if _, err := admin.Exec(t.Context(), `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET default_transaction_read_only', current_database()); END $$`); err != nil {
		t.Fatal(err)
	}
	s = open(t, url)
	partition := createTopic(t, s)
	failing(t, url, `IF current_setting('synchronous_commit') = 'off' OR current_setting('transaction_isolation') <> 'read committed'
		OR current_setting('lock_timeout') = '0' OR current_setting('statement_timeout') = '0'
		OR current_setting('idle_in_transaction_session_timeout') = '0' THEN RAISE EXCEPTION 'careless'; END IF;`)
	if _, err := s.CommitFiles(t.Context(), []metadata.File{newFile(t, partition)}); err != nil {
		t.Fatal(err)
	}
}
