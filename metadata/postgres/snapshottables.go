package postgres

import (
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wadi-log/wadi/metadata"
)

// snapshotTables are the tables that a snapshot has row by row, in its order. The Head
// stands for those of single rows: cluster, sequencer, producer_ids and the sequence group_versions.
var snapshotTables = []snapshotTable{
	table("topics", "id, name, internal, partitions, configs, created_at",
		func(r *metadata.SnapshotRow) **metadata.SnapshotTopic { return &r.Topic },
		func(t *metadata.SnapshotTopic) []any {
			return []any{id(&t.ID), &t.Name, &t.Internal, &t.Partitions, &t.Configs, instant{&t.CreatedAt}}
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
		func(c *metadata.SnapshotConfigs) []any { return []any{&c.Kind, octets{&c.Name}, &c.Configs} }),
	table("groups", "group_key, name, version, type, protocol_type, phase, due_at",
		func(r *metadata.SnapshotRow) **metadata.SnapshotGroup { return &r.Group },
		func(g *metadata.SnapshotGroup) []any {
			return []any{id(&g.Key), octets{&g.Name}, &g.Version, &g.Type, octets{&g.ProtocolType}, &g.Phase, instant{&g.Due}}
		}),
	table("group_states", "group_key, version, state",
		func(r *metadata.SnapshotRow) **metadata.SnapshotGroupState { return &r.GroupState },
		func(g *metadata.SnapshotGroupState) []any { return []any{id(&g.Key), &g.Version, octets{&g.State}} }),
	table("group_offsets", "group_key, partition_id, committed_offset, leader_epoch, committed_at, expire_at, metadata",
		func(r *metadata.SnapshotRow) **metadata.SnapshotGroupOffset { return &r.GroupOffset },
		func(o *metadata.SnapshotGroupOffset) []any {
			return []any{id(&o.Group), &o.Partition, &o.Offset, &o.LeaderEpoch, instant{&o.CommittedAt}, instant{&o.ExpireAt}, octets{&o.Metadata}}
		}),
	table("transactions", "txn_key, name, producer_id, producer_epoch, last_producer_id, last_epoch, state, version, timeout_ms, started_at, updated_at",
		func(r *metadata.SnapshotRow) **metadata.SnapshotTransaction { return &r.Transaction },
		func(t *metadata.SnapshotTransaction) []any {
			return []any{id(&t.Key), octets{&t.Name}, &t.ProducerID, &t.Epoch, &t.LastProducerID, &t.LastEpoch, &t.State, &t.Version,
				&t.TimeoutMs, instant{&t.StartedAt}, instant{&t.UpdatedAt}}
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
			return []any{&t.ProducerID, id(&t.Group), octets{&t.Name}}
		}),
	table("transaction_offsets", "producer_id, group_key, partition_id, pending_offset, leader_epoch, put_at, metadata",
		func(r *metadata.SnapshotRow) **metadata.SnapshotTransactionOffset { return &r.TransactionOffset },
		func(o *metadata.SnapshotTransactionOffset) []any {
			return []any{&o.ProducerID, id(&o.Group), &o.Partition, &o.Offset, &o.LeaderEpoch, instant{&o.PutAt}, octets{&o.Metadata}}
		}),
	table("aborted_transactions", "partition_id, producer_id, first_offset, last_offset, stable_offset",
		func(r *metadata.SnapshotRow) **metadata.SnapshotAborted { return &r.Aborted },
		func(a *metadata.SnapshotAborted) []any {
			return []any{&a.Partition, &a.ProducerID, &a.FirstOffset, &a.LastOffset, &a.StableOffset}
		}),
	table("compactions", "partition_id, clean_until, cleaned_at, settled_until, settled_at",
		func(r *metadata.SnapshotRow) **metadata.SnapshotCompaction { return &r.Compaction },
		func(c *metadata.SnapshotCompaction) []any {
			return []any{&c.Partition, &c.CleanUntil, instant{&c.CleanedAt}, &c.SettledUntil, instant{&c.SettledAt}}
		}),
	table("producers", "partition_id, producer_id, epoch, last_batches, seen_at",
		func(r *metadata.SnapshotRow) **metadata.SnapshotProducer { return &r.Producer },
		func(p *metadata.SnapshotProducer) []any {
			return []any{&p.Partition, &p.ProducerID, &p.Epoch, octets{&p.Batches}, instant{&p.SeenAt}}
		}),
	table("dead_files", "id, size, died_at",
		func(r *metadata.SnapshotRow) **metadata.SnapshotDeadFile { return &r.DeadFile },
		func(f *metadata.SnapshotDeadFile) []any { return []any{id(&f.ID), &f.Size, instant{&f.DiedAt}} }),
	table("files", "id, size, level, seq, committed_at, live_runs, live_bytes, partitions, offsets",
		func(r *metadata.SnapshotRow) **metadata.SnapshotFile { return &r.File },
		func(f *metadata.SnapshotFile) []any {
			return []any{id(&f.ID), &f.Size, &f.Level, &f.Seq, instant{&f.CommittedAt}, &f.LiveRuns, &f.LiveBytes, &f.Partitions, &f.Offsets}
		}).
		// Of files that came while an older agent was being replaced they are not known.
		reads("seq", "COALESCE(seq, 0)").reads("live_bytes", "COALESCE(live_bytes, size)").
		reads("partitions", "COALESCE(partitions, '{}')").reads("offsets", "COALESCE(offsets, '{}')"),
	table("runs", "partition_id, base_offset, records, file_id, encoding, position, stored_size, skip, size, max_timestamp, merged",
		func(r *metadata.SnapshotRow) **metadata.SnapshotRun { return &r.Run },
		func(r *metadata.SnapshotRun) []any {
			return []any{&r.Partition, &r.BaseOffset, &r.Records, id(&r.File), &r.Encoding, &r.Position, &r.StoredSize, &r.Skip, &r.Size, &r.MaxTimestamp, &r.Merged}
		}),
}

// snapshotTable is how one kind of row lies in its table.
type snapshotTable struct {
	name    string
	columns []string
	// selected are the columns as they are read.
	selected []string
	// fields are where the row's values are, in the order of columns: to scan into, and to
	// write. make makes a row of the kind first; without it they are nil where the row is of another one.
	fields func(row *metadata.SnapshotRow, make bool) []any
}

func table[T any](name, columns string, at func(*metadata.SnapshotRow) **T, fields func(*T) []any) snapshotTable {
	list := strings.Split(columns, ", ")
	return snapshotTable{name, list, list, func(row *metadata.SnapshotRow, make bool) []any {
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

// reads has the column read as an expression.
func (t snapshotTable) reads(column, expression string) snapshotTable {
	t.selected = slices.Clone(t.selected)
	t.selected[slices.Index(t.columns, column)] = expression
	return t
}

func id(u *uuid.UUID) *[16]byte { return (*[16]byte)(u) }

// instant is a time in UTC, NULL if it is zero.
type instant struct{ *time.Time }

// ScanTimestamptz implements pgtype.TimestamptzScanner.
func (i instant) ScanTimestamptz(v pgtype.Timestamptz) error {
	*i.Time = time.Time{}
	if v.Valid {
		*i.Time = v.Time.UTC()
	}
	return nil
}

// TimestamptzValue implements pgtype.TimestamptzValuer.
func (i instant) TimestamptzValue() (pgtype.Timestamptz, error) {
	return pgtype.Timestamptz{Time: *i.Time, Valid: !i.IsZero()}, nil
}

// optional is an offset, NULL if it is -1.
type optional struct{ *int64 }

// ScanInt64 implements pgtype.Int64Scanner.
func (o optional) ScanInt64(v pgtype.Int8) error {
	*o.int64 = -1
	if v.Valid {
		*o.int64 = v.Int64
	}
	return nil
}

// Int64Value implements pgtype.Int64Valuer.
func (o optional) Int64Value() (pgtype.Int8, error) {
	return pgtype.Int8{Int64: *o.int64, Valid: *o.int64 >= 0}, nil
}

// octets are bytes, never NULL.
type octets struct{ to *[]byte }

// ScanBytes implements pgtype.BytesScanner.
func (o octets) ScanBytes(v []byte) error {
	// v is the connection's buffer.
	*o.to = append([]byte{}, v...)
	return nil
}

// BytesValue implements pgtype.BytesValuer.
func (o octets) BytesValue() ([]byte, error) {
	if *o.to == nil {
		return []byte{}, nil
	}
	return *o.to, nil
}
