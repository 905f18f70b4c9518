package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/test/harness"
)

// groupChange is a change of group g, which is in version 0 or another, has
// state "before" and offset 1 of partition 1 if it exists, and the same test
// for all changes: did it happen?
type groupChange struct {
	name   string
	exists bool
	change func(ctx context.Context, s *Store, version int64) error
	// happened is what the group then looks like.
	happened string
}

var groupChanges = []groupChange{
	{"create", false, func(ctx context.Context, s *Store, version int64) error {
		_, err := s.StoreGroup(ctx, "g", version, metadata.GroupState{State: []byte("after")})
		return err
	}, "after []"},
	{"store", true, func(ctx context.Context, s *Store, version int64) error {
		_, err := s.StoreGroup(ctx, "g", version, metadata.GroupState{State: []byte("after")})
		return err
	}, "after [1]"},
	{"delete", true, func(ctx context.Context, s *Store, version int64) error {
		return s.DeleteGroup(ctx, "g", version)
	}, "none []"},
	{"write offsets", true, func(ctx context.Context, s *Store, _ int64) error { return writeOffset(ctx, s, 2) }, "before [2]"},
	{"write offsets of a new group", false, func(ctx context.Context, s *Store, _ int64) error { return writeOffset(ctx, s, 2) }, "before [2]"},
}

func writeOffset(ctx context.Context, s *Store, offset int64) error {
	refs := []metadata.GroupRef{{ID: "g", Create: &metadata.GroupState{State: []byte("before")}}}
	return s.WriteOffsets(ctx, refs, func(time.Time, []metadata.Group) (metadata.OffsetChanges, error) {
		return metadata.OffsetChanges{Put: []metadata.Offset{{GroupID: "g", Partition: 1, Offset: offset}}}, nil
	})
}

// prepare makes the group what the change expects, and returns its version and look.
func (c groupChange) prepare(t *testing.T, s *Store) (version int64, look string) {
	t.Helper()
	if c.exists {
		if err := writeOffset(t.Context(), s, 1); err != nil {
			t.Fatal(err)
		}
	}
	return lookAtGroup(t, s)
}

// lookAtGroup returns the version of group g, and its state and offsets as text.
func lookAtGroup(t *testing.T, s *Store) (version int64, look string) {
	t.Helper()
	groups, _, err := s.LoadGroups(t.Context(), []metadata.GroupRef{{ID: "g"}})
	if err != nil {
		t.Fatal(err)
	}
	offsets, err := s.FetchOffsets(t.Context(), []metadata.OffsetQuery{{GroupID: "g"}})
	if err != nil {
		t.Fatal(err)
	}
	values := []int64{}
	for _, o := range offsets[0] {
		values = append(values, o.Offset)
	}
	state := "none"
	if groups[0].Version != 0 {
		state = string(groups[0].State)
	}
	return groups[0].Version, fmt.Sprint(state, " ", values)
}

func wantLook(t *testing.T, s *Store, want string) {
	t.Helper()
	if _, got := lookAtGroup(t, s); got != want {
		t.Fatalf("the group is %q, want %q", got, want)
	}
}

func TestGroupChangeOverBrokenConnection(t *testing.T) {
	for _, c := range groupChanges {
		for _, deliver := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, persisted=%v", c.name, deliver), func(t *testing.T) {
				direct := harness.Postgres(t)
				observer := open(t, direct)
				p, through := newProxy(t, direct)
				s := open(t, through+plainSQL)
				version, before := c.prepare(t, observer)

				p.cutAt("COMMIT\x00", deliver)
				if err := c.change(t.Context(), s, version); !errors.Is(err, metadata.ErrOutcomeUnknown) {
					t.Fatalf("got %v", err)
				}
				if deliver {
					wantLook(t, observer, c.happened)
				} else {
					wantLook(t, observer, before)
				}
				// Whoever reads the group again can go on from there.
				version, _ = lookAtGroup(t, s)
				err := c.change(t.Context(), s, version)
				if repeated := c.name == "delete" && deliver; err != nil && (!repeated || !errors.Is(err, metadata.ErrGroupVersion)) {
					t.Fatal(err)
				}
				wantLook(t, observer, c.happened)
			})
		}
	}
}

func TestOffsetsAreWrittenAgainAfterLostLock(t *testing.T) {
	for _, deliver := range []bool{false, true} {
		t.Run(fmt.Sprintf("locked=%v", deliver), func(t *testing.T) {
			p, through := newProxy(t, harness.Postgres(t))
			s := open(t, through+plainSQL)
			p.cutAt("FOR NO KEY UPDATE", deliver)
			if err := writeOffset(t.Context(), s, 1); err != nil {
				t.Fatal(err)
			}
			wantLook(t, s, "before [1]")
		})
	}
}

// failingGroups makes every change of a group, or of an offset, run the PL/pgSQL statements.
func failingGroups(t *testing.T, url, statements string) {
	t.Helper()
	exec(t, url, `CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN `+statements+` IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$`)
	for _, table := range []string{"groups", "group_offsets"} {
		exec(t, url, `CREATE TRIGGER fail BEFORE INSERT OR UPDATE OR DELETE ON `+table+` FOR EACH ROW EXECUTE FUNCTION fail()`)
	}
}

func TestServerErrorsDuringGroupChange(t *testing.T) {
	for _, c := range groupChanges {
		for code, want := range map[string]struct {
			err  error
			text string
		}{
			"40P01": {metadata.ErrUnavailable, "tried several times"},
			"53100": {metadata.ErrUnavailable, "disk is full"},
			"55P03": {metadata.ErrUnavailable, ""},
			"42703": {metadata.ErrSchema, "wadi migrate"},
		} {
			t.Run(c.name+" "+code, func(t *testing.T) {
				url := harness.Postgres(t)
				s := open(t, url)
				version, before := c.prepare(t, s)
				failingGroups(t, url, fmt.Sprintf(`RAISE EXCEPTION 'injected' USING ERRCODE = '%s';`, code))
				err := c.change(t.Context(), s, version)
				if !errors.Is(err, want.err) || errors.Is(err, metadata.ErrOutcomeUnknown) || !strings.Contains(err.Error(), want.text) {
					t.Fatalf("got %v", err)
				}
				wantLook(t, s, before)
				exec(t, url, `DROP FUNCTION fail CASCADE`)
				if err := c.change(t.Context(), s, version); err != nil {
					t.Fatal(err)
				}
				wantLook(t, s, c.happened)
			})
		}
	}
}

func TestGroupChangeIsRepeatedAfterDeadlockThatPasses(t *testing.T) {
	for _, c := range groupChanges {
		t.Run(c.name, func(t *testing.T) {
			url := harness.Postgres(t)
			s := open(t, url)
			version, _ := c.prepare(t, s)
			exec(t, url, `CREATE SEQUENCE attempts`) // not rolled back with the transaction
			failingGroups(t, url, `IF nextval('attempts') < 3 THEN RAISE EXCEPTION 'injected' USING ERRCODE = '40P01'; END IF;`)
			if err := c.change(t.Context(), s, version); err != nil {
				t.Fatal(err)
			}
			wantLook(t, s, c.happened)
		})
	}
}

// TestGroupTransactionSettings: what is acknowledged is durable whatever the
// server's default is, and nobody waits for ever.
func TestGroupTransactionSettings(t *testing.T) {
	url := harness.Postgres(t)
	exec(t, url, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database());
		EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''serializable''', current_database()); END $$`)
	s := open(t, url)
	failingGroups(t, url, `IF current_setting('synchronous_commit') = 'off' OR current_setting('transaction_isolation') <> 'read committed'
		OR current_setting('lock_timeout') = '0' OR current_setting('statement_timeout') = '0'
		OR current_setting('idle_in_transaction_session_timeout') = '0' THEN RAISE EXCEPTION 'careless'; END IF;`)
	for _, c := range groupChanges {
		version, look := lookAtGroup(t, s)
		if (look != "none []") != c.exists {
			continue
		}
		if err := c.change(t.Context(), s, version); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
	}
}

func TestGroupIsUnavailableWhileSomebodyFreezes(t *testing.T) {
	url := harness.Postgres(t)
	s := open(t, url)
	version, _ := groupChanges[1].prepare(t, s)
	frozen := dial(t, url)
	for _, query := range []string{`BEGIN`, `SELECT FROM group_states FOR NO KEY UPDATE`} {
		if _, err := frozen.Exec(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range groupChanges[1:4] {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := c.change(ctx, s, version)
		cancel()
		if !errors.Is(err, metadata.ErrUnavailable) && !errors.Is(err, metadata.ErrOutcomeUnknown) {
			t.Fatalf("%s: %v", c.name, err)
		}
	}
	// Neither readers nor those who look for due groups, beat or put one off wait.
	wantLook(t, s, "before [1]")
	if err := s.DeferGroup(t.Context(), "g", version, time.Now().Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := s.BeatMembers(t.Context(), [16]byte{1}, []metadata.GroupBeats{{GroupID: "g"}}); err != nil {
		t.Fatal(err)
	}
	if ids, err := s.ClaimDueGroups(t.Context(), 10, time.Minute); err != nil || len(ids) != 1 {
		t.Fatalf("claimed %q, %v", ids, err)
	}
	if _, err := frozen.Exec(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if err := writeOffset(t.Context(), s, 3); err != nil {
		t.Fatal(err)
	}
}
