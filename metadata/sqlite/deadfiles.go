package sqlite

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// Now implements metadata.Maintenance.
func (s *Store) Now(ctx context.Context) (now time.Time, err error) {
	err = s.read(ctx, "read the clock", func(t *tx) error {
		now = t.now
		return nil
	})
	return now, err
}

// DeadFiles implements metadata.Maintenance.
func (s *Store) DeadFiles(ctx context.Context, diedBefore time.Time, limit int) (files []metadata.DeadFile, err error) {
	err = s.read(ctx, "list dead files", func(t *tx) error {
		rows, err := t.QueryContext(t.ctx, `SELECT id, size, died_at FROM dead_files WHERE died_at < ? ORDER BY died_at, id LIMIT ?`, millis(diedBefore), limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var f metadata.DeadFile
			var diedAt int64
			if err := rows.Scan(&f.ID, &f.Size, &diedAt); err != nil {
				return err
			}
			f.DiedAt = time.UnixMilli(diedAt)
			files = append(files, f)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return files, nil
}

// ForgetFiles implements metadata.Maintenance.
func (s *Store) ForgetFiles(ctx context.Context, ids []uuid.UUID) error {
	return s.change(ctx, "forget dead files", func(t *tx) error {
		for _, id := range ids {
			if err := t.exec(`DELETE FROM dead_files WHERE id = ?`, id[:]); err != nil {
				return err
			}
		}
		return nil
	})
}

// KnownFiles implements metadata.Maintenance.
func (s *Store) KnownFiles(ctx context.Context, ids []uuid.UUID) ([]bool, error) {
	known := make([]bool, len(ids))
	err := s.read(ctx, "look for files", func(t *tx) error {
		for i, id := range ids {
			var err error
			if known[i], err = t.knowsFile(id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return known, nil
}

// died reports whether a file that was entered lives no more.
func (t *tx) died(id uuid.UUID) (died bool, err error) {
	err = t.QueryRowContext(t.ctx, `SELECT NOT EXISTS (SELECT 1 FROM files WHERE id = ?)`, id[:]).Scan(&died)
	return died, err
}

// knowsFile reports whether there is a data file of the ID, live or dead.
func (t *tx) knowsFile(id uuid.UUID) (known bool, err error) {
	err = t.QueryRowContext(t.ctx, `SELECT EXISTS (SELECT 1 FROM files WHERE id = ?1) OR EXISTS (SELECT 1 FROM dead_files WHERE id = ?1)`, id[:]).Scan(&known)
	return known, err
}
