package machine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/group/assign"
)

// modern is a client of the consumer protocol that does what Kafka's does.
type modern struct {
	id       string
	instance string
	epoch    int32
	owned    assign.Partitions
	// assigned is what it was told to have; slow clients take their time to get there.
	assigned assign.Partitions
	due      bool // it isn't there yet, and has to say so when it is
	slow     bool
	stubborn bool // never gives anything up
	doubtful bool // was stubborn since it joined
	// full: the next heartbeat says everything, since it doesn't know what the group knows.
	full, tell bool
	names      []string
	regex      string
	next       time.Time
	// heard is when it sent the last request that was answered: it counts itself out after a session without.
	heard time.Time
	gone  bool
}

func (c *modern) String() string {
	return fmt.Sprintf("%s instance %q epoch %d owned %v assigned %v %v %q slow %v stubborn %v gone %v",
		c.id, c.instance, c.epoch, c.owned, c.assigned, c.names, c.regex, c.slow, c.stubborn, c.gone)
}

func (c *modern) holds() assign.Partitions {
	if c.gone || c.stubborn {
		return nil // a stubborn one is known to use what isn't its
	}
	return c.owned
}

func (c *modern) lose() {
	c.owned, c.assigned, c.due, c.epoch, c.full, c.doubtful = nil, nil, false, 0, true, c.stubborn
}

func (c *modern) act(w *world) {
	w.Helper()
	if c.gone {
		return
	}
	if c.epoch > 0 && !w.now.Before(c.heard.Add(consumerSession)) {
		w.note("%s heard nothing for a session", c.id)
		c.lose()
	}
	if c.slow && w.random.IntN(4) == 0 || w.calm {
		c.adopt(w)
	}
	if w.now.Before(c.next) {
		return
	}
	c.next = w.now.Add(heartbeatInterval)
	if w.chance(20) {
		c.changeSubscription(w)
	}
	c.beat(w)
}

// adopt takes up what it was told, giving up first.
func (c *modern) adopt(w *world) {
	if c.due && !(c.stubborn && len(c.owned) > 0) {
		c.owned, c.due, c.tell, c.next = c.assigned, false, true, time.Time{}
		w.changes++
	}
}

func (c *modern) changeSubscription(w *world) {
	c.names, c.regex, c.full = randomNames(w.random), "", true
	if w.random.IntN(3) == 0 {
		c.regex = []string{"a|b", ".*", "[c-d]", "x"}[w.random.IntN(4)]
	}
}

func randomNames(random *rand.Rand) []string {
	names := []string{}
	for _, name := range []string{"a", "b", "c", "d"} {
		if random.IntN(2) == 0 {
			names = append(names, name)
		}
	}
	return names
}

func (c *modern) beat(w *world) {
	w.Helper()
	options := []beatOption{}
	if c.instance != "" {
		options = append(options, static(c.instance))
	}
	if c.full || c.epoch == 0 {
		options = append(options, joins(c.names...), matching(c.regex), owning(c.owned))
	} else if c.tell {
		options = append(options, owning(c.owned))
	}
	req, id, sent := beatRequest(c.id, c.epoch, options...), fmt.Sprintf("r%d", w.requests), w.now
	var resp *kmsg.ConsumerGroupHeartbeatResponse
	w.request(c.id, func(g *Group, env Env) {
		resp = w.quicklyOrNot(g, env,
			func() kmsg.Response { return orNil(g.QuickConsumerHeartbeat(env, id, req)) },
			func() kmsg.Response {
				return g.ConsumerGroupHeartbeat(env, Client{ID: "modern", Host: "/::1"}, id, req)
			},
		).(*kmsg.ConsumerGroupHeartbeatResponse)
	})
	c.tell = false
	if w.chance(15) {
		w.note("%s lost %s", c.id, shown(resp))
		c.full = true // so that it says everything again
		return
	}
	switch resp.ErrorCode {
	case 0:
	case kerr.FencedMemberEpoch.Code, kerr.UnknownMemberID.Code:
		w.note("%s in epoch %d: %s", c.id, c.epoch, text(resp.ErrorMessage))
		if !c.doubtful && w.now.Sub(c.heard) < consumerSession {
			w.fail("%s did as it was told, and is fenced: %s", c.id, shown(resp))
		}
		c.lose()
		c.next = w.now
		return
	case kerr.GroupIDNotFound.Code:
		if !w.mixed || w.now.Sub(c.heard) < consumerSession && !c.doubtful {
			w.fail("%s: %s", c.id, shown(resp))
		}
		c.lose() // the group went on without it
		return
	default:
		w.fail("%s: %s", c.id, shown(resp))
	}
	if c.full && c.epoch > 0 && resp.Assignment == nil {
		w.fail("%s: an answer to all it knows says nothing: %s", c.id, shown(resp))
	}
	c.epoch, c.heard, c.full = resp.MemberEpoch, sent, false
	if resp.Assignment == nil {
		return
	}
	c.assigned, c.due = told(resp), true
	w.note("%s in epoch %d gets %s", c.id, c.epoch, shownPartitions(w.catalog(), c.assigned))
	if c.slow {
		// What it loses it stops using at some time, and only then may it use what it gets.
		return
	}
	c.adopt(w)
}

// leave ends the client; a crash says nothing to anybody.
func (c *modern) leave(w *world, crash bool) {
	w.Helper()
	w.note("%s leaves (crash %v)", c.id, crash)
	c.gone = true
	if !crash {
		req := beatRequest(c.id, leaveEpoch)
		if c.instance != "" {
			req.InstanceID = &c.instance
		}
		w.request("", func(g *Group, env Env) { g.ConsumerGroupHeartbeat(env, Client{}, "r", req) })
	}
}

// restart lets a static client come back under another ID.
func (c *modern) restart(w *world) {
	w.Helper()
	w.note("%s restarts", c.id)
	req := beatRequest(c.id, leaveStaticEpoch, static(c.instance))
	w.request("", func(g *Group, env Env) { g.ConsumerGroupHeartbeat(env, Client{}, "r", req) })
	c.lose()
	c.id, c.next = fmt.Sprintf("%s-%d", c.instance, w.requests), w.now
}

func (w *world) newModern() *modern {
	c := &modern{id: fmt.Sprintf("m%d", w.requests), names: randomNames(w.random), next: w.now, slow: w.random.IntN(4) == 0}
	w.requests++
	if w.random.IntN(3) == 0 {
		c.instance = "i" + c.id
	}
	w.clients = append(w.clients, c)
	return c
}

func (w *world) drop(c client) {
	w.clients = slices.DeleteFunc(w.clients, func(other client) bool { return other == c })
}

func TestConsumersOnRandomSchedules(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for n := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, n))
		t.Run(fmt.Sprint(n), func(t *testing.T) { liveOfConsumers(t, random) })
	}
}

// FuzzConsumerSchedules lets the fuzzer choose the seed.
func FuzzConsumerSchedules(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) { liveOfConsumers(t, rand.New(rand.NewPCG(a, b))) })
}

func liveOfConsumers(t *testing.T, random *rand.Rand) {
	t.Helper()
	w := newWorld(t, random, "a:3", "b:5")
	for range 1 + random.IntN(4) {
		w.newModern()
	}
	for range 30 {
		w.run(time.Duration(random.IntN(20)) * time.Second)
		w.disturb()
	}
	w.settle()
	if w.quick == 0 && len(w.clients) > 0 {
		w.fail("no heartbeat was answered quickly")
	}
}

// disturb changes something in the world.
func (w *world) disturb() {
	w.Helper()
	switch w.random.IntN(8) {
	case 0, 1:
		if len(w.clients) < 8 {
			w.newModern()
		}
	case 2, 3:
		w.changeTopics()
	case 4, 5:
		if len(w.clients) > 1 {
			if c, ok := w.clients[w.random.IntN(len(w.clients))].(*modern); ok {
				if c.instance != "" && w.random.IntN(3) > 0 {
					c.restart(w)
					return
				}
				c.leave(w, w.random.IntN(2) == 0)
				w.drop(c)
			}
		}
	case 6:
		if c, ok := w.clients[w.random.IntN(len(w.clients))].(*modern); ok {
			c.stubborn = !c.stubborn && w.random.IntN(3) == 0
			c.lose()
		}
	}
}

// settle ends all faults, and checks that the group comes to where it should.
func (w *world) settle() {
	w.Helper()
	w.calm = true
	w.note("calm")
	for _, c := range w.clients {
		if c, ok := c.(*modern); ok {
			if c.slow = false; c.stubborn {
				c.stubborn = false
				c.lose()
			}
		}
	}
	w.run(5 * time.Minute)
	w.checkSettled()
	before, requests := string(w.state), w.requests
	w.run(3 * time.Minute)
	if string(w.state) != before {
		w.fail("nothing happened in %d requests, but the state was\n%s", w.requests-requests, before)
	}
}
