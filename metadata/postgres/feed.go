package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/history"
	"github.com/wadi-log/wadi/metadata/rowcodec"
)

// feedBytes bounds the payloads that one call of Commits returns, but for the first.
const feedBytes = 8 << 20

// LastSeq implements metadata.Feed.
func (s *Store) LastSeq(ctx context.Context) (seq int64, err error) {
	var end history.Change
	err = s.feed(ctx, "read the feed's end", func(f history.Found) {
		seq = f.LastSeq
		if end.Seq > 0 {
			s.history.Note(f, end)
		}
	}, func(b *pgx.Batch) {
		end = history.Change{}
		b.Queue(`SELECT seq, mark FROM commits WHERE seq = (SELECT last_seq FROM sequencer)`).Query(func(rows pgx.Rows) error {
			_, err := pgx.ForEachRow(rows, []any{&end.Seq, &end.Mark}, func() error { return nil })
			return err
		})
	})
	return seq, err
}

// Commits implements metadata.Feed.
func (s *Store) Commits(ctx context.Context, after int64, limit int) ([]metadata.Commit, error) {
	var commits []metadata.Commit
	var changes []history.Change
	err := s.feed(ctx, "read the feed", func(f history.Found) {
		s.history.Note(f, changes...)
	}, func(b *pgx.Batch) {
		commits, changes = nil, nil
		b.Queue(readFeed, after, limit, feedBytes).Query(func(rows pgx.Rows) error {
			var seq, mark int64
			var payload []byte
			_, err := pgx.ForEachRow(rows, []any{&seq, &mark, &payload}, func() error {
				c, err := rowcodec.DecodeCommit(payload)
				c.Seq = seq
				commits = append(commits, c)
				changes = append(changes, history.Change{Seq: seq, Mark: mark, Runs: c.Runs})
				return err
			})
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return commits, nil
}

// readFeed: what lies before the epoch is no part of the feed any more.
const readFeed = `SELECT seq, mark, payload FROM (
		SELECT seq, mark, payload, sum(octet_length(payload)) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) - octet_length(payload) AS before
		FROM (SELECT seq, mark, payload FROM commits WHERE seq > $1 AND seq >= (SELECT epoch_seq FROM sequencer) ORDER BY seq LIMIT $2) AS next
	) AS counted
	WHERE before < $3 ORDER BY seq`

// TrimFeed implements metadata.Feed. It stops at the first entry that is still
// young, so that what remains has no holes, and keeps the newest, by which
// agents that fell behind notice what they missed.
func (s *Store) TrimFeed(ctx context.Context, olderThan time.Duration, limit int) (int, error) {
	var trimmed int64
	err := s.read(ctx, "trim the feed", func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, `
			WITH oldest AS (
				SELECT seq, at >= clock_timestamp() - $1::interval OR seq = (SELECT last_seq FROM sequencer) AS keep
				FROM commits ORDER BY seq LIMIT $2
			)
			DELETE FROM commits WHERE seq IN (
				SELECT seq FROM oldest
				WHERE NOT keep AND seq < COALESCE((SELECT min(seq) FROM oldest WHERE keep), seq + 1)
			)`, max(olderThan, metadata.MaxFileAge), limit)
		trimmed += tag.RowsAffected()
		return err
	})
	return int(trimmed), err
}
