// Package chaos lets clients of several makes work at once behind a load balancer while agents are killed, frozen
// and added, and checks what comes of it: `make chaos`. Its tests also have them work while agents are upgraded.
//
// Each make of client is a [World] with topics of its own. In a world, an idempotent producer numbers its records and
// writes them to WORLD-input; the members of one group copy that in transactions to WORLD-output, together with
// their offsets, and abort some; the members of another group read committed records of both, and commit how far they are. What clients do and are told they
// write down as [Event]s, one a line, in whatever language: franz-go here, librdkafka in python/chaos.py, Java in
// java/Chaos.java, and kcat (which only produces and consumes) by what it prints. An observer reads all topics meanwhile,
// and once more from the start at the end. [Verify] judges the [History], and is a pure function, so that its own
// tests can feed it with histories that have each kind of fault.
//
// # Rules
//
// Of what lies in the topics:
//
//   - [Lost]: an acknowledged record lies where that was acknowledged; each record of the input is in the committed output; nothing
//     is missing of what a producer sent, unless the client said so; and what was read once is read again.
//   - [Doubled]: each record is there once, in the input and in the committed output.
//   - [Reordered]: records of one producer lie in a partition in the order in which it sent them, and
//     those of the output in the order of the input.
//   - [Foreign]: nothing lies there that nobody wrote.
//
// Of members of groups that read:
//
//   - [Skipped]: a member gets one record after the other, and begins where those before it have been; in the end the group got everything.
//   - [Changed]: what it gets is what lies there, and committed.
//   - [Doubled]: it begins at what was committed for its group before it was assigned the partition, or behind that. (What was not
//     committed is read again, as Kafka has it; the [Report] counts how much.)
//
// Of errors that clients saw:
//
//   - [Fatal]: they are such that trying again helps, or, in a transaction, aborting it and trying again. All are counted by kind.
package chaos
