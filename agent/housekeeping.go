package agent

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol/configs"
)

const (
	// houseEvery is the mean time between two rounds of one agent.
	houseEvery = 10 * time.Minute
	// houseSlice is the number of rows that one transaction removes, so that
	// none of them holds the sequencer for long.
	houseSlice = 1000
)

// keepHouse removes what the metadata store no longer needs, until ctx ends:
// the state of producers that were idle for producer.id.expiration.ms, the rows
// that large deleted topics and many deleted records left behind, offsets committed in topics that are gone,
// and what agents heard of group members long ago. Every agent does it, at its own
// times; what one has removed another doesn't find. (The follower trims the feed.)
func keepHouse(ctx context.Context, store metadata.Store, broker func() *configs.Broker, log *slog.Logger) {
	idle := func() time.Duration { return time.Duration(broker().ProducerIDExpirationMs) * time.Millisecond }
	// What was heard longer ago than any session lasts keeps no member alive.
	unheard := max(time.Hour, 2*time.Duration(broker().GroupMaxSessionTimeoutMs)*time.Millisecond)
	chores := []struct {
		name string
		do   func() (int, error)
	}{
		{"expire idle producers", func() (int, error) { return store.ExpireProducers(ctx, idle(), houseSlice) }},
		{"reclaim deleted topics", func() (int, error) { return store.ReclaimDeleted(ctx, houseSlice) }},
		{"trim runs before the log start", func() (int, error) { return store.TrimRuns(ctx, houseSlice) }},
		{"trim offsets of deleted topics", func() (int, error) { return store.TrimOffsets(ctx, houseSlice) }},
		{"trim beats of group members", func() (int, error) { return store.TrimBeats(ctx, unheard, houseSlice) }},
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(houseEvery/2 + rand.N(houseEvery)):
		}
		for _, chore := range chores {
			removed, err := 1, error(nil)
			for removed > 0 && err == nil && ctx.Err() == nil {
				removed, err = chore.do()
			}
			if err != nil && ctx.Err() == nil {
				log.Warn("housekeeping failed; it is tried again later", "chore", chore.name, "error", err)
			}
		}
	}
}
