package group

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/group/machine"
	"github.com/wadi-log/wadi/metadata"
)

// catalogView makes views of the topics, each once per change.
type catalogView struct {
	catalog Topics

	mu   sync.Mutex
	last *view
}

// view is the topics at one moment, in the forms in which groups and their
// offsets ask for them.
type view struct {
	topics []metadata.Topic // by name
	seq    int64
	byID   map[uuid.UUID]int
	names  []string

	partitions func() map[metadata.PartitionID]place
}

// place is where a partition of the store is in Kafka's terms.
type place struct {
	topic int // index in view.topics
	index int32
}

var _ machine.Topics = (*view)(nil)

// now returns the view of the topics as the catalog has them. It asks the
// metadata store only when the catalog was never loaded.
func (v *catalogView) now(ctx context.Context) (*view, error) {
	topics, seq, err := v.catalog.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	// The catalog hands out one slice until something changes.
	if v.last == nil || v.last.seq != seq || !same(v.last.topics, topics) {
		v.last = newView(topics, seq)
	}
	return v.last, nil
}

func same(a, b []metadata.Topic) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

func newView(topics []metadata.Topic, seq int64) *view {
	v := &view{topics: topics, seq: seq, byID: make(map[uuid.UUID]int, len(topics)), names: make([]string, len(topics))}
	for i, t := range topics {
		v.byID[t.ID], v.names[i] = i, t.Name
	}
	v.partitions = sync.OnceValue(func() map[metadata.PartitionID]place {
		places := map[metadata.PartitionID]place{}
		for i, t := range topics {
			for index, id := range t.Partitions {
				places[id] = place{i, int32(index)}
			}
		}
		return places
	})
	return v
}

// Seq implements machine.Topics.
func (v *view) Seq() int64 { return v.seq }

// Names implements machine.Topics.
func (v *view) Names() []string { return v.names }

// ByName implements machine.Topics.
func (v *view) ByName(name string) (machine.Topic, bool) {
	i, ok := slices.BinarySearchFunc(v.topics, name, func(t metadata.Topic, name string) int { return cmp.Compare(t.Name, name) })
	if !ok {
		return machine.Topic{}, false
	}
	return v.at(i), true
}

// ByID implements machine.Topics.
func (v *view) ByID(id uuid.UUID) (machine.Topic, bool) {
	i, ok := v.byID[id]
	if !ok {
		return machine.Topic{}, false
	}
	return v.at(i), true
}

func (v *view) at(i int) machine.Topic {
	t := v.topics[i]
	return machine.Topic{ID: t.ID, Name: t.Name, Partitions: int32(len(t.Partitions))}
}
