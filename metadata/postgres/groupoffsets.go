package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wadi-log/wadi/metadata"
)

// FetchOffsets implements metadata.Groups. One statement is one snapshot.
func (s *Store) FetchOffsets(ctx context.Context, queries []metadata.OffsetQuery) ([][]metadata.Offset, error) {
	var all, some struct {
		query     []int32
		group     []pgtype.UUID
		partition []int32
	}
	for i, q := range queries {
		key := groupKey(q.GroupID)
		if q.Partitions == nil {
			all.query, all.group = append(all.query, int32(i)), append(all.group, key)
		}
		partitions := slices.Clone(q.Partitions)
		slices.Sort(partitions)
		for _, p := range slices.Compact(partitions) {
			some.query, some.group, some.partition = append(some.query, int32(i)), append(some.group, key), append(some.partition, int32(p))
		}
	}
	out := make([][]metadata.Offset, len(queries))
	err := s.read(ctx, "fetch offsets", func(ctx context.Context) error {
		clear(out)
		rows, err := s.pool.Query(ctx, fetchOffsets, all.query, all.group, some.query, some.group, some.partition)
		if err != nil {
			return err
		}
		var i, partition, epoch int32
		var offset int64
		var committed, expire *time.Time
		var text []byte
		_, err = pgx.ForEachRow(rows, []any{&i, &partition, &offset, &epoch, &committed, &expire, &text}, func() error {
			o := metadata.Offset{GroupID: queries[i].GroupID, Partition: metadata.PartitionID(partition), Offset: offset, LeaderEpoch: epoch, Metadata: string(text)}
			if expire != nil {
				o.ExpireAt = *expire
			}
			if committed != nil {
				o.CommittedAt = *committed
				out[i] = append(out[i], o)
				return nil
			}
			// Of an open transaction: behind what is committed there, if anything is.
			o.Unstable = true
			if n := len(out[i]); n > 0 && out[i][n-1].Partition == o.Partition {
				out[i][n-1].Unstable = true
				return nil
			}
			out[i] = append(out[i], o)
			return nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// fetchOffsets walks the key for each group of which all is asked (the subquery's
// order makes sure): before the table is first analyzed, a join would read all of it.
// Partitions of which open transactions hold offsets have a row of their own, with
// no time of a commit: a look at each group's few costs less than one at each of its offsets.
const fetchOffsets = `
SELECT q.i, o.partition_id, o.committed_offset, o.leader_epoch, o.committed_at, o.expire_at, o.metadata
FROM (SELECT unnest($1::int4[]) AS i, unnest($2::uuid[]) AS group_key) q
CROSS JOIN LATERAL (SELECT * FROM group_offsets WHERE group_key = q.group_key ORDER BY partition_id) o
UNION ALL
SELECT q.i, o.partition_id, o.committed_offset, o.leader_epoch, o.committed_at, o.expire_at, o.metadata
FROM (SELECT unnest($3::int4[]) AS i, unnest($4::uuid[]) AS group_key, unnest($5::int4[]) AS partition_id) q
JOIN group_offsets o ON o.group_key = q.group_key AND o.partition_id = q.partition_id
UNION ALL
SELECT q.i, t.partition_id, -1, -1, NULL, NULL, ''
FROM (SELECT unnest($1::int4[]) AS i, unnest($2::uuid[]) AS group_key) q
CROSS JOIN LATERAL (SELECT DISTINCT partition_id FROM transaction_offsets WHERE group_key = q.group_key ORDER BY partition_id) t
UNION ALL
SELECT q.i, q.partition_id, -1, -1, NULL, NULL, ''
FROM (SELECT unnest($3::int4[]) AS i, unnest($4::uuid[]) AS group_key, unnest($5::int4[]) AS partition_id) q
CROSS JOIN LATERAL (SELECT FROM transaction_offsets WHERE group_key = q.group_key AND partition_id = q.partition_id ORDER BY producer_id LIMIT 1) t
ORDER BY 1, 2, 5`

// IdleGroups implements metadata.Groups.
func (s *Store) IdleGroups(ctx context.Context, after string, before time.Time, limit int) ([]string, error) {
	return queryAll(ctx, s, "find idle groups", scanName, `SELECT name FROM groups g
		WHERE (group_key > $1::uuid OR $2) AND COALESCE(
			(SELECT bool_or(committed_at < $3::timestamptz OR COALESCE(expire_at <= clock_timestamp(), false)) FROM group_offsets o WHERE o.group_key = g.group_key),
			NOT EXISTS (SELECT FROM transaction_offsets t WHERE t.group_key = g.group_key))
		ORDER BY group_key LIMIT $4`, metadata.GroupKey(after), after == "", before, limit)
}

// TrimOffsets implements metadata.Groups.
func (s *Store) TrimOffsets(ctx context.Context, limit int) (int, error) {
	var trimmed int64
	err := s.read(ctx, "trim offsets of deleted partitions", func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, `WITH gone AS MATERIALIZED (
				SELECT group_key, partition_id FROM group_offsets o
				WHERE NOT EXISTS (SELECT FROM partitions p WHERE p.id = o.partition_id) LIMIT $1 FOR UPDATE SKIP LOCKED
			)
			DELETE FROM group_offsets o USING gone WHERE o.group_key = gone.group_key AND o.partition_id = gone.partition_id`, limit)
		trimmed = tag.RowsAffected()
		return err
	})
	return int(trimmed), err
}
