package group

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestOutageIsNoLag: after an hour without the store everybody gets a session anew;
// one that lasted an hour longer would keep the partitions of the dead as long.
func TestOutageIsNoLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		reach := func() {
			c.read(time.Now())
			c.good(time.Now().Add(-time.Second)) // as of then all agents had told
		}
		check := func(step string, since time.Time, lag time.Duration) {
			t.Helper()
			now := c.now()
			gotSince, gotLag := c.hearing(now)
			if !gotSince.Equal(inState(since)) || gotLag != lag {
				t.Errorf("%s: since %v ago, lag %v; want %v ago, %v", step, now.Sub(gotSince), gotLag, now.Sub(since), lag)
			}
		}
		reach()
		start := time.Now()
		check("at the start", start, time.Second)
		time.Sleep(2 * time.Second)
		check("between two rounds", start, 3*time.Second)
		time.Sleep(time.Hour)
		check("cut off for an hour", time.Now(), 0)
		reach()
		check("reached again", time.Now(), time.Second)
	})
}
