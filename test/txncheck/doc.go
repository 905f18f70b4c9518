// Package txncheck checks transactions against what Kafka promises of them, and
// Wadi beyond that, with load, faults and a verdict of its own.
//
// [Start] lets transactional writers, producers without transactions and a group
// that consumes, transforms and produces loose on a few topics. They follow scripts that the seed
// decides: commit, abort, crash in the middle and be replaced, go on after being
// fenced, sleep until the transaction has timed out. Their connections lose requests and
// answers ([Losses]). Readers of both isolation levels read all the time, from the
// start and at the end, and watchers ask for stable offsets, high watermarks and the group's offsets. The caller
// may kill servers meanwhile. [Run.Finish] ends the load, waits until everything is decided, reads it
// all once more and returns the [History], which [Verify] judges: a pure function, so that its own
// tests can feed it with histories that have each kind of fault.
//
// # What is known
//
// A writer knows of each transaction that it was committed (the answer said so), that it was
// aborted (no commit was ever sent, or only after its producer was fenced), or neither:
// a commit whose answer never came. All times are of one clock, taken before a request is
// sent and after its answer came, and only what surely was before counts as before.
//
// # Rules
//
// Of the log, as readers of everything see it:
//
//   - [Gap]: each offset below the high watermark is a record or a marker, and all readers see the same there.
//   - [Order]: a writer's records lie in a partition in the order in which it sent them, each once.
//   - [Lost]: an acknowledged record lies at the offset that was acknowledged.
//   - [Foreign]: nothing lies there that nobody wrote, and nothing that a producer sent after it was fenced.
//   - [Marker]: a marker is a control batch as Kafka writes it, ends a transaction of its
//     producer, and has its epoch or a later one.
//   - [Mixed]: between two markers of a producer lies one transaction.
//   - [Undecided]: in the end each transaction has a marker in each partition it wrote to.
//   - [Torn]: they are all commits or all aborts.
//   - [Broken]: a transaction known as committed or aborted is that.
//   - [Unfenced]: a fenced producer is not told that it committed.
//
// Of readers:
//
//   - [Leak]: a reader of committed records gets none that was aborted or is not below the last stable offset that came with it.
//   - [Skipped]: it gets each committed one, up to where it has read; and a reader of everything gets everything.
//   - [Early]: what was committed is not seen before anything that could commit it was sent.
//
// Of last stable offsets (LSO) and high watermarks, which ListOffsets tells of all partitions in one answer:
//
//   - [Backwards]: neither goes back from an answer to one that was asked for later.
//   - [Stale]: the high watermark is above each record acknowledged before. The LSO is above each
//     transaction that was completed before, unless it is the first offset of another that was not.
//     So a reader who reads up to such LSOs sees a decided transaction whole: or what is
//     missing lies behind an open transaction.
//   - [Unstable]: nothing below the LSO was open for sure, and all of it has its
//     marker below a high watermark asked for after it.
//   - [Partial]: a transaction that an answer shows as open in one partition is not decided in another.
//     Only Wadi promises that: Kafka writes one marker after the other.
//
// Of the group:
//
//   - [Repeated], [Missing]: each committed input record is in the committed output once, and what was
//     not committed never was.
//   - [Ahead]: output is committed if, and only if, the offsets of its input are.
//   - [Backwards], [Stale]: committed offsets don't go back, and show each transaction completed before.
//
// A transaction is completed, for Wadi, when its end was answered. For Kafka that is when the next
// request of its transactional ID succeeded: markers are written after the answer. [History.Strict]
// chooses.
package txncheck
