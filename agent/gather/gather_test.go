package gather

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// calls is a queue of numbers whose calls wait until they are let go.
type calls struct {
	*Queue[int]
	open   chan struct{}
	mu     sync.Mutex
	made   [][]int
	closed bool
	work   sync.WaitGroup
}

func newCalls(workers int, take func([]int) (batch, rest []int)) *calls {
	c := &calls{open: make(chan struct{})}
	c.Queue = New(workers, c.spawn, take, func(batch []int) {
		c.mu.Lock()
		c.made = append(c.made, slices.Clone(batch))
		c.mu.Unlock()
		<-c.open
	})
	return c
}

func (c *calls) spawn(f func()) bool {
	if !c.closed {
		c.work.Go(f)
	}
	return !c.closed
}

func (c *calls) soFar() [][]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.made)
}

func equal(a, b [][]int) bool { return slices.EqualFunc(a, b, slices.Equal) }

func weightOf(n int) int { return n }

func TestWhoComesDuringACallSharesTheNext(t *testing.T) {
	for name, test := range map[string]struct {
		workers, full int
		want          [][]int
	}{
		"one at a time":   {1, 100, [][]int{{1}, {2, 3, 4, 5}}},
		"two at a time":   {2, 100, [][]int{{1}, {2}, {3, 4, 5}}},
		"as much as fits": {1, 5, [][]int{{1}, {2, 3}, {4, 5}}},
		"what fills up":   {1, 3, [][]int{{1}, {2, 3}, {4}, {5}}},
		"at least one":    {1, 1, [][]int{{1}, {2}, {3}, {4}, {5}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCalls(test.workers, Until(test.full, weightOf))
				for n := range 5 {
					if !c.Add(n + 1) {
						t.Fatalf("%d is refused", n+1)
					}
					synctest.Wait() // a worker that can take it has
				}
				if got, want := c.Waiting(), 5-test.workers; got != want {
					t.Errorf("%d wait, want %d", got, want)
				}
				for !equal(c.soFar(), test.want) && len(c.soFar()) < len(test.want) {
					c.open <- struct{}{}
					synctest.Wait()
				}
				close(c.open)
				c.work.Wait()
				if got := c.soFar(); !equal(got, test.want) || c.Waiting() != 0 {
					t.Errorf("calls of %v, want %v; %d still wait", got, test.want, c.Waiting())
				}
			})
		})
	}
}

// TestQueueIsIdleBetweenBursts: its workers end when nobody waits, and are started anew.
func TestQueueIsIdleBetweenBursts(t *testing.T) {
	c := newCalls(2, Until(100, weightOf))
	close(c.open)
	for range 3 {
		if !c.Add(1, 2, 3) {
			t.Fatal("refused")
		}
		c.work.Wait()
	}
	if want := [][]int{{1, 2, 3}, {1, 2, 3}, {1, 2, 3}}; !equal(c.soFar(), want) {
		t.Errorf("calls of %v, want %v", c.soFar(), want)
	}
}

// TestClosedOwnerIsAskedForNothing: what is refused is forgotten, what is under way goes on.
func TestClosedOwnerIsAskedForNothing(t *testing.T) {
	c := newCalls(2, Until(100, weightOf))
	c.Add(1)
	c.closed = true
	if !c.Add(2) {
		t.Error("the worker that is left would have taken 2")
	}
	close(c.open)
	c.work.Wait()
	if c.Add(3) {
		t.Error("3 is taken, and nobody works")
	}
	if c.Waiting() != 0 {
		t.Errorf("%d wait for nobody", c.Waiting())
	}
	if got := c.soFar(); !slices.Contains(slices.Concat(got...), 2) || slices.Contains(slices.Concat(got...), 3) {
		t.Errorf("calls of %v", got)
	}
}
