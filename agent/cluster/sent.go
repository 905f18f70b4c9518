package cluster

import (
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/wadi-log/wadi/protocol"
)

const (
	// servedFor is how long a consumer that came back from elsewhere without the records is served.
	servedFor = time.Minute
	// Within atOnce a consumer is told up to maxTold times, so long as it does not read on: librdkafka asks once more while
	// it moves a partition, and throws away what it gets from here; kafka-python comes back from an answer
	// that other partitions had filled.
	atOnce  = time.Second
	maxTold = 8
	// maxSent is the number of partitions of connections that are remembered, in about 13 MB. A consumer of a forgotten
	// one is sent away once more.
	maxSent = 64 << 10
)

// sent remembers which consumers were sent elsewhere, for which partitions: of a connection, partitions may come
// one by one, as consumers find out where to begin, and as groups give them other ones.
type sent struct {
	mu     sync.Mutex
	recent *simplelru.LRU[reading, telling]
}

// reading is a consumer's reading of a partition over one connection.
type reading struct {
	host, listener string
	port           uint16
	partition      int32
	topic          uuid.UUID
}

// telling is what a consumer was told.
type telling struct {
	at     int64 // when first, in nanoseconds of Unix time
	offset int64 // where it was to read on
	times  uint8
	// served: it came back without having read, so it can't go there, or doesn't want to.
	served bool
}

func newSent() *sent {
	recent, err := simplelru.NewLRU[reading, telling](maxSent, nil)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &sent{recent: recent}
}

// again reports whether a consumer that may read from the offset here is sent elsewhere, and takes note of it. records
// tells whether there are any to read from there on.
//
// Who comes back with a later offset has read elsewhere: some ask here again for each fetch (kafka-python), others
// every few minutes. Who comes back with the same one found nothing new there, or could not go.
func (s *sent) again(client protocol.Client, topic uuid.UUID, partition int32, offset int64, records bool) bool {
	key := reading{client.Host, client.Listener, client.Port, partition, topic}
	now := time.Now().UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	t, told := s.recent.Get(key)
	since := time.Duration(now - t.at)
	switch {
	case !told || since >= servedFor || !t.served && offset != t.offset:
		t = telling{at: now, offset: offset, times: 1}
	case !t.served && t.times < maxTold && since < atOnce:
		t.times++
	case !t.served && records:
		t.served = true
		s.recent.Add(key, t)
		return false
	default:
		return false
	}
	s.recent.Add(key, t)
	return true
}
