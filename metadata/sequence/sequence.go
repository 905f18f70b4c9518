package sequence

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// Partition is the state of one partition.
type Partition struct {
	LogStartOffset int64
	// NextOffset is the offset that the next record gets.
	NextOffset int64
	// MaxTimestamp is the largest ever committed (ms), -1 without records.
	MaxTimestamp int64
	// FirstUnstable is the smallest first offset of the open transactions that
	// have written to the partition, -1 without one.
	FirstUnstable int64
}

// StableOffset is the partition's last stable offset.
func (p Partition) StableOffset() int64 {
	if p.FirstUnstable < 0 {
		return p.NextOffset
	}
	return max(p.FirstUnstable, p.LogStartOffset)
}

// State is what the store knew, under its lock, of everything that [Keys] named.
type State struct {
	// Now is the store's clock.
	Now time.Time
	// Partitions lacks those that don't exist.
	Partitions map[metadata.PartitionID]Partition
	// Producers lacks those that have no state in the partition.
	Producers map[ProducerKey]Producer
	// Committed holds the outcomes of those files that an earlier call committed.
	Committed map[uuid.UUID][][]metadata.Outcome
	// Transactions are those of the transactional batches' producers, by producer ID,
	// without their Partitions and Groups. It lacks those that don't exist.
	Transactions map[int64]metadata.Transaction
	// InTransaction holds, for the partitions and producers of transactional batches,
	// the first offset of the open transaction, -1 before there is one. It lacks
	// partitions that were not added to it.
	InTransaction map[ProducerKey]int64
}

// Decision is what a commit does.
type Decision struct {
	// Files[i] belongs to the i-th file of the call.
	Files []FileDecision
	// Partitions and Producers hold the new states of those that changed,
	// ascending by key.
	Partitions []PartitionChange
	Producers  []ProducerChange
	// Transactions are those that began, ascending by ID.
	Transactions []TransactionChange
	// TransactionPartitions are partitions of transactions that got their first
	// batch, ascending by partition and producer.
	TransactionPartitions []TransactionPartitionChange
}

// TransactionPartitionChange is a partition's new place in a transaction.
type TransactionPartitionChange struct {
	TransactionPartition
	// New is true when the partition was not in the transaction before.
	New bool
}

// FileDecision is what a commit does with one file.
type FileDecision struct {
	Result metadata.FileResult
	// Runs are the rows that enter the index.
	Runs []metadata.Run
	// Stable is the feed entry's (see [metadata.Commit]).
	Stable []metadata.StableOffset
	// Fresh is true when this call decided on the file: it takes a commit
	// sequence number, and its result is kept for a repeated call. It is false
	// for a file that was committed before, and for one whose ID is out of
	// date, which is refused the same way every time.
	Fresh bool
}

// PartitionChange is the new state of a partition.
type PartitionChange struct {
	ID metadata.PartitionID
	Partition
}

// ProducerChange is the new state of a producer.
type ProducerChange struct {
	ProducerKey
	Producer
	// New is true when the producer had no state in the partition before.
	New bool
}

// Keys names what Decide needs to know: the partitions and producers of the files, and
// the producers of transactional batches, ascending and each once. Transactions
// and InTransaction are about those of producers whose IDs are among the transactional.
func Keys(files []metadata.File) (partitions []metadata.PartitionID, producers []ProducerKey, transactional []int64) {
	for _, f := range files {
		for _, a := range f.Appends {
			partitions = append(partitions, a.Partition)
			for i, b := range a.Batches {
				if b.ProducerID < 0 {
					continue
				}
				if same := i > 0 && a.Batches[i-1].ProducerID == b.ProducerID; !same {
					producers = append(producers, ProducerKey{Partition: a.Partition, ProducerID: b.ProducerID})
				}
				if b.Transactional {
					transactional = append(transactional, b.ProducerID)
				}
			}
		}
	}
	slices.Sort(partitions)
	slices.SortFunc(producers, compareProducers)
	slices.Sort(transactional)
	return slices.Compact(partitions), slices.Compact(producers), slices.Compact(transactional)
}

// Decide says what committing the files, in the order given, does to the
// state, which it leaves as it is. The files must have passed [Validate]. It
// fails only when a file was committed before with other contents.
func Decide(state State, files []metadata.File) (Decision, error) {
	return newDecider(state).decide(files)
}

func newDecider(state State) *decider {
	return &decider{
		state:        state,
		partitions:   map[metadata.PartitionID]Partition{},
		producers:    map[ProducerKey]Producer{},
		transactions: map[int64]metadata.Transaction{},
		firstOffsets: map[ProducerKey]int64{},
	}
}

func (d *decider) decide(files []metadata.File) (Decision, error) {
	out := Decision{Files: make([]FileDecision, len(files))}
	for i, f := range files {
		decided, err := d.file(f)
		if err != nil {
			return Decision{}, err
		}
		out.Files[i] = decided
	}
	out.Partitions = partitionChanges(d.partitions)
	for key, p := range d.producers {
		_, known := d.state.Producers[key]
		out.Producers = append(out.Producers, ProducerChange{ProducerKey: key, Producer: p, New: !known})
	}
	slices.SortFunc(out.Producers, func(a, b ProducerChange) int { return compareProducers(a.ProducerKey, b.ProducerKey) })
	out.Transactions, out.TransactionPartitions = d.transactionChanges()
	return out, nil
}

// decider holds the changes so far on top of the state.
type decider struct {
	state      State
	partitions map[metadata.PartitionID]Partition
	producers  map[ProducerKey]Producer
	// transactions are those that began, firstOffsets the partitions that got their
	// first batch of a transaction.
	transactions map[int64]metadata.Transaction
	firstOffsets map[ProducerKey]int64
	tooOld       bool // a file of the call was refused for its age
	// restored, if it is set, makes it Restore.
	restored func(ProducerKey, metadata.Batch) (offset int64, ok bool)
}

func (d *decider) partition(id metadata.PartitionID) (Partition, bool) {
	if p, ok := d.partitions[id]; ok {
		return p, true
	}
	p, ok := d.state.Partitions[id]
	return p, ok
}

func (d *decider) producer(key ProducerKey) (Producer, bool) {
	if p, ok := d.producers[key]; ok {
		return p, true
	}
	p, ok := d.state.Producers[key]
	return p, ok
}

func (d *decider) file(f metadata.File) (FileDecision, error) {
	out := FileDecision{Result: metadata.FileResult{
		Outcomes:        make([][]metadata.Outcome, len(f.Appends)),
		LogStartOffsets: make([]int64, len(f.Appends)),
	}}
	for i, a := range f.Appends {
		out.Result.LogStartOffsets[i] = -1
		if p, ok := d.partition(a.Partition); ok {
			out.Result.LogStartOffsets[i] = p.LogStartOffset
		}
	}
	// Before the age: a repeated call must find its own commit, however late.
	if before, ok := d.state.Committed[f.ID]; ok {
		if !sameShape(f, before) {
			return out, fmt.Errorf("data file %s was committed before with other contents", f.ID)
		}
		out.Result.Outcomes = before
		return out, nil
	}
	err := checkAge(f.ID, d.state.Now)
	if err == nil && d.tooOld {
		err = fmt.Errorf("%w: a file before it in the same call is", metadata.ErrFileTooOld)
	}
	if err != nil {
		// The files behind go with it: a later batch of a producer must not be
		// committed when an earlier one was not.
		d.tooOld = true
		for i, a := range f.Appends {
			out.Result.Outcomes[i] = refuseAll(a, err)
		}
		return out, nil
	}
	out.Fresh = true
	for i, a := range f.Appends {
		var runs []metadata.Run
		out.Result.Outcomes[i], runs = d.append(f.ID, a)
		out.Runs = append(out.Runs, runs...)
		if p := d.partitions[a.Partition]; len(runs) > 0 && p.FirstUnstable >= 0 {
			out.Stable = append(out.Stable, metadata.StableOffset{Partition: a.Partition, Offset: p.StableOffset()})
		}
	}
	slices.SortFunc(out.Stable, func(a, b metadata.StableOffset) int { return cmp.Compare(a.Partition, b.Partition) })
	return out, nil
}

// append decides on the batches that one file adds to one partition.
func (d *decider) append(file uuid.UUID, a metadata.Append) ([]metadata.Outcome, []metadata.Run) {
	partition, ok := d.partition(a.Partition)
	if !ok {
		return refuseAll(a, metadata.ErrUnknownPartition), nil
	}
	outcomes := make([]metadata.Outcome, len(a.Batches))
	runs := runBuilder{file: file, source: a}
	for i, b := range a.Batches {
		outcomes[i] = d.batch(a.Partition, b, partition.NextOffset)
		if outcomes[i].BaseOffset < 0 || outcomes[i].Duplicate {
			runs.leaveOut(b)
			continue
		}
		partition.MaxTimestamp = max(partition.MaxTimestamp, b.MaxTimestamp)
		if b.Transactional && partition.FirstUnstable < 0 {
			partition.FirstUnstable = partition.NextOffset
		}
		runs.add(b, partition)
		partition.NextOffset += int64(b.Records)
	}
	if len(runs.runs) > 0 {
		d.partitions[a.Partition] = partition
	}
	return outcomes, runs.runs
}

// batch decides on one batch, which gets the offset when it is accepted, and
// records it with its producer.
func (d *decider) batch(partition metadata.PartitionID, b metadata.Batch, offset int64) metadata.Outcome {
	if b.ProducerID < 0 {
		return metadata.Outcome{BaseOffset: offset}
	}
	key := ProducerKey{Partition: partition, ProducerID: b.ProducerID}
	producer, known := d.producer(key)
	if known {
		if original, ok := producer.duplicate(b); ok {
			return metadata.Outcome{BaseOffset: original, Duplicate: true}
		}
	}
	if d.restored != nil {
		return d.restore(key, b, offset)
	}
	if b.Transactional {
		if err := d.checkTransaction(key, b); err != nil {
			return metadata.Outcome{BaseOffset: -1, Err: err}
		}
	}
	switch {
	case known:
		if err := producer.check(b); err != nil {
			return metadata.Outcome{BaseOffset: -1, Err: err}
		}
	case b.AddsPartition && b.BaseSequence != 0:
		// Each of these transactions has an epoch of its own, which starts at 0 in each
		// partition: an earlier batch is missing.
		return metadata.Outcome{BaseOffset: -1, Err: metadata.ErrOutOfOrderSequence}
	}
	d.producers[key] = producer.with(b, offset)
	if b.Transactional {
		d.enterTransaction(key, offset)
	}
	return metadata.Outcome{BaseOffset: offset}
}

// checkAge refuses files that the orphan sweeper may have deleted, and those
// that no clock could have named: their replay record would be trimmed while
// their ID still counts as young, and a repeated call would commit them twice.
func checkAge(id uuid.UUID, now time.Time) error {
	at, ok := FileTime(id)
	if !ok {
		return fmt.Errorf("%w: its ID %s is no UUID of version 7, so its age is unknown", metadata.ErrFileTooOld, id)
	}
	if age := now.Sub(at); age > metadata.MaxFileAge {
		return fmt.Errorf("%w: its ID is %v old by the metadata store's clock", metadata.ErrFileTooOld, age.Round(time.Millisecond))
	} else if age < -metadata.MaxFileAge {
		return fmt.Errorf("%w: its ID is %v ahead of the metadata store's clock; set the agent's clock", metadata.ErrFileTooOld, -age.Round(time.Millisecond))
	}
	return nil
}

// FileTime is the creation time in a data file's ID (RFC 9562, UUIDv7: ms
// since the epoch in the first 48 bits); false for other UUIDs.
func FileTime(id uuid.UUID) (time.Time, bool) {
	if id.Version() != 7 || id.Variant() != uuid.RFC4122 {
		return time.Time{}, false
	}
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms), true
}

func refuseAll(a metadata.Append, err error) []metadata.Outcome {
	outcomes := make([]metadata.Outcome, len(a.Batches))
	for i := range outcomes {
		outcomes[i] = metadata.Outcome{BaseOffset: -1, Err: err}
	}
	return outcomes
}

func sameShape(f metadata.File, outcomes [][]metadata.Outcome) bool {
	return slices.EqualFunc(f.Appends, outcomes, func(a metadata.Append, o []metadata.Outcome) bool {
		return len(a.Batches) == len(o)
	})
}

// partitionChanges lists the partitions' new states, ascending by ID.
func partitionChanges(partitions map[metadata.PartitionID]Partition) []PartitionChange {
	var changes []PartitionChange
	for id, p := range partitions {
		changes = append(changes, PartitionChange{ID: id, Partition: p})
	}
	slices.SortFunc(changes, func(a, b PartitionChange) int { return cmp.Compare(a.ID, b.ID) })
	return changes
}

func compareProducers(a, b ProducerKey) int {
	return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.ProducerID, b.ProducerID))
}
