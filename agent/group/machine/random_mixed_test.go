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

// old is a client of the classic protocol, eager or cooperative.
type old struct {
	name        string // the client's, for people
	id          string
	cooperative bool
	topics      []string
	generation  int32
	owned       assign.Partitions
	// What it is about to do, or what it waits for.
	doing    doing
	join     *kmsg.JoinGroupRequest
	joinedAs string // the member ID that the parked join is for
	sync     *kmsg.SyncGroupRequest
	leads    bool
	knows    int64 // the catalog that it assigned with
	next     time.Time
	heard    time.Time
}

type doing int

const (
	toJoin doing = iota
	joining
	syncing
	working
)

func (c *old) String() string {
	return fmt.Sprintf("%s %q cooperative %v generation %d doing %d leads %v owned %v of %v", c.name, c.id, c.cooperative, c.generation, c.doing, c.leads, c.owned, c.topics)
}

func (c *old) holds() assign.Partitions { return c.owned }

func (c *old) lose(w *world, id string) {
	c.own(w, nil)
	c.id, c.generation, c.doing, c.next = id, -1, toJoin, w.now
}

func (c *old) own(w *world, p assign.Partitions) {
	c.owned = p
	w.changes++
}

func (c *old) act(w *world) {
	w.Helper()
	if c.id != "" && c.generation > 0 && w.now.Sub(c.heard) >= sessionTimeout {
		w.note("%s heard nothing for a session", c.name)
		c.lose(w, c.id)
	}
	switch c.doing {
	case toJoin:
		if !w.now.Before(c.next) {
			c.sendJoin(w)
		}
	case joining:
		c.wait(w)
		if w.chance(50) { // its agent died
			c.sendJoin(w)
		} else if resp := w.load().JoinAnswer(c.join, c.joinedAs); resp != nil {
			c.joined(w, resp)
		}
	case syncing:
		c.wait(w)
		if w.chance(50) {
			c.sendSync(w)
		} else if resp := w.load().SyncAnswer(c.sync); resp != nil {
			c.synced(w, resp)
		}
	case working:
		if w.now.Before(c.next) {
			return
		}
		if c.leads && c.knows < w.catalog().seq {
			c.rejoin(w, "topics changed")
			return
		}
		c.beat(w)
	}
}

// wait is what the agent does that parks a request: it says that it hears of the member.
func (c *old) wait(w *world) {
	c.heard, w.beats[c.joinedAs] = w.now, w.now
}

func (c *old) rejoin(w *world, why string) {
	w.note("%s joins again: %s", c.name, why)
	if !c.cooperative {
		c.own(w, nil)
	}
	c.doing = toJoin
}

func (c *old) sendJoin(w *world) {
	w.Helper()
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = 1, c.topics
	for _, id := range c.owned.Topics() {
		topic, _ := w.catalog().ByID(id)
		o := kmsg.NewConsumerMemberMetadataOwnedPartition()
		o.Topic, o.Partitions = topic.Name, c.owned[id]
		m.OwnedPartitions = append(m.OwnedPartitions, o)
	}
	c.join = joinRequest(c.id)
	c.join.Version, c.join.Protocols[0].Metadata = 5, m.AppendTo(nil)
	newID := fmt.Sprintf("%s-%d", c.name, w.requests)
	c.joinedAs = c.id
	if c.id == "" {
		c.joinedAs = newID
	}
	var resp *kmsg.JoinGroupResponse
	w.request(c.id, func(g *Group, env Env) { resp = g.JoinGroup(env, Client{ID: c.name}, newID, c.join) })
	if w.chance(15) {
		return // lost
	}
	if resp == nil {
		c.doing = joining
		c.wait(w)
		return
	}
	c.joined(w, resp)
}

func (c *old) joined(w *world, resp *kmsg.JoinGroupResponse) {
	w.Helper()
	c.doing = toJoin
	switch resp.ErrorCode {
	case 0:
	case kerr.MemberIDRequired.Code:
		c.id = resp.MemberID
		return
	case kerr.RebalanceInProgress.Code:
		return
	case kerr.UnknownMemberID.Code:
		c.outcast(w, "join")
		return
	default:
		w.fail("%s: join answered %v", c.name, kerr.ErrorForCode(resp.ErrorCode))
	}
	c.generation, c.leads, c.heard = resp.Generation, resp.LeaderID == resp.MemberID, w.now
	c.sync = syncRequest(c.id, c.generation)
	c.sync.Version = 4
	if c.leads {
		c.knows = w.catalog().seq
		c.sync.GroupAssignment = c.assign(w, resp.Members)
	}
	w.note("%s joined generation %d, leads %v", c.name, c.generation, c.leads)
	c.sendSync(w)
}

// outcast: it is no member any more. That must have a reason.
func (c *old) outcast(w *world, where string) {
	w.Helper()
	w.note("%s %s is unknown to %s", c.name, c.id, where)
	if c.generation > 0 && w.now.Sub(c.heard) < sessionTimeout {
		w.fail("%s did as it was told, and is no member", c.name)
	}
	c.lose(w, "")
}

// assign is what a leader does: all in a circle, but nothing that a cooperative member must give up first.
func (c *old) assign(w *world, members []kmsg.JoinGroupResponseMember) []kmsg.SyncGroupRequestGroupAssignment {
	w.Helper()
	said, has := make([]consumerMetadata, len(members)), map[string]int{}
	for i, m := range members {
		var err error
		if said[i], err = readSubscription(m.ProtocolMetadata); err != nil {
			w.fail("%v", err)
		}
		for _, o := range said[i].owned {
			for _, n := range o.Partitions {
				has[fmt.Sprint(o.Topic, n)] = i
			}
		}
	}
	given, turn := make([][]string, len(members)), 0
	for _, topic := range w.catalog().topics {
		for n := range topic.Partitions {
			for range members {
				turn = (turn + 1) % len(members)
				if slices.Contains(said[turn].topics, topic.Name) {
					owner, owned := has[fmt.Sprint(topic.Name, n)]
					if !c.cooperative || !owned || owner == turn {
						given[turn] = append(given[turn], fmt.Sprintf("%s:%d", topic.Name, n))
					}
					break
				}
			}
		}
	}
	var all []kmsg.SyncGroupRequestGroupAssignment
	for i, m := range members {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = m.MemberID, assignment(given[i]...)
		all = append(all, a)
	}
	return all
}

func (c *old) sendSync(w *world) {
	w.Helper()
	var resp *kmsg.SyncGroupResponse
	w.request(c.id, func(g *Group, env Env) { resp = g.SyncGroup(env, c.sync) })
	c.joinedAs = c.id
	switch {
	case w.chance(15):
		c.doing = toJoin // lost
	case resp == nil:
		c.doing = syncing
		c.wait(w)
	default:
		c.synced(w, resp)
	}
}

func (c *old) synced(w *world, resp *kmsg.SyncGroupResponse) {
	w.Helper()
	c.doing = toJoin
	switch resp.ErrorCode {
	case 0:
	case kerr.RebalanceInProgress.Code:
		c.rejoin(w, "sync said so")
		return
	case kerr.UnknownMemberID.Code:
		c.outcast(w, "sync")
		return
	case kerr.IllegalGeneration.Code:
		c.lose(w, c.id)
		return
	default:
		w.fail("%s: sync answered %v", c.name, kerr.ErrorForCode(resp.ErrorCode))
	}
	assigned, err := readAssignment(resp.MemberAssignment, w.catalog())
	if err != nil {
		w.fail("%v", err)
	}
	_, lost := divide(c.owned, assigned)
	w.note("%s in generation %d gets %s", c.name, c.generation, shownPartitions(w.catalog(), assigned))
	c.own(w, assigned)
	c.doing, c.next = working, w.now
	if c.cooperative && len(lost) > 0 {
		c.rejoin(w, "gave something up")
	}
}

func (c *old) beat(w *world) {
	w.Helper()
	c.next = w.now.Add(sessionTimeout / 3)
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 4, "g", c.id, c.generation
	var code int16
	w.request(c.id, func(g *Group, env Env) {
		code = w.quicklyOrNot(g, env,
			func() kmsg.Response { return orNil(g.QuickHeartbeat(env, req)) },
			func() kmsg.Response { return g.Heartbeat(env, req) },
		).(*kmsg.HeartbeatResponse).ErrorCode
	})
	if w.chance(15) {
		return
	}
	switch code {
	case 0:
		c.heard = w.now
	case kerr.RebalanceInProgress.Code:
		c.heard = w.now
		c.rejoin(w, "heartbeat said so")
	case kerr.UnknownMemberID.Code:
		c.outcast(w, "heartbeat")
	case kerr.IllegalGeneration.Code:
		c.lose(w, c.id)
	default:
		w.fail("%s: heartbeat answered %v", c.name, kerr.ErrorForCode(code))
	}
}

func (c *old) leave(w *world, crash bool) {
	w.Helper()
	w.note("%s leaves (crash %v)", c.name, crash)
	if !crash && c.id != "" {
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Version, req.Group, req.MemberID = 2, "g", c.id
		w.request("", func(g *Group, env Env) { g.LeaveGroup(env, req) })
	}
	w.drop(c)
}

func (w *world) newOld(cooperative bool) {
	w.requests++
	w.clients = append(w.clients, &old{name: fmt.Sprintf("old%d", w.requests), cooperative: cooperative, topics: randomNames(w.random), generation: -1})
}

func TestMigrationOnRandomSchedules(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	conversions := 0
	for n := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, n))
		t.Run(fmt.Sprint(n), func(t *testing.T) { conversions += liveOfMixedGroup(t, random) })
	}
	if t.Logf("%d conversions", conversions); conversions < 4 {
		t.Errorf("only %d conversions", conversions)
	}
}

// FuzzMigrationSchedules lets the fuzzer choose the seed.
func FuzzMigrationSchedules(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) { liveOfMixedGroup(t, rand.New(rand.NewPCG(a, b))) })
}

// liveOfMixedGroup returns how often the group changed its protocol.
func liveOfMixedGroup(t *testing.T, random *rand.Rand) int {
	t.Helper()
	w := newWorld(t, random, "a:3", "b:5")
	w.mixed, w.limits.MayDowngrade = true, random.IntN(3) > 0
	cooperative := random.IntN(2) == 0
	for range 1 + random.IntN(3) {
		w.newOld(cooperative)
	}
	for range 30 {
		w.run(time.Duration(random.IntN(20)) * time.Second)
		switch random.IntN(6) {
		case 0:
			if len(w.clients) < 7 {
				w.newOld(cooperative)
			}
		case 1:
			if i := random.IntN(len(w.clients) + 1); i < len(w.clients) {
				if c, ok := w.clients[i].(*old); ok {
					c.leave(w, random.IntN(2) == 0)
				}
			}
		case 2: // back to the classic protocol
			for _, c := range slices.Clone(w.clients) {
				if c, ok := c.(*modern); ok {
					c.leave(w, random.IntN(2) == 0)
					w.drop(c)
				}
			}
		default:
			if len(w.clients) > 0 {
				w.disturb()
			}
		}
	}
	w.settle()
	return w.conversions
}
