// Package schema keeps a metadata database at the version of this binary.
//
// It runs each store's own SQL migrations with goose. An empty database is set
// up on first use; any other change is a deliberate step (`wadi migrate`),
// because agents of older versions may still be running.
//
// Most migrations only add what older programs don't ask for: those go on with the new schema, and start on it, so that agents are
// replaced one by one after it. A migration that older programs must not work with says so in the database, by a
// statement of the form
//
//	UPDATE sequencer SET compatible_from = 12;
//
// with the version of the oldest schema whose programs may: its own, or an earlier one. Older ones don't start on it, those
// that run refuse to go on, and Migrate asks its caller before it applies it.
//
// Each migration and its version row are one transaction, and no lock is held
// around them: when several agents find an empty database at once, one of them
// wins and the others find its work done. Advisory locks would do too, but
// Postgres-compatible engines and connection poolers lack them.
package schema

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/wadi-log/wadi/metadata"
)

// Table holds the versions that were applied.
const Table = "schema_version"

// Engine is what the databases differ in.
type Engine struct {
	Dialect goose.Dialect
	// TableExists is a query for whether [Table] exists: one row of one boolean.
	TableExists string
	// CompatibleFrom is a query for the version of the oldest schema whose programs work with a newer one: one row of
	// one number. Empty: none do.
	CompatibleFrom string
	// Migrations are in the root of the file system.
	Migrations fs.FS
}

// AgentsTellSince is the first version whose register of agents has details of them, which say what schema they know since
// CompatibleSince.
const AgentsTellSince = 8

// OlderAgents is the error of a migration that the agents must not see, nil for none.
func OlderAgents(names []string) error {
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("agents of older versions are alive, which must not go on with the new schema: %s; stop them first, or say --force, and they stop serving", strings.Join(names, ", "))
}

// CompatibleSince is the first version that says with which older ones it is compatible; those before are with none.
const CompatibleSince = 10

var setsCompatibleFrom = regexp.MustCompile(`UPDATE sequencer SET compatible_from = (\d+);`)

// Schema is one store's migrations and the database to apply them to.
type Schema struct {
	db     *sql.DB
	engine Engine
	// versions reads the version table without creating it, which goose's
	// Provider does as soon as it is asked for anything.
	versions database.Store
	target   int64
}

// New makes the Schema. The database stays the caller's to close.
func New(db *sql.DB, engine Engine) (*Schema, error) {
	versions, err := database.NewStore(engine.Dialect, Table)
	if err != nil {
		return nil, err
	}
	s := &Schema{db: db, engine: engine, versions: versions}
	provider, err := s.provider()
	if err != nil {
		return nil, err
	}
	sources := provider.ListSources()
	s.target = sources[len(sources)-1].Version
	return s, nil
}

func (s *Schema) provider() (*goose.Provider, error) {
	return goose.NewProvider(s.engine.Dialect, s.db, s.engine.Migrations, goose.WithTableName(Table), goose.WithDisableGlobalRegistry(true))
}

// Ensure sets up an empty database, and checks the version of any other.
// Errors: metadata.ErrSchema, whose message says what to do.
func (s *Schema) Ensure(ctx context.Context) error {
	version, err := s.version(ctx)
	if err != nil {
		return err
	}
	if version == 0 {
		if version, err = s.setUp(ctx); err != nil {
			return err
		}
	}
	return s.check(ctx, version)
}

// Check checks the version of a database, and changes nothing. Errors:
// metadata.ErrSchema, also for one that is empty; its message says what to do.
func (s *Schema) Check(ctx context.Context) error {
	version, err := s.version(ctx)
	switch {
	case err != nil:
		return err
	case version == 0:
		return fmt.Errorf("%w: the database is empty; correct --metadata, or start an agent with it, which sets the database up", metadata.ErrSchema)
	}
	return s.check(ctx, version)
}

func (s *Schema) check(ctx context.Context, version int64) error {
	// Another agent may be setting the database up right now.
	for version < s.target {
		before := version
		if err := wait(ctx, time.Second); err != nil {
			return err
		}
		var err error
		if version, err = s.version(ctx); err != nil {
			return err
		}
		if version == before {
			break
		}
	}
	switch {
	case version < s.target:
		return fmt.Errorf("%w: the database has version %d, this wadi needs %d; run `wadi migrate` with the same --metadata, which says whether agents must stop before", metadata.ErrSchema, version, s.target)
	case version > s.target:
		return s.checkCompatible(ctx, version)
	}
	return nil
}

// checkCompatible checks a database that is newer than this program.
func (s *Schema) checkCompatible(ctx context.Context, version int64) error {
	oldest := version
	if s.engine.CompatibleFrom != "" {
		if err := s.db.QueryRowContext(ctx, s.engine.CompatibleFrom).Scan(&oldest); err != nil {
			return fmt.Errorf("read with which versions the database is compatible: %w", err)
		}
	}
	if s.target < oldest {
		return fmt.Errorf("%w: the database has version %d, a newer wadi's; this one knows version %d and must not touch it; use the newer wadi", metadata.ErrSchema, version, s.target)
	}
	return nil
}

// Target is this binary's version.
func (s *Schema) Target() int64 { return s.target }

// Migrate brings the database to this binary's version and returns the version
// before and after. If older programs that run must not go on with it, it asks first: an error of allow ends it. Programs
// of version oldest and newer may go on. Errors: metadata.ErrSchema when the database is newer.
func (s *Schema) Migrate(ctx context.Context, allow func(ctx context.Context, from, oldest int64) error) (from, to int64, err error) {
	if from, err = s.version(ctx); err != nil {
		return 0, 0, err
	}
	if from > s.target {
		return from, from, fmt.Errorf("%w: the database has version %d, this wadi's newest is %d; use the newer wadi", metadata.ErrSchema, from, s.target)
	}
	if from > 0 && from < s.target {
		oldest, err := s.oldestAfter(from)
		if err == nil && oldest > 0 {
			err = allow(ctx, from, oldest)
		}
		if err != nil {
			return from, 0, err
		}
	}
	if err := s.up(ctx); err != nil {
		return from, 0, err
	}
	return from, s.target, nil
}

// oldestAfter is the version of the oldest schema whose programs work with what the migrations after the version make, 0 if all
// do that work with the version.
func (s *Schema) oldestAfter(version int64) (oldest int64, err error) {
	provider, err := s.provider()
	if err != nil {
		return 0, err
	}
	for _, source := range provider.ListSources() {
		if source.Version <= version {
			continue
		}
		if source.Version <= CompatibleSince {
			oldest = max(oldest, source.Version)
		}
		text, err := fs.ReadFile(s.engine.Migrations, source.Path)
		if err != nil {
			return 0, err
		}
		for _, match := range setsCompatibleFrom.FindAllSubmatch(text, -1) {
			from, err := strconv.ParseInt(string(match[1]), 10, 64)
			if err != nil {
				return 0, err
			}
			oldest = max(oldest, from)
		}
	}
	return oldest, nil
}

// setUp applies all migrations to an empty database. Losing a race against
// another agent shows as any of several errors (a table exists, a key is
// taken); what counts is whether the version is there in the end.
func (s *Schema) setUp(ctx context.Context) (int64, error) {
	if err := s.createTable(ctx); err != nil {
		return 0, err
	}
	policy := retrypolicy.NewBuilder[int64]().
		WithMaxAttempts(5).
		WithBackoff(50*time.Millisecond, time.Second).
		WithJitterFactor(0.5).
		ReturnLastFailure().
		Build()
	return failsafe.With(policy).WithContext(ctx).GetWithExecution(func(e failsafe.Execution[int64]) (int64, error) {
		upErr := s.up(e.Context())
		version, err := s.version(e.Context())
		if err == nil && version < s.target {
			err = upErr
		}
		return version, err
	})
}

// createTable makes the version table, so that a database that refuses us does
// so at once: goose would try for several seconds.
func (s *Schema) createTable(ctx context.Context) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err = s.versions.CreateVersionTable(ctx, tx); err == nil {
		err = s.versions.Insert(ctx, tx, database.InsertRequest{Version: 0})
	}
	if err == nil {
		err = tx.Commit()
	} else {
		// Nothing to add to the error that brought us here.
		_ = tx.Rollback()
	}
	if err == nil {
		return nil
	}
	if exists, existsErr := s.exists(ctx); existsErr == nil && exists {
		return nil
	}
	return fmt.Errorf("set up the database: %w", err)
}

func (s *Schema) up(ctx context.Context) error {
	// A new provider each time: it remembers a version table that it failed to create.
	provider, err := s.provider()
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	return nil
}

// version is the newest that was applied, 0 for an empty database.
func (s *Schema) version(ctx context.Context) (int64, error) {
	exists, err := s.exists(ctx)
	if err != nil || !exists {
		return 0, err
	}
	version, err := s.versions.GetLatestVersion(ctx, s.db)
	if err != nil {
		return 0, fmt.Errorf("read the database's schema version: %w", err)
	}
	return version, nil
}

// exists tells whether the version table does.
func (s *Schema) exists(ctx context.Context) (exists bool, err error) {
	if err := s.db.QueryRowContext(ctx, s.engine.TableExists).Scan(&exists); err != nil {
		return false, fmt.Errorf("read the database's schema version: %w", err)
	}
	return exists, nil
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
