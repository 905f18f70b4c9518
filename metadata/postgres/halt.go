package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/history"
	"github.com/wadi-log/wadi/metadata/rowcodec"
)

// foundColumns are those of a history.Found, for whoever asks for the change with the number $1; serverColumns are the same
// without its mark, which is a fifth of the work of a small commit.
const (
	foundColumns  = found + `, (SELECT mark FROM commits WHERE seq = $1)`
	serverColumns = found + `, CASE WHEN $1::int8 < 0 THEN 0::int8 END`

	found = `store_id, epoch, halted, last_seq, compatible_from, pg_postmaster_start_time()`
)

func foundTargets(f *history.Found) []any {
	return []any{&f.Store, &f.Epoch, &f.Halted, &f.LastSeq, &f.CompatibleFrom, started{&f.Server}, &f.Mark}
}

// started is a server by when it was started.
type started struct{ to *history.Server }

// ScanTimestamptz implements pgtype.TimestamptzScanner.
func (s started) ScanTimestamptz(v pgtype.Timestamptz) error {
	*s.to = history.Server(v.Time.UnixMicro())
	return nil
}

// feed runs the queries that it queues, and looks first whether the database has what is known of it. Only then do
// the results count, of which it is told what was found. All is one round trip.
func (s *Store) feed(ctx context.Context, doing string, use func(history.Found), queue func(*pgx.Batch)) error {
	err := s.readAnyway(ctx, doing, func(ctx context.Context) error {
		asked, f := s.history.Newest(), history.Found{}
		b := &pgx.Batch{}
		b.Queue(`SELECT `+foundColumns+` FROM sequencer`, asked.Seq).QueryRow(func(row pgx.Row) error {
			if err := row.Scan(foundTargets(&f)...); err != nil {
				return err
			}
			return s.history.Check(asked, f)
		})
		queue(b)
		if err := s.pool.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		use(f)
		return nil
	})
	if errors.Is(err, history.ErrLost) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		err = describe(doing, s.confirmLoss(ctx))
	}
	return err
}

// verify looks, on each new connection, whether it leads to a database that has what is known. It fails where that can't be
// found out, and where the server is a standby that has not.
func (s *Store) verify(ctx context.Context, conn *pgx.Conn) error {
	asked := s.history.Newest()
	if asked.Seq == 0 {
		return nil
	}
	var found history.Found
	if err := conn.QueryRow(ctx, `SELECT `+foundColumns+` FROM sequencer`, asked.Seq).Scan(foundTargets(&found)...); err != nil {
		return err
	}
	err := s.history.Check(asked, found)
	if errors.Is(err, history.ErrLost) {
		err = s.haltOn(ctx, conn)
	}
	if errors.Is(err, metadata.ErrHalted) {
		return nil // calls are refused; what looks whether that is over needs connections
	}
	return err
}

// confirmLoss gets to the bottom of a history.ErrLost. Its error is metadata.ErrHalted if changes are lost, and
// else metadata.ErrUnavailable.
func (s *Store) confirmLoss(ctx context.Context) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return classify(err, false)
	}
	defer conn.Release()
	if err := s.haltOn(ctx, conn.Conn()); err != nil {
		return err
	}
	return fmt.Errorf("%w: the server that answered lags behind another", metadata.ErrUnavailable)
}

// haltOn looks again, now under the sequencer's lock and on a server that takes writes, and halts the database if changes are
// lost. If we die before COMMIT, the next who looks finds the same. It returns nil if none are lost.
func (s *Store) haltOn(ctx context.Context, conn *pgx.Conn) error {
	asked, found, marks, lost := s.history.Newest(), history.Found{}, map[int64]int64{}, false
	err := transactOn(ctx, conn, func(b *pgx.Batch) {
		b.Queue(lockSequencer)
		b.Queue(`SELECT `+foundColumns+` FROM sequencer`, asked.Seq).QueryRow(func(row pgx.Row) error { return row.Scan(foundTargets(&found)...) })
		b.Queue(`SELECT seq, mark FROM commits WHERE seq BETWEEN $1 AND $2`, s.history.Oldest(), asked.Seq).Query(func(rows pgx.Rows) error {
			var seq, mark int64
			_, err := pgx.ForEachRow(rows, []any{&seq, &mark}, func() error { marks[seq] = mark; return nil })
			return err
		})
	}, func(b *pgx.Batch) error {
		err := s.history.Check(asked, found)
		if lost = errors.Is(err, history.ErrLost); !lost {
			return err
		}
		loss, err := json.Marshal(s.history.Loss(asked, found, marks))
		if err != nil {
			return err
		}
		b.Queue(`UPDATE sequencer SET halted = true`)
		b.Queue(`INSERT INTO halts (epoch, reporter, at, loss) VALUES ($1, $2, clock_timestamp(), $3)
			ON CONFLICT (epoch, reporter) DO UPDATE SET at = excluded.at, loss = excluded.loss`, found.Epoch, s.id, string(loss))
		return nil
	})
	if err == nil && lost {
		err = s.history.Reported()
	}
	return err
}

// Halt implements metadata.Halts.
func (s *Store) Halt(ctx context.Context) (halt *metadata.Halt, err error) {
	err = s.readAnyway(ctx, "read why the store is halted", func(ctx context.Context) error {
		halt = nil
		rows, err := s.pool.Query(ctx, `SELECT h.at, h.loss FROM sequencer s LEFT JOIN halts h ON h.epoch = s.epoch WHERE s.halted ORDER BY h.at`)
		if err != nil {
			return err
		}
		var at *time.Time
		var loss []byte
		_, err = pgx.ForEachRow(rows, []any{&at, &loss}, func() error {
			if halt == nil {
				halt = &metadata.Halt{}
			}
			if at == nil {
				return nil // halted by hand
			}
			return halt.Add(*at, loss)
		})
		return err
	})
	return halt, err
}

// Resume implements metadata.Halts. A reply that is lost is found out by asking for the Halt.
func (s *Store) Resume(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := describe("resume the store", s.repeatAnyway(ctx, func(ctx context.Context) error {
		var halted bool
		var last int64
		return s.transact(ctx, s.pool, func(b *pgx.Batch) {
			b.Queue(lockSequencer)
			b.Queue(`SELECT halted, last_seq FROM sequencer`).QueryRow(func(row pgx.Row) error { return row.Scan(&halted, &last) })
		}, func(b *pgx.Batch) error {
			if !halted {
				return nil
			}
			seq := last + metadata.ResumeJump
			// No epoch comes twice, should this one be lost: so it is the time, too.
			b.Queue(`UPDATE sequencer SET halted = false, epoch = GREATEST(epoch + 1, (EXTRACT(epoch FROM clock_timestamp()) * 1000000)::int8),
				epoch_seq = $1, last_seq = $1, next_partition_id = next_partition_id + $2`, seq, metadata.ResumePartitions)
			b.Queue(`UPDATE producer_ids SET next = next + $1::int8`, metadata.ResumeJump)
			b.Queue(`SELECT setval('group_versions', nextval('group_versions') + $1::int8)`, metadata.ResumeJump)
			b.Queue(`INSERT INTO commits (seq, mark, at, payload) VALUES ($1, $2, clock_timestamp(), $3)`,
				seq, metadata.NewMark(), rowcodec.EncodeCommit(metadata.Commit{}))
			return nil
		})
	}))
	if err != nil {
		return err
	}
	return s.Ping(ctx) // which this Store may need to be told, too
}
