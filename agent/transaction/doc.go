// Package transaction coordinates transactions (KIP-98, KIP-890), on any agent: each
// request of each producer may come to another one.
//
// There is no coordinator's log and no marker that one broker sends to others. What
// is asked of a transaction is one change of the metadata store, under the lock
// of the sequencer, and the end of a transaction is one too: the markers of all
// partitions, what was aborted, the last stable offsets and the offsets of groups. The life of a
// request here, and what is true if the agent dies after each step:
//
//	check    what needs no transaction: names, partitions, timeouts      nothing happened; the client asks
//	                                                                     again, elsewhere
//	gather   with the other requests that this agent has (change.go)     the same
//	change   all of them in one call of the store, which decides by      done, and nobody knows: the client
//	         the rules (package sequence)                                asks again and is told the same
//	tell     the agent's own tail, so that who reads after a commit      the same
//	         finds it
//	answer                                                               answered
//
// A call whose outcome is unknown is not made again by the agent: the client does it, who
// may want something else by then (change.go). All requests may be repeated; only
// InitProducerId without a producer does something each time, and that is to fence once more.
//
// What nobody asks for any agent does: transactions that are open for longer than
// their timeout are aborted, and transactional IDs that nobody uses are forgotten (expire.go).
//
// TxnOffsetCommit is no request of this package: what may be committed is a
// question to the group. Its change goes through [Coordinator.Change] like the others.
//
// The package refuses to know what states there are and what follows which, where records lie,
// and who leads what.
package transaction
