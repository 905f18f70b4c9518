package postgres

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
)

// Now implements metadata.Maintenance.
func (s *Store) Now(ctx context.Context) (now time.Time, err error) {
	err = s.read(ctx, "read the clock", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now)
	})
	return now, err
}

// DeadFiles implements metadata.Maintenance.
func (s *Store) DeadFiles(ctx context.Context, diedBefore time.Time, limit int) ([]metadata.DeadFile, error) {
	return queryAll(ctx, s, "list dead files", pgx.RowToStructByPos[metadata.DeadFile],
		findDead, diedBefore, limit)
}

const findDead = `SELECT id, size, died_at FROM dead_files WHERE died_at < $1 ORDER BY died_at, id LIMIT $2`

// ForgetFiles implements metadata.Maintenance. Of two at the same time the second passes over
// what the first removes.
func (s *Store) ForgetFiles(ctx context.Context, ids []uuid.UUID) error {
	return s.read(ctx, "forget dead files", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `WITH dead AS (SELECT id FROM dead_files WHERE id = ANY($1::uuid[]) FOR UPDATE SKIP LOCKED)
			DELETE FROM dead_files d USING dead WHERE d.id = dead.id`, uuidArray(ids))
		return err
	})
}

// KnownFiles implements metadata.Maintenance.
func (s *Store) KnownFiles(ctx context.Context, ids []uuid.UUID) ([]bool, error) {
	return queryAll(ctx, s, "look for files", pgx.RowTo[bool], findKnown, uuidArray(ids))
}

const findKnown = `SELECT EXISTS (SELECT FROM files WHERE id = q.id) OR EXISTS (SELECT FROM dead_files WHERE id = q.id)
	FROM unnest($1::uuid[]) WITH ORDINALITY AS q (id, i) ORDER BY q.i`
