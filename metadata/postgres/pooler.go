package postgres

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A pooler between agents and the server lends each transaction another session. Most of what that takes away the Store does
// without. But prepared statements are worth having, and some poolers keep them: those that give them names of
// their own and prepare them again in each session. So each new connection is tried out, until one leads
// through a pooler that keeps none. That one is given up, and all that follow prepare nothing.

// errForgets: the connection leads through a pooler that keeps no prepared statements.
var errForgets = errors.New("the connection leads through a pooler that keeps no prepared statements")

// choosesMode tells whether the URL leaves it to the Store whether statements are prepared.
func choosesMode(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && !u.Query().Has("default_query_exec_mode")
}

// setMode lets a connection that is about to be made prepare no statements, once that is known to be needed.
func (s *Store) setMode(_ context.Context, config *pgx.ConnConfig) error {
	if s.unprepared.Load() {
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	return nil
}

// meet finds out what must be known of a new connection before it is used.
func (s *Store) meet(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if s.choosesMode && !s.unprepared.Load() {
		keeps, err := keepsStatements(ctx, conn)
		if err != nil {
			return err
		}
		if !keeps {
			s.unprepared.Store(true)
			return errForgets
		}
	}
	return s.verify(ctx, conn)
}

// keepsStatements tells whether what the connection prepares is there in all of its transactions.
func keepsStatements(ctx context.Context, conn *pgx.Conn) (bool, error) {
	var process uint32
	if err := conn.QueryRow(ctx, `SELECT pg_backend_pid()`, pgx.QueryExecModeExec).Scan(&process); err != nil {
		return false, err
	}
	if process == conn.PgConn().PID() {
		return true, nil // it is the server that we connected to, no pooler
	}
	// In one transaction, so that all goes to one session.
	tx, err := conn.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer rollBack(conn)
	const name = "wadi_probe"
	if _, err := tx.Prepare(ctx, name, `SELECT`); err != nil {
		var refusal *pgconn.PgError
		if errors.As(err, &refusal) && refusal.Code == duplicateStatement {
			return false, nil // another client's, who had the session before
		}
		return false, err
	}
	var passedOn bool
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_prepared_statements WHERE name = '`+name+`')`, pgx.QueryExecModeExec).Scan(&passedOn)
	if err == nil {
		// A rollback would leave it.
		err = conn.Deallocate(ctx, name)
	}
	return !passedOn, err
}

// SQLSTATEs of who executes, or prepares, a statement that another session has, or this one has already.
const (
	unknownStatement   = "26000"
	duplicateStatement = "42P05"
	// protocolViolation is the only one that PgBouncer has for most of what it says itself.
	protocolViolation = "08P01"
)

// poolerAdvice tells what to do about what PgBouncer refuses, by a part of what it says, which nothing translates.
var poolerAdvice = []struct{ says, hint string }{
	{"unsupported startup parameter", "PgBouncer passes no settings on; take this one out of --metadata and set it in Postgres, with ALTER DATABASE or ALTER ROLE ... SET"},
	{"statement pooling mode", "set pool_mode = transaction in PgBouncer"},
	{"no such database", "add the database to [databases] of PgBouncer, or correct its name in --metadata"},
	{"no such user", "add the user to auth_file of PgBouncer, or correct it in --metadata"},
	{"authentication failed", advice["28P01"]},
	{"server login has been failing", "PgBouncer can't log in to Postgres; its log says why"},
	{maxClientConn, "raise it (an agent takes up to 9)"},
	{exceeded, "raise it (an agent takes up to 9)"},
}

// What PgBouncer says that has as many clients as it may: of all, or of a user or a database.
const (
	maxClientConn = "max_client_conn"
	exceeded      = "client connections exceeded"
)

// hint tells the operator what to do about a refusal, "" if that is not known.
func hint(refusal *pgconn.PgError) string {
	if refusal.Code == protocolViolation {
		for _, a := range poolerAdvice {
			if strings.Contains(refusal.Message, a.says) {
				return a.hint
			}
		}
	}
	return advice[sqlState(refusal)]
}

// poolerIsFull tells whether PgBouncer refused a client that it may take later.
func poolerIsFull(refusal *pgconn.PgError) bool {
	return refusal.Code == protocolViolation && (strings.Contains(refusal.Message, maxClientConn) || strings.Contains(refusal.Message, exceeded))
}
