package bench

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgres is the server behind a database, seen from outside.
type postgres struct {
	b    *testing.B
	conn *pgx.Conn
	// postmaster is the parent of all its processes.
	postmaster int
}

func openPostgres(b *testing.B, url string) *postgres {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close(context.WithoutCancel(b.Context())) })
	p := &postgres{b: b, conn: conn}
	var backend int
	if err := conn.QueryRow(b.Context(), `SELECT pg_backend_pid()`).Scan(&backend); err != nil {
		b.Fatal(err)
	}
	p.postmaster = int(stat(b, strconv.Itoa(backend)).number(statParent))
	return p
}

// cpu is the CPU time of all processes of the server, also of those that have ended.
func (p *postgres) cpu() time.Duration {
	p.b.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		p.b.Fatal(err)
	}
	ended := stat(p.b, strconv.Itoa(p.postmaster))
	total := ended.ticks(statUser, statSystem, statChildrenUser, statChildrenSystem)
	for _, e := range entries {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%s/stat", e.Name()))
		if err != nil {
			continue // not a process, or one that ended just now
		}
		if s := parseStat(p.b, string(raw)); int(s.number(statParent)) == p.postmaster {
			total += s.ticks(statUser, statSystem)
		}
	}
	return total
}

// written returns how many transactions were committed so far, and how many rows
// were inserted and updated in each table. Postgres counts with a delay of a second.
func (p *postgres) written() (transactions float64, rows map[string]float64) {
	p.b.Helper()
	if err := p.conn.QueryRow(p.b.Context(), `SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()`).Scan(&transactions); err != nil {
		p.b.Fatal(err)
	}
	lines, err := p.conn.Query(p.b.Context(), `SELECT relname::text, n_tup_ins + n_tup_upd FROM pg_stat_user_tables`)
	if err != nil {
		p.b.Fatal(err)
	}
	rows = map[string]float64{}
	var table string
	var n int64
	if _, err := pgx.ForEachRow(lines, []any{&table, &n}, func() error {
		rows[table] += float64(n)
		return nil
	}); err != nil {
		p.b.Fatal(err)
	}
	return transactions, rows
}

// procStat are the fields of /proc/PID/stat, from the third on: the command in the
// second may contain spaces.
type procStat struct {
	b      *testing.B
	fields []string
}

// Fields by their numbers in proc(5). Times are in ticks of 10 ms.
const (
	statParent         = 4
	statUser           = 14
	statSystem         = 15
	statChildrenUser   = 16
	statChildrenSystem = 17
	statResidentPages  = 24
)

// stat reads the fields of a process, by its ID or "self".
func stat(b *testing.B, pid string) procStat {
	b.Helper()
	raw, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		b.Skipf("CPU time of a process: %v (needs Linux's /proc)", err)
	}
	return parseStat(b, string(raw))
}

func parseStat(b *testing.B, raw string) procStat {
	return procStat{b, strings.Fields(raw[strings.LastIndexByte(raw, ')')+1:])}
}

func (s procStat) number(field int) int64 {
	s.b.Helper()
	n, err := strconv.ParseInt(s.fields[field-3], 10, 64)
	if err != nil {
		s.b.Fatal(err)
	}
	return n
}

func (s procStat) ticks(fields ...int) (sum time.Duration) {
	s.b.Helper()
	for _, f := range fields {
		sum += time.Duration(s.number(f)) * 10 * time.Millisecond
	}
	return sum
}
