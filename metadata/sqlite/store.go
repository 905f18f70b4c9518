// Package sqlite keeps Wadi's metadata in one SQLite file, the embedded default.
//
// The semantics are those of package postgres, and the same suite checks them.
// SQLite allows one writer at a time, which takes the place of the sequencer's
// lock: every change begins with BEGIN IMMEDIATE. Readers work beside it on
// their own snapshots (write-ahead log). A change that was reported as done
// survives a power cut (synchronous=FULL).
//
// Several stores, also in several processes of one machine, may share a file:
// they take turns. A file on a network file system does not work, since SQLite
// needs working locks and shared memory.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/history"
)

// Store is a metadata.Store in one SQLite file.
type Store struct {
	path string
	// writer has a single connection; its transactions are immediate.
	writer *sql.DB
	// reader has several, which can't write.
	reader    *sql.DB
	prepared  statements
	clusterID string
	// history is what is known of the database; id is under what the Store enters what is lost of it.
	history history.History
	id      uuid.UUID
}

var _ metadata.Store = (*Store)(nil)

// Open opens the file, given as a path or as sqlite:PATH, creates it with its
// folder if there is none, and sets it up if it is empty. Errors:
// metadata.ErrUnavailable when the file can't be used, metadata.ErrSchema.
func Open(ctx context.Context, url string) (*Store, error) {
	s, err := connect(url)
	if err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// OpenReadOnly opens a file that exists for who calls only what reads; whatever writes
// fails. Errors: those of Open, and metadata.ErrSchema for an empty database.
func OpenReadOnly(ctx context.Context, url string) (*Store, error) {
	path, err := filePath(url)
	if err != nil {
		return nil, err
	}
	s, err := newStore(path, readerDSN(path))
	if err != nil {
		return nil, err
	}
	if err := s.prepareReading(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func connect(url string) (*Store, error) {
	path, err := filePath(url)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("--metadata: make the folder of the database: %w", err)
	}
	return newStore(path, writerDSN(path))
}

// newStore opens no connection yet; each is opened when it is needed.
func newStore(path, writer string) (*Store, error) {
	s := &Store{path: path, id: uuid.New()}
	var err error
	if s.writer, err = sql.Open("sqlite", writer); err != nil {
		return nil, err
	}
	s.writer.SetMaxOpenConns(1)
	if s.reader, err = sql.Open("sqlite", readerDSN(path)); err != nil {
		return nil, errors.Join(err, s.writer.Close())
	}
	s.reader.SetMaxOpenConns(readConnections)
	s.reader.SetMaxIdleConns(readConnections)
	return s, nil
}

// prepare brings up the schema and reads what never changes.
func (s *Store) prepare(ctx context.Context) error {
	if err := s.ensureSchema(ctx); err != nil {
		return err
	}
	if err := s.prepared.prepare(ctx, s.writer, s.reader); err != nil {
		return s.describe("prepare statements", classify(err, false))
	}
	// The first to come writes its proposal, every other reads it.
	return s.change(ctx, "read the cluster ID", func(tx *tx) error {
		if err := tx.exec(`INSERT INTO cluster VALUES (1, ?) ON CONFLICT DO NOTHING`, metadata.NewClusterID()); err != nil {
			return err
		}
		return s.readClusterID(tx)
	})
}

// prepareReading is prepare of a database that is set up.
func (s *Store) prepareReading(ctx context.Context) error {
	if err := s.checkSchema(ctx); err != nil {
		return err
	}
	if err := s.prepared.prepare(ctx, s.writer, s.reader); err != nil {
		return s.describe("prepare statements", classify(err, false))
	}
	return s.read(ctx, "read the cluster ID", s.readClusterID)
}

func (s *Store) readClusterID(tx *tx) error {
	return tx.QueryRowContext(tx.ctx, `SELECT cluster_id FROM cluster`).Scan(&s.clusterID)
}

// ClusterID implements metadata.Store.
func (s *Store) ClusterID(context.Context) (string, error) { return s.clusterID, nil }

// Ping implements metadata.Store. The file must still be where it was: a
// database whose file was deleted works on, and is lost with the process.
func (s *Store) Ping(ctx context.Context) error {
	if _, err := os.Stat(s.path); err != nil {
		return s.describe("reach the database", fmt.Errorf("%w: %w", metadata.ErrUnavailable, err))
	}
	_, err := s.LastSeq(ctx)
	return err
}

// Close implements metadata.Store.
func (s *Store) Close() error {
	return errors.Join(s.prepared.close(), s.reader.Close(), s.writer.Close())
}

// tx is a transaction. Its statements run with ctx, which never ends: SQLite
// works in our own process, so only waiting for the lock needs a deadline, and
// a cancellable context would cost each statement a goroutine.
type tx struct {
	*sql.Tx
	ctx context.Context
	now time.Time
	// prepared are all; only those of the writer fit a transaction that changes something.
	prepared *statements
}

func (t *tx) exec(query string, args ...any) error {
	_, err := t.ExecContext(t.ctx, query, args...)
	return err
}

// affected is exec that returns how many rows changed.
func (t *tx) affected(query string, args ...any) (int, error) {
	result, err := t.ExecContext(t.ctx, query, args...)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// stmt binds a prepared statement to the transaction.
func (t *tx) stmt(prepared *sql.Stmt) *sql.Stmt { return t.StmtContext(t.ctx, prepared) }

// change runs one write transaction. When run fails, nothing changes.
func (s *Store) change(ctx context.Context, doing string, run func(*tx) error) error {
	if err := s.history.Refusal(); err != nil {
		return s.describe(doing, err)
	}
	return s.changeAnyway(ctx, doing, run)
}

// changeAnyway is change of what doesn't depend on what the database has lost, or looks for itself.
func (s *Store) changeAnyway(ctx context.Context, doing string, run func(*tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	begun, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return s.describe(doing, classify(err, false))
	}
	if err := run(&tx{Tx: begun, ctx: context.WithoutCancel(ctx), now: time.Now(), prepared: &s.prepared}); err != nil {
		// A failed rollback closes the connection, which rolls back.
		_ = begun.Rollback()
		return s.describe(doing, classify(err, false))
	}
	return s.describe(doing, classify(begun.Commit(), true))
}

// read runs queries on one snapshot.
func (s *Store) read(ctx context.Context, doing string, run func(*tx) error) error {
	if err := s.history.Refusal(); err != nil {
		return s.describe(doing, err)
	}
	return s.readAnyway(ctx, doing, run)
}

// readAnyway is read of what doesn't depend on what the database has lost, or looks for itself.
func (s *Store) readAnyway(ctx context.Context, doing string, run func(*tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	begun, err := s.reader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return s.describe(doing, classify(err, false))
	}
	err = run(&tx{Tx: begun, ctx: context.WithoutCancel(ctx), now: time.Now(), prepared: &s.prepared})
	// There is nothing to roll back; this ends the snapshot.
	_ = begun.Rollback()
	return s.describe(doing, classify(err, false))
}

// describe adds what was being done, and with which file.
func (s *Store) describe(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("metadata: %s in %s: %w", doing, s.path, err)
}
