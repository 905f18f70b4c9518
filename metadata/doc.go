// Package metadata says what Wadi asks of its only source of truth: which
// topics exist, which offsets every record got, and which bytes of which data
// file hold them.
//
// It holds role interfaces ([Topics], [Log], [Offsets], [Producers], [Agents],
// [Groups], [Transactions], [Feed]) and plain types; package sqlite (embedded default) and package
// postgres implement them and package metadatatest is the contract that both
// must pass. What they share lies beside them: package sequence decides offsets
// without I/O, package rowcodec encodes opaque columns, package schema migrates.
//
// What every implementation guarantees:
//
//   - A commit is atomic: all runs of all its files, or none.
//   - Offsets of a partition are gapless at commit, never reused and never
//     reordered. One lock orders every change ([Commit.Seq] is its number).
//   - A file commits once: committing the same file ID again returns what the
//     first commit decided, also when its reply was lost.
//   - A change is visible to [Feed] in Seq order and without gaps.
//
// The package knows no Kafka wire format and no object store. Error codes of
// Kafka are chosen by the agent from the sentinels below.
package metadata
