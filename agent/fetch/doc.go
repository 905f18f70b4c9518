// Package fetch is the read path: from a Fetch request to the bytes of its
// batches, and the APIs that tell a consumer where it may read (ListOffsets,
// OffsetForLeaderEpoch).
//
// The life of a fetch:
//
//	resolve   topics and partitions to the store's partition IDs
//	plan      which runs hold the offsets: from the [Tail] in memory, or for
//	          older offsets from one query to the metadata store
//	wait      with less than min_bytes, until commits of any agent bring more
//	seek      where to begin in the first run of each partition
//	load      the runs' blocks, from the cache ([Blocks]) or the object store
//	cut       whole batches up to the limits, checked, and patched with their offsets
//
// Guarantees: the batches returned follow each other, from the one that contains the offset
// asked or, where compaction left that out, from the next one; each has a good CRC.
// OFFSET_OUT_OF_RANGE, the earliest and the latest offset are answered from the metadata store
// itself, never from a cache, for they move a consumer. A fault of one partition is that partition's
// error. At least one batch is returned per request if there is one, even above
// the limits; otherwise compressed bytes count against them. A consumer of committed
// records gets nothing from the last stable offset on, and with what it gets, of the same
// snapshot, the aborted transactions that it has to skip. That merges move runs to other
// files, and the old ones are deleted, is seen by nobody.
//
// The package knows no sockets and decides no offsets. What it keeps in memory
// is a cache: it may be dropped at any time and costs queries and reads only.
package fetch
