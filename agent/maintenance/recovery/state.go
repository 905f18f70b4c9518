package recovery

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/rowcodec"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// state is a store in memory, without the rows of files and runs: of those there may be many millions.
type state struct {
	head       metadata.SnapshotHead
	topics     map[uuid.UUID]*metadata.SnapshotTopic
	partitions map[metadata.PartitionID]*metadata.SnapshotPartition
	producers  map[sequence.ProducerKey]producer
	// live and dead are the data files that the store knows.
	live, dead   map[uuid.UUID]struct{}
	transactions []*metadata.SnapshotTransaction
	// inTransaction, groupsInTransaction and pending belong to the open ones.
	inTransaction []metadata.SnapshotTransactionPartition
	pending       []metadata.SnapshotTransactionOffset
	offsets       map[groupPartition]metadata.SnapshotGroupOffset
	aborted       []metadata.SnapshotAborted
	compactions   []metadata.SnapshotCompaction
	deadFiles     []metadata.SnapshotDeadFile
	// others are the rows that stay as they are, in their order.
	others []metadata.SnapshotRow
	rows   int64
}

type producer struct {
	sequence.Producer
	seenAt time.Time
}

type groupPartition struct {
	group     uuid.UUID
	partition metadata.PartitionID
}

// readState reads the rows of a snapshot, all of them, so that it is known whether they can be read.
func readState(rows iter.Seq2[metadata.SnapshotRow, error]) (*state, error) {
	s := &state{
		topics:     map[uuid.UUID]*metadata.SnapshotTopic{},
		partitions: map[metadata.PartitionID]*metadata.SnapshotPartition{},
		producers:  map[sequence.ProducerKey]producer{},
		live:       map[uuid.UUID]struct{}{},
		dead:       map[uuid.UUID]struct{}{},
		offsets:    map[groupPartition]metadata.SnapshotGroupOffset{},
	}
	for row, err := range rows {
		if err == nil {
			err = s.add(row)
		}
		if err != nil {
			return nil, err
		}
		s.rows++
	}
	return s, nil
}

func (s *state) add(row metadata.SnapshotRow) error {
	switch {
	case row.Head != nil:
		s.head = *row.Head
	case row.Topic != nil:
		s.topics[row.Topic.ID] = row.Topic
	case row.Partition != nil:
		s.partitions[row.Partition.ID] = row.Partition
	case row.Producer != nil:
		last, err := rowcodec.DecodeProducerBatches(row.Producer.Batches)
		if err != nil {
			return fmt.Errorf("producer %d in partition %d: %w", row.Producer.ProducerID, row.Producer.Partition, err)
		}
		key := sequence.ProducerKey{Partition: row.Producer.Partition, ProducerID: row.Producer.ProducerID}
		s.producers[key] = producer{sequence.Producer{Epoch: row.Producer.Epoch, Last: last}, row.Producer.SeenAt}
	case row.Transaction != nil:
		s.transactions = append(s.transactions, row.Transaction)
	case row.TransactionPartition != nil:
		s.inTransaction = append(s.inTransaction, *row.TransactionPartition)
	case row.TransactionGroup != nil:
		// It goes when the transaction ends, as all do here.
	case row.TransactionOffset != nil:
		s.pending = append(s.pending, *row.TransactionOffset)
	case row.GroupOffset != nil:
		s.offsets[groupPartition{row.GroupOffset.Group, row.GroupOffset.Partition}] = *row.GroupOffset
	case row.Aborted != nil:
		s.aborted = append(s.aborted, *row.Aborted)
	case row.Compaction != nil:
		s.compactions = append(s.compactions, *row.Compaction)
	case row.DeadFile != nil:
		s.dead[row.DeadFile.ID] = struct{}{}
		s.deadFiles = append(s.deadFiles, *row.DeadFile)
	case row.File != nil:
		s.live[row.File.ID] = struct{}{}
	case row.Run != nil:
	default:
		s.others = append(s.others, row)
	}
	return nil
}

func (s *state) knows(file uuid.UUID) bool {
	_, live := s.live[file]
	_, dead := s.dead[file]
	return live || dead
}

// partitionState is the sequencer's view of a partition.
func (s *state) partitionState(id metadata.PartitionID) sequence.Partition {
	p := s.partitions[id]
	return sequence.Partition{LogStartOffset: p.LogStartOffset, NextOffset: p.NextOffset, MaxTimestamp: p.MaxTimestamp, FirstUnstable: p.FirstUnstable}
}

func (s *state) setPartition(c sequence.PartitionChange) {
	p := s.partitions[c.ID]
	p.NextOffset, p.MaxTimestamp, p.FirstUnstable = c.NextOffset, c.MaxTimestamp, c.FirstUnstable
}

// small yields the rows that are in memory, up to those of files, in the order of a snapshot.
func (s *state) small(yield func(metadata.SnapshotRow) bool) bool {
	rows := []metadata.SnapshotRow{{Head: &s.head}}
	for _, t := range s.topics {
		rows = append(rows, metadata.SnapshotRow{Topic: t})
	}
	for _, p := range s.partitions {
		rows = append(rows, metadata.SnapshotRow{Partition: p})
	}
	// Deleted partitions, configs, groups and their states come in this order, too.
	rows = append(rows, s.others...)
	for _, o := range s.offsets {
		rows = append(rows, metadata.SnapshotRow{GroupOffset: &o})
	}
	for _, t := range s.transactions {
		rows = append(rows, metadata.SnapshotRow{Transaction: t})
	}
	for _, a := range s.aborted {
		rows = append(rows, metadata.SnapshotRow{Aborted: &a})
	}
	for _, c := range s.compactions {
		rows = append(rows, metadata.SnapshotRow{Compaction: &c})
	}
	for key, p := range s.producers {
		rows = append(rows, metadata.SnapshotRow{Producer: &metadata.SnapshotProducer{
			Partition: key.Partition, ProducerID: key.ProducerID, Epoch: p.Epoch, Batches: rowcodec.EncodeProducerBatches(p.Last), SeenAt: p.seenAt,
		}})
	}
	for _, f := range s.deadFiles {
		rows = append(rows, metadata.SnapshotRow{DeadFile: &f})
	}
	return !slices.ContainsFunc(rows, func(row metadata.SnapshotRow) bool { return !yield(row) })
}
