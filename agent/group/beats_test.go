package group

import (
	"maps"
	"testing"
	"time"

	"github.com/wadi-log/wadi/agent/group/machine"
)

// TestMembersAreNotedAsOftenAsTheirSessionsNeed: the first time at once, then
// whenever the shortest session among them asks for it, and again at once when the
// store may not have been told.
func TestMembersAreNotedAsOftenAsTheirSessionsNeed(t *testing.T) {
	now := inState(time.Now())
	l := &local{heard: map[string]beat{}}
	check := func(step string, want map[string]time.Time) {
		t.Helper()
		if got := l.notable(now); !maps.Equal(got, want) {
			t.Errorf("%s: %v is to be noted, want %v", step, got, want)
		}
	}
	later := func(d time.Duration) { // d passes
		now, l.noted = now.Add(d), l.noted.Add(-d)
	}
	const long = 45 * time.Second
	check("nobody was heard of", nil)
	l.hear("slow", now, long)
	first := now
	check("the first was heard of", map[string]time.Time{"slow": first})
	check("nothing is new", nil)
	l.hear("slow", now, long)
	check("heard again at once", nil)
	later(machine.BeatEvery(long) - keepEvery)
	check("its time has come", map[string]time.Time{"slow": first})
	l.renote()
	check("the store was not told", map[string]time.Time{"slow": first})
	l.hear("quick", now, time.Second)
	check("a shorter session", map[string]time.Time{"slow": first, "quick": now})
	later(long + machine.BeatEvery(long))
	l.hear("quick", now, time.Second)
	check("the first has ended", map[string]time.Time{"quick": now})
}
