// Package postgres keeps Wadi's metadata in Postgres 13 or newer, the store for
// more than one agent.
//
// One row, sequencer_lock, orders everything: whatever changes partitions,
// topics or producer states, or writes a feed entry, locks it first, in its own
// statement (in READ COMMITTED a statement that waits for a lock still sees the
// snapshot from before the wait; the next one sees everything that earlier
// holders committed). So the order of locks is global without further thought,
// sequence numbers have no gaps, and they become visible in order. Measured
// against a row lock per partition it is slower for one writer and much faster
// for many on the same partitions, and it can't deadlock.
//
// A change is two round trips: lock and read, then write and commit. What lies
// between is decided in Go. The commits of a store have a connection of their
// own, so that they never wait behind reads, and so have its transactions.
//
// Consumer groups stay out of that order. A group changes by compare-and-set, in
// one round trip; committed offsets are written under locks of their groups'
// rows, which are always taken in the order of their keys. Both have connections
// of their own, so that nobody who waits for a group's lock keeps reads waiting.
//
// Transactions need both: the sequencer first, then, in the order of their keys, the
// groups whose offsets they put aside or commit. Nobody who holds a group's lock
// ever asks for the sequencer, so nobody waits in a circle. The price is that an
// agent that freezes in the midst of writing offsets of a group, 1 s at most, may
// hold the sequencer up for as long.
//
// Maintenance needs neither: nothing else changes runs that a commit has added. Whoever
// removes or replaces runs locks them first, in the order of their keys or passing over those that others
// have locked, and then their files, in the order of their IDs, as does whoever claims files.
//
// A database may lose changes: by a failover to a replica that lagged, or a restore. So whatever goes on from what the
// Store knows asks first whether that is still there (package history), in each change under the lock that orders
// them; and if it is not, halts the database in a transaction of its own, under the same lock (halt.go).
//
// No session state is used: no SET, no temporary tables, no LISTEN, no advisory
// locks; timeouts are set inside each transaction. PgBouncer in transaction
// mode therefore works, also where it keeps no prepared statements (pooler.go).
package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/history"
)

// Store is a metadata.Store in one Postgres database.
type Store struct {
	// commits has a single connection, for CommitFiles.
	commits *pgxpool.Pool
	// transactions has a single connection, for ChangeTransactions.
	transactions *pgxpool.Pool
	// offsets has a single connection, for WriteOffsets.
	offsets *pgxpool.Pool
	// groups serves what waits for groups that are locked.
	groups *pgxpool.Pool
	// pool serves everything else.
	pool      *pgxpool.Pool
	retry     failsafe.Executor[any]
	clusterID string
	// choosesMode: the URL doesn't say how statements are run. Then they are prepared, unless unprepared.
	choosesMode bool
	unprepared  atomic.Bool
	// history is what is known of the database; id is under what the Store enters what is lost of it.
	history history.History
	id      uuid.UUID
}

var _ metadata.Store = (*Store)(nil)

// Open connects to the database of the URL (postgres://...), sets it up if it
// is empty, and checks the schema's version otherwise. Errors: those of the
// URL, metadata.ErrUnavailable, metadata.ErrSchema; none contains the password.
func Open(ctx context.Context, url string) (*Store, error) {
	return openAs(ctx, url, (*Store).prepare)
}

// OpenReadOnly is Open for who calls only what reads: it writes nothing, and an empty
// database is a metadata.ErrSchema. A user who may do no more than SELECT will do.
func OpenReadOnly(ctx context.Context, url string) (*Store, error) {
	return openAs(ctx, url, (*Store).prepareReading)
}

func openAs(ctx context.Context, url string, prepare func(*Store, context.Context) error) (*Store, error) {
	s, err := connect(url)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := prepare(s, ctx); err != nil {
		s.closePools()
		return nil, err
	}
	return s, nil
}

func connect(url string) (*Store, error) {
	config, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	s := &Store{id: uuid.New(), choosesMode: choosesMode(url), retry: failsafe.With(retrypolicy.NewBuilder[any]().
		HandleIf(func(_ any, err error) bool { return errors.Is(err, errRetry) }).
		WithMaxAttempts(5).
		WithBackoff(5*time.Millisecond, 200*time.Millisecond).
		WithJitterFactor(0.5).
		ReturnLastFailure().
		Build())}
	for _, p := range []struct {
		to          **pgxpool.Pool
		connections int32
	}{{&s.commits, 1}, {&s.transactions, 1}, {&s.offsets, 1}, {&s.groups, groupConnections}, {&s.pool, readConnections}} {
		if *p.to, err = newPool(config, p.connections, s.setMode, s.meet); err != nil {
			s.closePools()
			return nil, err
		}
	}
	return s, nil
}

// prepare brings up the schema and reads what never changes.
func (s *Store) prepare(ctx context.Context) error {
	if err := s.ping(ctx); err != nil {
		return err
	}
	if err := s.ensureSchema(ctx); err != nil {
		return err
	}
	// The first agent to come writes its proposal, every other reads it.
	err := s.read(ctx, "propose a cluster ID", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `INSERT INTO cluster VALUES (1, $1) ON CONFLICT DO NOTHING`, metadata.NewClusterID())
		return err
	})
	if err != nil {
		return err
	}
	return s.readClusterID(ctx)
}

// prepareReading is prepare of a database that is set up.
func (s *Store) prepareReading(ctx context.Context) error {
	if err := s.ping(ctx); err != nil {
		return err
	}
	if err := s.checkSchema(ctx); err != nil {
		return err
	}
	return s.readClusterID(ctx)
}

func (s *Store) readClusterID(ctx context.Context) error {
	return s.read(ctx, "read the cluster ID", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, `SELECT cluster_id FROM cluster`).Scan(&s.clusterID)
	})
}

// ClusterID implements metadata.Store.
func (s *Store) ClusterID(context.Context) (string, error) { return s.clusterID, nil }

// Ping implements metadata.Store.
func (s *Store) Ping(ctx context.Context) error {
	return s.feed(ctx, "reach the metadata store", func(history.Found) {}, func(*pgx.Batch) {})
}

// ping is Ping of a database that need not be set up.
func (s *Store) ping(ctx context.Context) error {
	return s.read(ctx, "reach Postgres", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `SELECT 1`)
		return err
	})
}

// Close implements metadata.Store.
func (s *Store) Close() error {
	s.closePools()
	return nil
}

func (s *Store) closePools() {
	for _, pool := range s.pools() {
		if pool != nil {
			pool.Close()
		}
	}
}

func (s *Store) pools() []*pgxpool.Pool {
	return []*pgxpool.Pool{s.commits, s.transactions, s.offsets, s.groups, s.pool}
}

// reconnect makes new connections of all, none of which is used before it is verified: the server may be another one
// now, of which a pooler in between tells those nothing that were idle.
func (s *Store) reconnect() {
	for _, pool := range s.pools() {
		pool.Reset()
	}
}

// read runs queries that change nothing, or nothing that a second run would
// spoil, and repeats them after failures that pass.
func (s *Store) read(ctx context.Context, doing string, query func(ctx context.Context) error) error {
	if err := s.history.Refusal(); err != nil {
		return describe(doing, err)
	}
	return s.readAnyway(ctx, doing, query)
}

// readAnyway is read of what doesn't depend on what the database has lost.
func (s *Store) readAnyway(ctx context.Context, doing string, query func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := s.repeatAnyway(ctx, func(ctx context.Context) error {
		return classify(query(ctx), false)
	})
	return describe(doing, err)
}

// repeat is repeatAnyway, unless the store must not be used.
func (s *Store) repeat(ctx context.Context, attempt func(ctx context.Context) error) error {
	if err := s.history.Refusal(); err != nil {
		return err
	}
	return s.repeatAnyway(ctx, attempt)
}

// repeatAnyway runs the attempt until it ends in anything but errRetry, a few times at
// most, and returns how the last one ended. (The retry library itself answers
// with the context's error once that has ended, even for an attempt that
// succeeded, or that may have committed.)
func (s *Store) repeatAnyway(ctx context.Context, attempt func(ctx context.Context) error) error {
	ran := false
	var last error
	err := s.retry.WithContext(ctx).Run(func() error {
		if ran, last = true, attempt(ctx); cutOff(last) {
			s.reconnect()
		}
		return last
	})
	if !ran {
		last = classify(err, false)
	}
	return last
}

// queryAll collects the rows of a query on the read pool.
func queryAll[T any](ctx context.Context, s *Store, doing string, scan func(pgx.CollectableRow) (T, error), sql string, args ...any) ([]T, error) {
	var all []T
	err := s.read(ctx, doing, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, scan)
		return err
	})
	return all, err
}

// describe adds what was being done.
func describe(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("metadata: %s: %w", doing, err)
}
