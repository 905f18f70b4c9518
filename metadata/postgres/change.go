package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/history"
	"github.com/wadi-log/wadi/metadata/rowcodec"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// sequencer is the row of numbers, and the feed entries that the transaction adds.
type sequencer struct {
	lastSeq       int64
	nextPartition int32
	// now is the database's clock.
	now     time.Time
	entries entryArrays
	// found is what the database says of what is known of it; made are the changes that the transaction adds.
	found history.Found
	made  []history.Change
}

type entryArrays struct {
	seq     []int64
	mark    []int64
	at      []time.Time
	fileID  []pgtype.UUID
	payload [][]byte
	replay  [][]byte
}

// add numbers a feed entry, queues it and returns it with its number. With a
// file it is also the replay record of the file's commit.
func (q *sequencer) add(c metadata.Commit, file *metadata.File, replay []byte) metadata.Commit {
	q.lastSeq++
	c.Seq = q.lastSeq
	at, fileID := q.now, pgtype.UUID{}
	if file != nil {
		fileID = pgtype.UUID{Bytes: file.ID, Valid: true}
		if made, ok := sequence.FileTime(file.ID); ok && made.After(at) {
			at = made
		}
	}
	e, mark := &q.entries, metadata.NewMark()
	q.made = append(q.made, history.Change{Seq: c.Seq, Mark: mark, Runs: c.Runs})
	e.seq, e.mark, e.at, e.fileID = append(e.seq, c.Seq), append(e.mark, mark), append(e.at, at), append(e.fileID, fileID)
	e.payload, e.replay = append(e.payload, rowcodec.EncodeCommit(c)), append(e.replay, replay)
	return c
}

// queue writes the entries and the row itself.
func (q *sequencer) queue(b *pgx.Batch) {
	e := &q.entries
	if len(e.seq) == 0 {
		return
	}
	b.Queue(`INSERT INTO commits (seq, mark, at, file_id, payload, replay)
		SELECT unnest($1::int8[]), unnest($2::int8[]), unnest($3::timestamptz[]), unnest($4::uuid[]), unnest($5::bytea[]), unnest($6::bytea[])`,
		e.seq, e.mark, e.at, e.fileID, e.payload, e.replay)
	b.Queue(`UPDATE sequencer SET last_seq = $1, next_partition_id = $2`, q.lastSeq, q.nextPartition)
}

// change runs one transaction under the sequencer's lock, in two round trips:
// read queues queries that run after the lock; write looks at their results and
// queues the changes. When write fails or queues nothing, nothing changes. Both
// run again from the start when the transaction is repeated.
func (s *Store) change(ctx context.Context, pool *pgxpool.Pool, doing string, read func(*pgx.Batch), write func(*sequencer, *pgx.Batch) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := s.repeatAnyway(ctx, func(ctx context.Context) error {
		err := s.changeOnce(ctx, pool, serverColumns, read, write)
		if errors.Is(err, errElsewhere) {
			err = s.changeOnce(ctx, pool, foundColumns, read, write)
		}
		return err
	})
	if errors.Is(err, history.ErrLost) {
		err = s.confirmLoss(ctx)
	}
	return describe(doing, err)
}

// lockAndWrite is a change without the sequencer's lock: read queues what is locked, first,
// and then what is read.
func (s *Store) lockAndWrite(ctx context.Context, doing string, read func(*pgx.Batch), write func(*pgx.Batch) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return describe(doing, s.repeat(ctx, func(ctx context.Context) error {
		return s.transact(ctx, s.pool, read, write)
	}))
}

// errElsewhere: the server is not the one that showed the newest change, so it must be asked for its mark.
var errElsewhere = errors.New("another server answers")

// changeOnce is one attempt. It finds the columns, of which all but foundColumns lack the mark.
func (s *Store) changeOnce(ctx context.Context, pool *pgxpool.Pool, columns string, read func(*pgx.Batch), write func(*sequencer, *pgx.Batch) error) error {
	var q sequencer
	asked := s.history.Newest()
	err := s.transact(ctx, pool, func(b *pgx.Batch) {
		b.Queue(lockSequencer)
		b.Queue(`SELECT next_partition_id, clock_timestamp(), `+columns+` FROM sequencer`, asked.Seq).QueryRow(func(row pgx.Row) error {
			return row.Scan(append([]any{&q.nextPartition, &q.now}, foundTargets(&q.found)...)...)
		})
		read(b)
	}, func(b *pgx.Batch) error {
		if columns == serverColumns && asked.Seq > 0 && q.found.Server != asked.Server {
			return errElsewhere
		}
		if err := s.history.Check(asked, q.found); err != nil {
			return err
		}
		q.lastSeq = q.found.LastSeq
		err := write(&q, b)
		q.queue(b)
		return err
	})
	if err == nil {
		s.history.Note(q.found, q.made...)
	}
	return err
}

// lockSequencer is the first statement of whatever takes a number.
const lockSequencer = `SELECT FROM sequencer_lock FOR UPDATE`

// transact is one transaction in two round trips: read queues what locks and
// looks, write looks at the results and queues the changes. When write fails or
// queues nothing, nothing changes.
func (s *Store) transact(ctx context.Context, pool *pgxpool.Pool, read func(*pgx.Batch), write func(*pgx.Batch) error) error {
	conn, err := s.acquire(ctx, pool)
	if err != nil {
		return classify(err, false)
	}
	// A connection that is still in the transaction is closed, not reused.
	defer conn.Release()
	return transactOn(ctx, conn.Conn(), read, write)
}

func transactOn(ctx context.Context, conn *pgx.Conn, read func(*pgx.Batch), write func(*pgx.Batch) error) error {
	first := &pgx.Batch{}
	first.Queue(begin)
	first.Queue(limits)
	read(first)
	if err := conn.SendBatch(ctx, first).Close(); err != nil {
		rollBack(conn)
		return classify(err, false)
	}
	second := &pgx.Batch{}
	if err := write(second); err != nil || second.Len() == 0 {
		rollBack(conn)
		return err
	}
	err := sendCommit(ctx, conn, second)
	if err != nil {
		rollBack(conn)
	}
	return err
}

// acquire takes a connection of the pool or, where the server has none left to give, one of those that serve
// everything else: a store that got a single connection can do all its work, one thing after the other.
func (s *Store) acquire(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Conn, error) {
	conn, err := pool.Acquire(ctx)
	if err != nil && pool != s.pool && passes(err) {
		return s.pool.Acquire(ctx)
	}
	return conn, err
}

// atOnce runs one transaction in one round trip, for changes whose conditions
// the database checks. It is repeated only when it is sure that nothing happened.
func (s *Store) atOnce(ctx context.Context, pool *pgxpool.Pool, doing string, queue func(*pgx.Batch)) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return describe(doing, s.repeat(ctx, func(ctx context.Context) error {
		conn, err := s.acquire(ctx, pool)
		if err != nil {
			return classify(err, false)
		}
		defer conn.Release()
		b := &pgx.Batch{}
		b.Queue(begin)
		b.Queue(limits)
		queue(b)
		err = sendCommit(ctx, conn.Conn(), b)
		if err != nil {
			rollBack(conn.Conn())
		}
		return err
	}))
}

// rollBack frees the lock at once, where the connection still works. Where it
// does not, the server does so when it notices.
func rollBack(conn *pgx.Conn) {
	if conn.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	// A failure closes the connection, which ends the transaction too.
	_, _ = conn.Exec(ctx, `ROLLBACK`)
}
