package produce

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

// Entry is one validated batch on its way into a data file.
type Entry struct {
	Topic     uuid.UUID
	Index     int32 // of the partition in its topic
	Partition metadata.PartitionID
	Batch     protocol.Batch
	// AddsPartition: the batch, if it is transactional, adds the partition to its
	// transaction (KIP-890); else the partition must be in it.
	AddsPartition bool
}

// Result is what became of an Entry.
type Result struct {
	BaseOffset     int64
	LogStartOffset int64
	// Err is nil, one of the batch errors of package metadata, or why the
	// whole file failed.
	Err error
}

// Ticket is a request's claim on the results of its entries.
type Ticket struct {
	file  *file
	slots []slot
}

// slot says where in the file an entry lies.
type slot struct {
	section *section
	batch   int
}

// Done is closed when the results are known.
func (t Ticket) Done() <-chan struct{} { return t.file.done }

// Result returns the result of the i-th entry. Done must have been closed.
func (t Ticket) Result(i int) Result {
	s := t.slots[i]
	if t.file.err != nil {
		return Result{BaseOffset: -1, LogStartOffset: -1, Err: t.file.err}
	}
	o := s.section.outcomes[s.batch]
	return Result{BaseOffset: o.BaseOffset, LogStartOffset: s.section.logStart, Err: o.Err}
}

// file is a data file from its first record to its answer. The Accumulator
// owns it until it is sealed, then its uploader, then the committer; done is
// closed at the end and makes err and the outcomes readable by all.
type file struct {
	opened   time.Time
	bytes    int64
	records  int64
	sections map[metadata.PartitionID]*section
	release  []func()

	// uploadCtx bounds the upload; the committer cancels it when the file has
	// to fail because one before it did.
	uploadCtx    context.Context
	cancelUpload context.CancelFunc
	// uploaded is closed by the uploader: body and commit are set, or err is.
	uploaded chan struct{}
	body     []byte
	commit   metadata.File
	ordered  []*section // as in commit.Appends

	done chan struct{}
	err  error
}

// section is what the file adds to one partition.
type section struct {
	topic     uuid.UUID
	index     int32
	partition metadata.PartitionID
	batches   []batch

	outcomes []metadata.Outcome
	logStart int64
}

// batch is what the file keeps of an Entry.
type batch struct {
	protocol.Batch
	addsPartition bool
}

func newFile(now time.Time) *file {
	return &file{
		opened:   now,
		sections: map[metadata.PartitionID]*section{},
		uploaded: make(chan struct{}),
		done:     make(chan struct{}),
	}
}

// add appends the entries of one request. release is called when the file is
// done with their bytes for good.
func (f *file) add(entries []Entry, release func()) Ticket {
	t := Ticket{file: f, slots: make([]slot, len(entries))}
	for i, e := range entries {
		s := f.sections[e.Partition]
		if s == nil {
			s = &section{topic: e.Topic, index: e.Index, partition: e.Partition}
			f.sections[e.Partition] = s
		}
		t.slots[i] = slot{section: s, batch: len(s.batches)}
		s.batches = append(s.batches, batch{e.Batch, e.AddsPartition})
		f.bytes += int64(len(e.Batch))
		f.records += int64(e.Batch.NumRecords())
	}
	f.release = append(f.release, release)
	return t
}

// encode makes the file's bytes, and lets go of the requests' buffers. (They stay charged: the body has taken their place.)
func (f *file) encode(compression datafile.Compression) error {
	// In the order of the format, so that section i of the file is ordered[i].
	f.ordered = slices.SortedFunc(maps.Values(f.sections), func(a, b *section) int {
		return cmp.Or(bytes.Compare(a.topic[:], b.topic[:]), cmp.Compare(a.index, b.index))
	})
	inputs := make([]datafile.Input, len(f.ordered))
	for i, s := range f.ordered {
		inputs[i] = s.input()
	}
	encoded, err := datafile.Encode(f.commit.ID, compression, inputs)
	if err != nil {
		return err
	}
	f.body = encoded.Bytes
	f.commit.Size = int64(len(encoded.Bytes))
	f.commit.Appends = make([]metadata.Append, len(encoded.Sections))
	for i, es := range encoded.Sections {
		s := f.ordered[i]
		f.commit.Appends[i] = metadata.Append{
			Partition: s.partition, Encoding: metadata.Encoding(es.Encoding),
			Position: es.Position, StoredSize: es.StoredSize, Batches: s.describe(),
		}
		s.batches = nil
	}
	return nil
}

func (s *section) input() datafile.Input {
	in := datafile.Input{TopicID: s.topic, Partition: s.index, Batches: make([]datafile.Batch, len(s.batches))}
	for i, b := range s.batches {
		in.Batches[i] = datafile.Batch{
			Bytes: b.Batch, Compressed: b.Codec() != protocol.CodecNone,
			Records: b.LastOffsetDelta() + 1, MaxTimestamp: b.MaxTimestamp(),
			ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(),
		}
	}
	return in
}

func (s *section) describe() []metadata.Batch {
	batches := make([]metadata.Batch, len(s.batches))
	for i, b := range s.batches {
		batches[i] = metadata.Batch{
			Size: int32(len(b.Batch)), Records: b.LastOffsetDelta() + 1, MaxTimestamp: b.MaxTimestamp(),
			ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(),
			Transactional: b.IsTransactional(), AddsPartition: b.IsTransactional() && b.addsPartition,
		}
	}
	return batches
}

// finish publishes the file's results and gives its memory back.
func (f *file) finish(result metadata.FileResult, err error) {
	f.err = err
	if err == nil {
		for i, s := range f.ordered {
			s.outcomes, s.logStart = result.Outcomes[i], result.LogStartOffsets[i]
		}
	}
	f.body = nil
	close(f.done)
	for _, release := range f.release {
		release()
	}
	f.release = nil
}
