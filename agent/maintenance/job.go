// Package maintenance does an agent's background work: merging data files, retention,
// compaction, deleting what nothing refers to, snapshots of the metadata store.
//
// Its subpackages each have one kind of work and know nothing of each other; package agent makes
// [Job]s of them and gives them to a [Runner]. What they guarantee, all of them:
//
//   - A round may fail, be cut off or be done twice, at any step, without harm:
//     bytes are put first, the metadata store changes second, in one transaction, and
//     objects are deleted last, when nothing has referred to them for a while.
//   - What matters is decided by the metadata store's clock, never by an agent's.
//   - Clients come first: a job reads and writes at a bounded rate, in bounded memory,
//     and one heavy round runs at a time in an agent.
package maintenance

import (
	"context"
	"time"
)

// Job is one kind of background work. An agent runs the rounds of a job one after the other.
type Job struct {
	// Name is what metrics, logs and the config wadi.jobs.paused call it, as in "merge".
	Name string
	// Every is how long to wait, on average, after a round that left nothing due; asked
	// anew each time, since configs change.
	Every func() time.Duration
	// Heavy: a round reads or writes much data. Heavy rounds of all jobs take turns.
	Heavy bool
	// Round does a bounded piece of what is due, and reports whether more is due now.
	// It is not called while the job is paused. An error is logged and counted, and the next
	// round comes after a growing wait.
	Round func(ctx context.Context, p *Progress) (more bool, err error)
	// Waits, if it is set, is called while a heavy round waits for its turn. It keeps what must outlast that, as a
	// lease, until ctx ends: the turn has come, or the job is paused or stopped. The round begins after it has returned.
	Waits func(ctx context.Context)
}
