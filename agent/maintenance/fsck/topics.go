package fsck

import (
	"context"
	"sync"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// topics knows which partition belongs to which topic.
type topics struct {
	store Store

	mu    sync.Mutex
	known map[metadata.PartitionID]place
	// gone are partitions that were not found by the newest list.
	gone map[metadata.PartitionID]bool
}

// place is what a partition is to clients.
type place struct {
	topic     string
	id        uuid.UUID
	partition int32
}

func newTopics(store Store) *topics { return &topics{store: store} }

// list returns the topics, by name.
func (t *topics) list(ctx context.Context) ([]metadata.Topic, error) {
	list, _, err := t.store.ListTopics(ctx)
	if err != nil {
		return nil, err
	}
	known := map[metadata.PartitionID]place{}
	for _, topic := range list {
		for i, id := range topic.Partitions {
			known[id] = place{topic.Name, topic.ID, int32(i)}
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known, t.gone = known, map[metadata.PartitionID]bool{}
	return list, nil
}

// find returns where the partition is; false if its topic is gone. One that is not known may be new.
func (t *topics) find(ctx context.Context, id metadata.PartitionID) (place, bool, error) {
	if p, ok, sure := t.look(id); sure {
		return p, ok, nil
	}
	if _, err := t.list(ctx); err != nil {
		return place{}, false, err
	}
	p, ok, _ := t.look(id)
	if !ok {
		t.mu.Lock()
		t.gone[id] = true
		t.mu.Unlock()
	}
	return p, ok, nil
}

func (t *topics) look(id metadata.PartitionID) (p place, ok, sure bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok = t.known[id]
	return p, ok, ok || t.gone[id]
}

// offsets are those from first to before next.
func (t *topics) offsets(ctx context.Context, id metadata.PartitionID, first, next int64) (Offsets, error) {
	p, ok, err := t.find(ctx, id)
	if !ok {
		p.partition = int32(id)
	}
	return Offsets{Topic: p.topic, Partition: p.partition, First: first, Last: next - 1}, err
}
