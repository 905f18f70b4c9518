package postgres

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// readConnections and groupConnections of each agent, beside one each for commits,
	// transactions and committed offsets: Postgres pays for each with a process. One is enough to work with.
	readConnections  = 4
	groupConnections = 2
	// idleTime is how long a connection that nobody uses is kept from others, give or take idleCheck.
	idleTime  = time.Minute
	idleCheck = 15 * time.Second

	connectTimeout = 5 * time.Second
	// openTimeout bounds Open, which may wait for another agent's set-up.
	openTimeout = 30 * time.Second
)

// begin opens a transaction whose isolation no server setting changes.
const begin = `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE`

// callTimeout bounds one call, with waiting for a connection and retries.
var callTimeout = 10 * time.Second

// limits sets the transaction's timeouts. An agent that freezes between the
// round trips holds the sequencer for 1 s at most, which the others outwait. One
// that is only slow tries again: nothing is lost by that.
// An acknowledged commit must be durable whatever the server's default is; it
// may be stricter than on (remote_apply), so only off is changed. Plans are
// made once: they are the same for any values.
var limits = limitsOf("1s", "6s", "8s")

// limitsOf are the limits with the longest times between two round trips, of waiting for a lock, and of a statement.
func limitsOf(idle, lock, statement string) string {
	return `SELECT
	set_config('idle_in_transaction_session_timeout', '` + idle + `', true),
	set_config('lock_timeout', '` + lock + `', true),
	set_config('statement_timeout', '` + statement + `', true),
	set_config('plan_cache_mode', 'force_generic_plan', true),
	CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END`
}

// parseURL reads the URL. Its errors name the setting and never repeat the
// URL, which may hold a password.
func parseURL(raw string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(raw)
	if err != nil {
		return nil, errors.New("--metadata: " + urlProblem(raw, err))
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "wadi"
	}
	config.ConnConfig.OnNotice = noteUnreplicated
	// A dead server or network path shows within 15 s, also without traffic.
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 5}}
	config.ConnConfig.DialFunc = dialer.DialContext
	return config, nil
}

// urlProblem says what is wrong with the URL, without the password in it.
func urlProblem(raw string, err error) string {
	const general = "is not a valid Postgres URL; want postgres://user:password@host:port/database, with special characters of the password percent-encoded"
	u, parseErr := url.Parse(raw)
	var config *pgconn.ParseConfigError
	if parseErr != nil || !errors.As(err, &config) || config.Unwrap() == nil {
		return general
	}
	detail := config.Unwrap().Error()
	if password, ok := u.User.Password(); ok && password != "" && strings.Contains(detail, password) {
		return general
	}
	return "Postgres URL: " + detail
}

// newPool makes a pool of connections, of which set decides how they are made, and none is used before meet has seen it.
func newPool(config *pgxpool.Config, connections int32, set func(context.Context, *pgx.ConnConfig) error, meet func(context.Context, *pgx.Conn) error) (*pgxpool.Pool, error) {
	config = config.Copy()
	config.MinConns = 0
	config.MaxConns = connections
	config.BeforeConnect, config.AfterConnect = set, meet
	config.MaxConnIdleTime, config.HealthCheckPeriod = idleTime, idleCheck
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return nil, errors.New("--metadata: " + err.Error())
	}
	return pool, nil
}
