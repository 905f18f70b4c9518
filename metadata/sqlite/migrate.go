package sqlite

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/schema"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate brings the database file of the URL to this binary's schema version
// and returns the version before and after. Unless it is forced, it refuses to while agents are alive whose programs must
// not go on with the new schema. Other errors are those of Open.
func Migrate(ctx context.Context, url string, force bool) (from, to int64, err error) {
	s, err := connect(url)
	if err != nil {
		return 0, 0, err
	}
	err = s.withSchema("migrate", func(schema *schema.Schema) error {
		allow := s.refuseOlderAgents
		if force {
			allow = func(context.Context, int64, int64) error { return nil }
		}
		from, to, err = schema.Migrate(ctx, allow)
		return err
	})
	return from, to, errors.Join(err, s.Close())
}

// refuseOlderAgents fails while agents are alive whose programs know no schema of version oldest or newer.
func (s *Store) refuseOlderAgents(ctx context.Context, from, oldest int64) error {
	query := `SELECT name FROM agents WHERE beat_at > ?1 AND COALESCE(details ->> 'schema', 0) < ?2 ORDER BY name`
	if from < schema.AgentsTellSince {
		query = `SELECT name FROM agents WHERE beat_at > ?1 AND ?2 > 0 ORDER BY name`
	}
	rows, err := s.writer.QueryContext(ctx, query, millis(time.Now().Add(-metadata.AgentTimeout)), oldest)
	if err != nil {
		return err
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return schema.OlderAgents(names)
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
		Dialect:        goose.DialectSQLite3,
		TableExists:    `SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '` + schema.Table + `')`,
		CompatibleFrom: `SELECT compatible_from FROM sequencer`,
		Migrations:     files,
	})
	if err != nil {
		return err
	}
	s.history.Schema = schema.Target()
	return s.describe(doing, classify(use(schema), false))
}
