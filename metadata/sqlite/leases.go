package sqlite

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// leaseMemory is how long a lease that ended is kept. Nobody asks for it: this only
// bounds their number.
const leaseMemory = time.Hour

// AcquireLease implements metadata.Leases.
func (s *Store) AcquireLease(ctx context.Context, holder uuid.UUID, name string, period time.Duration) (acquired bool, err error) {
	err = s.change(ctx, "acquire a lease", func(t *tx) error {
		if err := t.exec(`DELETE FROM leases WHERE until < ?`, millis(t.now.Add(-leaseMemory))); err != nil {
			return err
		}
		n, err := t.affected(`INSERT INTO leases (name, holder, until) VALUES (?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
			WHERE leases.holder = excluded.holder OR leases.until <= ? OR leases.until > excluded.until`,
			name, holder[:], millis(t.now.Add(period)), millis(t.now))
		acquired = n > 0
		return err
	})
	return acquired && err == nil, err
}

// ReleaseLease implements metadata.Leases.
func (s *Store) ReleaseLease(ctx context.Context, holder uuid.UUID, name string) error {
	return s.change(ctx, "release a lease", func(t *tx) error {
		return t.exec(`DELETE FROM leases WHERE name = ? AND holder = ?`, name, holder[:])
	})
}
