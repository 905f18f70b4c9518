package postgres

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wadi-log/wadi/metadata"
)

// WriteOffsets implements metadata.Groups, in two round trips: lock and read the
// groups, then write what was decided and COMMIT. If we die between them, the server
// rolls back when the connection ends or after 1 s of silence.
func (s *Store) WriteOffsets(ctx context.Context, refs []metadata.GroupRef, decide func(now time.Time, groups []metadata.Group) (metadata.OffsetChanges, error)) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return describe("write offsets", s.repeat(ctx, func(ctx context.Context) error {
		locked := newLockedGroups(refs)
		return s.transact(ctx, s.offsets, locked.queue, func(b *pgx.Batch) error {
			groups, err := locked.inOrder(refs)
			if err != nil {
				return err
			}
			changes, err := decide(locked.now, groups)
			if err != nil {
				return err
			}
			return locked.write(b, changes)
		})
	}))
}

// lockedGroups are the groups of one WriteOffsets, by their keys.
type lockedGroups struct {
	keys []uuid.UUID    // in order, each once
	at   map[string]int // where in keys a group is, by its ID
	refs map[uuid.UUID]metadata.GroupRef
	now  time.Time
	// groups are those that exist; created those that this transaction entered.
	groups  map[uuid.UUID]metadata.Group
	created map[uuid.UUID]bool
}

func newLockedGroups(refs []metadata.GroupRef) *lockedGroups {
	l := &lockedGroups{at: map[string]int{}, refs: map[uuid.UUID]metadata.GroupRef{}, groups: map[uuid.UUID]metadata.Group{}, created: map[uuid.UUID]bool{}}
	for _, ref := range refs {
		key := metadata.GroupKey(ref.ID)
		if other, twice := l.refs[key]; !twice {
			l.keys = append(l.keys, key)
		} else {
			if other.Known != ref.Known {
				ref.Known = 0
			}
			if ref.Create == nil {
				ref.Create = other.Create
			}
		}
		l.refs[key] = ref
	}
	slices.SortFunc(l.keys, compareKeys)
	for i, key := range l.keys {
		l.at[l.refs[key].ID] = i
	}
	return l
}

// queue locks the groups in the order of their keys, and reads them in a statement
// of its own: one that waited for a lock still sees the other tables as they
// were before. (Rejected: FOR SHARE, by which agents that write offsets of one
// group need not take turns. They never queue up behind a StoreGroup that
// waits, and 4 busy ones held it off for 2 s, where now it takes 60 ms at most. The
// price is 115,000 offsets/s instead of 165,000 when 4 agents write nothing
// but offsets of the same 100 groups.)
func (l *lockedGroups) queue(b *pgx.Batch) {
	var fresh groupArrays
	known := make([]int64, len(l.keys))
	for i, key := range l.keys {
		ref := l.refs[key]
		known[i] = ref.Known
		if ref.Create != nil {
			fresh = fresh.add(ref.ID, *ref.Create)
		}
	}
	if len(fresh.key) > 0 {
		b.Queue(insertGroups, fresh.args()...).Query(func(rows pgx.Rows) error {
			var key pgtype.UUID
			_, err := pgx.ForEachRow(rows, []any{&key, new(int64)}, func() error {
				l.created[key.Bytes] = true
				return nil
			})
			return err
		})
	}
	keys := uuidArray(l.keys)
	b.Queue(`SELECT FROM group_states WHERE group_key = ANY($1::uuid[]) ORDER BY group_key FOR NO KEY UPDATE`, keys)
	b.Queue(`SELECT clock_timestamp()`).QueryRow(func(row pgx.Row) error { return row.Scan(&l.now) })
	b.Queue(`SELECT g.group_key, `+groupColumns+`
		FROM (SELECT unnest($1::uuid[]) AS group_key, unnest($2::int8[]) AS known) q
		JOIN groups g ON g.group_key = q.group_key
		JOIN group_states s ON s.group_key = g.group_key`, keys, known).Query(func(rows pgx.Rows) error {
		var key pgtype.UUID
		var g nullGroup
		_, err := pgx.ForEachRow(rows, append([]any{&key}, g.targets()...), func() error {
			l.groups[key.Bytes] = g.group(l.refs[key.Bytes].ID)
			return nil
		})
		return err
	})
}

// inOrder returns the groups in the order of the refs.
func (l *lockedGroups) inOrder(refs []metadata.GroupRef) ([]metadata.Group, error) {
	groups := make([]metadata.Group, len(refs))
	for i, ref := range refs {
		key := metadata.GroupKey(ref.ID)
		group, exists := l.groups[key]
		if !exists && l.refs[key].Create != nil {
			return nil, fmt.Errorf("%w: %w: group %q was deleted between entering and locking it", metadata.ErrUnavailable, errRetry, ref.ID)
		}
		group.ID = ref.ID
		groups[i] = group
	}
	return groups, nil
}

// write queues the changes, sorted by key like all others do. A group that was
// entered for nothing goes again. All the while the groups are locked.
func (l *lockedGroups) write(b *pgx.Batch, changes metadata.OffsetChanges) error {
	deletes, err := l.sorted(len(changes.Delete), func(i int) (string, metadata.PartitionID) {
		return changes.Delete[i].GroupID, changes.Delete[i].Partition
	})
	if err != nil {
		return err
	}
	puts, err := l.sorted(len(changes.Put), func(i int) (string, metadata.PartitionID) {
		return changes.Put[i].GroupID, changes.Put[i].Partition
	})
	if err != nil {
		return err
	}
	for _, p := range puts {
		key := l.keys[p.group]
		if _, exists := l.groups[key]; !exists {
			return fmt.Errorf("an offset of group %q, which does not exist", l.refs[key].ID)
		}
		delete(l.created, key)
	}
	l.queueDeletes(b, deletes, changes.Delete)
	l.queuePuts(b, puts, changes.Put)
	if b.Len() == 0 || len(l.created) == 0 {
		return nil
	}
	unused := make([]uuid.UUID, 0, len(l.created))
	for key := range l.created {
		unused = append(unused, key)
	}
	for _, table := range []string{"group_states", "groups"} {
		b.Queue(`DELETE FROM `+table+` WHERE group_key = ANY($1::uuid[])`, uuidArray(unused))
	}
	return nil
}

// change is where a change goes, and which of them it is.
type change struct {
	group     int // in keys
	partition metadata.PartitionID
	i         int
}

// sorted returns n changes by their keys; of several with one key the last.
func (l *lockedGroups) sorted(n int, key func(i int) (string, metadata.PartitionID)) ([]change, error) {
	sorted := make([]change, n)
	for i := range sorted {
		id, partition := key(i)
		at, asked := l.at[id]
		if !asked {
			return nil, fmt.Errorf("an offset of group %q, which is not among those locked", id)
		}
		sorted[i] = change{at, partition, i}
	}
	// The later goes first, and is the one that is kept.
	slices.SortFunc(sorted, func(a, b change) int {
		return cmp.Or(a.group-b.group, int(a.partition)-int(b.partition), b.i-a.i)
	})
	return slices.CompactFunc(sorted, func(a, b change) bool { return a.group == b.group && a.partition == b.partition }), nil
}

// arrays are the keys of the changes.
func (l *lockedGroups) arrays(changes []change) (groups []pgtype.UUID, partitions []int32) {
	groups, partitions = make([]pgtype.UUID, len(changes)), make([]int32, len(changes))
	for i, c := range changes {
		groups[i], partitions[i] = pgtype.UUID{Bytes: l.keys[c.group], Valid: true}, int32(c.partition)
	}
	return groups, partitions
}

func (l *lockedGroups) queueDeletes(b *pgx.Batch, changes []change, deletes []metadata.OffsetKey) {
	if len(changes) == 0 {
		return
	}
	groups, partitions := l.arrays(changes)
	committed := make([]*time.Time, len(changes))
	for i, c := range changes {
		committed[i] = nullTime(deletes[c.i].CommittedAt)
	}
	b.Queue(`DELETE FROM group_offsets o
		USING (SELECT unnest($1::uuid[]) AS group_key, unnest($2::int4[]) AS partition_id, unnest($3::timestamptz[]) AS committed_at) v
		WHERE o.group_key = v.group_key AND o.partition_id = v.partition_id AND o.committed_at = COALESCE(v.committed_at, o.committed_at)`,
		groups, partitions, committed)
	whole := slices.DeleteFunc(slices.Clone(changes), func(c change) bool { return !deletes[c.i].CommittedAt.IsZero() })
	if len(whole) == 0 {
		return
	}
	groups, partitions = l.arrays(whole)
	b.Queue(`DELETE FROM transaction_offsets t
		USING (SELECT unnest($1::uuid[]) AS group_key, unnest($2::int4[]) AS partition_id) v
		WHERE t.group_key = v.group_key AND t.partition_id = v.partition_id`, groups, partitions)
}

func (l *lockedGroups) queuePuts(b *pgx.Batch, changes []change, puts []metadata.Offset) {
	if len(changes) == 0 {
		return
	}
	groups, partitions := l.arrays(changes)
	offsets, epochs, expire, texts := make([]int64, len(changes)), make([]int32, len(changes)), make([]*time.Time, len(changes)), make([][]byte, len(changes))
	for i, c := range changes {
		o := &puts[c.i]
		offsets[i], epochs[i], expire[i], texts[i] = o.Offset, o.LeaderEpoch, nullTime(o.ExpireAt), []byte(o.Metadata)
	}
	b.Queue(`INSERT INTO group_offsets (group_key, partition_id, committed_offset, leader_epoch, expire_at, metadata, committed_at)
		SELECT unnest($1::uuid[]), unnest($2::int4[]), unnest($3::int8[]), unnest($4::int4[]), unnest($5::timestamptz[]), unnest($6::bytea[]), $7::timestamptz
		ON CONFLICT (group_key, partition_id) DO UPDATE SET committed_offset = excluded.committed_offset, leader_epoch = excluded.leader_epoch,
			expire_at = excluded.expire_at, metadata = excluded.metadata, committed_at = excluded.committed_at`,
		groups, partitions, offsets, epochs, expire, texts, l.now)
}

func compareKeys(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }
