package agent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-log/wadi/agent/cluster"
)

func TestRecentCallsHaveAMedian(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls recent
		want := func(want time.Duration) {
			t.Helper()
			if got := calls.median(); got != want {
				t.Errorf("median %v, want %v", got, want)
			}
		}
		took := func(d time.Duration, err error) {
			end := calls.begin()
			<-time.After(d)
			end(err)
		}
		want(0)
		for _, ms := range []int{30, 10, 20, 500, 5} {
			took(time.Duration(ms)*time.Millisecond, nil)
		}
		want(20 * time.Millisecond)

		// A failure says how long the store took as well; what we gave up says nothing.
		took(40*time.Millisecond, errors.New("no"))
		took(40*time.Millisecond, context.DeadlineExceeded)
		want(30 * time.Millisecond)
		for range 10 {
			took(time.Millisecond, context.Canceled)
		}
		want(30 * time.Millisecond)

		// What is under way counts once it is late.
		end := calls.begin()
		want(30 * time.Millisecond)
		<-time.After(recentFor)
		want(recentFor)
		<-time.After(time.Minute)
		want(time.Minute + recentFor)
		end(context.Canceled)
		want(0)

	})
}

// TestNoThreeBeatsSeeOneCall that ends before the third.
func TestNoThreeBeatsSeeOneCall(t *testing.T) {
	for begin := time.Duration(0); begin < cluster.BeatEvery; begin += 100 * time.Millisecond {
		for took := 100 * time.Millisecond; took < recentFor; took += 100 * time.Millisecond {
			synctest.Test(t, func(t *testing.T) {
				var calls recent
				go func() {
					<-time.After(begin)
					end := calls.begin()
					<-time.After(took)
					end(nil)
				}()
				seen := 0
				for range 4 {
					<-time.After(cluster.BeatEvery)
					if calls.median() > 0 {
						seen++
					}
				}
				if seen > 2 {
					t.Errorf("a call of %v from %v on is seen by %d beats", took, begin, seen)
				}
			})
		}
	}
}

func TestRecentCallsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls recent
		for i := range 3 * recentCalls {
			end := calls.begin()
			<-time.After(time.Millisecond)
			if i >= 2*recentCalls {
				<-time.After(time.Millisecond)
			}
			end(nil)
		}
		if got := calls.median(); got != 2*time.Millisecond {
			t.Errorf("median %v of the last calls, which took 2ms", got)
		}
	})
}
