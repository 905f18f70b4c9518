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
		{"can't go", []request{{0, 7, true, true}, {atOnce, 7, true, false}, {0, 8, true, false}, {servedFor, 9, true, true}, {atOnce, 9, true, false}}},
		{"can't go, and knows late", []request{{0, 7, true, true}, {5 * time.Minute, 7, true, false}, {0, 8, true, false}, {servedFor, 9, true, true}, {5 * time.Minute, 9, true, false}}},
		{"doesn't know that it should", slices.Concat(slices.Repeat([]request{{0, 7, true, true}}, maxTold), []request{{0, 7, true, false}, {0, 8, true, false}, {0, 9, true, false}})},
		{"doesn't know, and there is nothing", slices.Concat(slices.Repeat([]request{{0, 7, false, true}}, maxTold), []request{{0, 7, false, false}, {500 * time.Millisecond, 7, false, true}, {time.Millisecond, 7, false, false}, {500 * time.Millisecond, 7, false, true}})},
		{"asks once more while it goes", []request{{0, 7, true, true}, {atOnce / 2, 7, true, true}}},
		{"asks here again for each fetch", []request{{0, 7, true, true}, {time.Millisecond, 17, true, true}, {time.Millisecond, 27, true, true}, {time.Millisecond, 37, false, true}}},
		{"asks here again for each fetch, at the end", []request{{0, 7, false, true}, {500 * time.Millisecond, 7, false, true}, {500 * time.Millisecond, 7, false, true}, {500 * time.Millisecond, 7, false, true}, {500 * time.Millisecond, 8, false, true}}},
		{"asks here again now and then", []request{{0, 7, true, true}, {servedFor / 2, 8, true, true}, {servedFor / 2, 9, true, true}}},
		{"went back to an older offset", []request{{0, 7, true, true}, {time.Millisecond, 3, true, true}}},
		{"found nothing there", []request{{0, 7, false, true}, {idle - 1, 7, false, true}, {atOnce, 7, false, true}, {0, 8, true, true}}},
		{"found nothing there, and comes too late for what came", []request{{0, 7, false, true}, {atOnce, 7, true, true}, {0, 8, true, true}}},
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
	})
}

// TestWhoWouldBeForgottenIsServed, but for a while: there is room for those who were told lately.
func TestWhoWouldBeForgottenIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSent()
		ask := func(from, to int32) (told int) {
			for p := from; p < to; p++ {
				if s.tell(client, topicID(1), p, 0, true) {
					told++
				}
			}
			return told
		}
		if told := ask(0, 2*maxSent); told != maxSent {
			t.Errorf("%d are sent, of %d that can be remembered", told, maxSent)
		}
		time.Sleep(servedFor)
		if told := ask(2*maxSent, 3*maxSent); told != maxSent || s.recent.Len() != maxSent {
			t.Errorf("then %d are sent, and %d remembered", told, s.recent.Len())
		}
	})
}

// TestKafkajsIsSentToWhomItKnows: it does not read from a broker that came after its metadata.
func TestKafkajsIsSentToWhomItKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		register := &changing{parse("b a", "b b", "b b")}
		all := register.alive
		router := NewRouter(register, Zones{})
		port := uint16(0)
		sent := func(software string, version int16) (to []int32) {
			port++
			c := protocol.Client{ID: "app", Host: "h", Port: port, Listener: metadata.DefaultListener, SoftwareName: software}
			elsewhere := router.ReadElsewhere(c, version, "b")
			for p := range int32(blockPartitions) {
				if elsewhere == nil {
					break
				}
				if id, sent := elsewhere(topicID(1), p, 0, true); sent && !slices.Contains(to, id) {
					to = append(to, id)
				}
			}
			slices.Sort(to)
			return to
		}
		want := func(when string, want ...int32) {
			t.Helper()
			if to := sent("", 11); !slices.Equal(to, want) {
				t.Errorf("%s: sent to %d, want %d", when, to, want)
			}
		}
		register.alive = all[:2]
		want("at first")
		time.Sleep(metadataAge - 1)
		want("too early")
		time.Sleep(time.Nanosecond)
		want("with an agent that all clients know", 2)
		register.alive = all
		want("with one more", 2)
		if to := sent("librdkafka", 11); !slices.Equal(to, []int32{2, 3}) {
			t.Errorf("librdkafka is sent to %d", to)
		}
		if to := sent("", 12); !slices.Equal(to, []int32{2, 3}) {
			t.Errorf("by Fetch 12 sent to %d", to)
		}
		time.Sleep(metadataAge)
		want("when all know that, too", 2, 3)
		slow := slices.Clone(all)
		slow[2].State = metadata.Slow
		register.alive = slow
		want("with a slow one", 2)
		register.alive = all
		want("when it serves again", 2)
		time.Sleep(metadataAge)
		want("for as long", 2, 3)
		register.alive = all[:2]
		time.Sleep(time.Second)
		want("when it is gone", 2)
		register.alive = all
		want("when it is back", 2)
	})
}
