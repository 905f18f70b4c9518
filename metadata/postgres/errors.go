package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wadi-log/wadi/metadata"
)

// errRetry marks an attempt without effect that is worth repeating at once.
var errRetry = errors.New("tried several times")

// advice tells the operator what to do about a refusal, by SQLSTATE.
var advice = map[string]string{
	"28P01":  "check the user and the password in --metadata",
	"28000":  "check the user in --metadata, and pg_hba.conf of the server",
	"3D000":  "create the database or correct its name in --metadata",
	"42501":  "grant the user of --metadata all rights on the database's schema",
	"53100":  "the server's disk is full; free space on it",
	"53300":  "raise max_connections of the server (an agent takes up to 9) or use a pooler",
	"57P03":  "it should pass",
	readOnly: "the server is a read-only standby; --metadata must name the primary",

	unknownStatement:   forgets,
	duplicateStatement: forgets,
}

const (
	readOnly = "25006"
	forgets  = "a pooler before the server keeps no prepared statements; take default_query_exec_mode out of --metadata, or set max_prepared_statements in PgBouncer"
)

// classify sorts an attempt's failure into the contract's errors. sent tells
// that the COMMIT (or a statement that commits by itself) may have reached the server.
func classify(err error, sent bool) error {
	if err == nil {
		return nil
	}
	var refusal *pgconn.PgError
	var connecting *pgconn.ConnectError
	switch {
	case errors.As(err, &connecting):
		return unreachable(err, connecting)
	case errors.Is(err, errForgets):
		return fmt.Errorf("%w: %w: %w", metadata.ErrUnavailable, errRetry, err)
	case errors.As(err, &refusal):
		return classifyRefusal(err, refusal, sent)
	case sent:
		return fmt.Errorf("%w: %w", metadata.ErrOutcomeUnknown, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: %w", metadata.ErrUnavailable, err)
	case broken(err):
		// It may have been idle since the server restarted: a new one is worth a try.
		return fmt.Errorf("%w: %w: %w", metadata.ErrUnavailable, errRetry, err)
	}
	return err
}

// broken tells whether the connection failed, not the statement.
func broken(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || pgconn.SafeToRetry(err)
}

// cutOff tells whether the next connection may lead to another server: this one failed or ended, or leads to a standby, as it may
// through a pooler whose server has changed, or lacks statements that it prepared, and so does each that was made before the pooler changed.
func cutOff(err error) bool {
	var connecting *pgconn.ConnectError
	var refusal *pgconn.PgError
	switch {
	case err == nil, passes(err):
		return false
	case errors.As(err, &connecting):
		return true
	case errors.As(err, &refusal):
		return refusal.SeverityUnlocalized != "ERROR" || outlived(refusal)
	}
	return broken(err)
}

// outlived tells whether the connection is of no use any more, though it works.
func outlived(refusal *pgconn.PgError) bool {
	code := sqlState(refusal)
	return code == readOnly || code == unknownStatement || code == duplicateStatement
}

func unreachable(err error, connecting *pgconn.ConnectError) error {
	var refusal *pgconn.PgError
	todo := "check that Postgres runs, and the host and port in --metadata"
	if errors.As(connecting, &refusal) {
		todo = hint(refusal)
	}
	if passes(err) {
		// Meanwhile one of our own may have become free, too.
		return fmt.Errorf("%w: %w: %w: %w; %s", metadata.ErrUnavailable, metadata.ErrNoConnection, errRetry, err, todo)
	}
	if todo == "" {
		return fmt.Errorf("%w: %w", metadata.ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w; %s", metadata.ErrUnavailable, err, todo)
}

// passes tells whether the server, or a pooler, refused a connection for now: it has as many as it takes, or is starting up.
func passes(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && (refusal.Code == "53300" || refusal.Code == "57P03" || poolerIsFull(refusal))
}

// sqlState is a refusal's SQLSTATE. A standby's answer to BEGIN READ WRITE is that of what is not supported, from where the server
// checks a setting that is on or off, of which this is our only one.
func sqlState(refusal *pgconn.PgError) string {
	if refusal.Code == "0A000" && refusal.Routine == "call_bool_check_hook" {
		return readOnly
	}
	return refusal.Code
}

func classifyRefusal(err error, refusal *pgconn.PgError, sent bool) error {
	// Only an ERROR proves that the transaction was rolled back. A session that
	// ends with FATAL may have committed before.
	// (Severity itself is translated, by lc_messages.)
	ended := refusal.SeverityUnlocalized != "ERROR"
	if ended && sent {
		return fmt.Errorf("%w: %w", metadata.ErrOutcomeUnknown, err)
	}
	todo := hint(refusal)
	switch {
	case ended && passes(err):
		// A pooler takes connections before it has one of the server to give.
		return fmt.Errorf("%w: %w: %w: %w; %s", metadata.ErrUnavailable, metadata.ErrNoConnection, errRetry, err, todo)
	case ended && todo == "":
		// The server had closed an idle connection, or restarts.
		return fmt.Errorf("%w: %w: %w", metadata.ErrUnavailable, errRetry, err)
	case ended, outlived(refusal):
		return fmt.Errorf("%w: %w: %w; %s", metadata.ErrUnavailable, errRetry, err, todo)
	case todo != "":
		return fmt.Errorf("%w: %w; %s", metadata.ErrUnavailable, err, todo)
	case refusal.Code == "40001", refusal.Code == "40P01": // serialization failure, deadlock
		return fmt.Errorf("%w: %w: %w", metadata.ErrUnavailable, errRetry, err)
	case refusal.Code == "42P01", refusal.Code == "42703": // no such table, no such column
		return fmt.Errorf("%w: %w; run `wadi migrate` with the same --metadata", metadata.ErrSchema, err)
	case refusal.Code == "55P03", // lock timeout
		strings.HasPrefix(refusal.Code, "57"), // cancelled, shutting down
		strings.HasPrefix(refusal.Code, "53"), // out of resources
		strings.HasPrefix(refusal.Code, "08"), // connection
		strings.HasPrefix(refusal.Code, "25"): // e.g. idle in transaction for too long
		return fmt.Errorf("%w: %w", metadata.ErrUnavailable, err)
	}
	return err
}
