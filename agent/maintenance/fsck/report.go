package fsck

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Kind is what is wrong.
type Kind string

// Records are lost, or can't be read.
const (
	// MissingObject: rows name a file whose object doesn't exist.
	MissingObject Kind = "missing-object"
	// WrongSize: the object is not as long as the file that was committed.
	WrongSize Kind = "wrong-size"
	// DamagedFile: the object's header or footer can't be read, or is another file's.
	DamagedFile Kind = "damaged-file"
	// DamagedSection: what the footer says is not in the file (only a deep check looks).
	DamagedSection Kind = "damaged-section"
	// UnknownFile: rows name a file that the metadata store doesn't know, or thinks dead.
	UnknownFile Kind = "unknown-file"
	// WrongRun: a row says otherwise than the file where and what its records are.
	WrongRun Kind = "wrong-run"
	// Hole: no row covers offsets between the log start and the next offset.
	Hole Kind = "hole"
)

// The index contradicts itself, and readers or jobs may stumble over it.
const (
	// Overlap: two rows cover the same offsets, or one reaches beyond the next offset.
	Overlap Kind = "overlap"
	// Timestamps: the running timestamp falls from one row to the next, so that lookups by time go astray.
	Timestamps Kind = "timestamps"
	// AbortedWithoutMarker: a transaction is noted as aborted whose end is not where it should be.
	AbortedWithoutMarker Kind = "aborted-without-marker"
	// LeftoverRows: a partition has rows that doesn't exist, and nobody will remove them.
	LeftoverRows Kind = "leftover-rows"
	// WrongCounts: a file miscounts its rows or bytes, or doesn't find them by its keys. It will be deleted too
	// early or never, or be merged wrongly.
	WrongCounts Kind = "wrong-counts"
	// MarkedDamaged: a file is marked as one that nobody can read, so that no merge takes it, and can be read (only a deep
	// check looks).
	MarkedDamaged Kind = "marked-damaged"
)

// Objects take room for nothing.
const (
	// Orphan: an object that nobody knows, and no commit can bring any more.
	Orphan Kind = "orphan"
	// Overdue: an object is there whose file died more than a day before the grace period asks for.
	Overdue Kind = "overdue"
	// ForeignObject: an object among the data files whose key is none of Wadi's. Nobody deletes it.
	ForeignObject Kind = "foreign-object"
)

// severities orders kinds, the worst first.
var severities = map[Kind]string{
	MissingObject: Loss, WrongSize: Loss, DamagedFile: Loss, DamagedSection: Loss, UnknownFile: Loss, WrongRun: Loss, Hole: Loss,
	Overlap: Index, Timestamps: Index, AbortedWithoutMarker: Index, LeftoverRows: Index, WrongCounts: Index, MarkedDamaged: Index,
	Orphan: Waste, Overdue: Waste, ForeignObject: Waste,
}

// Severities of findings.
const (
	// Loss: records are lost or can't be read.
	Loss = "loss"
	// Index: the index is wrong, and no record is lost yet.
	Index = "index"
	// Waste: room is taken for nothing.
	Waste = "waste"
)

// Finding is one thing that is wrong.
type Finding struct {
	Kind     Kind   `json:"kind"`
	Severity string `json:"severity"`
	// Key is the object's, File the data file's ID, where the finding is about one.
	Key  string     `json:"key,omitempty"`
	File *uuid.UUID `json:"file,omitempty"`
	// Detail says what is wrong in words.
	Detail string `json:"detail"`
	// Hit are the records that it is about, by topic, partition and offset, at most MaxHit of them.
	Hit []Offsets `json:"hit,omitempty"`
	// MoreHit counts the ranges beyond those.
	MoreHit int `json:"more_hit,omitempty"`
	// Repaired says what was done about it; empty for nothing.
	Repaired string `json:"repaired,omitempty"`
}

// Offsets are a range of a partition.
type Offsets struct {
	// Topic is the name, "" where the topic is gone.
	Topic string `json:"topic"`
	// Partition is the index in the topic; where that is gone, the partition's ID in the metadata store.
	Partition int32 `json:"partition"`
	First     int64 `json:"first_offset"`
	// Last is inclusive.
	Last int64 `json:"last_offset"`
}

// MaxHit bounds Finding.Hit.
const MaxHit = 100

// Count is a number of objects or files, and their bytes.
type Count struct {
	Number int64 `json:"number"`
	Bytes  int64 `json:"bytes"`
}

func (c *Count) add(size int64) {
	c.Number++
	c.Bytes += size
}

// Report is what a check found.
type Report struct {
	ClusterID string `json:"cluster_id"`
	// StartedAt and EndedAt are by the metadata store's clock.
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at"`
	Deep      bool      `json:"deep"`
	Repair    bool      `json:"repair"`

	// What was looked at: partitions and their rows, objects below data/, live files.
	Partitions int64 `json:"partitions"`
	Rows       int64 `json:"rows"`
	Objects    Count `json:"objects"`
	Files      Count `json:"files"`
	// Read is what a deep check read of them: sections, and their stored bytes.
	Read Count `json:"read"`

	// InFlight are objects that nobody knows yet, as every upload is for a moment.
	InFlight Count `json:"in_flight"`
	// Dead are files without rows whose objects wait to be deleted.
	Dead Count `json:"dead"`

	// ByKind counts all findings, Findings lists the first MaxFindings of each kind, the worst kinds first.
	ByKind   map[Kind]int64 `json:"by_kind"`
	Findings []Finding      `json:"findings"`

	// DeletedOrphans, DeletedDead, Corrected and Unmarked are what a repair did.
	DeletedOrphans Count `json:"deleted_orphans"`
	DeletedDead    Count `json:"deleted_dead"`
	Corrected      int64 `json:"corrected_files"`
	Unmarked       int64 `json:"unmarked_files"`
}

// Total is the number of findings, listed or not.
func (r *Report) Total() (n int64) {
	for _, count := range r.ByKind {
		n += count
	}
	return n
}

// sort orders the findings, so that equal damage makes equal reports.
func (r *Report) sort() {
	rank := map[string]int{Loss: 0, Index: 1, Waste: 2}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(rank[a.Severity], rank[b.Severity]), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key),
			slices.CompareFunc(a.Hit, b.Hit, compareOffsets), cmp.Compare(a.Detail, b.Detail))
	})
}

func compareOffsets(a, b Offsets) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.First, b.First))
}
