package fetch

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// coresOfTurn is how many cores there are for each turn, one at least.
	coresOfTurn = 4
	// turnTime is about how long somebody goes on before others get their turn.
	turnTime = time.Millisecond
	// pausePerTurn is for how long nobody has the turn after it was used, in times of that, while there is
	// somebody to make way for. What is read in a turn also takes CPU time before and after it, in the
	// store's client and for the socket, in the store and in the consumer.
	pausePerTurn = 24
	// longTurn bounds what counts of a turn: beyond that it waited for a core itself.
	longTurn = 3 * turnTime
	// wayFor is for how long those who catch up make way, and mergesFor for how long for merges, which tell of themselves
	// after each round.
	wayFor    = time.Second
	mergesFor = time.Minute
	// perProduced is how many bytes those who catch up may read without a pause for each byte that is produced, or they
	// might never arrive. No more than maxCredit of them are saved up.
	perProduced = 2
	maxCredit   = 64 << 20
)

// turns are what bounds the CPU time of consumers that catch up: they take turns at checking and copying batches,
// without waiting for anything meanwhile. Without that, a few of them keep all cores
// busy, and producers and tailing consumers wait for a core at each of their many steps.
//
// Turns are short, and while somebody produces or reads what was just written, pauses come between them. Since the
// pauses follow from how long a turn took, not from its bytes, they are longer where cores are scarce.
// Who is alone gets everything.
type turns struct {
	way    *way
	places *semaphore.Weighted
	// credit is how many bytes may be read without a pause.
	credit atomic.Int64
}

func newTurns(w *way) *turns {
	return &turns{way: w, places: semaphore.NewWeighted(int64(max(1, runtime.GOMAXPROCS(0)/coresOfTurn)))}
}

// makeWay tells of somebody to make way for, and how many bytes were produced.
func (t *turns) makeWay(produced int64) {
	t.way.make()
	if produced > 0 {
		// Two at the same time may give a little too much.
		t.credit.Store(min(t.credit.Load()+perProduced*produced, maxCredit))
	}
}

// way tells whether there is somebody to make way for: who produces, or reads what was just written; or merges that are behind.
type way struct {
	period time.Duration
	began  time.Time
	// others is when there was somebody, in nanoseconds from began on.
	others atomic.Int64
}

// newWay returns one that is made for the period.
func newWay(period time.Duration) *way {
	w := &way{period: period, began: time.Now()}
	w.unmake()
	return w
}

// make tells of somebody.
func (w *way) make() { w.others.Store(int64(time.Since(w.began))) }

// unmake tells that there is nobody any more.
func (w *way) unmake() { w.others.Store(int64(-w.period)) }

// made: there was somebody lately.
func (w *way) made() bool { return time.Since(w.began)-time.Duration(w.others.Load()) < w.period }

// spend takes the bytes from the credit, if there is some.
func (t *turns) spend(bytes int64) bool {
	if bytes == 0 {
		return false
	}
	if t.credit.Add(-bytes) >= 0 {
		return true
	}
	t.credit.Add(bytes)
	return false
}

// turn is that of one request; a nil one is for those who need none. It is for one goroutine.
type turn struct {
	turns *turns
	has   bool
	since time.Time
	// bytes were given out in this turn.
	bytes int64
}

// take waits for the turn. Without an error it is to be given back by leave. The error is ctx's.
func (t *turn) take(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.turns.places.Acquire(ctx, 1); err != nil {
		return err
	}
	t.has, t.since, t.bytes = true, time.Now(), 0
	return nil
}

// leave lets others have their turn, after a pause if there is somebody to make way for.
func (t *turn) leave() {
	if t == nil || !t.has {
		return
	}
	t.has = false
	if t.turns.way.made() && !t.turns.spend(t.bytes) {
		time.AfterFunc(pausePerTurn*min(time.Since(t.since), longTurn), func() { t.turns.places.Release(1) })
	} else {
		t.turns.places.Release(1)
	}
}

// wait waits for what is loaded, without the turn if that or others take longer.
func (t *turn) wait(ctx context.Context, l *load) ([][]byte, error) {
	if t == nil {
		return l.wait(ctx)
	}
	again := !l.landed() || time.Since(t.since) >= turnTime
	if again {
		t.leave()
	}
	pieces, err := l.wait(ctx)
	if err == nil && again {
		err = t.take(ctx)
	}
	if err != nil {
		return nil, err
	}
	for _, piece := range pieces {
		t.bytes += int64(len(piece))
	}
	return pieces, nil
}
