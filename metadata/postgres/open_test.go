package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/test/harness"
)

func TestOpenSaysWhatToDo(t *testing.T) {
	good, err := url.Parse(harness.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := good.User.Password()
	change := func(edit func(u *url.URL)) string {
		u := *good
		edit(&u)
		return u.String()
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, url string
		want      error // nil: any
		text      string
	}{
		{"nobody listens", change(func(u *url.URL) { u.Host = closed }), metadata.ErrUnavailable, "check that Postgres runs, and the host and port in --metadata"},
		{"no such host", change(func(u *url.URL) { u.Host = "nonesuch.invalid:5432" }), metadata.ErrUnavailable, "host and port in --metadata"},
		{"wrong password", change(func(u *url.URL) { u.User = url.UserPassword("wadi", "S3cret-wrong") }), metadata.ErrUnavailable, "check the user and the password in --metadata"},
		{"no such database", change(func(u *url.URL) { u.Path = "/nonesuch" }), metadata.ErrUnavailable, "create the database or correct its name in --metadata"},
		{"bad port", "postgres://wadi:S3cret-wrong@localhost:x/db", nil, "--metadata: is not a valid Postgres URL"},
		{"bad escape", "postgres://wadi:S3cret-wrong%zz@localhost/db", nil, "--metadata: is not a valid Postgres URL"},
		{"bad option", "postgres://wadi:S3cret-wrong@localhost/db?sslmode=S3cret-mode", nil, "sslmode"},
		{"keywords", "host=localhost password=S3cret-wrong port=x", nil, "--metadata: is not a valid Postgres URL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Open(t.Context(), c.url)
			if err == nil {
				t.Fatal("opened", s.Close())
			}
			if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v", err)
			}
			if strings.Contains(err.Error(), "S3cret-wrong") || strings.Contains(err.Error(), password) {
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}
}

// guest makes a user without any rights of its own, and returns its URL and its name.
func guest(t *testing.T, owner string) (guestURL, role string) {
	t.Helper()
	u, err := url.Parse(owner)
	if err != nil {
		t.Fatal(err)
	}
	password := rand.Text()
	role = "guest_" + strings.ToLower(rand.Text())
	exec(t, owner, `REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
	exec(t, owner, `CREATE ROLE `+role+` LOGIN PASSWORD '`+password+`'`)
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), owner)
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := conn.Exec(context.Background(), `DROP OWNED BY `+role+`; DROP ROLE `+role); err != nil {
			t.Error(err)
		}
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	u.User = url.UserPassword(role, password)
	return u.String(), role
}

// TestUserWithoutRights: since version 15 Postgres lets not everybody make tables.
func TestUserWithoutRights(t *testing.T) {
	guestURL, _ := guest(t, harness.Postgres(t))
	if _, err := Open(t.Context(), guestURL); err == nil || !strings.Contains(err.Error(), "grant the user of --metadata") {
		t.Fatalf("got %v", err)
	}
}

func TestReadOnlyLeavesAnEmptyDatabaseEmpty(t *testing.T) {
	url := harness.Postgres(t)
	if _, err := OpenReadOnly(t.Context(), url); !errors.Is(err, metadata.ErrSchema) || !strings.Contains(err.Error(), "start an agent") {
		t.Errorf("got %v, want an ErrSchema that says what to do", err)
	}
	exec(t, url, `DO $$ BEGIN
		IF EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace) THEN RAISE 'something was made'; END IF;
	END $$`)
}

// TestReadOnlyNeedsNoMoreThanSelect: what reads, down to the slow counts of a check, works for a user who may not write.
func TestReadOnlyNeedsNoMoreThanSelect(t *testing.T) {
	owner := harness.Postgres(t)
	s := open(t, owner)
	if _, err := s.CreateTopic(t.Context(), metadata.NewTopic{Name: "orders", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	guestURL, role := guest(t, owner)
	exec(t, owner, `GRANT SELECT ON ALL TABLES IN SCHEMA public TO `+role)
	reader, err := OpenReadOnly(t.Context(), guestURL)
	if err != nil {
		t.Fatal(err)
	}
	want, err := s.ClusterID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := reader.ClusterID(t.Context()); err != nil || got != want {
		t.Errorf("cluster ID %q, %v; want %q", got, err, want)
	}
	topics, _, err := reader.ListTopics(t.Context())
	if err != nil || len(topics) != 1 {
		t.Fatalf("topics %v, %v", topics, err)
	}
	if _, err := reader.InspectRows(t.Context(), topics[0].Partitions[0], 0, 10); err != nil {
		t.Error(err)
	}
	if _, err := reader.ListFiles(t.Context(), uuid.Nil, 10); err != nil {
		t.Error(err)
	}
	if _, err := reader.RecountFiles(t.Context(), []uuid.UUID{uuid.New()}, false); err != nil {
		t.Error(err)
	}
	if _, err := reader.CreateTopic(t.Context(), metadata.NewTopic{Name: "more", Partitions: 1}); err == nil {
		t.Error("a user who may not write created a topic")
	}
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
}

func TestManyOpenAnEmptyDatabaseAtOnce(t *testing.T) {
	url := harness.Postgres(t)
	const agents = 6
	ids := make([]string, agents)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			s, err := Open(t.Context(), url)
			if err != nil {
				t.Error(err)
				return
			}
			if ids[i], err = s.ClusterID(t.Context()); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] || id == "" {
			t.Fatalf("cluster IDs %q", ids)
		}
	}
}

func TestSchemaVersions(t *testing.T) {
	url := harness.Postgres(t)
	from, to, err := Migrate(t.Context(), url, false)
	if err != nil || from != 0 || to < 1 {
		t.Fatalf("from %d to %d, %v", from, to, err)
	}
	newest := to
	if from, to, err = Migrate(t.Context(), url, false); err != nil || from != newest || to != newest {
		t.Fatalf("again: from %d to %d, %v", from, to, err)
	}
	open(t, url)

	exec(t, url, `INSERT INTO schema_version (version_id, is_applied) VALUES (99999, true)`)
	exec(t, url, `UPDATE sequencer SET compatible_from = 99999`)
	for _, try := range []func() error{
		func() error { _, err := Open(t.Context(), url); return err },
		func() error { _, _, err := Migrate(t.Context(), url, false); return err },
	} {
		if err := try(); !errors.Is(err, metadata.ErrSchema) || !strings.Contains(err.Error(), "newer wadi") {
			t.Errorf("newer database: %v", err)
		}
	}
}

// TestForeignTablesAreNotTouched: the set-up of a database that has a table in
// our way fails and leaves nothing behind.
func TestForeignTablesAreNotTouched(t *testing.T) {
	url := harness.Postgres(t)
	exec(t, url, `CREATE TABLE topics (mine text)`)
	if _, err := Open(t.Context(), url); err == nil || !strings.Contains(err.Error(), "topics") {
		t.Fatalf("got %v", err)
	}
	exec(t, url, `INSERT INTO topics (mine) VALUES ('still here')`)
	exec(t, url, `CREATE TABLE sequencer (mine text)`)
}
