package cluster

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

// answering is an agent whose stores answer so.
func answering(put, commit time.Duration, state metadata.AgentState) metadata.Agent {
	return metadata.Agent{State: state, Load: metadata.AgentLoad{Put: put, Commit: commit}}
}

// fleet is n agents whose stores answer as usual.
func fleet(n int) []metadata.Agent {
	var all []metadata.Agent
	for range n {
		all = append(all, answering(50*time.Millisecond, 5*time.Millisecond, metadata.Serving))
	}
	return all
}

func TestDecide(t *testing.T) {
	const ms = time.Millisecond
	now := time.Unix(1_800_000_000, 0)
	lately, longAgo := now.Add(-10*time.Second), now.Add(-time.Minute)
	slow := answering(9*time.Second, 0, metadata.Slow)
	cases := []struct {
		name        string
		was         health
		put, commit time.Duration
		others      []metadata.Agent
		want        health
	}{
		{"as the others", health{}, 50 * ms, 5 * ms, fleet(2), health{}},
		{"slow puts, first beat", health{}, 300 * ms, 5 * ms, fleet(2), health{beats: 1}},
		{"slow puts, second beat", health{beats: 1}, 300 * ms, 5 * ms, fleet(2), health{beats: 2}},
		{"slow puts, third beat", health{beats: 2}, 300 * ms, 5 * ms, fleet(2), health{slow: true, since: now}},
		{"slow commits, third beat", health{beats: 2}, 50 * ms, 60 * ms, fleet(2), health{slow: true, since: now}},
		{"a good beat between", health{beats: 2}, 60 * ms, 6 * ms, fleet(2), health{}},
		{"4 times, but not by 200 ms", health{beats: 2}, 40 * ms, 5 * ms, []metadata.Agent{answering(5*ms, 5*ms, metadata.Serving)}, health{}},
		{"by 200 ms, but not 4 times", health{beats: 2}, 900 * ms, 5 * ms, []metadata.Agent{answering(300*ms, 5*ms, metadata.Serving)}, health{}},
		{"alone", health{beats: 2}, 9000 * ms, 900 * ms, nil, health{}},
		{"the others are draining", health{beats: 2}, 9000 * ms, 900 * ms, []metadata.Agent{answering(50*ms, 5*ms, metadata.Draining)}, health{}},
		{"nothing known of itself", health{beats: 2}, 0, 5 * ms, fleet(2), health{}},
		{"nothing known of others", health{beats: 2}, 300 * ms, 60 * ms, []metadata.Agent{answering(0, 0, metadata.Serving)}, health{}},
		{"known of few others", health{beats: 2}, 300 * ms, 5 * ms, append([]metadata.Agent{answering(0, 0, metadata.Serving)}, fleet(1)...), health{slow: true, since: now}},
		{"a third is slow already", health{beats: 2}, 300 * ms, 5 * ms, append(fleet(1), slow), health{}},
		{"fewer than a third are", health{beats: 2}, 300 * ms, 5 * ms, append(fleet(2), slow), health{slow: true, since: now}},
		{"older agents tell no state", health{beats: 2}, 300 * ms, 5 * ms, []metadata.Agent{answering(50*ms, 5*ms, "")}, health{slow: true, since: now}},

		{"slow, and still worse", health{slow: true, since: longAgo, beats: 2}, 300 * ms, 5 * ms, fleet(2), health{slow: true, since: longAgo}},
		{"slow, and worse than twice", health{slow: true, since: longAgo, beats: 2}, 160 * ms, 5 * ms, fleet(2), health{slow: true, since: longAgo}},
		{"slow, good for two beats", health{slow: true, since: longAgo, beats: 1}, 60 * ms, 5 * ms, fleet(2), health{slow: true, since: longAgo, beats: 2}},
		{"slow, good for three", health{slow: true, since: longAgo, beats: 2}, 60 * ms, 5 * ms, fleet(2), health{since: now}},
		{"slow, good, but too short", health{slow: true, since: lately, beats: 2}, 60 * ms, 5 * ms, fleet(2), health{slow: true, since: lately, beats: 3}},
		{"slow, and was good while too short", health{slow: true, since: longAgo, beats: 8}, 60 * ms, 5 * ms, fleet(2), health{since: now}},
		{"slow, and only the last one", health{slow: true, since: longAgo, beats: 2}, 9000 * ms, 900 * ms, nil, health{since: now}},
		{"slow, and the probe is under way", health{slow: true, since: longAgo, beats: 2}, 0, 5 * ms, fleet(2), health{slow: true, since: longAgo}},
		{"slow, and no others put", health{slow: true, since: longAgo, beats: 2}, 0, 5 * ms, []metadata.Agent{answering(0, 5*ms, metadata.Serving)}, health{since: now}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			self := metadata.AgentLoad{Put: c.put, Commit: c.commit}
			if got, _ := decide(c.was, now, self, c.others); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestAFleetIsNeverSlowAsAWhole: the store gets slow for all, one after the other.
func TestAFleetIsNeverSlowAsAWhole(t *testing.T) {
	const agents = 6
	all, healths := fleet(agents), make([]health, agents)
	now := time.Unix(1_800_000_000, 0)
	for beat := range 100 {
		now = now.Add(BeatEvery)
		slow := 0
		for i := range all {
			if beat > 3*i {
				all[i].Load.Put = 5 * time.Second
			}
			others := append(append([]metadata.Agent{}, all[:i]...), all[i+1:]...)
			healths[i], _ = decide(healths[i], now, all[i].Load, others)
			all[i].State = metadata.Serving
			if healths[i].slow {
				all[i].State = metadata.Slow
				slow++
			}
		}
		if slow > agents/3 {
			t.Fatalf("beat %d: %d of %d are slow", beat, slow, agents)
		}
	}
	for i, h := range healths {
		if h.slow {
			t.Errorf("agent %d is still slow, although all are alike", i)
		}
	}
}

// TestSlowAgentTellsTheOthersAndProbes runs beats of two agents, of which one has a slow object store.
func TestSlowAgentTellsTheOthersAndProbes(t *testing.T) {
	store := openStore(t)
	a, b := newTestMember(store, "a", 0), newTestMember(store, "b", 0)
	usual, late := metadata.AgentLoad{Put: 20 * time.Millisecond, Commit: time.Millisecond}, metadata.AgentLoad{Put: 2 * time.Second, Commit: time.Millisecond}
	own := b.gauge.(*load)
	a.gauge.(*load).set(usual)
	own.set(late)
	var logged bytes.Buffer
	b.log = slog.New(slog.NewTextHandler(&logged, nil))
	register(t, a, b)
	beats := func(n int) {
		for range n {
			for _, m := range []*Membership{a, b} {
				if err := m.beat(t.Context()); err != nil {
					t.Fatal(err)
				}
				m.judge(t.Context())
				m.probing.Wait()
			}
		}
	}
	beats(slowBeats)
	if b.Self().State != metadata.Slow || own.probes.Load() != 1 || !strings.Contains(logged.String(), "put=2s others_put=20ms") {
		t.Fatalf("b is %s after %d probes, and logged %s", b.Self().State, own.probes.Load(), &logged)
	}
	beats(2)
	if got := a.Alive(); got[0].State != metadata.Serving || got[1].State != metadata.Slow || got[1].Load.Put != 2*time.Second {
		t.Errorf("a sees %+v", got)
	}
	if own.probes.Load() != 3 {
		t.Errorf("%d probes in 3 slow beats", own.probes.Load())
	}

	own.set(usual)
	beats(slowBeats)
	if b.Self().State != metadata.Slow {
		t.Errorf("b is %s a moment after it was slow", b.Self().State)
	}
	b.health.since = b.health.since.Add(-slowFor)
	beats(1)
	if b.Self().State != metadata.Serving || !strings.Contains(logged.String(), "it takes clients") {
		t.Errorf("b is %s, and logged %s", b.Self().State, &logged)
	}
}

// TestDrainingAgentStaysDraining whatever its stores do.
func TestDrainingAgentStaysDraining(t *testing.T) {
	store := openStore(t)
	a, b := newTestMember(store, "a", 0), newTestMember(store, "b", 0)
	a.gauge.(*load).set(metadata.AgentLoad{Put: time.Millisecond})
	b.gauge.(*load).set(metadata.AgentLoad{Put: time.Minute})
	register(t, a, b)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	b.Drain(gone)
	for range slowBeats + 1 {
		if err := b.beat(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.judge(t.Context())
		b.probing.Wait()
	}
	if got := b.Self().State; got != metadata.Draining {
		t.Errorf("b is %s", got)
	}
}
