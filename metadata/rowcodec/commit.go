package rowcodec

import (
	"encoding/binary"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// The fewest bytes that a run, a config resource and a log start take.
const (
	minRun      = 7
	minResource = 2
	minLogStart = 2
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
//
// The two last lists came later. What is empty at the end is left out: both, in
// nearly all entries.
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
	if len(c.Configs)+len(c.LogStarts) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(len(c.Configs)))
	for _, r := range c.Configs {
		b = append(b, byte(r.Kind))
		b = binary.AppendUvarint(b, uint64(len(r.Name)))
		b = append(b, r.Name...)
	}
	if len(c.LogStarts) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(len(c.LogStarts)))
	partition := metadata.PartitionID(0)
	for _, l := range c.LogStarts {
		b = binary.AppendVarint(b, int64(l.Partition)-int64(partition))
		b = binary.AppendUvarint(b, uint64(l.Offset))
		partition = l.Partition
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
	if len(r.rest) > 0 {
		c.Configs = r.resources()
		if len(r.rest) > 0 {
			c.LogStarts = r.logStarts()
		} else if len(c.Configs) == 0 {
			r.fail("an empty list at the end")
		}
	}
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
	partition := r.varint() + int64(previous.Partition)
	run.Partition = metadata.PartitionID(partition)
	run.BaseOffset = int64(r.uvarint())
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
	if int64(run.Partition) != partition || run.BaseOffset < 0 || run.Position < 0 || run.Encoding > metadata.EncodingFramed {
		r.fail("impossible run")
	}
	return run
}

func (r *reader) resources() (resources []metadata.ConfigResource) {
	for range r.count(minResource) {
		kind := metadata.ConfigKind(r.byte())
		resources = append(resources, metadata.ConfigResource{Kind: kind, Name: r.string()})
	}
	return resources
}

// logStarts reads the last list, which is not empty.
func (r *reader) logStarts() (starts []metadata.LogStart) {
	partition := int64(0)
	for range r.count(minLogStart) {
		partition += r.varint()
		l := metadata.LogStart{Partition: metadata.PartitionID(partition), Offset: int64(r.uvarint())}
		if int64(l.Partition) != partition || l.Offset < 0 {
			r.fail("impossible log start")
		}
		starts = append(starts, l)
	}
	if len(starts) == 0 {
		r.fail("an empty list at the end")
	}
	return starts
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
