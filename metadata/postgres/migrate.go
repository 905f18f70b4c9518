package postgres

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/schema"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate brings the database of the URL to this binary's schema version and
// returns the version before and after. Unless it is forced, it refuses to while agents are alive whose
// programs must not go on with the new schema. Other errors are those of Open.
func Migrate(ctx context.Context, url string, force bool) (from, to int64, err error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return 0, 0, err
	}
	return migrate(ctx, url, files, force)
}

// A migration that must wait for a lock gives up soon, so that nothing queues up behind it, and is tried again; so is one that gave way
// to somebody with whom it waited in a circle.
const (
	lockTries = 20
	lockPause = 2 * time.Second
)

func migrate(ctx context.Context, url string, files fs.FS, force bool) (from, to int64, err error) {
	s, err := connect(url)
	if err != nil {
		return 0, 0, err
	}
	defer s.closePools()
	if err := s.ping(ctx); err != nil {
		return 0, 0, err
	}
	allow := s.refuseOlderAgents
	if force {
		allow = func(context.Context, int64, int64) error { return nil }
	}
	for try := 1; ; try++ {
		err = s.withSchema(files, func(schema *schema.Schema) error {
			first := from
			from, to, err = schema.Migrate(ctx, allow)
			if try > 1 {
				from = first // of several migrations some may have been done
			}
			return err
		})
		var refusal *pgconn.PgError
		if !errors.As(err, &refusal) || refusal.Code != "55P03" && refusal.Code != "40P01" || try == lockTries {
			return from, to, describe("migrate", err)
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			return from, to, describe("migrate", err)
		}
	}
}

// refuseOlderAgents fails while agents are alive whose programs know no schema of version oldest or newer.
func (s *Store) refuseOlderAgents(ctx context.Context, from, oldest int64) error {
	query := `SELECT name FROM agents WHERE beat_at > clock_timestamp() - $1::interval AND COALESCE((details ->> 'schema')::bigint, 0) < $2 ORDER BY name`
	if from < schema.AgentsTellSince {
		query = `SELECT name FROM agents WHERE beat_at > clock_timestamp() - $1::interval AND $2::bigint > 0 ORDER BY name`
	}
	rows, err := s.pool.Query(ctx, query, metadata.AgentTimeout, oldest)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	return schema.OlderAgents(names)
}

func (s *Store) ensureSchema(ctx context.Context) error {
	err := s.withOurSchema(func(schema *schema.Schema) error { return schema.Ensure(ctx) })
	return describe("check the schema", err)
}

func (s *Store) checkSchema(ctx context.Context) error {
	err := s.withOurSchema(func(schema *schema.Schema) error { return schema.Check(ctx) })
	return describe("check the schema", err)
}

// withOurSchema is withSchema of this program's migrations, and notes their version.
func (s *Store) withOurSchema(use func(*schema.Schema) error) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	return s.withSchema(files, func(schema *schema.Schema) error {
		s.history.Schema = schema.Target()
		return use(schema)
	})
}

func (s *Store) withSchema(files fs.FS, use func(*schema.Schema) error) error {
	db := stdlib.OpenDBFromPool(s.pool)
	schema, err := schema.New(db, schema.Engine{
		Dialect:        goose.DialectPostgres,
		TableExists:    `SELECT to_regclass('` + schema.Table + `') IS NOT NULL`,
		CompatibleFrom: `SELECT compatible_from FROM sequencer`,
		Migrations:     files,
	})
	if err == nil {
		err = classify(use(schema), false)
	}
	return errors.Join(err, db.Close())
}
