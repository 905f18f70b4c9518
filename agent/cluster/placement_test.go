package cluster

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// topicID is one of many topics.
func topicID(n int) (id uuid.UUID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}

func leadersOf(v *View, topic uuid.UUID, partitions int) (leaders []int32) {
	place := v.Topic(topic)
	for p := range partitions {
		leaders = append(leaders, place.Leader(int32(p)).NodeID)
	}
	return leaders
}

func viewOf(client protocol.Client, alive ...metadata.Agent) *View {
	return NewRouter(view(alive), Zones{}).View(client)
}

func countOf(ids []int32) map[int32]int {
	count := map[int32]int{}
	for _, id := range ids {
		count[id]++
	}
	return count
}

func TestPartitionsAreSpreadEvenly(t *testing.T) {
	for n := 1; n <= 4; n++ {
		alive := agents(1, 2, 3, 4)[:n]
		for topic := range 20 {
			for _, partitions := range []int{12, 24, 60} {
				for id, got := range countOf(leadersOf(viewOf(client, alive...), topicID(topic), partitions)) {
					if got != partitions/n {
						t.Errorf("agent %d of %d leads %d of %d partitions", id, n, got, partitions)
					}
				}
			}
		}
	}
}

func TestSpreadGivesEachOneItsShareGiveOrTakeOne(t *testing.T) {
	for n := 2; n <= blockPartitions; n++ {
		var over []Broker
		for id := range n {
			over = append(over, Broker{NodeID: int32(id + 1)})
		}
		for topic := range 50 {
			s := spread{topic: uint64(topic), over: over}
			count := map[int32]int{}
			for p := range int32(blockPartitions) {
				count[s.of(p).NodeID]++
			}
			for _, b := range over {
				if got := count[b.NodeID]; got < blockPartitions/n || got > (blockPartitions+n-1)/n {
					t.Fatalf("one of %d brokers has %d of %d partitions", n, got, blockPartitions)
				}
			}
		}
	}
}

// TestTopicsOfOnePartitionAreSpread: most small topics must not meet on one agent.
func TestTopicsOfOnePartitionAreSpread(t *testing.T) {
	v := viewOf(client, agents(1, 2, 3, 4)...)
	count := map[int32]int{}
	for topic := range 4000 {
		count[v.Topic(topicID(topic)).Leader(0).NodeID]++
	}
	for id, n := range count {
		if n < 900 || n > 1100 {
			t.Errorf("agent %d leads %d of 4000", id, n)
		}
	}
}

func TestPartitionHasOneWriterWhileAgentsAreFew(t *testing.T) {
	alive := agents(1, 2, 3, 4)
	want := leadersOf(viewOf(client, alive...), topicID(1), 30)
	for i := range 50 {
		other := protocol.Client{ID: fmt.Sprint("other-", i), Host: "10.0.0.2", Listener: client.Listener}
		if got := leadersOf(viewOf(other, alive...), topicID(1), 30); !slices.Equal(got, want) {
			t.Fatalf("%s is led to %v, another client to %v", other.ID, got, want)
		}
	}
}

func TestClientHasFewAgents(t *testing.T) {
	var all []int32
	for id := range int32(20) {
		all = append(all, id+1)
	}
	before, after := agents(all...), agents(slices.Delete(slices.Clone(all), 6, 7)...) // without 7
	count, moved := map[int32]int{}, 0
	const clients = 2000
	for i := range clients {
		client := protocol.Client{ID: fmt.Sprint("app-", i%100), Host: fmt.Sprintf("10.0.%d.%d", i/256, i%256), Listener: metadata.DefaultListener}
		was := countOf(leadersOf(viewOf(client, before...), topicID(1), 48))
		is := countOf(leadersOf(viewOf(client, after...), topicID(1), 48))
		if len(was) != agentsPerClient || len(is) != agentsPerClient {
			t.Fatalf("%v has %v, and %v without 7", client, was, is)
		}
		changed := 0
		for id := range was {
			count[id]++
			if is[id] == 0 {
				changed++
			}
		}
		switch {
		case was[7] == 0 && changed > 0, changed > 1:
			t.Fatalf("%v had %v, and has %v without 7", client, was, is)
		case changed == 1:
			moved++
		}
	}
	for id, n := range count {
		if mean := clients * agentsPerClient / len(all); n < mean*8/10 || n > mean*12/10 {
			t.Errorf("agent %d has %d of %d clients", id, n, clients)
		}
	}
	if moved != count[7] {
		t.Errorf("%d clients got another agent when the one of %d went", moved, count[7])
	}
}

// TestLittleMovesWhenAnAgentGoes: of four, a quarter must move, and hardly more does.
func TestLittleMovesWhenAnAgentGoes(t *testing.T) {
	moved, all := 0, 0
	for topic := range 100 {
		before := leadersOf(viewOf(client, agents(1, 2, 3, 4)...), topicID(topic), 24)
		after := leadersOf(viewOf(client, agents(1, 2, 4)...), topicID(topic), 24)
		for i := range before {
			all++
			if before[i] != after[i] {
				moved++
			}
		}
	}
	if moved*100 > all*40 {
		t.Errorf("%d of %d partitions moved", moved, all)
	}
	t.Logf("%d of %d partitions moved, at least %d have to", moved, all, all/4)
}

func TestPartitionsStayWhenOthersAreAdded(t *testing.T) {
	v := viewOf(client, agents(1, 2, 3)...)
	if few, many := leadersOf(v, topicID(1), 5), leadersOf(v, topicID(1), 50); !slices.Equal(few, many[:5]) {
		t.Errorf("with 5 partitions %v, with 50 %v", few, many)
	}
}

// TestPlacementIsPinned fails when the hash or the rules change: agents of two releases
// must give the same advice during an upgrade.
func TestPlacementIsPinned(t *testing.T) {
	var all []int32
	for id := range int32(20) {
		all = append(all, id+1)
	}
	alive := agents(all...)
	for i := range alive {
		alive[i].Zone = string(rune('a' + i%2))
	}
	for id, want := range map[string][]int32{
		"":                    {3, 1, 14, 11, 7, 5, 11, 15, 16, 15, 16, 14, 15, 15},
		"zone=a,rdkafka":      {17, 11, 17, 11, 3, 19, 5, 15, 13, 15, 13, 7, 15, 15},
		"wadi_az=b kgo":       {4, 4, 8, 20, 10, 2, 10, 8, 16, 14, 16, 6, 4, 6},
		"console-consumer":    {11, 1, 8, 11, 10, 13, 10, 8, 16, 15, 16, 20, 15, 15},
		"wadi_host=h:1,local": {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
	} {
		client := protocol.Client{ID: id, Host: "10.0.0.1", Listener: metadata.DefaultListener}
		if got := leadersOf(viewOf(client, alive...), topicID(1), 14); !slices.Equal(got, want) {
			t.Errorf("%q: leaders are %v, want %v", id, got, want)
		}
	}
}
