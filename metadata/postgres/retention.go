package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// RetainedFrom implements metadata.Maintenance. What time drops is found by binary search, as
// in RunByTimestamp; what size leaves, by walking back over the runs that stay. So nothing
// depends on how much there is to drop, but where the first runs have no timestamps: those
// are walked through.
func (s *Store) RetainedFrom(ctx context.Context, queries []metadata.RetentionQuery) ([]int64, error) {
	partitions, before, maxBytes := make([]int32, len(queries)), make([]int64, len(queries)), make([]int64, len(queries))
	for i, q := range queries {
		partitions[i], before[i], maxBytes[i] = int32(q.Partition), q.Before, q.MaxBytes
	}
	out := make([]int64, len(queries))
	err := s.read(ctx, "look for records that retention drops", func(ctx context.Context) error {
		var untimed []untimedRange
		clear(out)
		// One round trip and, as it has no BEGIN, one transaction.
		b := &pgx.Batch{}
		b.Queue(byKeys)
		b.Queue(retainedFrom, partitions, before, maxBytes).Query(func(rows pgx.Rows) error {
			var i, byTime, bySize int64
			var first, timestamp *int64
			_, err := pgx.ForEachRow(rows, []any{&i, &byTime, &bySize, &first, &timestamp}, func() error {
				out[i-1] = max(byTime, bySize)
				if queries[i-1].Before >= 0 && timestamp != nil && *timestamp < 0 {
					untimed = append(untimed, untimedRange{int(i - 1), *first, byTime, bySize})
				}
				return nil
			})
			return err
		})
		if err := s.pool.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		for _, u := range untimed {
			byTime, err := s.retainedUntimed(ctx, queries[u.query], u)
			if err != nil {
				return err
			}
			out[u.query] = max(byTime, u.bySize)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// untimedRange are runs that time drops, from the first one on, unless they have no
// timestamps and are younger than that.
type untimedRange struct {
	query               int
	first, last, bySize int64
}

// untimedPage is how many runs without timestamps one query reads.
const untimedPage = 1000

// retainedUntimed walks over the first runs of the partition, none of which has a
// timestamp, up to the first that stays.
func (s *Store) retainedUntimed(ctx context.Context, q metadata.RetentionQuery, u untimedRange) (int64, error) {
	for next := u.first; ; {
		rows, err := s.pool.Query(ctx, `SELECT `+runColumns+` FROM runs
			WHERE partition_id = $1 AND base_offset >= $2 AND base_offset < $3 ORDER BY base_offset LIMIT $4`, int32(q.Partition), next, u.last, untimedPage)
		if err != nil {
			return 0, err
		}
		n := 0
		var row nullRun
		stays := int64(-1)
		if _, err := pgx.ForEachRow(rows, row.targets(), func() error {
			n++
			r := row.run(q.Partition)
			next = r.NextOffset()
			if stays < 0 && sequence.RetentionTime(r) >= q.Before {
				stays = r.BaseOffset
			}
			return nil
		}); err != nil {
			return 0, err
		}
		if stays >= 0 {
			return stays, nil
		}
		if n < untimedPage {
			return u.last, nil
		}
	}
}

// retainedFrom needs byKeys: else the planner sorts all runs of a partition to sum up the last ones.
const retainedFrom = `
WITH RECURSIVE q AS (
	SELECT q.i, q.partition_id, CASE WHEN q.before >= 0 THEN q.before END AS timestamp, q.max_bytes, p.log_start_offset, p.next_offset, p.max_timestamp
	FROM unnest($1::int4[], $2::int8[], $3::int8[]) WITH ORDINALITY AS q (partition_id, before, max_bytes, i)
	JOIN partitions p ON p.id = q.partition_id
), ` + searchByTimestamp + `
SELECT q.i,
	CASE WHEN q.timestamp IS NULL THEN q.log_start_offset ELSE COALESCE(s.low, q.next_offset) END,
	CASE WHEN q.max_bytes < 0 THEN q.log_start_offset WHEN q.max_bytes = 0 THEN q.next_offset
		ELSE greatest(q.log_start_offset, kept.base_offset) END,
	f.base_offset, f.max_timestamp
FROM q
LEFT JOIN search s ON s.i = q.i AND s.low >= s.high
LEFT JOIN LATERAL (
	SELECT base_offset, max_timestamp FROM runs
	WHERE partition_id = q.partition_id AND base_offset <= q.log_start_offset
	ORDER BY base_offset DESC LIMIT 1
) f ON true
LEFT JOIN LATERAL (
	SELECT base_offset FROM (
		SELECT base_offset, sum(size) OVER (ORDER BY base_offset DESC ROWS UNBOUNDED PRECEDING) AS bytes
		FROM runs WHERE partition_id = q.partition_id AND q.max_bytes > 0
	) w WHERE bytes >= q.max_bytes ORDER BY base_offset DESC LIMIT 1
) kept ON true`
