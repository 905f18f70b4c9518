package sqlite

import (
	"context"
	"embed"
	"errors"
	"io/fs"

	"github.com/pressly/goose/v3"

	"github.com/wadi-log/wadi/metadata/schema"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate brings the database file of the URL to this binary's schema version
// and returns the version before and after. Errors are those of Open.
func Migrate(ctx context.Context, url string) (from, to int64, err error) {
	s, err := connect(url)
	if err != nil {
		return 0, 0, err
	}
	err = s.withSchema("migrate", func(schema *schema.Schema) error {
		from, to, err = schema.Migrate(ctx)
		return err
	})
	return from, to, errors.Join(err, s.Close())
}

func (s *Store) ensureSchema(ctx context.Context) error {
	return s.withSchema("check the schema", func(schema *schema.Schema) error { return schema.Ensure(ctx) })
}

func (s *Store) checkSchema(ctx context.Context) error {
	return s.withSchema("check the schema", func(schema *schema.Schema) error { return schema.Check(ctx) })
}

func (s *Store) withSchema(doing string, use func(*schema.Schema) error) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	schema, err := schema.New(s.writer, schema.Engine{
		Dialect:     goose.DialectSQLite3,
		TableExists: `SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '` + schema.Table + `')`,
		Migrations:  files,
	})
	if err != nil {
		return err
	}
	return s.describe(doing, classify(use(schema), false))
}
