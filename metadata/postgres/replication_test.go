package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/test/harness"
)

// TestCommitIsNotKnownBeforeItIsReplicated lets commits wait for a standby
// that is away. A repeated call finds its own commit, visible but not
// replicated, and must not take it for done.
func TestCommitIsNotKnownBeforeItIsReplicated(t *testing.T) {
	server := harness.StartPostgres(t)
	url := server.URL()
	s := open(t, url)
	file := newFile(t, createTopic(t, s))
	requireStandby(t, url, "nobody")
	for try := range 3 {
		err := patience(t, 2*time.Second, func(ctx context.Context) error { _, err := s.CommitFiles(ctx, []metadata.File{file}); return err })
		if !errors.Is(err, metadata.ErrOutcomeUnknown) {
			t.Errorf("try %d: %v, want ErrOutcomeUnknown", try, err)
		}
	}
	requireStandby(t, url, "")
	result, err := s.CommitFiles(t.Context(), []metadata.File{file})
	if err != nil || result.Files[0].Outcomes[0][0].BaseOffset != 0 {
		t.Errorf("with no standby to wait for: %+v, %v", result, err)
	}
}

// patience calls with so much time, and again with more while that was over before anything was done, as on a busy machine.
func patience(t *testing.T, d time.Duration, call func(context.Context) error) (err error) {
	t.Helper()
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		err = call(ctx)
		cancel()
		if !errors.Is(err, metadata.ErrUnavailable) {
			break
		}
		d *= 2
	}
	return err
}

// requireStandby lets commits wait for the standby of the name, "" for none, and waits until they do.
func requireStandby(t *testing.T, url, standby string) {
	t.Helper()
	if standby != "" {
		exec(t, url, "CREATE TABLE IF NOT EXISTS trials (n int)")
	}
	exec(t, url, "ALTER SYSTEM SET synchronous_standby_names = '"+standby+"'")
	exec(t, url, "SELECT pg_reload_conf()")
	watch := dial(t, url)
	harness.Eventually(t, time.Minute, func() error {
		var got string
		if err := watch.QueryRow(t.Context(), "SHOW synchronous_standby_names").Scan(&got); err != nil {
			return err
		}
		if got != standby {
			return fmt.Errorf("synchronous_standby_names is %q", got)
		}
		return nil
	})
	if standby == "" {
		return
	}
	// Each process hears of it by itself, and commits wait by what the checkpointer tells them.
	trying := dial(t, url)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	try := func() {
		_, err := trying.Exec(ctx, "INSERT INTO trials VALUES (1)")
		done <- err
	}
	go try()
	harness.Eventually(t, time.Minute, func() error {
		select {
		case err := <-done:
			go try()
			return errors.Join(errors.New("a commit did not wait for the standby"), err)
		default:
		}
		var waits bool
		err := watch.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid = $1)", trying.PgConn().PID()).Scan(&waits)
		if err == nil && !waits {
			err = errors.New("no commit waits for the standby")
		}
		return err
	})
	cancel()
	if err := <-done; err == nil {
		t.Error("a commit that waited for the standby was acknowledged")
	}
}

// TestGroupIsNotKnownBeforeItIsReplicated: a change that is visible and not
// replicated is not taken for done by whoever stores the group once more, as
// metadata.Groups asks.
func TestGroupIsNotKnownBeforeItIsReplicated(t *testing.T) {
	server := harness.StartPostgres(t)
	url := server.URL()
	s := open(t, url)
	requireStandby(t, url, "nobody")
	for try := range 2 {
		version, _ := lookAtGroup(t, s)
		if stored := version != 0; stored != (try > 0) {
			t.Fatalf("try %d found version %d", try, version)
		}
		err := patience(t, time.Second, func(ctx context.Context) error {
			_, err := s.StoreGroup(ctx, "g", version, metadata.GroupState{State: []byte("x")})
			return err
		})
		if !errors.Is(err, metadata.ErrOutcomeUnknown) {
			t.Errorf("try %d, store: %v, want ErrOutcomeUnknown", try, err)
		}
		err = patience(t, time.Second, func(ctx context.Context) error { return writeOffset(ctx, s, 1) })
		if !errors.Is(err, metadata.ErrOutcomeUnknown) {
			t.Errorf("try %d, write offsets: %v, want ErrOutcomeUnknown", try, err)
		}
	}
	requireStandby(t, url, "")
	version, _ := lookAtGroup(t, s)
	if _, err := s.StoreGroup(t.Context(), "g", version, metadata.GroupState{State: []byte("x")}); err != nil {
		t.Error(err)
	}
}

// TestCommitOfWhichNoStandbyIsWaitedForIsUnknown: where somebody cancels the wait for a standby, the server says that the
// commit succeeded, with a warning. The standby lacks it.
func TestCommitOfWhichNoStandbyIsWaitedForIsUnknown(t *testing.T) {
	primary := harness.StartPostgres(t)
	replica := primary.Replica("standby")
	s := open(t, primary.URL())
	partition := createTopic(t, s)
	primary.WaitForReplica("standby")
	replica.StopFollowing()
	for _, c := range []struct {
		name   string
		change func() error
	}{
		{"commit", func() error { _, err := s.CommitFiles(t.Context(), []metadata.File{newFile(t, partition)}); return err }},
		{"group", func() error {
			_, err := s.StoreGroup(t.Context(), "h", 0, metadata.GroupState{State: []byte("x")})
			return err
		}},
		{"offsets", func() error { return writeOffset(t.Context(), s, 1) }},
	} {
		done := make(chan error, 1)
		go func() { done <- c.change() }()
		watch := dial(t, primary.URL())
		harness.Eventually(t, time.Minute, func() error {
			var cancelled int
			err := watch.QueryRow(t.Context(),
				`SELECT count(*) FROM (SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' OFFSET 0) AS c`).Scan(&cancelled)
			if err == nil && cancelled == 0 {
				err = errors.New("nobody waits for the standby")
			}
			return err
		})
		if err := <-done; !errors.Is(err, metadata.ErrOutcomeUnknown) {
			t.Errorf("%s: %v, want ErrOutcomeUnknown", c.name, err)
		}
	}
	replica.Promote()
	wantRecords(t, open(t, replica.URL()), partition, 0)
}

func TestErrorsAreClassifiedInAnyLanguage(t *testing.T) {
	broken := &pgconn.PgError{Severity: "FEHLER", SeverityUnlocalized: "ERROR", Code: "23505"}
	if err := classify(broken, true); errors.Is(err, metadata.ErrOutcomeUnknown) || errors.Is(err, metadata.ErrUnavailable) {
		t.Errorf("a refused statement is taken for transient: %v", err)
	}
	ended := &pgconn.PgError{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "57P01"}
	if err := classify(ended, true); !errors.Is(err, metadata.ErrOutcomeUnknown) {
		t.Errorf("a session that ended: %v, want ErrOutcomeUnknown", err)
	}
}
