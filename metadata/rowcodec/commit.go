package rowcodec

import (
	"encoding/binary"
	"math"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// The fewest bytes that the elements of the lists take.
const (
	minRun             = 7
	minResource        = 2
	minPartitionOffset = 2
	minAborted         = 5
)

// EncodeCommit encodes a feed entry (the sequence number is the row's key):
//
//	version  byte
//	topics   count, then 16 bytes each
//	files    count, then 16 bytes each
//	runs     count, then each:
//	           index of the file, only if there are several
//	           partition - previous partition     signed
//	           base offset
//	           records
//	           encoding
//	           position - end of previous run     signed
//	           stored size
//	           skip, size                         only if not raw
//	           max timestamp - previous           signed
//	configs  count, then each: kind, length and bytes of the name
//	starts   count, then each: partition - previous partition (signed), log start
//	stable   count, then each: partition - previous partition (signed), last stable offset
//	aborted  count, then each:
//	           partition - previous partition     signed
//	           producer ID
//	           first offset
//	           last offset - first offset
//	           stable offset - last offset        signed
//	compacted count, then each: partition - previous partition (signed), first offset not compacted
//
// The last five lists came later. What is empty at the end is left out: all of them, in
// most entries. A marker's run has a file like any other: it is one ID for all
// partitions of a transaction.
func EncodeCommit(c metadata.Commit) []byte {
	files := fileTable(c.Runs)
	b := make([]byte, 0, 8+16*(len(c.Topics)+len(files))+20*len(c.Runs))
	b = append(b, version)
	b = binary.AppendUvarint(b, uint64(len(c.Topics)))
	for _, id := range c.Topics {
		b = append(b, id[:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(files)))
	for _, id := range files {
		b = append(b, id[:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(c.Runs)))
	var previous metadata.Run
	file := 0
	for _, r := range c.Runs {
		if len(files) > 1 {
			for files[file] != r.FileID {
				file = (file + 1) % len(files)
			}
			b = binary.AppendUvarint(b, uint64(file))
		}
		b = binary.AppendVarint(b, int64(r.Partition)-int64(previous.Partition))
		b = binary.AppendUvarint(b, uint64(r.BaseOffset))
		b = binary.AppendUvarint(b, uint64(r.Records))
		b = binary.AppendUvarint(b, uint64(r.Encoding))
		b = binary.AppendVarint(b, r.Position-previous.Position-int64(previous.StoredSize))
		b = binary.AppendUvarint(b, uint64(r.StoredSize))
		if r.Encoding != metadata.EncodingRaw {
			b = binary.AppendUvarint(b, uint64(r.Skip))
			b = binary.AppendUvarint(b, uint64(r.Size))
		}
		b = binary.AppendVarint(b, r.MaxTimestamp-previous.MaxTimestamp)
		previous = r
	}
	return appendTail(b, c)
}

// appendTail appends the last lists, up to the last one that isn't empty.
func appendTail(b []byte, c metadata.Commit) []byte {
	end := len(b)
	b = binary.AppendUvarint(b, uint64(len(c.Configs)))
	for _, r := range c.Configs {
		b = append(b, byte(r.Kind))
		b = binary.AppendUvarint(b, uint64(len(r.Name)))
		b = append(b, r.Name...)
		end = len(b)
	}
	if b = appendPartitionOffsets(b, c.LogStarts); len(c.LogStarts) > 0 {
		end = len(b)
	}
	if b = appendPartitionOffsets(b, c.Stable); len(c.Stable) > 0 {
		end = len(b)
	}
	b = binary.AppendUvarint(b, uint64(len(c.Aborted)))
	previous := metadata.PartitionID(0)
	for _, a := range c.Aborted {
		b = binary.AppendVarint(b, int64(a.Partition)-int64(previous))
		b = binary.AppendUvarint(b, uint64(a.ProducerID))
		b = binary.AppendUvarint(b, uint64(a.FirstOffset))
		b = binary.AppendUvarint(b, uint64(a.LastOffset-a.FirstOffset))
		b = binary.AppendVarint(b, a.StableOffset-a.LastOffset)
		previous, end = a.Partition, len(b)
	}
	if b = appendPartitionOffsets(b, c.Compacted); len(c.Compacted) > 0 {
		end = len(b)
	}
	return b[:end]
}

// partitionOffset is an element of a list of an offset for each of some partitions.
type partitionOffset interface {
	metadata.LogStart | metadata.StableOffset | metadata.CompactedUntil
}

// appendPartitionOffsets appends a list of an offset for each of some partitions.
func appendPartitionOffsets[T partitionOffset](b []byte, offsets []T) []byte {
	b = binary.AppendUvarint(b, uint64(len(offsets)))
	previous := metadata.PartitionID(0)
	for _, o := range offsets {
		at := metadata.StableOffset(o)
		b = binary.AppendVarint(b, int64(at.Partition)-int64(previous))
		b = binary.AppendUvarint(b, uint64(at.Offset))
		previous = at.Partition
	}
	return b
}

// DecodeCommit is the reverse of EncodeCommit; Seq is left 0.
func DecodeCommit(b []byte) (metadata.Commit, error) {
	var c metadata.Commit
	r := newReader(b)
	for range r.count(16) {
		c.Topics = append(c.Topics, r.uuid())
	}
	files := make([]uuid.UUID, r.count(16))
	for i := range files {
		files[i] = r.uuid()
	}
	n := r.count(minRun)
	if n > 0 && len(files) == 0 {
		r.fail("runs without a file")
		n = 0
	}
	if n > 0 {
		c.Runs = make([]metadata.Run, 0, n)
	}
	var previous metadata.Run
	for range n {
		previous = r.run(files, previous)
		c.Runs = append(c.Runs, previous)
	}
	r.tail(&c)
	if err := r.done(); err != nil {
		return metadata.Commit{}, err
	}
	return c, nil
}

func (r *reader) run(files []uuid.UUID, previous metadata.Run) metadata.Run {
	file := uint64(0)
	if len(files) > 1 {
		if file = r.uvarint(); file >= uint64(len(files)) {
			r.fail("no file %d", file)
			return metadata.Run{}
		}
	}
	run := metadata.Run{FileID: files[file]}
	run.Partition = r.partition(previous.Partition)
	run.BaseOffset = r.int63()
	run.Records = r.int32()
	run.Encoding = metadata.Encoding(r.byte())
	run.Position = r.varint() + previous.Position + int64(previous.StoredSize)
	run.StoredSize = r.int32()
	run.Size = run.StoredSize
	if run.Encoding != metadata.EncodingRaw {
		run.Skip = r.int32()
		run.Size = r.int32()
	}
	run.MaxTimestamp = r.varint() + previous.MaxTimestamp
	if run.Position < 0 || run.Encoding > metadata.EncodingMarker {
		r.fail("impossible run")
	}
	return run
}

// tail reads the last lists, of which those at the end may be missing, but not empty.
func (r *reader) tail(c *metadata.Commit) {
	for _, read := range []func() (elements int){
		func() int { c.Configs = r.resources(); return len(c.Configs) },
		func() int { c.LogStarts = partitionOffsets[metadata.LogStart](r); return len(c.LogStarts) },
		func() int { c.Stable = partitionOffsets[metadata.StableOffset](r); return len(c.Stable) },
		func() int { c.Aborted = r.aborted(); return len(c.Aborted) },
		func() int { c.Compacted = partitionOffsets[metadata.CompactedUntil](r); return len(c.Compacted) },
	} {
		if len(r.rest) == 0 {
			return
		}
		if read() == 0 && len(r.rest) == 0 {
			r.fail("an empty list at the end")
		}
	}
}

func (r *reader) resources() (resources []metadata.ConfigResource) {
	for range r.count(minResource) {
		kind := metadata.ConfigKind(r.byte())
		resources = append(resources, metadata.ConfigResource{Kind: kind, Name: r.string()})
	}
	return resources
}

// partitionOffsets is the reverse of appendPartitionOffsets.
func partitionOffsets[T partitionOffset](r *reader) (offsets []T) {
	partition := metadata.PartitionID(0)
	for range r.count(minPartitionOffset) {
		partition = r.partition(partition)
		offsets = append(offsets, T{Partition: partition, Offset: r.int63()})
	}
	return offsets
}

func (r *reader) aborted() (aborted []metadata.AbortedTransaction) {
	partition := metadata.PartitionID(0)
	for range r.count(minAborted) {
		partition = r.partition(partition)
		a := metadata.AbortedTransaction{Partition: partition, ProducerID: r.int63(), FirstOffset: r.int63()}
		a.LastOffset = a.FirstOffset + r.int63()
		a.StableOffset = a.LastOffset + r.varint()
		if a.LastOffset < 0 || a.StableOffset < 0 {
			r.fail("impossible aborted transaction")
		}
		aborted = append(aborted, a)
	}
	return aborted
}

// partition reads the difference to the one before.
func (r *reader) partition(previous metadata.PartitionID) metadata.PartitionID {
	partition := r.varint() + int64(previous)
	if int64(metadata.PartitionID(partition)) != partition {
		r.fail("no partition %d", partition)
	}
	return metadata.PartitionID(partition)
}

// int63 reads a non-negative number of 63 bits.
func (r *reader) int63() int64 {
	v := r.uvarint()
	if v > math.MaxInt64 {
		r.fail("%d is no 63-bit number", v)
		return 0
	}
	return int64(v)
}

// fileTable lists the runs' files, each once, in order of appearance.
func fileTable(runs []metadata.Run) []uuid.UUID {
	var files []uuid.UUID
	seen := map[uuid.UUID]bool{}
	for i, r := range runs {
		if i > 0 && runs[i-1].FileID == r.FileID || seen[r.FileID] {
			continue
		}
		seen[r.FileID] = true
		files = append(files, r.FileID)
	}
	return files
}
