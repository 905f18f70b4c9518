package compact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol/configs"
)

// candidate is a partition of a compacted topic.
type candidate struct {
	topic  metadata.Topic
	index  int32
	config configs.Topic
	metadata.Compaction
	// overdue: a record has waited for longer than max.compaction.lag.ms.
	overdue bool
	// ratio is the share of its bytes that no pass has cleaned.
	ratio float64
}

func (c *candidate) partition() metadata.PartitionID { return c.topic.Partitions[c.index] }

// due judges by Kafka's rules (LogCleanerManager, KIP-354): a partition is due when more than
// min.cleanable.dirty.ratio of it is dirty, or when something dirty is older than max.compaction.lag.ms, at
// the time now (ms). dirtyBytes are those that a pass could clean.
func (c *candidate) due(dirtyBytes, now int64) bool {
	if !c.Exists || dirtyBytes <= 0 || c.StableOffset <= c.CleanUntil {
		return false
	}
	c.ratio = float64(dirtyBytes) / float64(c.CleanBytes+dirtyBytes)
	lag := c.config.MaxCompactionLagMs
	c.overdue = lag != math.MaxInt64 && c.DirtySince >= 0 && c.DirtySince < now-lag
	return c.overdue || c.ratio > c.config.MinCleanableDirtyRatio
}

// urgent orders the due: what is overdue first, then the dirtiest.
func urgent(a, b candidate) int {
	if a.overdue != b.overdue {
		if a.overdue {
			return -1
		}
		return 1
	}
	return cmp.Compare(b.ratio, a.ratio)
}

// querySize is the number of partitions that one query asks for.
const querySize = 1000

// findDue returns the partitions that are due by what the store tells at little cost, the most urgent
// first. Whether a pass can clean as much as it tells shows later.
func (c *Compactor) findDue(ctx context.Context, now time.Time) ([]candidate, error) {
	topics, err := c.topics.AllTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	var all []candidate
	for _, topic := range topics {
		if config, ok := c.compacted(topic); ok {
			for i := range topic.Partitions {
				all = append(all, candidate{topic: topic, index: int32(i), config: config})
			}
		}
	}
	c.waits.keep(all)
	var due []candidate
	for some := range slices.Chunk(all, querySize) {
		ids := make([]metadata.PartitionID, len(some))
		for i := range some {
			ids[i] = some[i].partition()
		}
		states, err := c.store.Compactions(ctx, ids)
		if err != nil {
			return nil, fmt.Errorf("read how far %d partitions are compacted: %w", len(ids), err)
		}
		for i := range some {
			some[i].Compaction = states[i]
			if some[i].due(states[i].DirtyBytes, now.UnixMilli()) && c.waits.over(ids[i], now, some[i].config.MinCompactionLagMs) {
				due = append(due, some[i])
			}
		}
	}
	slices.SortStableFunc(due, urgent)
	return due, nil
}

// compacted returns what the topic's configs say, and whether it is compacted. Of configs that this version of
// Wadi doesn't understand it doesn't take the defaults, as clients are served: records would be gone.
func (c *Compactor) compacted(topic metadata.Topic) (configs.Topic, bool) {
	config, err := configs.ParseTopic(topic.Configs, *c.broker())
	return config, err == nil && config.CleanupCompact
}

// stillCompacted reports whether the topic is there and compacted.
func (c *Compactor) stillCompacted(ctx context.Context, id uuid.UUID) (bool, error) {
	topic, err := c.topics.TopicByID(ctx, id)
	if errors.Is(err, metadata.ErrUnknownTopic) {
		return false, nil
	}
	_, ok := c.compacted(topic)
	return ok, err
}

const (
	// firstWait and lastWait bound for how long a partition is left alone after a pass over it failed.
	firstWait = time.Minute
	lastWait  = time.Hour
)

// waits are the partitions that are to be left alone for a while, by the store's clock.
type waits map[metadata.PartitionID]wait

type wait struct {
	until time.Time
	// failed is how long the wait after a failure was, 0 if it is because of min.compaction.lag.ms, which
	// was lag.
	failed time.Duration
	lag    int64
}

// over reports whether nothing keeps from the partition, whose min.compaction.lag.ms is lag now.
func (w waits) over(id metadata.PartitionID, now time.Time, lag int64) bool {
	wait := w[id]
	return !now.Before(wait.until) || wait.failed == 0 && wait.lag != lag
}

// fail lets the partition wait, the longer the more often it failed in a row.
func (w waits) fail(id metadata.PartitionID, now time.Time) time.Duration {
	d := min(max(2*w[id].failed, firstWait), lastWait)
	w[id] = wait{until: now.Add(d), failed: d}
	return d
}

// keep forgets all other partitions.
func (w waits) keep(candidates []candidate) {
	if len(w) == 0 {
		return
	}
	known := make(map[metadata.PartitionID]bool, len(candidates))
	for i := range candidates {
		known[candidates[i].partition()] = true
	}
	for id := range w {
		if !known[id] {
			delete(w, id)
		}
	}
}
