package txncheck

import (
	"math"
	"time"
)

// Moment is a time since the run began.
type Moment = time.Duration

// Never is the Moment of what did not happen.
const Never Moment = math.MaxInt64

// History is all that happened in a run, as far as clients could know.
type History struct {
	// Strict: the promises of Wadi hold, not only those of Kafka.
	Strict bool
	// Partitions are those of all topics. Elsewhere they are indexes into this.
	Partitions []Partition
	// Txns are the transactions; elsewhere they are indexes into this. A producer
	// without transactions has one that is never ended.
	Txns []Txn
	// Log[p][offset] is what readers of everything found there.
	Log [][]Entry
	// Reads are in the order in which each reader made them.
	Reads []Read
	// Snapshots are in no set order.
	Snapshots []Snapshot
	// Offsets are what the group was seen to have committed, in no set order; the
	// last asked for is from the end, when there was nothing left to transform.
	Offsets []Offsets
	// Faults are what was wrong by itself when it was seen.
	Faults []Problem
}

// Partition is one that the run writes to.
type Partition struct {
	Topic  string
	Number int32
	// Input: the group transforms its records.
	Input bool
}

// Fate is how a transaction ended, as its writer was told.
type Fate int8

// A writer that was not told what became of a commit doesn't know the fate. Aborted is also what
// was never committed, however it ended.
const (
	Unknown Fate = iota
	Committed
	Aborted
)

// String is the fate in a report.
func (f Fate) String() string { return [...]string{"unknown", "committed", "aborted"}[f] }

// Txn is one transaction of a writer.
type Txn struct {
	// Writer is the transactional ID, or the name of a producer without one.
	Writer        string
	Transactional bool
	Records       []Sent
	// Inputs is where the group's offsets are after it.
	Inputs []Input
	Fate   Fate
	// SentCommit: a commit was sent, at Ending.
	SentCommit bool
	// Overslept: its writer let it time out.
	Overslept bool
	// Ending is before its end was sent, Ended after that was answered with success.
	Ending, Ended Moment
	// Decidable is before anything was sent or due that could end it: its end, the
	// next producer of the transactional ID, its timeout.
	Decidable Moment
	// Fenced is after the next producer of its transactional ID was initialised.
	Fenced Moment
	// Superseded is after a request succeeded that can only succeed after it was ended.
	Superseded Moment
}

// Sent is a record that was sent.
type Sent struct {
	Partition int32
	// Offset is where it was acknowledged; -1 when it was not, or not said where.
	Offset int64
	// At is before it was sent, Acked after it was acknowledged.
	At, Acked Moment
	// Source is the input that it was made from; Partition -1 for none.
	Source Source
}

// Source is a record of the input.
type Source struct {
	Partition int32
	Offset    int64
}

// noSource is that of records that nothing was transformed into.
var noSource = Source{Partition: -1}

// Input is the offset from which on the input is still to be transformed.
type Input struct {
	Partition int32
	Next      int64
}

// EntryKind says what lies at an offset.
type EntryKind int8

// Unread entries were seen by nobody.
const (
	Unread EntryKind = iota
	Data
	CommitMarker
	AbortMarker
)

// Entry is what lies at an offset.
type Entry struct {
	Kind          EntryKind
	Transactional bool
	ProducerEpoch int16
	ProducerID    int64
	// Record is which one it is, of Data.
	Record RecordID
}

// RecordID names a record: the Seq-th of a transaction.
type RecordID struct{ Txn, Seq int32 }

// Read is what one answer gave to a reader of one partition.
type Read struct {
	Reader    int32
	Committed bool // the isolation level
	Partition int32
	// At is after the answer came.
	At Moment
	// The reader asked for From and will ask for To next.
	From, To     int64
	StableOffset int64
	// Got are the offsets of what was given, markers too for readers of everything.
	Got []Span
}

// Span is offsets from First to Last.
type Span struct{ First, Last int64 }

// Snapshot is the last stable offsets of all partitions in one answer, and the
// high watermarks in one that was asked for after it.
type Snapshot struct {
	Stable, High Watermarks
}

// Watermarks are offsets by partition, -1 where the answer had none.
type Watermarks struct {
	Asked, Answered Moment
	Offsets         []int64
}

// Offsets are a group's committed offsets by partition, -1 for none.
type Offsets = Watermarks
