// Package machine is a consumer group as a state machine, without I/O: state,
// request and time in, state and answer out.
//
// It refuses to know where groups are stored, how requests arrive and who waits for what.
// Its caller lets any agent serve any request of any member, and does it so: load the state and
// what agents heard of the members, apply every request that waits for the group ([Group.Heard],
// [Group.Tick], [Group.JoinGroup] ...), store the new state by compare-and-set, and only then answer.
// What the machine guarantees in return:
//
//   - Equal states encode to equal bytes, and a request without effect changes none. So there is something
//     to store only if the bytes differ, and a heartbeat stores nothing.
//   - A request may be applied again to a state that has it already (its reply was lost). It has its effect
//     once, and gets the answer that it would have got.
//   - An answer that must wait follows from whatever state comes later ([Group.JoinAnswer],
//     [Group.SyncAnswer]). States in between may be missed, and the agent that answers need not be the one that applied
//     the request. When an agent dies, its clients send their requests again to others, which starts no rebalance.
//   - Everything that ends by time ends at a time that is in the state ([Group.Due]), by whichever agent comes first.
//
// # Classic groups
//
// Members join until everybody is there (PreparingRebalance). Then a new generation begins: each learns its number, and
// the leader, which is one of them, also learns who the others are and what they want. It decides who gets what and
// sends that with its SyncGroup, for which the others wait (CompletingRebalance). From then on the group is Stable.
//
//	        Empty ◀─────────────────┐
//	          │ the first joins     │ nobody is left: generation + 1
//	          ▼                     │
//	┌─▶ PreparingRebalance ─────────┘    joins wait, heartbeats say REBALANCE_IN_PROGRESS
//	│         │ everybody joined, or the phase is over and who didn't join is out:
//	│         ▼ generation + 1
//	├── CompletingRebalance              syncs wait
//	│         │ the leader syncs
//	│         ▼
//	└──── Stable
//
// The way back is taken when a member joins, leaves, ends its session or didn't sync in time, and when the leader of a stable group
// joins again. From Empty the join phase lasts for a while even if all have joined, and longer while others come.
//
// Kafka's fifth state, Dead, is a group that doesn't exist. The rules are those of Kafka 4.2's coordinator
// (GroupMetadataManager, ClassicGroup). These hold in every state:
//
//   - The members of a generation and their assignment never change while it lasts, and no number is used twice. The one exception is
//     a static member (KIP-345) that comes back: it gets a new ID and its old assignment, the old ID is fenced.
//   - Who is heard of in time stays a member, whichever agents hear of it. The only other ways out are not to join, or not to sync,
//     within the rebalance timeout, to leave, and to be the last to join a group that has no room (group.max.size).
//   - All members have a protocol in common. The leader is a member. A join waits only in PreparingRebalance.
//
// A new dynamic member is told its ID first and joins with that (KIP-394). IDs that are on their way are stored
// (Classic.Pending): one that nobody handed out is refused, and the join phase waits a little for those that were.
//
// # Consumer groups
//
// In the consumer protocol (KIP-848) the group assigns, and members learn what is theirs by their heartbeats. Three numbers follow each other:
//
//	group epoch    ◀── grows when a member comes, goes or subscribes to something else, and when a topic changes
//	  │ the target of everybody is computed (package assign): Assigning until then
//	  ▼
//	target epoch
//	  │ each member gives up what isn't its any more, then gets what others have given up: Reconciling until all have
//	  ▼
//	member epochs      all there: Stable
//
// A target is computed in the heartbeat that makes it necessary, or in the next one, if it was time that removed a member. Each
// heartbeat takes its member one step:
//
//	           has something that isn't in its target:
//	   ┌─────▶ it is told to give that up ───────────▶ UnrevokedPartitions ──▶ removed, if it takes longer
//	   │                                                    │                  than its rebalance timeout
//	   │                                                    │ it has given up
//	   │       has nothing to give up: target epoch         ▼
//	Stable ◀───────────────────────────────────────── everything else is free?
//	   ▲                                                    │ no
//	   │       the rest is free                             ▼
//	   └────────────────────────────────────────────── UnreleasedPartitions
//
// A newer target is a new start from any state, but for UnrevokedPartitions: what a member was told to give up it gives up first.
//
// A static member that leaves for a moment has epoch -2 and keeps its partitions until its session ends. These hold in every state:
//
//   - No partition is in the hands of two members: in hands is what a member was told that it has (Assigned) or has to give up
//     (Revoking), until it says that it has given it up or is removed.
//   - Epochs never go back. A member's is never ahead of the target's, and that is never ahead of the group's.
//   - A target gives each partition of each subscribed topic to one subscriber. It is never computed with an older catalog than the
//     one before it: with one the group stays in Assigning until an agent is asked that knows more.
//   - Who is heard of in time and gives up in time stays a member.
//
// # Migration
//
// A member of the consumer protocol that joins a classic group of consumers makes it a consumer group, where group.consumer.migration.policy
// allows it. Its members keep what they have and live on by the classic protocol: all joins and syncs that wait are answered with
// REBALANCE_IN_PROGRESS, from whatever later state, and from then on the group answers them at once. A member's epoch is its generation, and it is told by
// heartbeats to join again when there is something to give up or to get. When the last member of the consumer
// protocol is gone the group becomes a classic one and rebalances. A group without members simply becomes one of whoever joins.
//
// # Time
//
// A session ends its timeout, and [BeatEvery] and Env.Lag on top, after the latest of three times: when a request last changed the member
// (stored with it), when the caller says that an agent heard of it ([Group.Heard]; never stored here), and since when
// the caller hears of everybody at all (Env.Since). So nobody is gone because no agent was there to hear, and the same goes for the
// phases, which last their whole length from Env.Since on. While a join or a sync is parked, the agent that parks it says that it
// hears of the member: unlike in Kafka, waiting makes nobody immune. An agent that dies takes none of its members along, a client
// that dies while it waits is gone after its session.
//
// # Where it differs from Kafka
//
//   - Too much metadata (Limits.MaxMetadataBytes for a member's protocols and names, and for each assignment) is refused with
//     MESSAGE_TOO_LARGE. Kafka finds out when it writes its log and answers UNKNOWN_SERVER_ERROR, which says nothing to whoever has to find the
//     reason. Both are errors that clients hand to the application and don't retry by themselves. A leader whose assignment is refused counts as one that
//     didn't sync: the others wait for the rebalance timeout and go on without it, where a rebalance at once would repeat itself for ever.
//   - A static member that comes back with other topics starts a rebalance; in Kafka its new topics wait for the next one.
//   - A static member that comes back needs no room in a full group, since it has it already.
//   - A join phase waits for a pending member for 5 seconds, not for its session timeout: Kafka's coordinator takes the IDs that it could not
//     tell any more with it when it dies.
//   - A pending member that leaves starts no rebalance, and a group that loses its last member during the initial phase is Empty at once.
//   - Protocol names that are empty or appear twice are INCONSISTENT_GROUP_PROTOCOL. Kafka fails on the latter later, when it counts votes.
//   - Names that are not UTF-8 are INVALID_REQUEST.
//   - Phases last a second at least, however short the rebalance timeout. So does the time to give partitions up.
//   - Too large a subscription of a consumer group's member is MESSAGE_TOO_LARGE too.
//   - A member that misses two answers in a row, each with a new epoch, is not fenced. Agents come and go more often than coordinators do.
//   - Regular expressions are resolved in the heartbeat that brings them and whenever topics change. Kafka does it aside, every ten seconds at most.
//   - A static member of a consumer group that comes back needs no room in a full group either.
//   - Classic members in a consumer group are told to join again when topics change; in Kafka only heartbeats of the consumer protocol look.
//   - A static member that comes back with the classic protocol to a group that becomes a classic one by that joins it by the rules of
//     classic groups, where Kafka tells it a generation that is none any more.
package machine
