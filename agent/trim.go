package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wadi-log/wadi/agent/maintenance"
)

const (
	// trimEvery is the mean time between two rounds of one agent.
	trimEvery = 10 * time.Minute
	// trimSlice is the number of rows that one transaction removes, so that
	// none of them holds the sequencer for long, and trimSlices bounds those of a round.
	trimSlice  = 1000
	trimSlices = 100
)

// trimJob removes what the metadata store no longer needs: the state of producers that
// were idle for producer.id.expiration.ms, the rows that large deleted topics and many
// deleted records left behind, offsets committed in topics that are gone, and what agents heard of
// group members long ago. Every agent does it, at its own times; what one has removed another
// doesn't find. (The follower trims the feed.) Its backlog counts these chores, as long as there is more to do.
func (a *Agent) trimJob() maintenance.Job {
	return maintenance.Job{
		Name:  "trim",
		Every: func() time.Duration { return trimEvery },
		Round: a.trim,
	}
}

func (a *Agent) trim(ctx context.Context, p *maintenance.Progress) (more bool, err error) {
	broker := a.settings.Broker()
	idle := time.Duration(broker.ProducerIDExpirationMs) * time.Millisecond
	// What was heard longer ago than any session lasts keeps no member alive.
	unheard := max(time.Hour, 2*time.Duration(broker.GroupMaxSessionTimeoutMs)*time.Millisecond)
	var failed []error
	undone := int64(0)
	for _, chore := range []struct {
		name string
		runs bool
		do   func() (int, error)
	}{
		{"expire idle producers", false, func() (int, error) { return a.store.ExpireProducers(ctx, idle, trimSlice) }},
		{"reclaim deleted topics", true, func() (int, error) { return a.store.ReclaimDeleted(ctx, trimSlice) }},
		{"trim runs before the log start", true, func() (int, error) { return a.store.TrimRuns(ctx, trimSlice) }},
		{"trim offsets of deleted topics", false, func() (int, error) { return a.store.TrimOffsets(ctx, trimSlice) }},
		{"trim beats of group members", false, func() (int, error) { return a.store.TrimBeats(ctx, unheard, trimSlice) }},
	} {
		removed := 1
		for slice := 0; slice < trimSlices && removed > 0 && err == nil; slice++ {
			if removed, err = chore.do(); chore.runs {
				p.Runs(removed)
			}
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", chore.name, err))
			err = nil
			undone++
		} else if removed > 0 {
			more = true
			undone++
		}
	}
	p.Waiting(undone)
	return more, errors.Join(failed...)
}
