package measure

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres is the server behind a database, seen from outside.
type Postgres struct {
	t    testing.TB
	conn *pgx.Conn
	// postmaster is the parent of all its processes.
	postmaster int
}

// OpenPostgres connects to a database of a server on this machine until the test ends.
func OpenPostgres(t testing.TB, url string) *Postgres {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	p := &Postgres{t: t, conn: conn}
	var backend int
	if err := conn.QueryRow(t.Context(), `SELECT pg_backend_pid()`).Scan(&backend); err != nil {
		t.Fatal(err)
	}
	p.postmaster = int(readStat(t, strconv.Itoa(backend)).number(statParent))
	return p
}

// CPU is the CPU time of all processes of the server, also of those that have ended.
func (p *Postgres) CPU() time.Duration {
	p.t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		p.t.Fatal(err)
	}
	ended := readStat(p.t, strconv.Itoa(p.postmaster))
	total := ended.ticks(statUser, statSystem, statChildrenUser, statChildrenSystem)
	for _, e := range entries {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%s/stat", e.Name()))
		if err != nil {
			continue // not a process, or one that ended just now
		}
		if s := parseStat(p.t, string(raw)); int(s.number(statParent)) == p.postmaster {
			total += s.ticks(statUser, statSystem)
		}
	}
	return total
}

// Written returns how many transactions were committed so far in the database, and how many rows
// were inserted and updated in each table. Postgres counts with a delay of a second.
func (p *Postgres) Written() (transactions float64, rows map[string]float64) {
	p.t.Helper()
	if err := p.conn.QueryRow(p.t.Context(), `SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()`).Scan(&transactions); err != nil {
		p.t.Fatal(err)
	}
	lines, err := p.conn.Query(p.t.Context(), `SELECT relname::text, n_tup_ins + n_tup_upd FROM pg_stat_user_tables`)
	if err != nil {
		p.t.Fatal(err)
	}
	rows = map[string]float64{}
	var table string
	var n int64
	if _, err := pgx.ForEachRow(lines, []any{&table, &n}, func() error {
		rows[table] += float64(n)
		return nil
	}); err != nil {
		p.t.Fatal(err)
	}
	return transactions, rows
}

// Number returns the one number that a query has as its answer.
func (p *Postgres) Number(sql string, args ...any) (n float64) {
	p.t.Helper()
	if err := p.conn.QueryRow(p.t.Context(), sql, args...).Scan(&n); err != nil {
		p.t.Fatal(err)
	}
	return n
}
