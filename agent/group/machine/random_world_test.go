package machine

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/group/assign"
)

// world is a group, agents that serve it and clients that live in it, by one clock. The agents differ in how much of the catalog
// they know. Their requests to the store meet each other, and replies get lost between store, agent and client.
type world struct {
	testing.TB
	random *rand.Rand
	now    time.Time
	state  []byte
	due    time.Time // of the state; what agents hear only puts it off
	// beats is what agents noted of members, as seldom as they may.
	beats       map[string]time.Time
	catalogs    []catalog // the last is the newest
	limits      Limits
	clients     []client
	requests    int
	conversions int
	quick       int // heartbeats that could be answered without changing anything
	changes     int // of what clients hold, at least when they change
	log         []string
	// calm ends all faults.
	calm bool
	// mixed is a world with classic clients. They know topics by name only, so that none may come back as
	// another, and the agent that converts the group has to know all topics.
	mixed bool
}

// client is somebody who may be a member.
type client interface {
	// act does what the client does now, if anything.
	act(w *world)
	// holds are the partitions that it uses.
	holds() assign.Partitions
	// String says who it is and how it is.
	String() string
}

func newWorld(t testing.TB, random *rand.Rand, topics ...string) *world {
	w := &world{TB: t, random: random, now: epoch, beats: map[string]time.Time{}, limits: consumerLimits()}
	w.limits.ConsumerMaxSize, w.limits.MaxSize = 100, 100
	w.catalogs = []catalog{catalog{}.with(topics...)}
	w.state = []byte("{}")
	return w
}

func (w *world) catalog() catalog { return w.catalogs[len(w.catalogs)-1] }

// chance is true once in n times, and never when the world is calm.
func (w *world) chance(n int) bool { return !w.calm && w.random.IntN(n) == 0 }

func (w *world) note(format string, args ...any) {
	w.log = append(w.log, w.now.Format("04:05.0 ")+fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.Helper()
	for _, line := range w.log[max(0, len(w.log)-60):] {
		w.Log(line)
	}
	for _, c := range w.clients {
		w.Log(c)
	}
	w.Log(string(w.state))
	w.Fatalf(format, args...)
}

// env is what an agent knows.
func (w *world) env() Env {
	env := Env{Now: w.now, Limits: w.limits, Topics: w.catalog()}
	if !w.mixed && w.chance(3) {
		env.Topics = w.catalogs[max(0, len(w.catalogs)-1-w.random.IntN(3))]
	}
	return env
}

func (w *world) load() *Group {
	w.Helper()
	g, err := Decode("g", w.state)
	if err != nil {
		w.fail("%v", err)
	}
	for id, at := range w.beats {
		g.Heard(id, at)
	}
	return g
}

// request sends one to some agent: apply is called once, or more often if something goes wrong between agent and store. What it
// said the last time is the answer. memberID is who is heard of by it.
func (w *world) request(memberID string, apply func(g *Group, env Env)) {
	w.Helper()
	w.requests++
	if w.chance(10) { // an attempt that lost the compare-and-set
		apply(w.load(), w.env())
	}
	g := w.commit(apply)
	if w.chance(10) { // an attempt whose reply got lost
		if w.chance(2) {
			w.tick()
		}
		g = w.commit(apply)
	}
	if timeout, ok := g.SessionTimeout(memberID); ok && !w.now.Before(w.beats[memberID].Add(BeatEvery(timeout))) {
		w.beats[memberID] = w.now
	}
}

// commit stores what becomes of the group, and checks that it doesn't go back.
func (w *world) commit(apply func(g *Group, env Env)) *Group {
	w.Helper()
	g, env := w.load(), w.env()
	apply(g, env)
	b, err := g.Encode()
	if err != nil {
		w.fail("%v", err)
	}
	if bytes.Equal(b, w.state) {
		return g
	}
	old := w.load()
	w.state = b
	w.due = w.load().Due(env)
	if old.Consumer != nil && g.Consumer != nil {
		w.checkEpochs(old.Consumer, g.Consumer)
	}
	if before, after := generation(old), generation(g); after < before && len(old.Members()) > 0 {
		w.fail("went back from generation %d to %d", before, after)
	}
	if before, after := old.Info().Type, g.Info().Type; before != after {
		w.note("from %s to %s", before, after)
		w.conversions++
	}
	return g
}

// generation is that of a classic group, or the epoch.
func generation(g *Group) int32 {
	switch {
	case g.Classic != nil:
		return g.Classic.Generation
	case g.Consumer != nil:
		return g.Consumer.Epoch
	}
	return 0
}

func (w *world) tick() {
	w.Helper()
	if w.due.IsZero() || w.due.After(w.now) {
		return
	}
	before := w.load().Members()
	g := w.commit(func(g *Group, env Env) { g.Tick(env) })
	for _, id := range before {
		if !slices.Contains(g.Members(), id) {
			w.note("%s is removed", id)
		}
	}
	w.due = g.Due(w.env())
}

// checkEpochs: nothing goes back.
func (w *world) checkEpochs(old, now *Consumer) {
	w.Helper()
	if now.Epoch < old.Epoch || now.TargetEpoch < old.TargetEpoch || now.TopicsSeq < old.TopicsSeq {
		w.fail("epochs went back from %d and %d of catalog %d", old.Epoch, old.TargetEpoch, old.TopicsSeq)
	}
	for id, m := range now.Members {
		was := old.Members[id]
		if was != nil && m.Epoch < was.Epoch && m.Epoch != leaveStaticEpoch {
			w.fail("%s went back from epoch %d to %d", id, was.Epoch, m.Epoch)
		}
	}
}

// checkHolders: no two clients use the same partition.
func (w *world) checkHolders() {
	w.Helper()
	owners := map[uuid.UUID]map[int32]client{}
	for _, c := range w.clients {
		for topic, list := range c.holds() {
			if owners[topic] == nil {
				owners[topic] = map[int32]client{}
			}
			for _, n := range list {
				if other := owners[topic][n]; other != nil {
					w.fail("partition %d of %v is used by two:\n%v\n%v", n, topic, other, c)
				}
				owners[topic][n] = c
			}
		}
	}
}

// changeTopics creates, grows or deletes one.
func (w *world) changeTopics() {
	name := string(rune('a' + w.random.IntN(4)))
	topic, exists := w.catalog().ByName(name)
	next := w.catalog().without(name)
	switch {
	case exists && w.mixed:
		next = w.catalog().with(fmt.Sprintf("%s:%d", name, topic.Partitions+1))
	case !exists:
		next = w.catalog().with(fmt.Sprintf("%s:%d", name, 1+w.random.IntN(6)))
	case w.random.IntN(3) > 0:
		next = w.catalog().with(fmt.Sprintf("%s:%d", name, topic.Partitions+1))
	}
	w.catalogs = append(w.catalogs, next)
	w.note("topics: %v", next.topics)
}

// run lets the world live for a while.
func (w *world) run(d time.Duration) {
	w.Helper()
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(time.Duration(100+w.random.IntN(900)) * time.Millisecond)
		w.tick()
		for _, i := range w.random.Perm(len(w.clients)) {
			before := w.changes
			if w.clients[i].act(w); w.changes > before {
				w.checkHolders()
			}
		}
	}
}

// checkSettled: after a while without faults all is Stable and everything is used by whom it is meant for.
func (w *world) checkSettled() {
	w.Helper()
	g := w.load()
	if phase := g.Info().Phase; phase != Stable && len(w.clients) > 0 {
		w.fail("the group is %s", phase)
	}
	used := assign.Partitions{}
	for _, c := range w.clients {
		gather(used, c.holds())
	}
	want := assign.Partitions{}
	for _, topic := range w.catalog().topics {
		if g.Subscribed(topic.Name) {
			for n := range topic.Partitions {
				want = add(want, topic.ID, n)
			}
		}
	}
	if !sorted(used).Equal(want) {
		w.fail("used are %v, want %v", used, want)
	}
	if got := g.Members(); len(got) != len(w.clients) {
		w.fail("%d members are %d clients", len(got), len(w.clients))
	}
}

func shownPartitions(c catalog, p assign.Partitions) string {
	s := map[string][]int32{}
	for id, list := range p {
		name := id.String()[:4]
		if topic, ok := c.ByID(id); ok {
			name = topic.Name
		}
		s[name] = list
	}
	out := ""
	for _, name := range slices.Sorted(maps.Keys(s)) {
		out += fmt.Sprint(name, s[name])
	}
	return out
}
