package machine

import (
	"bytes"
	"cmp"
	"container/heap"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var simSeed = flag.Uint64("sim.seed", 0, "run TestClassicSchedules with this seed only")

// TestClassicSchedules lets clients of one group speak with agents that die, lose replies, apply requests twice and notice each
// other's changes late, and checks what the package promises at every step.
func TestClassicSchedules(t *testing.T) {
	seeds := []uint64{*simSeed}
	if *simSeed == 0 {
		seeds = seeds[:0]
		first := rand.Uint64()
		for i := range uint64(60) {
			seeds = append(seeds, first+i)
		}
	}
	steps := 0
	for _, seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 0))
		s := newSim(t, seed, 1+rng.IntN(7), 1+rng.IntN(4), rng.Float64()*0.3, rng.Float64())
		steps += s.run(20 * time.Minute)
	}
	t.Logf("%d steps", steps)
}

func FuzzClassicSchedule(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(2), uint8(20), uint8(128))
	f.Add(uint64(2), uint8(6), uint8(3), uint8(0), uint8(255))
	f.Fuzz(func(t *testing.T, seed uint64, clients, agents, loss, churn uint8) {
		newSim(t, seed, 1+int(clients)%8, 1+int(agents)%4, float64(loss)/1024, float64(churn)/255).run(3 * time.Minute)
	})
}

const (
	simPartitions = 12
	simRebalance  = 30 * time.Second
)

// sim is one group in a store, agents that share it, clients, and a clock that jumps from event to event.
type sim struct {
	testing.TB
	seed uint64
	rng  *rand.Rand
	// loss is how likely a message is lost, churn how busy clients and agents come and go.
	loss, churn float64
	now         time.Time
	events      simEvents
	steps, ids  int

	// The store: the group, and what each agent noted last that it heard.
	state   []byte
	version int
	due     time.Time
	noted   []map[string]time.Time

	agents    []*simAgent
	clients   []*simClient
	lastDeath time.Time
	// deaths: agents die. If not, clients may let more of their session pass between heartbeats.
	deaths bool
	// calm: nothing goes wrong any more.
	calm        bool
	generations map[int32]*simGeneration
	log         []string
}

// simGeneration is what was ever seen of one.
type simGeneration struct {
	members     []string          // by instance ID, or ID
	assignments map[string]string // once assigned
	owners      [simPartitions]string
}

// simAgent keeps what an agent keeps in memory.
type simAgent struct {
	n      int
	up     bool
	since  time.Time
	heard  map[string]time.Time
	inbox  []*simRequest
	parked []*simRequest
	seen   int
}

type simRequest struct {
	client  *simClient
	attempt int
	// member is who it is from; newID is what it becomes if it has no ID.
	member, newID string
	join          *kmsg.JoinGroupRequest
	sync          *kmsg.SyncGroupRequest
	heartbeat     *kmsg.HeartbeatRequest
	leave         *kmsg.LeaveGroupRequest
	parkedAt      time.Time
	closed        bool // the client is gone or asks elsewhere
}

// simClient is a consumer that behaves: it joins when it should, and retries what gets lost.
type simClient struct {
	n        int
	up       bool
	version  int16
	instance *string
	topics   []string
	memberID string
	gen      int32
	leader   bool
	plan     map[string]string
	stable   bool
	next     string    // what it asks next: join, sync, heartbeat
	since    time.Time // when it began to ask for that
	// late: until then it is busy and only heartbeats; from then on it may find that it was thrown out.
	late     time.Time
	attempt  int // answers to earlier ones don't matter any more
	failures int
	asked    *simRequest
	owned    string
}

func newSim(t testing.TB, seed uint64, clients, agents int, loss, churn float64) *sim {
	s := &sim{TB: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), loss: loss, churn: churn, now: epoch, generations: map[int32]*simGeneration{}}
	s.deaths = s.chance(0.7)
	var err error
	if s.state, err = New("g").Encode(); err != nil {
		t.Fatal(err)
	}
	for n := range agents {
		s.agents = append(s.agents, &simAgent{n: n})
		s.noted = append(s.noted, map[string]time.Time{})
		s.start(s.agents[n])
		s.every(func() time.Duration { return s.between(25, 700) }, func() { s.poll(s.agents[n]) })
		s.every(func() time.Duration { return BeatEvery(sessionTimeout) - s.between(1, 300) }, func() { s.note(s.agents[n]) })
	}
	for n := range clients {
		c := &simClient{n: n, version: []int16{3, 5, 9}[s.rng.IntN(3)], topics: []string{"t"}}
		if c.version >= 5 && s.rng.IntN(2) == 0 {
			c.instance = kmsg.StringPtr(fmt.Sprintf("i%d", n))
		}
		s.clients = append(s.clients, c)
		s.at(s.between(0, 20_000), func() { s.boot(c) })
	}
	s.every(func() time.Duration { return s.between(5, 200) }, s.tick)
	s.every(func() time.Duration { return s.between(500, 500+int(20_000*(1-s.churn))) }, s.mischief)
	return s
}

// run lets things go wrong for that long, and then looks whether they become right again.
func (s *sim) run(d time.Duration) int {
	s.Helper()
	s.until(s.now.Add(d))
	s.calm, s.loss = true, 0
	s.until(s.now.Add(4 * simRebalance)) // until those that are busy have time again
	for _, a := range s.agents {
		s.start(a)
	}
	for _, c := range s.clients {
		s.boot(c)
	}
	s.until(s.now.Add(2*sessionLasts + 3*simRebalance))

	g := s.decode()
	var owned []string
	for _, c := range s.clients {
		if !c.stable || c.gen != g.Classic.Generation || g.Classic.member(c.memberID) == nil {
			s.fail("client %d isn't part of the group when all is calm: %+v", c.n, c)
		}
		owned = append(owned, strings.Fields(c.owned)...)
	}
	if len(s.clients) != len(g.Members()) || g.Classic.State != Stable || len(owned) != simPartitions {
		s.fail("when all is calm, %d clients own %d partitions", len(s.clients), len(owned))
	}
	for _, a := range s.agents {
		if len(a.parked) > 0 {
			s.fail("agent %d still has %d requests parked", a.n, len(a.parked))
		}
	}
	return s.steps
}

func (s *sim) until(end time.Time) {
	for len(s.events) > 0 && !s.events[0].at.After(end) {
		e := heap.Pop(&s.events).(*simEvent)
		s.now = e.at
		e.do()
	}
	s.now = end
}

func (s *sim) fail(format string, args ...any) {
	s.Helper()
	log := s.log[max(0, len(s.log)-60):]
	s.Fatalf("%s\n\nstate: %s\n%s\nagain with -sim.seed=%d", fmt.Sprintf(format, args...), s.state, strings.Join(log, "\n"), s.seed)
}

func (s *sim) logf(format string, args ...any) {
	s.log = append(s.log, s.now.Sub(epoch).String()+" "+fmt.Sprintf(format, args...))
	if len(s.log) > 1000 {
		s.log = slices.Delete(s.log, 0, 900)
	}
}

func (s *sim) chance(p float64) bool { return s.rng.Float64() < p }

func (s *sim) between(lowMs, highMs int) time.Duration {
	return time.Duration(lowMs+s.rng.IntN(highMs-lowMs+1)) * time.Millisecond
}

// The agents.

func (s *sim) start(a *simAgent) {
	if !a.up {
		a.up, a.since, a.heard = true, s.now, map[string]time.Time{}
		s.logf("agent %d starts", a.n)
	}
}

// die drops what the agent had in memory. Clients see their connections break.
func (s *sim) die(a *simAgent) {
	s.logf("agent %d dies with %d requests parked", a.n, len(a.parked))
	requests := slices.Concat(a.inbox, a.parked)
	a.up, a.inbox, a.parked, a.seen, s.lastDeath = false, nil, nil, 0, s.now
	for _, r := range requests {
		s.broken(r)
	}
}

func (s *sim) env(a *simAgent) Env {
	l := limits
	l.MaxSize, l.MaxMetadataBytes = 1000, 1<<20
	return Env{Now: s.now, Since: a.since, Limits: l}
}

func (s *sim) decode() *Group {
	s.Helper()
	s.steps++
	g, err := Decode("g", s.state)
	if err != nil {
		s.fail("%v", err)
	}
	return g
}

// load is the group as the agent knows it: with what all agents noted, and what it heard itself.
func (s *sim) load(a *simAgent) *Group {
	g := s.decode()
	for _, beats := range append(slices.Clone(s.noted), a.heard) {
		for id, at := range beats {
			g.Heard(id, at)
		}
	}
	return g
}

// work applies what waits at the agent, in one go.
func (s *sim) work(a *simAgent) {
	if !a.up {
		return
	}
	inbox := slices.DeleteFunc(a.inbox, func(r *simRequest) bool { return r.closed && s.chance(0.5) })
	a.inbox = nil
	g, env := s.load(a), s.env(a)
	var answers []kmsg.Response
	apply := func() {
		before := *g.classic()
		before.Members = slices.Clone(before.Members)
		g.Tick(env)
		s.checkForgotten(&before, g, env)
		if due := g.Due(env); !due.IsZero() && !due.After(s.now) {
			s.fail("due at %v after a tick at %v", due, s.now)
		}
		answers = answers[:0]
		for _, r := range inbox {
			answers = append(answers, s.apply(g, env, r))
		}
		s.store(g, env)
	}
	apply()
	if s.chance(s.loss) { // the store's reply was lost
		g = s.load(a)
		apply()
	}
	for i, r := range inbox {
		resp := answers[i]
		if resp == nil {
			resp = r.later(g)
		}
		if code := codeOf(resp); code == 0 || code == kerr.RebalanceInProgress.Code {
			if _, ok := g.SessionTimeout(r.member); ok {
				a.heard[r.member] = s.now
			}
		}
		if resp != nil {
			s.answer(r, resp)
			continue
		}
		r.parkedAt = s.now
		a.parked = append(a.parked, r)
	}
	s.wake(a, g)
}

func (s *sim) apply(g *Group, env Env, r *simRequest) kmsg.Response {
	s.steps++
	switch {
	case r.join != nil:
		if resp := g.JoinGroup(env, Client{ID: "c"}, r.newID, r.join); resp != nil {
			return resp
		}
	case r.sync != nil:
		if resp := g.SyncGroup(env, r.sync); resp != nil {
			return resp
		}
	case r.heartbeat != nil:
		quick, resp := g.QuickHeartbeat(env, r.heartbeat), g.Heartbeat(env, r.heartbeat)
		if quick != nil && !reflect.DeepEqual(quick, resp) || quick == nil && resp.ErrorCode == 0 {
			s.fail("a heartbeat was answered %+v quickly, %+v in full", quick, resp)
		}
		return resp
	case r.leave != nil:
		return g.LeaveGroup(env, r.leave)
	}
	return nil
}

func (r *simRequest) later(g *Group) kmsg.Response {
	if r.join != nil {
		if resp := g.JoinAnswer(r.join, r.member); resp != nil {
			return resp
		}
	} else if resp := g.SyncAnswer(r.sync); resp != nil {
		return resp
	}
	return nil
}

func codeOf(resp kmsg.Response) int16 {
	switch resp := resp.(type) {
	case *kmsg.JoinGroupResponse:
		return resp.ErrorCode
	case *kmsg.SyncGroupResponse:
		return resp.ErrorCode
	case *kmsg.HeartbeatResponse:
		return resp.ErrorCode
	}
	return 0
}

func (s *sim) store(g *Group, env Env) {
	state, err := g.Encode()
	if err != nil {
		s.fail("%v", err)
	}
	s.due = g.Due(env)
	if bytes.Equal(state, s.state) {
		return
	}
	s.state = state
	s.version++
	if c := g.Classic; c != nil {
		s.logf("stored %s %d, leader %s, members %q, pending %d", c.State, c.Generation, c.Leader, g.Members(), len(c.Pending))
	}
	s.checkGeneration(g.classic())
}

// poll notices what other agents stored, at the newest version only.
func (s *sim) poll(a *simAgent) {
	if !a.up || a.seen == s.version || len(a.parked) == 0 {
		return
	}
	s.wake(a, s.decode())
}

func (s *sim) wake(a *simAgent, g *Group) {
	a.seen = s.version
	var parked []*simRequest
	for _, r := range a.parked {
		s.steps++
		if resp := r.later(g); resp != nil {
			s.answer(r, resp)
			continue
		}
		if s.now.Sub(r.parkedAt) > 3*simRebalance+2*sessionLasts {
			s.fail("a request of client %d is parked since %v", r.client.n, r.parkedAt.Sub(epoch))
		}
		parked = append(parked, r)
	}
	a.parked = parked
}

// note tells the store whom the agent heard, and that it hears those whose requests are parked.
func (s *sim) note(a *simAgent) {
	if !a.up {
		return
	}
	a.parked = slices.DeleteFunc(a.parked, func(r *simRequest) bool { return r.closed && s.chance(0.7) })
	for _, r := range a.parked {
		a.heard[r.member] = s.now
	}
	for id, at := range a.heard {
		s.noted[a.n][id] = at
		if s.now.Sub(at) > time.Minute {
			delete(a.heard, id)
			delete(s.noted[a.n], id)
		}
	}
}

// tick has some agent look at the group when something is due.
func (s *sim) tick() {
	if a := s.agent(); a != nil && !s.due.IsZero() && !s.due.After(s.now) {
		s.work(a)
	}
}

func (s *sim) agent() *simAgent {
	up := slices.DeleteFunc(slices.Clone(s.agents), func(a *simAgent) bool { return !a.up })
	if len(up) == 0 {
		return nil
	}
	return up[s.rng.IntN(len(up))]
}

// What must hold.

// checkForgotten looks at the members that a tick removed.
func (s *sim) checkForgotten(before *Classic, g *Group, env Env) {
	missing := !before.phaseEnd(env).IsZero() && !env.Now.Before(before.phaseEnd(env))
	for _, m := range before.Members {
		if g.classic().member(m.ID) != nil {
			continue
		}
		s.logf("%s is removed in %s", m.ID, before.State)
		switch {
		case missing && before.State == PreparingRebalance && !m.Joining && m.InstanceID == nil:
		case missing && before.State != PreparingRebalance && !m.Synced:
		default:
			var heard time.Time
			for n, beats := range s.noted {
				heard = latest(heard, beats[m.ID])
				if a := s.agents[n]; a.up {
					heard = latest(heard, a.heard[m.ID])
				}
			}
			if silent := s.now.Sub(heard); silent < sessionTimeout {
				s.fail("%s is forgotten, silent for %v only", m.ID, silent)
			}
		}
	}
}

func (m *ClassicMember) key() string {
	if m.InstanceID != nil {
		return *m.InstanceID
	}
	return m.ID
}

// checkGeneration: a generation has the same members and the same assignment whenever it is seen.
func (s *sim) checkGeneration(c *Classic) {
	if c.State != CompletingRebalance && c.State != Stable {
		return
	}
	var members []string
	assignments := map[string]string{}
	for _, m := range c.Members {
		members = append(members, m.key())
		assignments[m.key()] = string(m.Assignment)
	}
	seen := s.generations[c.Generation]
	if seen == nil {
		seen = &simGeneration{members: members}
		s.generations[c.Generation] = seen
		delete(s.generations, c.Generation-50)
	}
	if !slices.Equal(seen.members, members) {
		s.fail("generation %d has members %q and %q", c.Generation, seen.members, members)
	}
	if c.State == Stable {
		if seen.assignments == nil {
			seen.assignments = assignments
			if all := strings.Fields(strings.Join(slices.Collect(maps.Values(assignments)), "")); len(all) != simPartitions {
				s.fail("generation %d begins with %d partitions of %d", c.Generation, len(all), simPartitions)
			}
		}
		for key, a := range assignments {
			if seen.assignments[key] != a {
				s.fail("in generation %d, %s is assigned %q and %q", c.Generation, key, seen.assignments[key], a)
			}
		}
	}
}

// owns: no partition is owned twice in a generation.
func (s *sim) owns(c *simClient) {
	key := c.memberID
	if c.instance != nil {
		key = *c.instance
	}
	for _, p := range strings.Fields(c.owned) {
		var n int
		if _, err := fmt.Sscan(p, &n); err != nil {
			s.fail("client %d is assigned %q", c.n, c.owned)
		}
		owner := &s.generations[c.gen].owners[n]
		if *owner != "" && *owner != key {
			s.fail("partition %d of generation %d is owned by %s and %s", n, c.gen, *owner, key)
		}
		*owner = key
	}
}

// The clients.

func (s *sim) boot(c *simClient) {
	if c.up {
		return
	}
	s.logf("client %d starts", c.n)
	c.up, c.memberID, c.gen, c.stable, c.owned, c.failures, c.late, c.next = true, "", -1, false, "", 0, time.Time{}, ""
	s.ask(c, "join", 0)
}

// crash leaves requests behind, which agents notice sooner or later.
func (s *sim) crash(c *simClient) {
	if !c.up {
		return
	}
	s.logf("client %d (%s) crashes", c.n, c.memberID)
	c.up, c.stable = false, false
	s.forget(c)
}

func (s *sim) forget(c *simClient) {
	c.attempt++
	if c.asked != nil {
		c.asked.closed = true
		c.asked = nil
	}
}

// ask sends the client's next request after a while.
func (s *sim) ask(c *simClient, what string, after time.Duration) {
	s.forget(c)
	if c.next != what {
		c.next, c.since = what, s.now.Add(after)
	}
	attempt := c.attempt
	s.at(after, func() {
		if c.up && c.attempt == attempt {
			s.send(c)
		}
	})
}

func (s *sim) send(c *simClient) {
	r := &simRequest{client: c, attempt: c.attempt, member: c.memberID}
	c.asked = r
	switch c.next {
	case "join":
		s.ids++
		r.newID = fmt.Sprintf("c%d-%d", c.n, s.ids)
		if r.member == "" {
			r.member = r.newID
		}
		r.join = joinRequest(c.memberID, version(c.version), protocol("range", c.topics...))
		r.join.InstanceID, r.join.RebalanceTimeoutMillis = c.instance, int32(simRebalance.Milliseconds())
	case "sync":
		r.sync = syncRequest(c.memberID, c.gen)
		r.sync.InstanceID = c.instance
		for _, id := range slices.Sorted(maps.Keys(c.plan)) {
			r.sync.GroupAssignment = append(r.sync.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: id, MemberAssignment: []byte(c.plan[id])})
		}
	case "heartbeat":
		r.heartbeat = kmsg.NewPtrHeartbeatRequest()
		r.heartbeat.MemberID, r.heartbeat.Generation, r.heartbeat.InstanceID = c.memberID, c.gen, c.instance
	}
	a := s.agent()
	// A client that has bad luck all the time is as good as dead, which is not what is looked at.
	if a == nil || c.failures < 4 && s.chance(s.loss) {
		s.broken(r)
		return
	}
	a.inbox = append(a.inbox, r)
	s.at(s.between(0, 40), func() {
		if len(a.inbox) > 0 {
			s.work(a)
		}
	})
	// Who waits too long for an answer asks again elsewhere.
	s.at(s.between(15_000, 40_000), func() {
		if c.up && c.attempt == r.attempt {
			s.broken(r)
		}
	})
}

// broken: the client learns that its request failed, and asks again.
func (s *sim) broken(r *simRequest) {
	if c := r.client; c.up && c.attempt == r.attempt {
		c.failures++
		if s.agent() != nil && s.now.Sub(c.since) > 4*simRebalance && c.next != "heartbeat" && s.now.Sub(s.lastDeath) > time.Minute {
			s.fail("client %d asks for %s since %v", c.n, c.next, c.since.Sub(epoch))
		}
		s.ask(c, c.next, s.between(50, 400))
	}
}

// answer hands an answer to the client, unless it is lost or nobody waits for it any more.
func (s *sim) answer(r *simRequest, resp kmsg.Response) {
	c := r.client
	if !c.up || c.attempt != r.attempt {
		return
	}
	if c.failures < 4 && s.chance(s.loss) {
		s.broken(r)
		return
	}
	c.failures = 0
	switch code := codeOf(resp); {
	case code == 0:
	case code == kerr.MemberIDRequired.Code:
		c.memberID = resp.(*kmsg.JoinGroupResponse).MemberID
		s.ask(c, "join", s.between(0, 50))
		return
	case code == kerr.RebalanceInProgress.Code && s.now.Before(c.late):
		s.ask(c, "heartbeat", s.beat())
		return
	case code == kerr.RebalanceInProgress.Code, code == kerr.IllegalGeneration.Code:
		c.stable = false
		s.ask(c, "join", s.between(0, 2000))
		return
	case code == kerr.UnknownMemberID.Code && !c.late.IsZero():
		c.memberID, c.stable, c.late = "", false, time.Time{}
		s.ask(c, "join", 0)
		return
	default: // whatever happens, a client that lives and behaves is never told that it is not known
		s.fail("client %d asked as %s for %s and is told %v", c.n, r.member, c.next, kerr.ErrorForCode(code))
	}
	switch resp := resp.(type) {
	case *kmsg.JoinGroupResponse:
		c.memberID, c.gen, c.leader, c.plan = resp.MemberID, resp.Generation, resp.LeaderID == resp.MemberID, map[string]string{}
		if c.leader && !resp.SkipAssignment {
			for p := range simPartitions {
				c.plan[resp.Members[p%len(resp.Members)].MemberID] += fmt.Sprintf("%d ", p)
			}
		}
		if s.now.Before(c.late) {
			s.ask(c, "heartbeat", s.beat())
			return
		}
		s.ask(c, "sync", s.between(0, 500))
	case *kmsg.SyncGroupResponse:
		c.stable, c.owned = true, string(resp.MemberAssignment)
		s.owns(c)
		s.ask(c, "heartbeat", s.beat())
	case *kmsg.HeartbeatResponse:
		if !c.stable && !s.now.Before(c.late) {
			s.ask(c, "sync", 0)
			return
		}
		s.ask(c, "heartbeat", s.beat())
	}
}

// beat is how long a client waits between heartbeats. Where agents die and take with them whom they heard last, there must be room
// for one or two lost ones in a session.
func (s *sim) beat() time.Duration {
	if s.deaths {
		return 3 * time.Second
	}
	return s.between(3000, 7500)
}

// mischief makes one thing go wrong.
func (s *sim) mischief() {
	if s.calm {
		return
	}
	c := s.clients[s.rng.IntN(len(s.clients))]
	switch s.rng.IntN(10) {
	case 0, 1:
		s.crash(c)
	case 2, 3:
		s.boot(c)
	case 4: // it leaves, and perhaps nobody hears of it
		if a := s.agent(); a != nil && c.up && c.memberID != "" && c.next != "join" {
			s.logf("client %d leaves", c.n)
			leave := kmsg.NewPtrLeaveGroupRequest()
			leave.Version, leave.Members = 5, []kmsg.LeaveGroupRequestMember{{MemberID: c.memberID, InstanceID: c.instance}}
			s.crash(c)
			if !s.chance(s.loss) {
				a.inbox = append(a.inbox, &simRequest{client: c, leave: leave, attempt: -1, member: c.memberID})
				s.work(a)
			}
		}
	case 5: // other topics, or a leader that wants a rebalance
		if c.up && c.stable {
			if s.chance(0.5) {
				c.topics = []string{fmt.Sprintf("t%d", s.rng.IntN(3))}
			}
			c.stable = false
			s.ask(c, "join", 0)
		}
	case 6: // it is busy for longer than it may be
		if c.up {
			c.late = s.now.Add(s.between(1000, int(4*simRebalance.Milliseconds())))
			s.logf("client %d (%s) is busy until %v", c.n, c.memberID, c.late.Sub(epoch))
		}
	case 7: // for a while nobody is there to hear
		if s.deaths && s.chance(0.1) {
			for _, a := range s.agents {
				s.die(a)
				s.at(s.between(10_000, 50_000), func() { s.start(a) })
			}
		}
	case 8, 9: // what it heard and didn't note is lost, so agents don't die one right after the other
		if !s.deaths {
			return
		}
		a := s.agents[s.rng.IntN(len(s.agents))]
		if !a.up {
			s.start(a)
		} else if s.now.Sub(s.lastDeath) > 5*time.Second {
			s.die(a)
			s.at(s.between(10, 20_000), func() { s.start(a) })
		}
	}
}

// Events.

type simEvent struct {
	at time.Time
	n  uint64
	do func()
}

type simEvents []*simEvent

func (e simEvents) Len() int { return len(e) }
func (e simEvents) Less(i, j int) bool {
	return cmp.Or(e[i].at.Compare(e[j].at), cmp.Compare(e[i].n, e[j].n)) < 0
}
func (e simEvents) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *simEvents) Push(x any)   { *e = append(*e, x.(*simEvent)) }
func (e *simEvents) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (s *sim) at(after time.Duration, do func()) {
	s.ids++
	heap.Push(&s.events, &simEvent{at: s.now.Add(after), n: uint64(s.ids), do: do})
}

func (s *sim) every(interval func() time.Duration, do func()) {
	s.at(interval(), func() {
		do()
		s.every(interval, do)
	})
}
