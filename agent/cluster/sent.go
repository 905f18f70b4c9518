package cluster

import (
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/wadi-log/wadi/protocol"
)

const (
	// sentFor is how long a consumer that was sent elsewhere for a partition, and asks here again over the same
	// connection, is served: it can't go there, or doesn't want to.
	sentFor = time.Minute
	// atOnce is how soon it may ask once more and be told once more: librdkafka does while it moves the partition to
	// the other broker, and would throw the records away.
	atOnce = time.Second
	// maxSent is the number of connections that are remembered. A forgotten one is sent away once more.
	maxSent = 16 << 10
)

// sent remembers which consumers were sent elsewhere, for which partitions: of a connection, partitions may come
// one by one, as consumers find out where to begin, and as groups give them other ones.
type sent struct {
	mu          sync.Mutex
	connections *simplelru.LRU[connection, *sending]
}

// connection tells a client's connection from others.
type connection struct {
	host string
	port uint16
}

// sending is what a connection was told, and when.
type sending struct {
	last       time.Time
	partitions map[topicPartition]telling
}

type telling struct {
	at    time.Time
	twice bool
}

type topicPartition struct {
	topic     uuid.UUID
	partition int32
}

func newSent() *sent {
	connections, err := simplelru.NewLRU[connection, *sending](maxSent, nil)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &sent{connections: connections}
}

// may notes that the client is sent elsewhere for the partition. It returns false if that was done already, neither
// just now nor long ago.
func (s *sent) may(client protocol.Client, p topicPartition) bool {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, oldest, ok := s.connections.GetOldest(); ok && now.Sub(oldest.last) >= sentFor; _, oldest, ok = s.connections.GetOldest() {
		s.connections.RemoveOldest()
	}
	c := connection{client.Host, client.Port}
	told, ok := s.connections.Get(c)
	if !ok {
		told = &sending{partitions: map[topicPartition]telling{}}
		s.connections.Add(c, told)
	}
	t, was := told.partitions[p]
	switch since := now.Sub(t.at); {
	case !was || since >= sentFor:
		t = telling{at: now}
		told.last = now
	case since < atOnce && !t.twice:
		t.twice = true
	default:
		return false
	}
	told.partitions[p] = t
	return true
}
