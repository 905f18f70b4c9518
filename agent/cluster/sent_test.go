package cluster

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// consumer asks the first of two agents for a partition that it is to read from the second.
type consumer struct {
	protocol.Client
	router *Router
}

func newConsumer() consumer {
	return consumer{client, NewRouter(view(parse("p -", "c -")), Zones{})}
}

// sent reports whether it is sent there; else it gets what there is.
func (c consumer) sent(t *testing.T, topic int, partition int32, offset int64, records bool) bool {
	t.Helper()
	id, sent := c.router.ReadElsewhere(c.Client, 18, "")(topicID(topic), partition, offset, records)
	if sent && id != 2 {
		t.Errorf("sent to %d", id)
	}
	return sent
}

// TestConsumerThatComesBackIsServed, unless it has read elsewhere.
func TestConsumerThatComesBackIsServed(t *testing.T) {
	type request struct {
		after   time.Duration
		offset  int64
		records bool
		sent    bool
	}
	for _, tc := range []struct {
		name     string
		requests []request
	}{
		{"can't go", []request{{0, 7, true, true}, {atOnce, 7, true, false}, {0, 8, true, false}, {servedFor - atOnce, 9, true, true}, {atOnce, 9, true, false}}},
		{"doesn't know that it should", slices.Concat(slices.Repeat([]request{{0, 7, true, true}}, maxTold), []request{{0, 7, true, false}, {0, 8, true, false}, {0, 9, true, false}})},
		{"asks once more while it goes", []request{{0, 7, true, true}, {atOnce / 2, 7, true, true}}},
		{"asks here again for each fetch", []request{{0, 7, true, true}, {time.Millisecond, 17, true, true}, {time.Millisecond, 27, true, true}, {time.Millisecond, 37, false, true}}},
		{"asks here again now and then", []request{{0, 7, true, true}, {servedFor / 2, 8, true, true}, {servedFor / 2, 9, true, true}}},
		{"went back to an older offset", []request{{0, 7, true, true}, {time.Millisecond, 3, true, true}}},
		{"found nothing there", []request{{0, 7, false, true}, {atOnce, 7, false, false}, {0, 8, true, true}}},
		{"found nothing there, and comes too late for what came", []request{{0, 7, false, true}, {atOnce, 7, true, false}, {0, 8, true, false}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newConsumer()
				for i, r := range tc.requests {
					time.Sleep(r.after)
					if got := c.sent(t, 1, 0, r.offset, r.records); got != r.sent {
						t.Errorf("request %d: sent elsewhere: %v, want %v", i+1, got, r.sent)
					}
				}
			})
		})
	}
}

// TestEachReadingIsSentForItself: a consumer that can't go for one partition is sent for another one.
func TestEachReadingIsSentForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConsumer()
		c.sent(t, 1, 0, 0, true)
		time.Sleep(atOnce)
		other := c
		other.Port++
		for name, sent := range map[string]bool{
			"another partition":  c.sent(t, 1, 1, 0, true),
			"another topic":      c.sent(t, 2, 0, 0, true),
			"another connection": other.sent(t, 1, 0, 0, true),
		} {
			if !sent {
				t.Errorf("%s is served", name)
			}
		}
		if c.sent(t, 1, 0, 0, true) {
			t.Error("it is sent for the first once more")
		}
		for p := range int32(2 * maxSent) {
			c.sent(t, 3, p, 0, true)
		}
		if n := c.router.sent.recent.Len(); n != maxSent {
			t.Errorf("%d readings are remembered, more or less than %d", n, maxSent)
		}
	})
}

// TestOldFetchIsSentToWhomItsClientKnows: kafkajs does not read from a broker that came after its metadata.
func TestOldFetchIsSentToWhomItsClientKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		connected := time.Now()
		alive := parse("b a", "b b", "b b")
		for i := range alive {
			alive[i].StartedAt = connected.Add(-time.Hour)
		}
		alive[2].StartedAt = connected.Add(time.Second)
		router := NewRouter(view(alive), Zones{})
		port := uint16(0)
		sent := func(since time.Time, version int16) (to []int32) {
			port++
			c := protocol.Client{ID: "app", Host: "h", Port: port, Listener: metadata.DefaultListener, Since: since}
			for p := range int32(blockPartitions) {
				if id, sent := router.ReadElsewhere(c, version, "b")(topicID(1), p, 0, true); sent && !slices.Contains(to, id) {
					to = append(to, id)
				}
			}
			slices.Sort(to)
			return to
		}
		time.Sleep(time.Minute)
		for _, tc := range []struct {
			name    string
			since   time.Time
			version int16
			want    []int32
		}{
			{"an old client", connected, 11, []int32{2}},
			{"an old client that came later", time.Now(), 11, []int32{2, 3}},
			{"a newer client", connected, 12, []int32{2, 3}},
		} {
			if to := sent(tc.since, tc.version); !slices.Equal(to, tc.want) {
				t.Errorf("%s is sent to %d, want %d", tc.name, to, tc.want)
			}
		}
		time.Sleep(metadataAge)
		if to := sent(connected, 11); !slices.Equal(to, []int32{2, 3}) {
			t.Errorf("an old client that must have asked again is sent to %d", to)
		}
	})
}
