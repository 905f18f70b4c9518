package server

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// beatEvery is how often the pulse beats, and hungAfter by how much a beat is late when the process has hung:
	// more than a busy machine makes it wait, and less than a balancer or client takes to give an agent up.
	beatEvery = 200 * time.Millisecond
	hungAfter = 2 * time.Second
)

// errHung ends connections whose requests may be older than they look.
var errHung = errors.New("this process hung for a while, and the client has asked elsewhere since")

// pulse tells whether the process has hung: it was stopped, its virtual machine was, or it got no CPU.
//
// What clients sent meanwhile lies in the kernel, and they were told by other agents long ago: the end of a transaction, which would
// now end the next one (of clients before KIP-890), or an offset that would take back a later one. So no
// connection outlives a hang. A request is started only if its connection was made after the last hang, and if
// none has just ended that nobody has noticed yet.
type pulse struct {
	// hungAfter: a beat that is later than this means a hang.
	hungAfter time.Duration

	once  sync.Once // starts it
	hangs atomic.Int64
	beat  atomic.Pointer[time.Time] // the last one
	done  sync.WaitGroup
}

// start begins to beat, until ctx ends. After each hang it calls hung with how long that was.
func (p *pulse) start(ctx context.Context, hung func(time.Duration)) {
	p.strike()
	p.done.Go(func() {
		tick := time.NewTicker(beatEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			late := p.late()
			if late > p.hungAfter {
				p.hangs.Add(1) // before the beat: a request that sees the one sees the other
			}
			p.strike()
			if late > p.hungAfter {
				hung(late)
			}
		}
	})
}

func (p *pulse) strike() {
	now := time.Now()
	p.beat.Store(&now)
}

// late is how long ago the last beat was, by the clock that runs on more: Go's own stands still while a machine sleeps, and the wall
// clock may be set back.
func (p *pulse) late() time.Duration {
	now, beat := time.Now(), *p.beat.Load()
	return max(now.Sub(beat), now.Round(0).Sub(beat.Round(0)))
}

// fresh tells whether a request may be started on a connection that was made after so many hangs.
func (p *pulse) fresh(hangs int64) bool { return p.late() <= p.hungAfter && p.hangs.Load() == hangs }
