// Package group coordinates consumer groups and keeps their committed offsets,
// on any agent: each request of each member may come to another one.
//
// The group itself is a pure state machine (package machine). The life of a
// request here, and what is true if the agent dies after each step:
//
//	queue     with the other requests that this agent has for the      nothing happened; the client
//	          group (call.go, local.go)                                 asks again, elsewhere
//	load      the group's newest state, with other groups' (loads.go)   the same
//	apply     all queued requests at once, in memory (apply.go)        the same
//	store     by compare-and-set on the version that was loaded;       done, and nobody knows: the client
//	          who loses loads again                                    asks again and is told the same
//	answer    or park: a JoinGroup or SyncGroup that waits for         the same
//	          other members is answered from a later state
//
// So a state is stored before anybody sees it, and an agent's death costs no
// rebalance: what it held can be derived from the state by any other.
//
// Who changed a group doesn't tell the others. Each agent asks for the versions of
// the groups that it has requests for, with one query for all of them: every
// 20 ms while requests are parked, else every 250 ms (watch.go).
//
// Heartbeats change no state. They are answered from a copy of the group that was
// the newest a second ago or less, if all is well; anything else is told from the
// store. That a member is alive is noted in the store beside the group, for all
// members of many groups in one statement (beats.go), and looked at when the
// group's time has come, by whichever agent claims it (watch.go). A member that
// this agent could not have heard of, since it was cut off from the store, is not
// taken for dead.
//
// Offset commits of all groups that come at the same time are one transaction,
// which checks each against its group's state under a lock that excludes changes
// of that state (commits.go). Offsets are read from the store, never from memory.
//
// Offsets that belong to a producer's transaction go to the transaction, with the
// version of the group in which their sender was checked (txnoffsetcommit.go).
//
// All times are by the metadata store's clock.
//
// The package refuses to know who leads what, and what is in a topic.
package group
