package server

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestPulseTellsOfHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		p := pulse{hungAfter: hungAfter}
		var hung []time.Duration
		p.start(ctx, func(d time.Duration) { hung = append(hung, d) })
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(hung) > 0 || !p.fresh(0) {
			t.Errorf("nothing hung, but it tells of %v", hung)
		}
		// The bubble's clock jumps to the next timer, so that a hang is one of which the last beat lies far back.
		long := time.Now().Add(-3 * time.Second)
		p.beat.Store(&long)
		if p.fresh(0) {
			t.Error("requests are started before anybody has noticed the hang")
		}
		time.Sleep(beatEvery + 1)
		synctest.Wait()
		if len(hung) != 1 || hung[0] < 3*time.Second {
			t.Errorf("after a hang of three seconds: %v", hung)
		}
		if p.fresh(0) || !p.fresh(1) {
			t.Error("a hang does not tell connections from before it and after it apart")
		}
		stop()
		p.done.Wait()
	})
}

// TestSleepOfTheMachineIsAHang: Go's clock stands still meanwhile, and only the wall clock tells.
func TestSleepOfTheMachineIsAHang(t *testing.T) {
	p := pulse{hungAfter: hungAfter}
	wallOnly := time.Now().Add(-time.Hour).Round(0)
	p.beat.Store(&wallOnly)
	if p.fresh(0) {
		t.Error("an hour by the wall clock is no hang")
	}
	future := time.Now().Add(time.Hour)
	p.beat.Store(&future)
	if !p.fresh(0) {
		t.Error("a clock that was set back is a hang")
	}
}

func TestNoConnectionOutlivesAHang(t *testing.T) {
	f := start(t, nil)
	idle, busy := f.dial(), f.dial()
	for _, c := range []client{idle, busy} {
		c.send(1, "", metadata(12))
		c.expect(1)
	}
	long := time.Now().Add(-time.Hour)
	f.server.pulse.beat.Store(&long)
	// As if it had come during the hang.
	busy.send(2, "", produce(9, -1, 10))
	busy.expectClosed()
	idle.expectClosed()
	if len(f.started) > 0 {
		t.Error("a request that came during a hang was started")
	}
	c := f.dial()
	c.send(1, "", metadata(12))
	c.expect(1)
}
