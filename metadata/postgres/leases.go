package postgres

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// leaseMemory is how long a lease that ended is kept. Nobody asks for it: this only
// bounds their number.
const leaseMemory = time.Hour

// AcquireLease implements metadata.Leases, in one round trip. Who lost the reply asks again. The clock is read once more behind a
// wait for the row: by excluded.until, whoever waited for a lease that was just taken would take it over.
func (s *Store) AcquireLease(ctx context.Context, holder uuid.UUID, name string, period time.Duration) (bool, error) {
	var acquired bool
	err := s.read(ctx, "acquire a lease", func(ctx context.Context) error {
		b := &pgx.Batch{}
		b.Queue(`WITH old AS MATERIALIZED (SELECT name FROM leases WHERE until < clock_timestamp() - $1::interval LIMIT 100 FOR UPDATE SKIP LOCKED)
			DELETE FROM leases l USING old WHERE l.name = old.name`, leaseMemory)
		b.Queue(`INSERT INTO leases (name, holder, until) VALUES ($1, $2, clock_timestamp() + $3::interval)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
			WHERE leases.holder = excluded.holder OR leases.until <= clock_timestamp() OR leases.until > clock_timestamp() + $3::interval`, name, holder, period).Exec(func(tag pgconn.CommandTag) error {
			acquired = tag.RowsAffected() > 0
			return nil
		})
		return s.pool.SendBatch(ctx, b).Close()
	})
	return acquired && err == nil, err
}

// ReleaseLease implements metadata.Leases.
func (s *Store) ReleaseLease(ctx context.Context, holder uuid.UUID, name string) error {
	return s.read(ctx, "release a lease", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `DELETE FROM leases WHERE name = $1 AND holder = $2`, name, holder)
		return err
	})
}
