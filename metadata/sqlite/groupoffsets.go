package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

// WriteOffsets implements metadata.Groups. The one writer at a time takes the
// place of locks on groups.
func (s *Store) WriteOffsets(ctx context.Context, refs []metadata.GroupRef, decide func(now time.Time, groups []metadata.Group) (metadata.OffsetChanges, error)) error {
	return s.change(ctx, "write offsets", func(t *tx) error {
		t.now = t.now.Truncate(time.Microsecond)
		created := map[string]bool{}
		groups := make([]metadata.Group, len(refs))
		for i, ref := range refs {
			var err error
			if groups[i], err = t.group(ref); err != nil {
				return err
			}
			if groups[i].Version != 0 || ref.Create == nil {
				continue
			}
			if _, err := t.putGroup(ref.ID, *ref.Create); err != nil {
				return err
			}
			created[ref.ID] = true
			if groups[i], err = t.group(ref); err != nil {
				return err
			}
		}
		changes, err := decide(t.now, groups)
		if err != nil {
			return err
		}
		return s.writeOffsets(t, groups, created, changes)
	})
}

// writeOffsets writes the changes. A group that was entered for nothing goes again.
func (s *Store) writeOffsets(t *tx, groups []metadata.Group, created map[string]bool, changes metadata.OffsetChanges) error {
	exists := make(map[string]bool, len(groups))
	for _, g := range groups {
		exists[g.ID] = g.Version != 0
	}
	remove := t.stmt(s.prepared.deleteOffset)
	for _, o := range changes.Delete {
		if _, asked := exists[o.GroupID]; !asked {
			return fmt.Errorf("an offset of group %q, which is not among those locked", o.GroupID)
		}
		key := metadata.GroupKey(o.GroupID)
		if _, err := remove.ExecContext(t.ctx, key[:], o.Partition, nullMicros(o.CommittedAt)); err != nil {
			return err
		}
		if !o.CommittedAt.IsZero() {
			continue
		}
		if _, err := t.ExecContext(t.ctx, `DELETE FROM transaction_offsets WHERE group_key = ? AND partition_id = ?`, key[:], o.Partition); err != nil {
			return err
		}
	}
	put := t.stmt(s.prepared.putOffset)
	for _, o := range changes.Put {
		if !exists[o.GroupID] {
			return fmt.Errorf("an offset of group %q, which is not among those locked", o.GroupID)
		}
		delete(created, o.GroupID)
		key := metadata.GroupKey(o.GroupID)
		if _, err := put.ExecContext(t.ctx, key[:], o.Partition, o.Offset, o.LeaderEpoch, micros(t.now), nullMicros(o.ExpireAt), []byte(o.Metadata)); err != nil {
			return err
		}
	}
	for id := range created {
		if err := t.deleteGroup(id); err != nil {
			return err
		}
	}
	return nil
}

// FetchOffsets implements metadata.Groups.
func (s *Store) FetchOffsets(ctx context.Context, queries []metadata.OffsetQuery) ([][]metadata.Offset, error) {
	out := make([][]metadata.Offset, len(queries))
	err := s.read(ctx, "fetch offsets", func(t *tx) error {
		for i, q := range queries {
			var err error
			if q.Partitions == nil {
				out[i], err = t.offsets(t.stmt(s.prepared.groupOffsets), q.GroupID)
			}
			partitions := slices.Clone(q.Partitions)
			slices.Sort(partitions)
			for _, p := range slices.Compact(partitions) {
				var found []metadata.Offset
				if found, err = t.offsets(t.stmt(s.prepared.groupOffset), q.GroupID, p); err != nil {
					return err
				}
				out[i] = append(out[i], found...)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// offsets runs a query of the group's key and other arguments.
func (t *tx) offsets(query *sql.Stmt, id string, args ...any) (offsets []metadata.Offset, err error) {
	key := metadata.GroupKey(id)
	rows, err := query.QueryContext(t.ctx, append([]any{key[:]}, args...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		o := metadata.Offset{GroupID: id}
		var committed, expire sql.NullInt64
		var text []byte
		if err := rows.Scan(&o.Partition, &o.Offset, &o.LeaderEpoch, &committed, &expire, &text, &o.Unstable); err != nil {
			return nil, err
		}
		o.CommittedAt, o.ExpireAt, o.Metadata = fromMicros(committed), fromMicros(expire), string(text)
		offsets = append(offsets, o)
	}
	return offsets, rows.Err()
}

// IdleGroups implements metadata.Groups.
func (s *Store) IdleGroups(ctx context.Context, after string, before time.Time, limit int) (ids []string, err error) {
	key := metadata.GroupKey(after)
	err = s.read(ctx, "find idle groups", func(t *tx) error {
		ids, err = t.names(`SELECT name FROM groups g
			WHERE (group_key > ?1 OR ?2) AND COALESCE(
				(SELECT max(committed_at < ?3 OR COALESCE(expire_at <= ?4, false)) FROM group_offsets o WHERE o.group_key = g.group_key),
				NOT EXISTS (SELECT 1 FROM transaction_offsets t WHERE t.group_key = g.group_key))
			ORDER BY group_key LIMIT ?5`, key[:], after == "", micros(before), micros(t.now), limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// TrimOffsets implements metadata.Groups.
func (s *Store) TrimOffsets(ctx context.Context, limit int) (trimmed int, err error) {
	err = s.change(ctx, "trim offsets of deleted partitions", func(t *tx) error {
		trimmed, err = t.affected(`DELETE FROM group_offsets WHERE (group_key, partition_id) IN (
			SELECT group_key, partition_id FROM group_offsets WHERE partition_id NOT IN (SELECT id FROM partitions) LIMIT ?)`, limit)
		return err
	})
	return trimmed, err
}
