package postgres

import (
	"context"
	"embed"
	"errors"
	"io/fs"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/wadi-log/wadi/metadata/schema"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate brings the database of the URL to this binary's schema version and
// returns the version before and after. Errors are those of Open.
func Migrate(ctx context.Context, url string) (from, to int64, err error) {
	s, err := connect(url)
	if err != nil {
		return 0, 0, err
	}
	defer s.closePools()
	if err := s.ping(ctx); err != nil {
		return 0, 0, err
	}
	err = s.withSchema(func(schema *schema.Schema) error {
		from, to, err = schema.Migrate(ctx)
		return err
	})
	return from, to, describe("migrate", err)
}

func (s *Store) ensureSchema(ctx context.Context) error {
	err := s.withSchema(func(schema *schema.Schema) error { return schema.Ensure(ctx) })
	return describe("check the schema", err)
}

func (s *Store) checkSchema(ctx context.Context) error {
	err := s.withSchema(func(schema *schema.Schema) error { return schema.Check(ctx) })
	return describe("check the schema", err)
}

func (s *Store) withSchema(use func(*schema.Schema) error) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	db := stdlib.OpenDBFromPool(s.pool)
	schema, err := schema.New(db, schema.Engine{
		Dialect:     goose.DialectPostgres,
		TableExists: `SELECT to_regclass('` + schema.Table + `') IS NOT NULL`,
		Migrations:  files,
	})
	if err == nil {
		err = classify(use(schema), false)
	}
	return errors.Join(err, db.Close())
}
