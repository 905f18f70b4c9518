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
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := s.CommitFiles(ctx, []metadata.File{file})
		cancel()
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

// requireStandby lets commits wait for the standby of the name, "" for none.
func requireStandby(t *testing.T, url, standby string) {
	t.Helper()
	exec(t, url, "ALTER SYSTEM SET synchronous_standby_names = '"+standby+"'")
	exec(t, url, "SELECT pg_reload_conf()")
	harness.Eventually(t, time.Minute, func() error {
		var got string
		if err := dial(t, url).QueryRow(t.Context(), "SHOW synchronous_standby_names").Scan(&got); err != nil {
			return err
		}
		if got != standby {
			return fmt.Errorf("synchronous_standby_names is %q", got)
		}
		return nil
	})
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
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := s.StoreGroup(ctx, "g", version, metadata.GroupState{State: []byte("x")})
		cancel()
		if !errors.Is(err, metadata.ErrOutcomeUnknown) {
			t.Errorf("try %d, store: %v, want ErrOutcomeUnknown", try, err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		err = writeOffset(ctx, s, 1)
		cancel()
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
