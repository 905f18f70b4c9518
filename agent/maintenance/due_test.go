package maintenance

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/time/rate"
)

func TestWorkIsDueForLongerUntilSomebodyLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics := NewMetrics(prometheus.NewRegistry())
		p := NewProgress("a", rate.NewLimiter(rate.Inf, 1), metrics)
		want := func(what string, due time.Duration) {
			t.Helper()
			if got := testutil.ToFloat64(metrics.oldest); got != due.Seconds() {
				t.Errorf("%s: due for %v s, want %v", what, got, due.Seconds())
			}
		}
		metrics.show("a")
		time.Sleep(time.Hour)
		want("nobody has looked", 0)
		p.Backlog(3, time.Minute)
		time.Sleep(time.Hour)
		want("due an hour and a minute ago", time.Hour+time.Minute)
		p.Backlog(0, 0)
		time.Sleep(time.Hour)
		want("nothing is due", 0)
		p.Backlog(0, -time.Hour)
		time.Sleep(time.Hour)
		want("due now", 0)
		time.Sleep(time.Minute)
		want("due since a minute ago", time.Minute)
		p.Waiting(1)
		time.Sleep(time.Minute)
		p.Waiting(2)
		time.Sleep(time.Minute)
		want("has waited since the first time", 2*time.Minute)
		p.Elsewhere()
		time.Sleep(time.Minute)
		want("another agent's turn", 0)
		if n := testutil.ToFloat64(metrics.backlog); n != 0 {
			t.Errorf("a backlog of %v while it is another agent's turn", n)
		}
		p.Waiting(1)
		time.Sleep(time.Minute)
		want("waits anew", time.Minute)
	})
}

// TestWhatIsDueShowsWhileNothingIsDone: nobody looks at it meanwhile.
func TestWhatIsDueShowsWhileNothingIsDone(t *testing.T) {
	for name, paused := range map[string]bool{"paused": true, "failing": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				metrics := NewMetrics(prometheus.NewRegistry())
				var looked time.Time
				var stop atomic.Bool
				job := Job{Name: "a", Every: every(time.Minute), Round: func(_ context.Context, p *Progress) (bool, error) {
					if !looked.IsZero() {
						return false, errors.New("store away")
					}
					looked = time.Now()
					stop.Store(paused)
					p.Backlog(1, 0)
					return false, nil
				}}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Hour)
				defer cancel()
				names := func() []string {
					if stop.Load() {
						return []string{"a"}
					}
					return nil
				}
				NewRunner([]Job{job}, names, 0, metrics, slog.New(slog.DiscardHandler)).Run(ctx)
				if got := testutil.ToFloat64(metrics.oldest); looked.IsZero() || got != time.Since(looked).Seconds() {
					t.Errorf("due for %v s, since %v", got, looked)
				}
			})
		})
	}
}
