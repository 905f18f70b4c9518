package datafile

import (
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/google/uuid"
)

// Layout, as drawn in the package comment.
const (
	version      = 1
	headerMagic  = "WADI"
	trailerMagic = "IDAW"

	headerSize      = 8
	trailerSize     = 16
	footerFixedSize = 20
	entryFixedSize  = 58
	runSize         = 22
	mergedEntrySize = entryFixedSize + 20
	sourceSize      = 24

	kindAppended = 0
	kindMerged   = 1
)

var (
	// ErrCorrupt: the bytes are not what was written, or were cut short. The
	// message says where.
	ErrCorrupt = errors.New("corrupt data file")
	// ErrVersion: the file uses something that this version of Wadi doesn't know.
	ErrVersion = errors.New("data file of an unknown version")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encoding says how the bytes of a section lie in the file. The numbers are
// stored in files, and are those of metadata.Encoding.
type Encoding int16

const (
	// Raw: the batches as they are. Any part can be addressed by its range.
	Raw Encoding = 0
	// Framed: a sequence of frames, decoded by [DecodeFrames], [DecodeRange] or [NextFrame].
	Framed Encoding = 1
)

// String returns "raw" or "framed".
func (e Encoding) String() string {
	switch e {
	case Raw:
		return "raw"
	case Framed:
		return "framed"
	}
	return fmt.Sprintf("encoding(%d)", int16(e))
}

// Compression chooses how [Encode] and [MergeWriter] compress batches that their producers
// left uncompressed. It is the value of the setting --file-compression.
type Compression string

const (
	// Auto is S2: the first write is on the path of an acknowledgement. At a merge it is Zstd.
	Auto Compression = "auto"
	Zstd Compression = "zstd"
	S2   Compression = "s2"
	None Compression = "none"
)

// codec returns CodecStored for None.
func (c Compression) codec() (Codec, error) {
	switch c {
	case Auto, S2:
		return CodecS2, nil
	case Zstd:
		return CodecZstd, nil
	case None:
		return CodecStored, nil
	}
	return 0, fmt.Errorf("unknown file compression %q; want auto, zstd, s2 or none", string(c))
}

// Batch is one record batch to write, with what the footer tells of it.
type Batch struct {
	// Bytes is the whole batch as produced. Encode copies it.
	Bytes []byte
	// Compressed: the client compressed its records; trying again gains nothing.
	Compressed bool
	// Records is the number of offsets that it takes (last offset delta + 1).
	Records int32
	// MaxTimestamp is in ms since the epoch.
	MaxTimestamp int64
	// ProducerID is negative for a batch without idempotence; then the epoch
	// and the sequence are ignored.
	ProducerID    int64
	ProducerEpoch int16
	BaseSequence  int32
}

// Input is what one file holds of one partition: at least one batch, in arrival order.
type Input struct {
	TopicID   uuid.UUID
	Partition int32
	Batches   []Batch
}

// File is an encoded data file.
type File struct {
	ID uuid.UUID
	// Bytes is the whole object: from Encode in a buffer of its own that fits it, from
	// [MergeWriter.Finish] in the writer's.
	Bytes []byte
	// Sections is what the footer says, in the order of the file.
	Sections []Section
	// RawBytes is the size of all batches, StoredBytes what they take in the
	// file; the difference is what in-file compression saved.
	RawBytes    int64
	StoredBytes int64
}

// Section is the footer's entry of one partition.
type Section struct {
	TopicID   uuid.UUID
	Partition int32
	Encoding  Encoding
	// Position and StoredSize are where the section lies in the file.
	Position   int64
	StoredSize int32
	// Size is the length of the batches; equals StoredSize for Raw.
	Size    int32
	Batches int32
	// Records is the number of offsets that the batches take, each last offset delta + 1.
	Records int32
	// MaxTimestamp is the largest of the batches' (ms since the epoch).
	MaxTimestamp int64
	// Producers are the runs of idempotent batches, in arrival order. A merged section has none.
	Producers []ProducerRun

	// Merged: the batches carry their own offsets, ascending from BaseOffset or behind
	// it; the last one ends before NextOffset. In other sections both are 0: their
	// offsets were decided later.
	Merged     bool
	BaseOffset int64
	NextOffset int64
	// IndexSize is the length of the [Index] behind a merged section, from
	// Position+StoredSize on.
	IndexSize int32
}

// Source is a file that a merged file was made from.
type Source struct {
	FileID uuid.UUID
	// Seq orders files among all: the commit that brought the file, or the first one of
	// those that it was merged from; 0 where that is not known. Who has lost the metadata store
	// learns from it in which order files were committed.
	Seq int64
}

// ProducerRun stands for neighbouring batches of one producer and epoch with
// consecutive sequences.
type ProducerRun struct {
	ProducerID    int64
	ProducerEpoch int16
	FirstSequence int32
	// LastSequence is inclusive, and less than FirstSequence where the
	// sequence wrapped at 2^31.
	LastSequence int32
	Batches      int32
}
