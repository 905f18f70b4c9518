package catalog

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol/configs"
)

func newTestTable() *table {
	broker := configs.DefaultBroker()
	return newTable(func(metadata.Topic, *configs.Broker) configs.Topic { return configs.Topic{} }, func() *configs.Broker { return &broker })
}

func named(name string, partitions int) metadata.Topic {
	return metadata.Topic{ID: metadata.NewTopicID(), Name: name, Partitions: make([]metadata.PartitionID, partitions)}
}

func TestOlderQueryDoesNotReplaceNewer(t *testing.T) {
	b := newTestTable()
	topic := named("t", 1)
	grown := topic
	grown.Partitions = make([]metadata.PartitionID, 2)
	slow, quick := b.begin(), b.begin()
	if !b.put(quick, grown) {
		t.Error("the first answer was refused")
	}
	if b.put(slow, topic) {
		t.Error("an older query's answer was taken")
	}
	if got, _ := b.byName("t"); len(got.Partitions) != 2 {
		t.Errorf("the topic has %d partitions, want the 2 of the newer query", len(got.Partitions))
	}
}

func TestOlderQueryDoesNotBringDeletedTopicBack(t *testing.T) {
	b := newTestTable()
	topic := named("t", 1)
	first := b.begin()
	b.put(first, topic)
	b.end(first)
	slow := b.begin()
	gone := b.begin()
	b.remove(gone, topic.ID)
	b.end(gone)
	if b.put(slow, topic) {
		t.Error("an older query's answer was taken")
	}
	b.putAll(slow, []metadata.Topic{topic})
	if _, ok := b.byID(topic.ID); ok {
		t.Error("the deleted topic is back")
	}
	b.end(slow)
	if len(b.removed) != 0 {
		t.Errorf("%d deleted topics are remembered with no query under way", len(b.removed))
	}
}

func TestRecreatedTopicTakesTheName(t *testing.T) {
	b := newTestTable()
	old, fresh := named("t", 1), named("t", 3)
	first, second := b.begin(), b.begin()
	b.put(first, old)
	b.put(second, fresh)
	if got, ok := b.byName("t"); !ok || got.ID != fresh.ID {
		t.Errorf("the name belongs to %v, want the topic seen last", got.ID)
	}
	if _, ok := b.byID(old.ID); ok {
		t.Error("two topics have one name")
	}
	// The old one's query, once more, late.
	if b.put(first, old) {
		t.Error("the topic that had the name before came back")
	}
}

func TestDeletedNameIsRememberedForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestTable()
		topic := named("t", 1)
		b.put(b.begin(), topic)
		if b.recentlyDeleted("t") {
			t.Error("a topic that is there counts as deleted")
		}
		b.remove(b.begin(), topic.ID)
		time.Sleep(deletedMemory - time.Nanosecond)
		if !b.recentlyDeleted("t") {
			t.Error("a deleted name is forgotten too soon")
		}
		time.Sleep(time.Nanosecond)
		if b.recentlyDeleted("t") {
			t.Error("a deleted name is remembered too long")
		}
		b.put(b.begin(), named("u", 1))
		b.put(b.begin(), named("t", 1))
		if b.recentlyDeleted("t") {
			t.Error("a topic that is there again counts as deleted")
		}
	})
}

// TestTableConverges lets queries overtake each other in every way and checks
// what the table's comment claims: once each change's own query has answered, the
// table has what the store has.
func TestTableConverges(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	for round := range 300 {
		if !converges(rng) {
			t.Fatalf("the table differs from the store (seed %d, round %d)", seed, round)
		}
	}
}

// A query of the simulation takes its ticket, later sees the store, later answers.
type simulated struct {
	ticket ticket
	seen   bool
	all    bool
	name   string // or by ID
	id     uuid.UUID
	topics []metadata.Topic
}

func converges(rng *rand.Rand) bool {
	b := newTestTable()
	store := map[uuid.UUID]metadata.Topic{}
	var feed []uuid.UUID // changes that the follower has not seen
	var queries []*simulated
	step := func(q *simulated, i int) {
		if !q.seen {
			q.seen = true
			for _, topic := range store {
				if q.all || q.name == topic.Name || q.id == topic.ID {
					q.topics = append(q.topics, topic)
				}
			}
			return
		}
		switch {
		case q.all:
			b.putAll(q.ticket, q.topics)
		case q.name != "":
			b.putNames(q.ticket, []string{q.name}, q.topics)
		default:
			b.putIDs(q.ticket, []uuid.UUID{q.id}, q.topics)
		}
		b.end(q.ticket)
		queries = slices.Delete(queries, i, i+1)
	}
	for range 60 {
		switch n := rng.IntN(10); {
		case n < 2: // create
			topic := named(fmt.Sprint("t", rng.IntN(3)), 1)
			if !slices.ContainsFunc(slices.Collect(maps.Values(store)), func(o metadata.Topic) bool { return o.Name == topic.Name }) {
				store[topic.ID] = topic
				feed = append(feed, topic.ID)
			}
		case n < 4: // alter or delete one
			for id, topic := range store {
				if rng.IntN(2) == 0 {
					delete(store, id)
				} else {
					topic.Partitions = make([]metadata.PartitionID, len(topic.Partitions)+1)
					store[id] = topic
				}
				feed = append(feed, id)
				break
			}
		case n == 4 && rng.IntN(2) == 0:
			queries = append(queries, &simulated{ticket: b.begin(), all: true})
		case n == 4:
			queries = append(queries, &simulated{ticket: b.begin(), name: fmt.Sprint("t", rng.IntN(3))})
		case n < 6 && len(feed) > 0: // the follower reads the feed in order
			queries = append(queries, &simulated{ticket: b.begin(), id: feed[0]})
			feed = feed[1:]
		case len(queries) > 0:
			i := rng.IntN(len(queries))
			step(queries[i], i)
		}
	}
	for _, id := range feed {
		queries = append(queries, &simulated{ticket: b.begin(), id: id})
	}
	for len(queries) > 0 {
		i := rng.IntN(len(queries))
		step(queries[i], i)
	}
	if len(b.topics) > len(store) || len(b.names) != len(b.topics) || len(b.removed) != 0 {
		return false
	}
	for id, topic := range store {
		// A topic of which the table was never told can't be there; each was, by its own query.
		if got, ok := b.byID(id); !ok || len(got.Partitions) != len(topic.Partitions) {
			return false
		}
	}
	return true
}
