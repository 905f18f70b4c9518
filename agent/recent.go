package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wadi-log/wadi/agent/cluster"
)

const (
	// recentFor is how long ago a call may have begun that still tells of a store: less than two beats' time, so that no
	// three beats, by which an agent is slow, see a single one, unless it runs for so long. What an agent does
	// more rarely doesn't make it slow.
	recentFor = 2*cluster.BeatEvery - time.Second
	// recentCalls bounds how many are remembered.
	recentCalls = 64
)

// recent is how long the calls of a store took lately.
type recent struct {
	mu sync.Mutex
	// ended is a ring, of which next is the oldest.
	ended [recentCalls]call
	next  int
	// running are those without an answer, by a number of their own: when they began.
	running map[uint64]time.Time
	begun   uint64
}

type call struct {
	at   time.Time // its end; zero for an empty place
	took time.Duration
}

// begin notes a call. The caller calls end with its outcome; one that we gave up ourselves
// tells nothing of the store.
func (r *recent) begin() (end func(err error)) {
	start := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running == nil {
		r.running = map[uint64]time.Time{}
	}
	r.begun++
	number := r.begun
	r.running[number] = start
	return func(err error) {
		now := time.Now()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.running, number)
		if errors.Is(err, context.Canceled) {
			return
		}
		r.ended[r.next] = call{now, now.Sub(start)}
		r.next = (r.next + 1) % recentCalls
	}
}

// median returns the median of the last calls, 0 when there were none. A call that is still
// under way counts as soon as it has taken longer than that: a store that hangs ends none.
func (r *recent) median() time.Duration {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	var took []time.Duration
	for _, c := range r.ended {
		if !c.at.IsZero() && now.Sub(c.at)+c.took < recentFor {
			took = append(took, c.took)
		}
	}
	usual := cluster.Median(took)
	for _, start := range r.running {
		if age := now.Sub(start); age > usual {
			took = append(took, age)
		}
	}
	return cluster.Median(took)
}
