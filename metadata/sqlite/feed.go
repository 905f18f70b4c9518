package sqlite

import (
	"context"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/history"
	"github.com/wadi-log/wadi/metadata/rowcodec"
)

// feedBytes bounds the payloads that one call of Commits returns, but for the first.
const feedBytes = 8 << 20

// LastSeq implements metadata.Feed.
func (s *Store) LastSeq(ctx context.Context) (seq int64, err error) {
	err = s.feed(ctx, "read the feed's end", func(t *tx, found history.Found) error {
		seq = found.LastSeq
		end := history.Change{Seq: seq}
		known, err := scanOptional(t.QueryRowContext(t.ctx, `SELECT mark FROM commits WHERE seq = ?`, seq), &end.Mark)
		if known {
			s.history.Note(found, end)
		}
		return err
	})
	return seq, err
}

// Commits implements metadata.Feed.
func (s *Store) Commits(ctx context.Context, after int64, limit int) (commits []metadata.Commit, err error) {
	err = s.feed(ctx, "read the feed", func(t *tx, found history.Found) error {
		query := t.stmt(s.prepared.commits)
		rows, err := query.QueryContext(t.ctx, after, limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for size := 0; size < feedBytes && rows.Next(); {
			var seq, mark int64
			var payload []byte
			if err := rows.Scan(&seq, &mark, &payload); err != nil {
				return err
			}
			c, err := rowcodec.DecodeCommit(payload)
			if err != nil {
				return err
			}
			c.Seq = seq
			commits = append(commits, c)
			s.history.Note(found, history.Change{Seq: seq, Mark: mark, Runs: c.Runs})
			size += len(payload)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return commits, nil
}

// TrimFeed implements metadata.Feed. It stops at the first entry that is still
// young, so that what remains has no holes, and keeps the newest, by which
// agents that fell behind notice what they missed.
func (s *Store) TrimFeed(ctx context.Context, olderThan time.Duration, limit int) (trimmed int, err error) {
	err = s.change(ctx, "trim the feed", func(t *tx) error {
		trimmed, err = t.affected(`
			WITH oldest AS (
				SELECT seq, at >= ?1 OR seq = (SELECT last_seq FROM sequencer) AS keep FROM commits ORDER BY seq LIMIT ?2
			)
			DELETE FROM commits WHERE seq IN (
				SELECT seq FROM oldest WHERE NOT keep AND seq < COALESCE((SELECT min(seq) FROM oldest WHERE keep), seq + 1)
			)`, millis(t.now.Add(-max(olderThan, metadata.MaxFileAge))), limit)
		return err
	})
	return trimmed, err
}
