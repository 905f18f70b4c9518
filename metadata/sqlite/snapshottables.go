package sqlite

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// snapshotTables are the tables that a snapshot has row by row, in its order. The Head
// stands for those of single rows: cluster, sequencer and group_versions.
var snapshotTables = []snapshotTable{
	table("topics", "id, name, internal, partitions, configs, created_at",
		func(r *metadata.SnapshotRow) **metadata.SnapshotTopic { return &r.Topic },
		func(t *metadata.SnapshotTopic) []any {
			return []any{id{&t.ID}, &t.Name, &t.Internal, text[[]metadata.PartitionID]{&t.Partitions}, text[map[string]string]{&t.Configs}, instant{&t.CreatedAt, time.Millisecond}}
		}),
	table("partitions", "id, log_start_offset, next_offset, max_timestamp, first_unstable, last_aborted",
		func(r *metadata.SnapshotRow) **metadata.SnapshotPartition { return &r.Partition },
		func(p *metadata.SnapshotPartition) []any {
			return []any{&p.ID, &p.LogStartOffset, &p.NextOffset, &p.MaxTimestamp, optional{&p.FirstUnstable}, optional{&p.LastAborted}}
		}),
	table("deleted_partitions", "id",
		func(r *metadata.SnapshotRow) **metadata.SnapshotDeletedPartition { return &r.DeletedPartition },
		func(p *metadata.SnapshotDeletedPartition) []any { return []any{&p.ID} }),
	table("configs", "kind, name, configs",
		func(r *metadata.SnapshotRow) **metadata.SnapshotConfigs { return &r.Configs },
		func(c *metadata.SnapshotConfigs) []any {
			return []any{&c.Kind, octets{&c.Name}, text[map[string]string]{&c.Configs}}
		}),
	table("groups", "group_key, name, version, type, protocol_type, phase, due_at",
		func(r *metadata.SnapshotRow) **metadata.SnapshotGroup { return &r.Group },
		func(g *metadata.SnapshotGroup) []any {
			return []any{id{&g.Key}, octets{&g.Name}, &g.Version, &g.Type, octets{&g.ProtocolType}, &g.Phase, instant{&g.Due, time.Microsecond}}
		}),
	// The version is that of the group: the row has none.
	table("group_states", "group_key, state",
		func(r *metadata.SnapshotRow) **metadata.SnapshotGroupState { return &r.GroupState },
		func(g *metadata.SnapshotGroupState) []any { return []any{id{&g.Key}, octets{&g.State}, &g.Version} }).
		with(`(SELECT version FROM groups g WHERE g.group_key = group_states.group_key)`),
	table("group_offsets", "group_key, partition_id, committed_offset, leader_epoch, committed_at, expire_at, metadata",
		func(r *metadata.SnapshotRow) **metadata.SnapshotGroupOffset { return &r.GroupOffset },
		func(o *metadata.SnapshotGroupOffset) []any {
			return []any{id{&o.Group}, &o.Partition, &o.Offset, &o.LeaderEpoch, instant{&o.CommittedAt, time.Microsecond},
				instant{&o.ExpireAt, time.Microsecond}, octets{&o.Metadata}}
		}),
	table("transactions", "transaction_key, name, producer_id, epoch, last_producer_id, last_epoch, state, version, timeout, started_at, updated_at",
		func(r *metadata.SnapshotRow) **metadata.SnapshotTransaction { return &r.Transaction },
		func(t *metadata.SnapshotTransaction) []any {
			return []any{id{&t.Key}, octets{&t.Name}, &t.ProducerID, &t.Epoch, &t.LastProducerID, &t.LastEpoch, &t.State, &t.Version,
				milliseconds{&t.TimeoutMs}, instant{&t.StartedAt, time.Microsecond}, instant{&t.UpdatedAt, time.Microsecond}}
		}),
	table("transaction_partitions", "producer_id, partition_id, first_offset",
		func(r *metadata.SnapshotRow) **metadata.SnapshotTransactionPartition {
			return &r.TransactionPartition
		},
		func(t *metadata.SnapshotTransactionPartition) []any {
			return []any{&t.ProducerID, &t.Partition, optional{&t.FirstOffset}}
		}),
	table("transaction_groups", "producer_id, group_key, name",
		func(r *metadata.SnapshotRow) **metadata.SnapshotTransactionGroup { return &r.TransactionGroup },
		func(t *metadata.SnapshotTransactionGroup) []any {
			return []any{&t.ProducerID, id{&t.Group}, octets{&t.Name}}
		}),
	table("transaction_offsets", "producer_id, group_key, partition_id, committed_offset, leader_epoch, put_at, metadata",
		func(r *metadata.SnapshotRow) **metadata.SnapshotTransactionOffset { return &r.TransactionOffset },
		func(o *metadata.SnapshotTransactionOffset) []any {
			return []any{&o.ProducerID, id{&o.Group}, &o.Partition, &o.Offset, &o.LeaderEpoch, instant{&o.PutAt, time.Microsecond}, octets{&o.Metadata}}
		}),
	table("aborted_transactions", "partition_id, producer_id, first_offset, last_offset, stable_offset",
		func(r *metadata.SnapshotRow) **metadata.SnapshotAborted { return &r.Aborted },
		func(a *metadata.SnapshotAborted) []any {
			return []any{&a.Partition, &a.ProducerID, &a.FirstOffset, &a.LastOffset, &a.StableOffset}
		}),
	table("compactions", "partition_id, clean_until, cleaned_at, settled_until, settled_at",
		func(r *metadata.SnapshotRow) **metadata.SnapshotCompaction { return &r.Compaction },
		func(c *metadata.SnapshotCompaction) []any {
			return []any{&c.Partition, &c.CleanUntil, instant{&c.CleanedAt, time.Millisecond}, &c.SettledUntil, instant{&c.SettledAt, time.Millisecond}}
		}),
	table("producers", "partition_id, producer_id, epoch, last_batches, seen_at",
		func(r *metadata.SnapshotRow) **metadata.SnapshotProducer { return &r.Producer },
		func(p *metadata.SnapshotProducer) []any {
			return []any{&p.Partition, &p.ProducerID, &p.Epoch, octets{&p.Batches}, instant{&p.SeenAt, time.Millisecond}}
		}),
	table("dead_files", "id, size, died_at",
		func(r *metadata.SnapshotRow) **metadata.SnapshotDeadFile { return &r.DeadFile },
		func(f *metadata.SnapshotDeadFile) []any {
			return []any{id{&f.ID}, &f.Size, instant{&f.DiedAt, time.Millisecond}}
		}),
	table("files", "id, size, level, seq, committed_at, live_runs, live_bytes",
		func(r *metadata.SnapshotRow) **metadata.SnapshotFile { return &r.File },
		func(f *metadata.SnapshotFile) []any {
			return []any{id{&f.ID}, &f.Size, &f.Level, &f.Seq, instant{&f.CommittedAt, time.Millisecond}, &f.LiveRuns, &f.LiveBytes, keys{f}}
		}).
		with(`(SELECT keys FROM file_keys k WHERE k.file_id = files.id)`).
		also("file_keys", "file_id, keys", func(row *metadata.SnapshotRow) []any { return []any{id{&row.File.ID}, keys{row.File}} }),
	table("runs", "partition_id, base_offset, records, file_id, encoding, position, stored_size, skip, size, max_timestamp, merged",
		func(r *metadata.SnapshotRow) **metadata.SnapshotRun { return &r.Run },
		func(r *metadata.SnapshotRun) []any {
			return []any{&r.Partition, &r.BaseOffset, &r.Records, id{&r.File}, &r.Encoding, &r.Position, &r.StoredSize, &r.Skip, &r.Size, &r.MaxTimestamp, &r.Merged}
		}),
}

// snapshotTable is how one kind of row lies in its table.
type snapshotTable struct {
	name    string
	columns []string
	// looked are expressions that are read with the columns, and not written.
	looked []string
	// second is another table that the kind has a row in.
	second struct {
		name    string
		columns []string
		values  func(*metadata.SnapshotRow) []any
	}
	// fields are where the row's values are, in the order of columns and looked: to scan into, and to
	// write. make makes a row of the kind first; without it they are nil where the row is of another one.
	fields func(row *metadata.SnapshotRow, make bool) []any
}

func table[T any](name, columns string, at func(*metadata.SnapshotRow) **T, fields func(*T) []any) snapshotTable {
	return snapshotTable{name: name, columns: strings.Split(columns, ", "), fields: func(row *metadata.SnapshotRow, make bool) []any {
		kind := at(row)
		if make {
			*kind = new(T)
		}
		if *kind == nil {
			return nil
		}
		return fields(*kind)
	}}
}

func (t snapshotTable) with(looked string) snapshotTable {
	t.looked = append(t.looked, looked)
	return t
}

func (t snapshotTable) also(name, columns string, values func(*metadata.SnapshotRow) []any) snapshotTable {
	t.second.name, t.second.columns, t.second.values = name, strings.Split(columns, ", "), values
	return t
}

// id is a UUID, a blob of 16 bytes.
type id struct{ to *uuid.UUID }

// Scan implements sql.Scanner.
func (i id) Scan(v any) error { return i.to.Scan(v) }

// Value implements driver.Valuer.
func (i id) Value() (driver.Value, error) { return i.to[:], nil }

// octets are bytes, never NULL.
type octets struct{ to *[]byte }

// Scan implements sql.Scanner.
func (o octets) Scan(v any) error {
	b, ok := v.([]byte)
	if !ok && v != nil { // SQLite has an empty blob come as nil
		return fmt.Errorf("%T is no blob", v)
	}
	*o.to = append([]byte{}, b...)
	return nil
}

// Value implements driver.Valuer.
func (o octets) Value() (driver.Value, error) { return notNull(*o.to), nil }

// instant is a time in UTC, a number of units since the epoch, NULL if it is zero.
type instant struct {
	to   *time.Time
	unit time.Duration
}

// Scan implements sql.Scanner.
func (i instant) Scan(v any) error {
	var n sql.NullInt64
	if err := n.Scan(v); err != nil {
		return err
	}
	*i.to = time.Time{}
	if n.Valid {
		*i.to = time.UnixMicro(n.Int64 * i.unit.Microseconds()).UTC()
	}
	return nil
}

// Value implements driver.Valuer.
func (i instant) Value() (driver.Value, error) {
	if i.to.IsZero() {
		return nil, nil
	}
	return i.to.UnixMicro() / i.unit.Microseconds(), nil
}

// optional is an offset, NULL if it is -1.
type optional struct{ to *int64 }

// Scan implements sql.Scanner.
func (o optional) Scan(v any) error {
	var n sql.NullInt64
	if err := n.Scan(v); err != nil {
		return err
	}
	*o.to = -1
	if n.Valid {
		*o.to = n.Int64
	}
	return nil
}

// Value implements driver.Valuer.
func (o optional) Value() (driver.Value, error) {
	if *o.to < 0 {
		return nil, nil
	}
	return *o.to, nil
}

// milliseconds are kept as microseconds.
type milliseconds struct{ to *int32 }

// Scan implements sql.Scanner.
func (m milliseconds) Scan(v any) error {
	var n sql.NullInt64
	err := n.Scan(v)
	*m.to = int32(n.Int64 / 1000)
	return err
}

// Value implements driver.Valuer.
func (m milliseconds) Value() (driver.Value, error) { return int64(*m.to) * 1000, nil }

// text is JSON.
type text[T any] struct{ to *T }

// Scan implements sql.Scanner.
func (t text[T]) Scan(v any) error {
	var encoded sql.NullString
	if err := encoded.Scan(v); err != nil {
		return err
	}
	return json.Unmarshal([]byte(encoded.String), t.to)
}

// Value implements driver.Valuer.
func (t text[T]) Value() (driver.Value, error) {
	b, err := json.Marshal(*t.to)
	return string(b), err
}

// keys are those of a file's runs.
type keys struct{ *metadata.SnapshotFile }

// Scan implements sql.Scanner.
func (k keys) Scan(v any) error {
	var pairs [][2]int64
	if err := (text[[][2]int64]{&pairs}).Scan(v); err != nil {
		return err
	}
	k.Partitions, k.Offsets = make([]metadata.PartitionID, len(pairs)), make([]int64, len(pairs))
	for i, p := range pairs {
		k.Partitions[i], k.Offsets[i] = metadata.PartitionID(p[0]), p[1]
	}
	return nil
}

// Value implements driver.Valuer.
func (k keys) Value() (driver.Value, error) {
	if len(k.Partitions) != len(k.Offsets) {
		return nil, fmt.Errorf("file %s has keys of %d partitions and %d offsets", k.ID, len(k.Partitions), len(k.Offsets))
	}
	pairs := make([][2]int64, len(k.Offsets))
	for i := range pairs {
		pairs[i] = [2]int64{int64(k.Partitions[i]), k.Offsets[i]}
	}
	return text[[][2]int64]{&pairs}.Value()
}
