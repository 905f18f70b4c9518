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
	"28P01": "check the user and the password in --metadata",
	"28000": "check the user in --metadata, and pg_hba.conf of the server",
	"3D000": "create the database or correct its name in --metadata",
	"42501": "grant the user of --metadata all rights on the database's schema",
	"53100": "the server's disk is full; free space on it",
	"53300": "raise max_connections of the server (an agent takes up to 9) or use a pooler",
	"57P03": "it should pass",
	"25006": "the server is a read-only standby; --metadata must name the primary",
}

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

// cutOff tells whether the connection to the server failed or ended: the next one may lead to another server.
func cutOff(err error) bool {
	var connecting *pgconn.ConnectError
	var refusal *pgconn.PgError
	switch {
	case err == nil, passes(err):
		return false
	case errors.As(err, &connecting):
		return true
	case errors.As(err, &refusal):
		return refusal.SeverityUnlocalized != "ERROR"
	}
	return broken(err)
}

func unreachable(err error, connecting *pgconn.ConnectError) error {
	var refusal *pgconn.PgError
	hint := "check that Postgres runs, and the host and port in --metadata"
	if errors.As(connecting, &refusal) {
		hint = advice[refusal.Code]
	}
	if passes(err) {
		// Meanwhile one of our own may have become free, too.
		return fmt.Errorf("%w: %w: %w: %w; %s", metadata.ErrUnavailable, metadata.ErrNoConnection, errRetry, err, hint)
	}
	if hint == "" {
		return fmt.Errorf("%w: %w", metadata.ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w; %s", metadata.ErrUnavailable, err, hint)
}

// passes tells whether the server refused a connection for now: it has as many as it takes, or is starting up.
func passes(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && (refusal.Code == "53300" || refusal.Code == "57P03")
}

func classifyRefusal(err error, refusal *pgconn.PgError, sent bool) error {
	// Only an ERROR proves that the transaction was rolled back. A session that
	// ends with FATAL may have committed before.
	// (Severity itself is translated, by lc_messages.)
	ended := refusal.SeverityUnlocalized != "ERROR"
	if ended && sent {
		return fmt.Errorf("%w: %w", metadata.ErrOutcomeUnknown, err)
	}
	if ended {
		// The server had closed an idle connection, or restarts.
		return fmt.Errorf("%w: %w: %w", metadata.ErrUnavailable, errRetry, err)
	}
	code := refusal.Code
	if code == "0A000" && strings.Contains(strings.ToLower(refusal.Routine), "read") {
		code = "25006" // a standby's answer to BEGIN READ WRITE
	}
	if hint := advice[code]; hint != "" {
		return fmt.Errorf("%w: %w; %s", metadata.ErrUnavailable, err, hint)
	}
	switch {
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
