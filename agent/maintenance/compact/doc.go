// Package compact keeps the latest record of each key in partitions whose cleanup.policy has
// compact, as Kafka's log cleaner does.
//
// A pass over a partition goes through it twice. First it collects the keys of what no pass has cleaned yet,
// up to the last stable offset (and not what is younger than min.compaction.lag.ms), with their latest
// offsets, in a table of fixed size; when that is full, the pass ends there and the next one goes on. Then it
// rewrites the partition from its log start to there: a record stays if no later one of its key is
// known. What is left keeps its offset. Records of aborted transactions and records without a key
// go; a tombstone goes delete.retention.ms after the pass that cleaned it, and so does the end of a transaction
// of which nothing is left.
//
// What it guarantees:
//
//   - No consumer misses the latest record of a key, or reads an older one again after it was
//     gone: a part of the partition is swapped in only after all parts before it, so whatever
//     made a record superfluous stands behind it, and whatever a tombstone deletes goes before it.
//   - A pass may fail or be done twice at any step. What was swapped in stays, the rest
//     is done again.
//   - What is damaged stays as it is. It stops the compaction of its partition, loudly, and of no other.
//   - Memory is bounded however many keys, records or partitions there are. Many small partitions
//     share one output file, so requests to the object store grow with bytes and time.
//
// One agent at a time works on a partition, by lease; that saves work, and nothing depends on it.
package compact
