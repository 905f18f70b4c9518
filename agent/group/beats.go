package group

import (
	"time"

	"github.com/wadi-log/wadi/agent/group/machine"
)

// notable returns whom the store should now be told we heard of, all of them
// whose sessions last; nil when it is too early, or there is nothing new.
func (l *local) notable(now time.Time) map[string]time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	every := time.Duration(-1)
	for _, k := range l.parked {
		if b, ok := l.heard[k.member]; ok {
			l.heard[k.member] = beat{now, b.timeout}
			l.unnoted = true
		}
	}
	for member, b := range l.heard {
		if now.Sub(b.at) > b.timeout+machine.BeatEvery(b.timeout) {
			delete(l.heard, member) // its session ended, or it is heard of elsewhere
			continue
		}
		if e := machine.BeatEvery(b.timeout); every < 0 || e < every {
			every = e
		}
	}
	// A round comes every keepEvery: the one before would be the last in time.
	if !l.unnoted || every < 0 || time.Since(l.noted) < every-keepEvery {
		return nil
	}
	l.noted, l.unnoted = time.Now(), false
	return l.membersLocked()
}

// renote has what the store was not told told again.
func (l *local) renote() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noted, l.unnoted = time.Time{}, true
}
