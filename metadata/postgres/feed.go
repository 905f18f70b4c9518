package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/rowcodec"
)

// feedBytes bounds the payloads that one call of Commits returns, but for the first.
const feedBytes = 8 << 20

// LastSeq implements metadata.Feed.
func (s *Store) LastSeq(ctx context.Context) (seq int64, err error) {
	err = s.read(ctx, "read the feed's end", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, `SELECT last_seq FROM sequencer`).Scan(&seq)
	})
	return seq, err
}

// Commits implements metadata.Feed.
func (s *Store) Commits(ctx context.Context, after int64, limit int) ([]metadata.Commit, error) {
	return queryAll(ctx, s, "read the feed", func(row pgx.CollectableRow) (metadata.Commit, error) {
		var seq int64
		var payload []byte
		if err := row.Scan(&seq, &payload); err != nil {
			return metadata.Commit{}, err
		}
		c, err := rowcodec.DecodeCommit(payload)
		c.Seq = seq
		return c, err
	}, `SELECT seq, payload FROM (
			SELECT seq, payload, sum(octet_length(payload)) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) - octet_length(payload) AS before
			FROM (SELECT seq, payload FROM commits WHERE seq > $1 ORDER BY seq LIMIT $2) AS next
		) AS counted
		WHERE before < $3 ORDER BY seq`, after, limit, feedBytes)
}

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
