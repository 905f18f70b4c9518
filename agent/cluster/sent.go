package cluster

import (
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/wadi-log/wadi/protocol"
)

const (
	// servedFor is how long a consumer is served that came back from elsewhere without the records.
	servedFor = time.Minute
	// Within atOnce a consumer is told up to maxTold times where to read on from an offset: librdkafka asks once more while it
	// moves a partition, and throws away what it gets from here; kafka-python comes back from an answer that
	// other partitions had filled.
	atOnce  = time.Second
	maxTold = 8
	// idle is how much later a consumer for which there are no records is told again: by then it may have waited elsewhere.
	idle = 300 * time.Millisecond
	// maxSent is the number of partitions of connections that are remembered, in about 15 MB. While all of them were told
	// lately, more are served: who can't go would be forgotten and told again for ever.
	maxSent = 64 << 10
)

// sent remembers which consumers were sent elsewhere, for which partitions: of a connection, partitions may come
// one by one, as consumers find out where to begin, and as groups give them other ones.
type sent struct {
	began  time.Time
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

// telling is what a consumer was told. Times are counted from when sent began.
type telling struct {
	first, last time.Duration
	times       int
	// offset is where it was to read on, records whether there were any.
	offset  int64
	records bool
	// served: at last it came back without having read, so it can't go there, or doesn't want to.
	served bool
}

func newSent() *sent {
	recent, err := simplelru.NewLRU[reading, telling](maxSent, nil)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &sent{began: time.Now(), recent: recent}
}

// tell reports whether a consumer that may read from the offset here is told to do so elsewhere, and takes note of it.
// records tells whether there are any to read from there on.
//
// Who comes back with another offset has read elsewhere: some ask here again for each fetch (kafka-python), others
// every few minutes. Who comes back with the same one found nothing new there, or could not go.
func (s *sent) tell(client protocol.Client, topic uuid.UUID, partition int32, offset int64, records bool) bool {
	key := reading{client.Host, client.Listener, client.Port, partition, topic}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Since(s.began)
	t, told := s.recent.Get(key)
	switch {
	case !told && s.full(now):
		return false
	case t.served && now-t.last < servedFor:
		return false
	case !told, t.served, offset != t.offset, records && !t.records:
		t = telling{first: now, offset: offset, records: records}
	case t.times < maxTold && now-t.first < atOnce:
	case records:
		t.served, t.last = true, now
		s.recent.Add(key, t)
		return false
	case now-t.last < idle:
		return false
	}
	t.times++
	t.last = now
	s.recent.Add(key, t)
	return true
}

// full reports whether one that was told lately would have to be forgotten for another.
func (s *sent) full(now time.Duration) bool {
	if s.recent.Len() < maxSent {
		return false
	}
	_, oldest, _ := s.recent.GetOldest()
	return now-oldest.last < servedFor
}
