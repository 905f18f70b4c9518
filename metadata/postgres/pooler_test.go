package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/metadatatest"
	"github.com/wadi-log/wadi/test/harness"
)

// TestConformanceBehindPgBouncer runs the suite where each transaction may come to another session, with no more said in the URL
// than where PgBouncer is. What mixes at random what the rest does one by one takes long, and shows nothing more here.
func TestConformanceBehindPgBouncer(t *testing.T) {
	const schemas = 1000 // more than the suite makes
	url := harness.Postgres(t)
	var options harness.PgBouncerOptions
	for i := range schemas {
		options.Schemas = append(options.Schemas, schemaName(i+1))
	}
	pooler, create := harness.StartPgBouncer(t, url, options), newDatabases(url)
	metadatatest.Run(t, func(t testing.TB) metadatatest.Database {
		d := create(t).(database)
		d.through = pooler.SchemaURL(d.schema)
		return d
	}, "Maintenance")
}

// TestStatementsArePreparedWhereTheyAreKept: what a pooler does to them is found out by the first connection.
func TestStatementsArePreparedWhereTheyAreKept(t *testing.T) {
	direct := harness.Postgres(t)
	partition := createTopic(t, open(t, direct))
	_, proxied := newProxy(t, direct)
	pooler := harness.StartPgBouncer(t, direct, harness.PgBouncerOptions{})
	type place struct {
		name, url string
		prepares  bool
	}
	places := []place{
		{"Postgres", direct, true},
		{"a proxy that is no pooler", proxied, true},
		{"Postgres, and the URL says not to", direct + plainSQL, false},
	}
	if pooler.KeepsStatements() {
		for _, most := range []int{0, 200} {
			b := harness.StartPgBouncer(t, direct, harness.PgBouncerOptions{Settings: []string{fmt.Sprint("max_prepared_statements=", most)}})
			places = append(places, place{fmt.Sprint("PgBouncer that keeps ", most), b.URL(), most > 0})
		}
	} else {
		places = append(places, place{"PgBouncer that can't keep any", pooler.URL(), false})
	}
	for i, p := range places {
		t.Run(p.name, func(t *testing.T) {
			s := open(t, p.url)
			if _, err := s.CommitFiles(t.Context(), []metadata.File{newFile(t, partition)}); err != nil {
				t.Fatal(err)
			}
			wantRecords(t, s, partition, int64(i+1))
			for _, pool := range s.pools() {
				conn, err := pool.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if prepares := conn.Conn().Config().DefaultQueryExecMode == pgx.QueryExecModeCacheStatement; prepares != p.prepares {
					t.Errorf("statements are prepared: %v", prepares)
				}
				conn.Release()
			}
		})
	}
}

// TestPgBouncerRefusalsSayWhatToDo: what doesn't work behind PgBouncer is refused at once.
func TestPgBouncerRefusalsSayWhatToDo(t *testing.T) {
	direct := harness.Postgres(t)
	open(t, direct) // a database that is set up need not be written to
	pooled := harness.StartPgBouncer(t, direct, harness.PgBouncerOptions{}).URL()
	statements := harness.StartPgBouncer(t, direct, harness.PgBouncerOptions{Settings: []string{"pool_mode=statement"}}).URL()
	change := func(edit func(u *url.URL)) string {
		u, err := url.Parse(pooled)
		if err != nil {
			t.Fatal(err)
		}
		edit(u)
		return u.String()
	}
	for _, c := range []struct{ name, url, text string }{
		{"schema", pooled + "&search_path=mine", "take this one out of --metadata"},
		{"timeout", pooled + "&statement_timeout=5s", "take this one out of --metadata"},
		{"timeout of idle transactions", pooled + "&idle_in_transaction_session_timeout=5s", "ALTER DATABASE"},
		{"options", pooled + "&options=-c%20statement_timeout%3D5s", "take this one out of --metadata"},
		{"no such database", change(func(u *url.URL) { u.Path = "/nonesuch" }), "correct its name in --metadata"},
		{"wrong password", change(func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "S3cret-wrong") }), "the password in --metadata"},
		{"no such user", change(func(u *url.URL) { u.User = url.UserPassword("nobody", "S3cret-wrong") }), "in --metadata"},
		{"statement pooling", statements, "set pool_mode = transaction"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Open(t.Context(), c.url)
			if err == nil {
				t.Fatal("opened", s.Close())
			}
			if !errors.Is(err, metadata.ErrUnavailable) || errors.Is(err, metadata.ErrNoConnection) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v", err)
			}
			if strings.Contains(err.Error(), "S3cret") {
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}
}

// TestFullPgBouncerIsWaitedFor: as with Postgres, agents wait for their turn.
func TestFullPgBouncerIsWaitedFor(t *testing.T) {
	pooler := harness.StartPgBouncer(t, harness.Postgres(t), harness.PgBouncerOptions{Settings: []string{"max_client_conn=2"}})
	var held []*pgx.Conn
	for {
		conn, err := pgx.Connect(t.Context(), pooler.URL())
		if err != nil {
			break
		}
		held = append(held, conn)
	}
	_, err := Open(t.Context(), pooler.URL())
	if !errors.Is(err, metadata.ErrNoConnection) || !strings.Contains(err.Error(), "max_client_conn") {
		t.Fatalf("got %v", err)
	}
	for _, conn := range held {
		if err := conn.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	patiently(ctx, t, func() error {
		s, err := Open(ctx, pooler.URL())
		if err == nil {
			err = s.Close()
		}
		return err
	})
}

// TestDemotedServerIsLeft: the connections to a PgBouncer outlive that its server becomes a standby. The Store must let go of them,
// so that the URL's other server is found.
func TestDemotedServerIsLeft(t *testing.T) {
	primary := harness.StartPostgres(t)
	pooler := harness.StartPgBouncer(t, primary.URL(), harness.PgBouncerOptions{})
	first := open(t, primary.URL())
	partition := createTopic(t, first)
	replica := primary.Replica("standby")
	primary.WaitForReplica("standby")
	u, err := url.Parse(replica.URL())
	if err != nil {
		t.Fatal(err)
	}
	pooled, err := url.Parse(pooler.URL())
	if err != nil {
		t.Fatal(err)
	}
	pooled.Host += "," + u.Host
	s := open(t, pooled.String()+"&target_session_attrs=read-write")
	if _, err := s.CommitFiles(t.Context(), []metadata.File{newFile(t, partition)}); err != nil {
		t.Fatal(err)
	}
	primary.Demote()
	replica.Promote()
	file := newFile(t, partition)
	harness.Eventually(t, time.Minute, func() error {
		_, err := s.CommitFiles(t.Context(), []metadata.File{file})
		return err
	})
	wantRecords(t, s, partition, 2)
}
