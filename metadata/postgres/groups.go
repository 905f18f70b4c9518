package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/rowcodec"
)

// LoadGroups implements metadata.Groups. One statement is one snapshot.
func (s *Store) LoadGroups(ctx context.Context, refs []metadata.GroupRef) (groups []metadata.Group, now time.Time, err error) {
	keys, known := make([]pgtype.UUID, len(refs)), make([]int64, len(refs))
	for i, ref := range refs {
		keys[i], known[i] = groupKey(ref.ID), ref.Known
	}
	err = s.read(ctx, "load groups", func(ctx context.Context) error {
		groups = make([]metadata.Group, 0, len(refs))
		b := &pgx.Batch{}
		b.Queue(`SELECT clock_timestamp()`).QueryRow(func(row pgx.Row) error { return row.Scan(&now) })
		b.Queue(loadGroups, keys, known).Query(func(rows pgx.Rows) error {
			var g nullGroup
			var beats [][]byte
			_, err := pgx.ForEachRow(rows, append(g.targets(), &beats), func() error {
				group := g.group(refs[len(groups)].ID)
				for _, b := range beats {
					if group.Beats == nil {
						group.Beats = map[string]time.Time{}
					}
					if err := rowcodec.AddBeats(group.Beats, b); err != nil {
						return fmt.Errorf("beats of group %q: %w", group.ID, err)
					}
				}
				groups = append(groups, group)
				return nil
			})
			return err
		})
		return s.pool.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	return groups, now, nil
}

// groupColumns are those of nullGroup.targets, of groups g, group_states s, and
// q with the version that the caller knows.
const groupColumns = `g.version, CASE WHEN g.version <> q.known THEN s.state END, g.type, g.protocol_type, g.phase, g.due_at`

const loadGroups = `SELECT ` + groupColumns + `, b.beats
	FROM unnest($1::uuid[], $2::int8[]) WITH ORDINALITY AS q (group_key, known, i)
	LEFT JOIN groups g ON g.group_key = q.group_key
	LEFT JOIN group_states s ON s.group_key = g.group_key
	LEFT JOIN LATERAL (SELECT array_agg(beats) AS beats FROM group_beats WHERE group_key = g.group_key) b ON true
	ORDER BY q.i`

// nullGroup is a group that may not exist.
type nullGroup struct {
	version             *int64
	kind, phase         *string
	state, protocolType []byte
	due                 *time.Time
}

func (g *nullGroup) targets() []any {
	return []any{&g.version, &g.state, &g.kind, &g.protocolType, &g.phase, &g.due}
}

func (g *nullGroup) group(id string) metadata.Group {
	out := metadata.Group{ID: id}
	if g.version == nil {
		return out
	}
	out.Version = *g.version
	out.GroupState = metadata.GroupState{State: g.state, Type: *g.kind, ProtocolType: string(g.protocolType), Phase: *g.phase}
	if g.due != nil {
		out.Due = *g.due
	}
	return out
}

// GroupVersions implements metadata.Groups.
func (s *Store) GroupVersions(ctx context.Context, ids []string) (versions []int64, now time.Time, err error) {
	err = s.read(ctx, "read the versions of groups", func(ctx context.Context) error {
		b := &pgx.Batch{}
		b.Queue(`SELECT clock_timestamp()`).QueryRow(func(row pgx.Row) error { return row.Scan(&now) })
		b.Queue(`SELECT COALESCE(g.version, 0)
			FROM unnest($1::uuid[]) WITH ORDINALITY AS q (group_key, i)
			LEFT JOIN groups g ON g.group_key = q.group_key
			ORDER BY q.i`, groupKeys(ids)).Query(func(rows pgx.Rows) error {
			var err error
			versions, err = pgx.CollectRows(rows, pgx.RowTo[int64])
			return err
		})
		return s.pool.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	return versions, now, nil
}

// StoreGroup implements metadata.Groups, in one round trip. If we die before
// COMMIT reaches the server, nothing happened. If we die, or lose the reply,
// after that, the group may be in a version that nobody here knows: whoever
// reads it again goes on from there. So an unknown outcome is never repeated here.
func (s *Store) StoreGroup(ctx context.Context, id string, version int64, state metadata.GroupState) (int64, error) {
	var stored int64
	doing := fmt.Sprintf("store group %q", id)
	err := s.atOnce(ctx, s.groups, doing, func(b *pgx.Batch) {
		stored = 0
		var q *pgx.QueuedQuery
		if version == 0 {
			q = b.Queue(insertGroups, groupArrays{}.add(id, state).args()...)
		} else {
			q = b.Queue(updateGroup, metadata.GroupKey(id), version, notNull(state.State), nullTime(state.Due), []byte(state.ProtocolType), state.Type, state.Phase)
		}
		q.Query(func(rows pgx.Rows) error {
			_, err := pgx.ForEachRow(rows, []any{new(pgtype.UUID), &stored}, func() error { return nil })
			return err
		})
	})
	if err == nil && stored == 0 {
		err = describe(doing, fmt.Errorf("%w: it is no longer in version %d", metadata.ErrGroupVersion, version))
	}
	if err != nil {
		return 0, err
	}
	return stored, nil
}

const updateGroup = `WITH stored AS (
		UPDATE group_states SET version = nextval('group_versions'), state = $3
		WHERE group_key = $1 AND version = $2 RETURNING group_key, version
	)
	UPDATE groups g SET version = stored.version, due_at = $4::timestamptz, protocol_type = $5, type = $6, phase = $7
	FROM stored WHERE g.group_key = stored.group_key
	RETURNING g.group_key, g.version`

// insertGroups enters those groups that don't exist yet, and returns them.
const insertGroups = `WITH fresh AS (
		SELECT unnest($1::uuid[]) AS group_key, unnest($2::bytea[]) AS name, unnest($3::bytea[]) AS state, unnest($4::timestamptz[]) AS due_at,
			unnest($5::bytea[]) AS protocol_type, unnest($6::text[]) AS type, unnest($7::text[]) AS phase
	), stored AS (
		INSERT INTO group_states (group_key, version, state)
		SELECT group_key, nextval('group_versions'), state FROM fresh f
		WHERE NOT EXISTS (SELECT FROM group_states s WHERE s.group_key = f.group_key)
		ON CONFLICT DO NOTHING RETURNING group_key, version
	)
	INSERT INTO groups (group_key, version, due_at, name, protocol_type, type, phase)
	SELECT f.group_key, stored.version, f.due_at, f.name, f.protocol_type, f.type, f.phase
	FROM stored JOIN fresh f ON f.group_key = stored.group_key
	RETURNING group_key, version`

// groupArrays are the arguments of insertGroups.
type groupArrays struct {
	key                       []pgtype.UUID
	name, state, protocolType [][]byte
	due                       []*time.Time
	kind, phase               []string
}

func (a groupArrays) add(id string, state metadata.GroupState) groupArrays {
	a.key, a.name, a.state = append(a.key, groupKey(id)), append(a.name, []byte(id)), append(a.state, notNull(state.State))
	a.due, a.protocolType = append(a.due, nullTime(state.Due)), append(a.protocolType, []byte(state.ProtocolType))
	a.kind, a.phase = append(a.kind, state.Type), append(a.phase, state.Phase)
	return a
}

func (a groupArrays) args() []any {
	return []any{a.key, a.name, a.state, a.due, a.protocolType, a.kind, a.phase}
}

// DeferGroup implements metadata.Groups.
func (s *Store) DeferGroup(ctx context.Context, id string, version int64, due time.Time) error {
	return s.read(ctx, fmt.Sprintf("defer group %q", id), func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `UPDATE groups SET due_at = $3::timestamptz WHERE group_key = $1 AND version = $2`,
			metadata.GroupKey(id), version, nullTime(due))
		return err
	})
}

// DeleteGroup implements metadata.Groups.
func (s *Store) DeleteGroup(ctx context.Context, id string, version int64) error {
	return s.deleteGroup(ctx, id, version, false)
}

// DeleteUnusedGroup implements metadata.Groups.
func (s *Store) DeleteUnusedGroup(ctx context.Context, id string, version int64) error {
	return s.deleteGroup(ctx, id, version, true)
}

// deleteGroup waits for the group's lock in a statement of its own: those after it
// see what was written by whoever held the lock, and no more can come.
func (s *Store) deleteGroup(ctx context.Context, id string, version int64, unused bool) error {
	deleted := false
	doing := fmt.Sprintf("delete group %q", id)
	err := s.atOnce(ctx, s.groups, doing, func(b *pgx.Batch) {
		key := metadata.GroupKey(id)
		b.Queue(`SELECT FROM group_states WHERE group_key = $1 FOR UPDATE`, key)
		b.Queue(`WITH gone AS (
				DELETE FROM group_states WHERE group_key = $1 AND version = $2
				AND NOT ($3 AND (EXISTS (SELECT FROM group_offsets WHERE group_key = $1)
					OR EXISTS (SELECT FROM transaction_offsets WHERE group_key = $1))) RETURNING group_key
			)
			DELETE FROM groups g USING gone WHERE g.group_key = gone.group_key`, key, version, unused).Exec(func(tag pgconn.CommandTag) error {
			deleted = tag.RowsAffected() == 1
			return nil
		})
		for _, table := range []string{"group_offsets", "transaction_offsets", "group_beats"} {
			b.Queue(`DELETE FROM `+table+` WHERE group_key = $1 AND NOT EXISTS (SELECT FROM groups WHERE group_key = $1)`, key)
		}
	})
	if err == nil && !deleted {
		err = describe(doing, fmt.Errorf("%w: it is no longer in version %d%s", metadata.ErrGroupVersion, version, orUsed(unused)))
	}
	return err
}

// orUsed names the other reason for which a deletion is refused.
func orUsed(unused bool) string {
	if unused {
		return ", or has offsets"
	}
	return ""
}

// ListGroups implements metadata.Groups.
func (s *Store) ListGroups(ctx context.Context) ([]metadata.GroupInfo, error) {
	return queryAll(ctx, s, "list groups", func(row pgx.CollectableRow) (metadata.GroupInfo, error) {
		var info metadata.GroupInfo
		var name, protocolType []byte
		err := row.Scan(&name, &info.Type, &protocolType, &info.Phase)
		info.ID, info.ProtocolType = string(name), string(protocolType)
		return info, err
	}, `SELECT name, type, protocol_type, phase FROM groups`)
}

// ClaimDueGroups implements metadata.Groups. It reads all of groups: 10,000 rows
// take some 2 ms, and an index would cost every change of a group more. A claim whose
// reply is lost is nobody's until the lease passes.
func (s *Store) ClaimDueGroups(ctx context.Context, limit int, lease time.Duration) ([]string, error) {
	return queryAll(ctx, s, "claim due groups", scanName, claimDueGroups, limit, lease)
}

const claimDueGroups = `WITH due AS MATERIALIZED (
		SELECT group_key FROM groups WHERE due_at <= (SELECT clock_timestamp())
		ORDER BY due_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
	)
	UPDATE groups g SET due_at = clock_timestamp() + $2::interval FROM due WHERE g.group_key = due.group_key
	RETURNING g.name`

func scanName(row pgx.CollectableRow) (string, error) {
	var name []byte
	err := row.Scan(&name)
	return string(name), err
}

func groupKey(id string) pgtype.UUID { return pgtype.UUID{Bytes: metadata.GroupKey(id), Valid: true} }

func groupKeys(ids []string) []pgtype.UUID {
	keys := make([]uuid.UUID, len(ids))
	for i, id := range ids {
		keys[i] = metadata.GroupKey(id)
	}
	return uuidArray(keys)
}

// notNull is for columns that aren't: a nil slice is NULL on the wire.
func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func nullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	set := t // the only thing to allocate
	return &set
}
