package postgres

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/rowcodec"
)

// BeatMembers implements metadata.Groups. Only a group's first note from an agent
// locks the group, against DeleteGroup: a note that is there goes with its group.
func (s *Store) BeatMembers(ctx context.Context, agent uuid.UUID, beats []metadata.GroupBeats) error {
	if len(beats) == 0 {
		return nil
	}
	last := make(map[string]map[string]time.Time, len(beats))
	for _, b := range beats {
		last[b.GroupID] = b.Members
	}
	var keys []pgtype.UUID
	var notes [][]byte
	for id, members := range last {
		keys, notes = append(keys, groupKey(id)), append(notes, rowcodec.EncodeBeats(members))
	}
	return s.read(ctx, "note the beats of members", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `WITH heard AS (
				SELECT unnest($2::uuid[]) AS group_key, unnest($3::bytea[]) AS beats
			), noted AS (
				UPDATE group_beats b SET at = clock_timestamp(), beats = h.beats
				FROM heard h WHERE b.group_key = h.group_key AND b.agent = $1
				RETURNING b.group_key
			)
			INSERT INTO group_beats (group_key, agent, at, beats)
			SELECT h.group_key, $1::uuid, clock_timestamp(), h.beats
			FROM heard h JOIN groups g ON g.group_key = h.group_key
			WHERE h.group_key NOT IN (SELECT group_key FROM noted)
			ORDER BY g.group_key FOR KEY SHARE OF g
			ON CONFLICT (group_key, agent) DO UPDATE SET at = excluded.at, beats = excluded.beats`, agent, keys, notes)
		return err
	})
}

// HeardThrough implements metadata.Groups. Both statements are one transaction
// and one round trip; the second sees what the first wrote.
func (s *Store) HeardThrough(ctx context.Context, agent uuid.UUID, through time.Time) (all time.Time, err error) {
	err = s.read(ctx, "note until when members were heard", func(ctx context.Context) error {
		b := &pgx.Batch{}
		b.Queue(`INSERT INTO group_listeners (agent, at, through) VALUES ($1, clock_timestamp(), $2)
			ON CONFLICT (agent) DO UPDATE SET at = excluded.at, through = excluded.through`, agent, through)
		b.Queue(`SELECT min(through) FROM group_listeners WHERE at > clock_timestamp() - $1::interval`, metadata.AgentTimeout).
			QueryRow(func(row pgx.Row) error { return row.Scan(&all) })
		return s.pool.SendBatch(ctx, b).Close()
	})
	return all, err
}

// TrimBeats implements metadata.Groups.
func (s *Store) TrimBeats(ctx context.Context, olderThan time.Duration, limit int) (int, error) {
	var trimmed int64
	err := s.read(ctx, "trim the beats of members", func(ctx context.Context) error {
		if _, err := s.pool.Exec(ctx, `DELETE FROM group_listeners WHERE at < clock_timestamp() - $1::interval`, olderThan); err != nil {
			return err
		}
		tag, err := s.pool.Exec(ctx, `WITH old AS MATERIALIZED (
				SELECT group_key, agent FROM group_beats WHERE at < clock_timestamp() - $1::interval LIMIT $2 FOR UPDATE SKIP LOCKED
			)
			DELETE FROM group_beats b USING old WHERE b.group_key = old.group_key AND b.agent = old.agent`, olderThan, limit)
		trimmed = tag.RowsAffected()
		return err
	})
	return int(trimmed), err
}
