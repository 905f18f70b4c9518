package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/history"
	"github.com/wadi-log/wadi/metadata/rowcodec"
)

// foundColumns are those of a history.Found, for whoever asks for the change with the number ?1.
const foundColumns = `store_id, epoch, halted, last_seq, compatible_from, (SELECT mark FROM commits WHERE seq = ?1)`

func foundTargets(f *history.Found) []any {
	return []any{&f.Store, &f.Epoch, &f.Halted, &f.LastSeq, &f.CompatibleFrom, &f.Mark}
}

// feed runs queries on a snapshot that has what is known of the database.
func (s *Store) feed(ctx context.Context, doing string, run func(*tx, history.Found) error) error {
	err := s.readAnyway(ctx, doing, func(t *tx) error {
		asked, found := s.history.Newest(), history.Found{} // before the snapshot, which begins with the query
		if err := t.stmt(s.prepared.found).QueryRowContext(t.ctx, asked.Seq).Scan(foundTargets(&found)...); err != nil {
			return err
		}
		if err := s.history.Check(asked, found); err != nil {
			return err
		}
		return run(t, found)
	})
	return s.orHalt(ctx, doing, err)
}

// orHalt halts the database if the error is a history.ErrLost.
func (s *Store) orHalt(ctx context.Context, doing string, err error) error {
	if !errors.Is(err, history.ErrLost) {
		return err
	}
	if err := s.halt(ctx); err != nil {
		return err
	}
	return s.describe(doing, fmt.Errorf("%w: it changed under way", metadata.ErrUnavailable))
}

// halt looks again, alone with the database, and halts it if changes are lost. It returns nil if none are.
func (s *Store) halt(ctx context.Context) error {
	lost := false
	err := s.changeAnyway(ctx, "halt the store", func(t *tx) error {
		lost = false
		asked, found, marks := s.history.Newest(), history.Found{}, map[int64]int64{}
		if err := t.QueryRowContext(t.ctx, `SELECT `+foundColumns+` FROM sequencer`, asked.Seq).Scan(foundTargets(&found)...); err != nil {
			return err
		}
		if err := s.history.Check(asked, found); !errors.Is(err, history.ErrLost) {
			return err
		}
		rows, err := t.QueryContext(t.ctx, `SELECT seq, mark FROM commits WHERE seq BETWEEN ? AND ?`, s.history.Oldest(), asked.Seq)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var seq, mark int64
			if err := rows.Scan(&seq, &mark); err != nil {
				return err
			}
			marks[seq] = mark
		}
		if err := rows.Err(); err != nil {
			return err
		}
		loss, err := json.Marshal(s.history.Loss(asked, found, marks))
		if err != nil {
			return err
		}
		lost = true
		if err := t.exec(`UPDATE sequencer SET halted = 1`); err != nil {
			return err
		}
		return t.exec(`INSERT INTO halts (epoch, reporter, at, loss) VALUES (?, ?, ?, ?)
			ON CONFLICT (epoch, reporter) DO UPDATE SET at = excluded.at, loss = excluded.loss`, found.Epoch, s.id[:], millis(t.now), string(loss))
	})
	if err == nil && lost {
		err = s.describe("halt the store", s.history.Reported())
	}
	return err
}

// Halt implements metadata.Halts.
func (s *Store) Halt(ctx context.Context) (halt *metadata.Halt, err error) {
	err = s.readAnyway(ctx, "read why the store is halted", func(t *tx) error {
		rows, err := t.QueryContext(t.ctx, `SELECT h.at, h.loss FROM sequencer s LEFT JOIN halts h ON h.epoch = s.epoch WHERE s.halted ORDER BY h.at`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if halt == nil {
				halt = &metadata.Halt{}
			}
			var at sql.NullInt64
			var loss sql.NullString
			if err := rows.Scan(&at, &loss); err != nil {
				return err
			}
			if !at.Valid {
				continue // halted by hand
			}
			if err := halt.Add(time.UnixMilli(at.Int64), []byte(loss.String)); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	return halt, err
}

// Resume implements metadata.Halts.
func (s *Store) Resume(ctx context.Context) error {
	err := s.changeAnyway(ctx, "resume the store", func(t *tx) error {
		var halted bool
		var last int64
		if err := t.QueryRowContext(t.ctx, `SELECT halted, last_seq FROM sequencer`).Scan(&halted, &last); err != nil || !halted {
			return err
		}
		seq := last + metadata.ResumeJump
		// No epoch comes twice, should this one be lost: so it is the time, too.
		if err := t.exec(`UPDATE sequencer SET halted = 0, epoch = max(epoch + 1, ?4), epoch_seq = ?1, last_seq = ?1,
				next_partition_id = next_partition_id + ?2, next_producer_id = next_producer_id + ?3`,
			seq, metadata.ResumePartitions, metadata.ResumeJump, t.now.UnixMicro()); err != nil {
			return err
		}
		if err := t.exec(`UPDATE group_versions SET last = last + ?`, metadata.ResumeJump); err != nil {
			return err
		}
		return t.exec(`INSERT INTO commits (seq, mark, at, payload) VALUES (?, ?, ?, ?)`, seq, metadata.NewMark(), millis(t.now), rowcodec.EncodeCommit(metadata.Commit{}))
	})
	if err != nil {
		return err
	}
	return s.Ping(ctx) // which this Store may need to be told, too
}
