package harness

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestPgBouncerPoolsTransactions lets two clients share one session, before and after PgBouncer was killed: in any
// other mode the second would wait for the first one's end.
func TestPgBouncerPoolsTransactions(t *testing.T) {
	direct := Postgres(t)
	run(t, direct, "CREATE SCHEMA apart CREATE TABLE mark (n int)")
	b := StartPgBouncer(t, direct, PgBouncerOptions{Settings: []string{"default_pool_size=1"}, Schemas: []string{"apart"}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 2 {
		sessions := map[int]bool{}
		for range 2 {
			conn, err := pgx.Connect(ctx, b.URL())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(ctx) }() // it may have been killed
			var session int
			if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeExec).Scan(&session); err != nil {
				t.Fatal(err)
			}
			sessions[session] = true
		}
		if len(sessions) != 1 {
			t.Errorf("two clients had %d sessions", len(sessions))
		}
		if got := number(t, b.SchemaURL("apart")+"&default_query_exec_mode=exec", "SELECT count(*) FROM mark"); got != 0 {
			t.Errorf("%d rows in the table of the schema", got)
		}
		b.Kill()
		b.Start()
	}
}
