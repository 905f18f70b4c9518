// Package datafile is the format of Wadi's objects: one immutable file that
// holds record batches of many partitions, put into the object store as one
// object. [Encode] writes what producers sent, [MergeWriter] what was joined from
// such files.
//
// All numbers are big-endian, as in the batches themselves. A file is
//
//	+---------+-----------+-----------+-----+-----------+--------+---------+
//	| header  | section 0 | section 1 | ... | section n | footer | trailer |
//	+---------+-----------+-----------+-----+-----------+--------+---------+
//	0         8                                                  size-16   size
//
// without gaps. Sections are sorted by (topic ID, partition) and each pair
// occurs once, but for merged files; nothing in a section says what it is, the footer does.
//
// # Header and trailer
//
//	header    0  magic "WADI"          trailer    0  uint32  length of the footer
//	          4  uint16  version 1                4  uint32  CRC-32C of the footer
//	          6  uint16  flags 0                  8  uint16  version 1
//	          8                                  10  uint16  flags 0
//	                                             12  magic "IDAW"
//	                                             16
//
// The header is for `file` and for people with a hex dump. A reader starts at
// the end, so that a small range read finds everything.
//
// # Sections
//
// A section holds the batches of one partition, byte for byte as they were
// produced and in arrival order. Its encoding is one of
//
//	raw     batch | batch | ...
//	framed  frame | frame | ...    each of at most 1 MiB, decoded
//
// so that a part of a raw section is read by range, and of a framed one as
// many frames as hold the part are decoded. A frame is
//
//	 0  uint8   codec: 0 stored as is, 1 s2 block, 2 zstd (window up to 1 MiB)
//	 1  uint32  decoded length, 1 to 1 MiB
//	 5  uint32  stored length: equal for codec 0, else less than decoded
//	 9  uint32  CRC-32C of the stored bytes
//	13  stored bytes
//
// A frame ends at the end of a batch, except that a batch above 1 MiB has
// frames of its own, cut at each full MiB. A raw section has no checksum but
// those of its batches.
//
// # Footer
//
//	 0  [16]    file ID, a UUIDv7
//	16  uint32  number of sections, at least 1
//	20  entry | entry | ...
//
// and an entry is
//
//	 0  [16]    topic ID
//	16  int32   partition
//	20  uint8   kind: 0 appended, 1 merged
//	21  uint8   encoding: 0 raw, 1 framed
//	22  int64   position in the file
//	30  int32   stored length
//	34  int32   decoded length, equal for a raw section
//	38  int32   batches
//	42  int32   records
//	46  int64   largest timestamp of its batches, ms since the epoch
//	54  uint32  number of producer runs
//	58  run | run | ...
//
// and a producer run, which stands for neighbouring batches of one idempotent
// producer with consecutive sequences, is
//
//	 0  int64   producer ID
//	 8  int16   producer epoch
//	10  int32   first sequence
//	14  int32   last sequence, inclusive; wraps at 2^31
//	18  int32   batches
//	22
//
// Runs are in arrival order. Batches without a producer ID have none.
//
// # Merged files
//
// In a section of kind 0 the batches carry no offsets yet: the metadata store assigned them
// after the file was written. In a section of kind 1 they carry their offsets and their
// leader epoch, which ascend. Some may be left out, but the last batch ends with the section. All
// sections of a file are of one kind. Merged ones are sorted by (topic ID, partition,
// base offset), and those of one partition don't overlap. Such a section has no producer runs, and its entry goes on
//
//	54  uint32  number of producer runs: 0
//	58  int64   base offset
//	66  int64   next offset, exclusive
//	74  uint32  length of the section's index
//	78
//
// and behind the last entry the footer of a merged file lists what it was made from:
//
//	 0  uint32  number of sources
//	 4  source | source | ...
//
//	 0  [16]    file ID
//	16  int64   commit number, 0 where unknown
//	24
//
// The index lies behind the section's bytes, before the next section, so that a
// reader who knows where the section is finds it without the footer:
//
//	 0  magic "WIDX"
//	 4  uint32  CRC-32C of all that follows
//	 8  int32   batches
//	12  int32   records
//	16  uint32  number of entries, 1 to 32768
//	20  entry | entry | ...
//
// and an entry is a batch, in a framed section the first of a frame:
//
//	 0  int64   base offset of the batch
//	 8  int32   its position in the decoded section
//	12  int32   the same in the stored section, where its frame begins
//	16  int64   largest timestamp of the section up to the next entry, ms since the epoch
//	24
//
// The first entry is the section's first batch. Between two there are at least 64
// KiB, decoded, and hardly more where the batches are small and the section is raw.
//
// # Versions
//
// A reader refuses kinds, encodings, flags and versions that it doesn't know with [ErrVersion], so
// it never misreads a newer file as an older one.
//
// # Guarantees
//
// Every length that a file states is checked before it is used or allocated
// for, and what doesn't fit is [ErrCorrupt], with the place. The package opens
// nothing: bytes come from the caller or through [RangeReader]. It does not
// look into batches; who wants their records parses them with package
// protocol.
package datafile
