package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/rowcodec"
)

// LoadGroups implements metadata.Groups.
func (s *Store) LoadGroups(ctx context.Context, refs []metadata.GroupRef) (groups []metadata.Group, now time.Time, err error) {
	err = s.read(ctx, "load groups", func(t *tx) error {
		now = t.now
		for _, ref := range refs {
			group, err := t.group(ref)
			if err == nil && group.Version != 0 {
				group.Beats, err = t.beats(ref.ID)
			}
			if err != nil {
				return err
			}
			groups = append(groups, group)
		}
		return nil
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	return groups, now, nil
}

// group reads the group without its beats.
func (t *tx) group(ref metadata.GroupRef) (metadata.Group, error) {
	g := metadata.Group{ID: ref.ID}
	key := metadata.GroupKey(ref.ID)
	var due sql.NullInt64
	var protocolType []byte
	found, err := scanOptional(t.QueryRowContext(t.ctx, `SELECT version, due_at, type, phase, protocol_type FROM groups WHERE group_key = ?`, key[:]),
		&g.Version, &due, &g.Type, &g.Phase, &protocolType)
	if err != nil || !found {
		return g, err
	}
	g.Due, g.ProtocolType = fromMicros(due), string(protocolType)
	if g.Version != ref.Known {
		err = t.QueryRowContext(t.ctx, `SELECT state FROM group_states WHERE group_key = ?`, key[:]).Scan(&g.State)
		g.State = notNull(g.State)
	}
	return g, err
}

// beats are the latest of what all agents noted.
func (t *tx) beats(id string) (beats map[string]time.Time, err error) {
	key := metadata.GroupKey(id)
	rows, err := t.QueryContext(t.ctx, `SELECT beats FROM group_beats WHERE group_key = ?`, key[:])
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var note []byte
		if err := rows.Scan(&note); err != nil {
			return nil, err
		}
		if beats == nil {
			beats = map[string]time.Time{}
		}
		if err := rowcodec.AddBeats(beats, note); err != nil {
			return nil, fmt.Errorf("beats of group %q: %w", id, err)
		}
	}
	return beats, rows.Err()
}

// GroupVersions implements metadata.Groups.
func (s *Store) GroupVersions(ctx context.Context, ids []string) (versions []int64, now time.Time, err error) {
	versions = make([]int64, len(ids))
	err = s.read(ctx, "read the versions of groups", func(t *tx) error {
		now = t.now
		query := t.stmt(s.prepared.groupVersion)
		for i, id := range ids {
			key := metadata.GroupKey(id)
			if _, err := scanOptional(query.QueryRowContext(t.ctx, key[:]), &versions[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	return versions, now, nil
}

// StoreGroup implements metadata.Groups.
func (s *Store) StoreGroup(ctx context.Context, id string, version int64, state metadata.GroupState) (stored int64, err error) {
	err = s.change(ctx, fmt.Sprintf("store group %q", id), func(t *tx) error {
		if err := t.wantVersion(id, version); err != nil {
			return err
		}
		stored, err = t.putGroup(id, state)
		return err
	})
	if err != nil {
		return 0, err
	}
	return stored, nil
}

// wantVersion requires that the group is in the version, 0: that there is none.
func (t *tx) wantVersion(id string, version int64) error {
	key := metadata.GroupKey(id)
	var current int64
	if _, err := scanOptional(t.QueryRowContext(t.ctx, `SELECT version FROM groups WHERE group_key = ?`, key[:]), &current); err != nil {
		return err
	}
	if current != version {
		return fmt.Errorf("%w: it is no longer in version %d", metadata.ErrGroupVersion, version)
	}
	return nil
}

// putGroup writes the group in a new version.
func (t *tx) putGroup(id string, state metadata.GroupState) (version int64, err error) {
	if err := t.QueryRowContext(t.ctx, `UPDATE group_versions SET last = last + 1 RETURNING last`).Scan(&version); err != nil {
		return 0, err
	}
	key := metadata.GroupKey(id)
	if err := t.exec(`INSERT INTO groups (group_key, version, due_at, type, phase, protocol_type, name) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (group_key) DO UPDATE SET version = excluded.version, due_at = excluded.due_at, type = excluded.type, phase = excluded.phase, protocol_type = excluded.protocol_type`,
		key[:], version, nullMicros(state.Due), state.Type, state.Phase, []byte(state.ProtocolType), []byte(id)); err != nil {
		return 0, err
	}
	return version, t.exec(`INSERT INTO group_states (group_key, state) VALUES (?, ?) ON CONFLICT (group_key) DO UPDATE SET state = excluded.state`,
		key[:], notNull(state.State))
}

// DeferGroup implements metadata.Groups.
func (s *Store) DeferGroup(ctx context.Context, id string, version int64, due time.Time) error {
	key := metadata.GroupKey(id)
	return s.change(ctx, fmt.Sprintf("defer group %q", id), func(t *tx) error {
		return t.exec(`UPDATE groups SET due_at = ? WHERE group_key = ? AND version = ?`, nullMicros(due), key[:], version)
	})
}

// DeleteGroup implements metadata.Groups.
func (s *Store) DeleteGroup(ctx context.Context, id string, version int64) error {
	return s.change(ctx, fmt.Sprintf("delete group %q", id), func(t *tx) error {
		if err := t.wantVersion(id, max(version, 1)); err != nil { // there is no 0 to delete
			return err
		}
		return t.deleteGroup(id)
	})
}

// DeleteUnusedGroup implements metadata.Groups.
func (s *Store) DeleteUnusedGroup(ctx context.Context, id string, version int64) error {
	return s.change(ctx, fmt.Sprintf("delete unused group %q", id), func(t *tx) error {
		if err := t.wantVersion(id, max(version, 1)); err != nil {
			return err
		}
		key := metadata.GroupKey(id)
		var used bool
		if err := t.QueryRowContext(t.ctx, `SELECT EXISTS (SELECT 1 FROM group_offsets WHERE group_key = ?1)
			OR EXISTS (SELECT 1 FROM transaction_offsets WHERE group_key = ?1)`, key[:]).Scan(&used); err != nil {
			return err
		}
		if used {
			return fmt.Errorf("%w: it has offsets", metadata.ErrGroupVersion)
		}
		return t.deleteGroup(id)
	})
}

func (t *tx) deleteGroup(id string) error {
	key := metadata.GroupKey(id)
	for _, table := range []string{"groups", "group_states", "group_offsets", "transaction_offsets", "group_beats"} {
		if err := t.exec(`DELETE FROM `+table+` WHERE group_key = ?`, key[:]); err != nil {
			return err
		}
	}
	return nil
}

// ListGroups implements metadata.Groups.
func (s *Store) ListGroups(ctx context.Context) (groups []metadata.GroupInfo, err error) {
	err = s.read(ctx, "list groups", func(t *tx) error {
		rows, err := t.QueryContext(t.ctx, `SELECT name, type, protocol_type, phase FROM groups`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var info metadata.GroupInfo
			var name, protocolType []byte
			if err := rows.Scan(&name, &info.Type, &protocolType, &info.Phase); err != nil {
				return err
			}
			info.ID, info.ProtocolType = string(name), string(protocolType)
			groups = append(groups, info)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return groups, nil
}

// ClaimDueGroups implements metadata.Groups. Mostly nothing is due, and looking
// first, beside whoever writes, leaves them alone.
func (s *Store) ClaimDueGroups(ctx context.Context, limit int, lease time.Duration) (ids []string, err error) {
	const due = ` FROM groups WHERE due_at <= ?`
	var any bool
	err = s.read(ctx, "look for due groups", func(t *tx) error {
		return t.QueryRowContext(t.ctx, `SELECT EXISTS (SELECT 1`+due+`)`, micros(t.now)).Scan(&any)
	})
	if err != nil || !any {
		return nil, err
	}
	err = s.change(ctx, "claim due groups", func(t *tx) error {
		ids, err = t.names(`UPDATE groups SET due_at = ?1 WHERE group_key IN (SELECT group_key`+due+`2 ORDER BY due_at LIMIT ?3) RETURNING name`,
			micros(t.now.Add(lease)), micros(t.now), limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// names collects the names of groups.
func (t *tx) names(query string, args ...any) (names []string, err error) {
	rows, err := t.QueryContext(t.ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name []byte
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, string(name))
	}
	return names, rows.Err()
}

// BeatMembers implements metadata.Groups.
func (s *Store) BeatMembers(ctx context.Context, agent uuid.UUID, beats []metadata.GroupBeats) error {
	if len(beats) == 0 {
		return nil
	}
	return s.change(ctx, "note the beats of members", func(t *tx) error {
		put := t.stmt(s.prepared.putBeats)
		for _, b := range beats {
			key := metadata.GroupKey(b.GroupID)
			if _, err := put.ExecContext(t.ctx, key[:], agent[:], micros(t.now), rowcodec.EncodeBeats(b.Members)); err != nil {
				return err
			}
		}
		return nil
	})
}

// HeardThrough implements metadata.Groups.
func (s *Store) HeardThrough(ctx context.Context, agent uuid.UUID, through time.Time) (all time.Time, err error) {
	err = s.change(ctx, "note until when members were heard", func(t *tx) error {
		if err := t.exec(`INSERT INTO group_listeners (agent, at, through) VALUES (?, ?, ?)
			ON CONFLICT (agent) DO UPDATE SET at = excluded.at, through = excluded.through`, agent[:], micros(t.now), micros(through)); err != nil {
			return err
		}
		var earliest int64
		err := t.QueryRowContext(t.ctx, `SELECT min(through) FROM group_listeners WHERE at > ?`, micros(t.now.Add(-metadata.AgentTimeout))).Scan(&earliest)
		all = time.UnixMicro(earliest)
		return err
	})
	return all, err
}

// TrimBeats implements metadata.Groups.
func (s *Store) TrimBeats(ctx context.Context, olderThan time.Duration, limit int) (trimmed int, err error) {
	err = s.change(ctx, "trim the beats of members", func(t *tx) error {
		if err := t.exec(`DELETE FROM group_listeners WHERE at < ?`, micros(t.now.Add(-olderThan))); err != nil {
			return err
		}
		trimmed, err = t.affected(`DELETE FROM group_beats WHERE (group_key, agent) IN (SELECT group_key, agent FROM group_beats WHERE at < ? LIMIT ?)`,
			micros(t.now.Add(-olderThan)), limit)
		return err
	})
	return trimmed, err
}

func micros(t time.Time) int64 { return t.UnixMicro() }

// nullMicros is NULL for the zero time.
func nullMicros(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: micros(t), Valid: !t.IsZero()}
}

func fromMicros(at sql.NullInt64) time.Time {
	if !at.Valid {
		return time.Time{}
	}
	return time.UnixMicro(at.Int64)
}

// notNull is for columns that aren't: a nil slice is NULL, and an empty value comes back as nil.
func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
