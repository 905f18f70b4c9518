package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

// script is a feed in memory. Its own commits are the truth; a test may take
// them back, which no store does.
type script struct {
	mu      sync.Mutex
	commits []metadata.Commit
	last    int64
	err     error
	polls   int
	trims   []time.Duration
	old     int // entries that are to be trimmed
}

func (s *script) add(seqs ...int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seq := range seqs {
		s.commits = append(s.commits, testCommit(seq))
		s.last = max(s.last, seq)
	}
}

func (s *script) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.polls
}

func (s *script) LastSeq(context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, s.err
}

func (s *script) Commits(_ context.Context, after int64, limit int) ([]metadata.Commit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.polls++
	var found []metadata.Commit
	for _, c := range s.commits {
		if c.Seq > after && len(found) < limit && s.err == nil {
			found = append(found, c)
		}
	}
	return found, s.err
}

func (s *script) TrimFeed(_ context.Context, olderThan time.Duration, limit int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trims = append(s.trims, olderThan)
	n := min(limit, s.old)
	s.old -= n
	return n, s.err
}

// following is a follower of a script that runs in a synctest bubble.
type following struct {
	*script
	*Follower
	log  bytes.Buffer
	mu   sync.Mutex
	seqs []int64
	gaps int
}

func follow(t *testing.T, s *script) *following {
	f := &following{script: s}
	followers := Followers{
		OnCommits: func(_ context.Context, commits []metadata.Commit) {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, c := range commits {
				f.seqs = append(f.seqs, c.Seq)
			}
		},
		OnGap: func(context.Context) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.gaps++
		},
	}
	f.Follower = NewFollower(s, NewTail(100), followers, slog.New(slog.NewTextHandler(&f.log, nil)))
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		f.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-stopped
	})
	synctest.Wait() // it has found the end of the feed
	return f
}

// want waits for the time and checks what the followers heard.
func (f *following) want(t *testing.T, wait time.Duration, gaps int, seqs ...int64) {
	t.Helper()
	time.Sleep(wait)
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gaps != gaps || !slices.Equal(f.seqs, seqs) {
		t.Errorf("heard of commits %v and %d gaps, want %v and %d", f.seqs, f.gaps, seqs, gaps)
	}
}

func TestFollowerBringsCommitsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		s.add(1, 2, 3) // before the start: the followers read their state
		f := follow(t, s)
		f.want(t, 0, 1)
		s.add(4, 5)
		f.want(t, pollIdle, 1, 4, 5)
		s.add(6)
		f.Kick()
		f.want(t, 0, 1, 4, 5, 6)
		if got := f.tail.Seq(); got != 6 {
			t.Errorf("the tail is at %d, want 6", got)
		}
	})
}

func TestFollowerLeavesOutWhatTheTailHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		f := follow(t, s)
		s.add(1, 2, 3)
		if f.tail.Apply([]metadata.Commit{testCommit(1)}) {
			t.Error("gap before the agent's own commit")
		}
		if !f.tail.Apply([]metadata.Commit{testCommit(3)}) {
			t.Error("no gap where another agent's commit is missing")
		}
		f.Kick()
		f.want(t, 0, 1, 2, 3)
	})
}

func TestFollowerTakesMoreThanOnePollBrings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		f := follow(t, s)
		var all []int64
		for seq := range int64(2*pollLimit + 10) {
			all = append(all, seq+1)
		}
		s.add(all...)
		f.want(t, pollIdle, 1, all...)
	})
}

func TestFollowerPollsFasterWhileSomebodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		f := follow(t, s)
		polls := func(d time.Duration) int {
			before := s.count()
			time.Sleep(d)
			synctest.Wait()
			return s.count() - before
		}
		if n := polls(10 * time.Second); n != 40 {
			t.Errorf("%d polls in 10 s with nobody waiting, want 40", n)
		}
		f.tail.learn(f.tail.snapshot(), 1, learned(0, 0))
		w := f.tail.wait(readUncommitted, []position{{1, 0, 1}}, 1)
		if n := polls(pollLate); n == 0 {
			t.Error("no poll soon after somebody began to wait")
		}
		if n := polls(10 * time.Second); n != 200 {
			t.Errorf("%d polls in 10 s of quiet waiting, want 200", n)
		}
		next := int64(0)
		for range 4 { // commits come: poll faster, so that the next come soon
			next++
			s.add(next)
			polls(pollLate)
		}
		next++
		s.add(next)
		f.Kick()
		synctest.Wait()
		if n := polls(4 * pollSoon); n < 2 {
			t.Errorf("%d polls in %v after a commit, want 2 or more", n, 4*pollSoon)
		}
		f.tail.stop(w)
	})
}

func TestFollowerStartsOverWhenEntriesAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		f := follow(t, s)
		s.add(1)
		f.want(t, pollIdle, 1, 1)
		s.add(7, 8) // 2 to 6 were trimmed
		f.want(t, pollIdle, 2, 1)
		if got := f.tail.Seq(); got != 8 {
			t.Errorf("the tail is at %d, want 8", got)
		}
		s.add(9)
		f.want(t, pollIdle, 2, 1, 9)
	})
}

func TestFollowerSurvivesAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		f := follow(t, s)
		s.add(1)
		f.want(t, pollIdle, 1, 1)
		s.set(func() { s.err = fmt.Errorf("%w: connection refused", metadata.ErrUnavailable) })
		before := s.count()
		f.want(t, 10*time.Minute, 1, 1)
		if n := s.count() - before; n > 300 {
			t.Errorf("%d polls in 10 minutes of outage", n)
		}
		s.set(func() { s.err = nil })
		s.add(2)
		f.want(t, 2*retryMost, 1, 1, 2)
		if warned, healed := strings.Count(f.log.String(), "level=WARN"), strings.Count(f.log.String(), "level=INFO"); warned != 1 || healed != 1 {
			t.Errorf("an outage is logged %d times and its end %d times:\n%s", warned, healed, &f.log)
		}
	})
}

func TestFollowerSaysThatTheStoreLostCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		f := follow(t, s)
		s.add(1, 2, 3)
		f.want(t, pollIdle, 1, 1, 2, 3)
		s.set(func() { s.err = metadata.ErrUnavailable })
		time.Sleep(time.Second)
		s.set(func() { s.err, s.last, s.commits = nil, 2, s.commits[:2] })
		f.want(t, 2*retryMost, 2, 1, 2, 3)
		if got := f.tail.Seq(); got != 2 || !strings.Contains(f.log.String(), "level=ERROR") {
			t.Errorf("the tail is at %d, want 2; log:\n%s", got, &f.log)
		}
		s.add(3, 4, 5) // hides it
		f.want(t, pollIdle, 2, 1, 2, 3, 3, 4, 5)
		if err := f.CheckOnward(t.Context(), 0); !errors.Is(err, ErrWentBack) {
			t.Errorf("a store that went back and on: %v", err)
		}
	})
}

// TestFollowerSaysOnceThatTheStoreIsHalted, also where it didn't answer before, and goes on where it was when that is over.
func TestFollowerSaysOnceThatTheStoreIsHalted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		f := follow(t, s)
		s.add(1)
		f.want(t, pollIdle, 1, 1)
		for _, err := range []error{metadata.ErrUnavailable, fmt.Errorf("%w: %w", metadata.ErrUnavailable, metadata.ErrHalted)} {
			s.set(func() { s.err = err })
			f.want(t, time.Minute, 1, 1)
		}
		s.set(func() { s.err = nil })
		s.add(2)
		f.want(t, 2*retryMost, 1, 1, 2)
		if n := strings.Count(f.log.String(), "level=ERROR"); n != 1 || !strings.Contains(f.log.String(), "lost changes") {
			t.Errorf("%d errors are logged, want 1:\n%s", n, &f.log)
		}
	})
}

// TestNothingIsServedFromMemoryWhileTheStoreIsHalted: it may be what the store lost. Through any other outage consumers get what
// the tail has.
func TestNothingIsServedFromMemoryWhileTheStoreIsHalted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		f := follow(t, s)
		f.tail.learn(f.tail.snapshot(), 1, learned(0, 0))
		w := f.tail.wait(readUncommitted, []position{{1, 0, 1}}, 1)
		defer f.tail.stop(w)
		for _, step := range []struct {
			err           error
			halted, knows bool
		}{
			{metadata.ErrUnavailable, false, true},
			{fmt.Errorf("%w: %w", metadata.ErrUnavailable, metadata.ErrHalted), true, false},
			{metadata.ErrUnavailable, true, false}, // a halt doesn't end by an outage
			{nil, false, false},
		} {
			s.set(func() { s.err = step.err })
			time.Sleep(2 * retryMost)
			synctest.Wait()
			if _, knows := bases(f.tail, 1, 0); f.Halted() != step.halted || knows != step.knows {
				t.Errorf("with %v: halted %t, answers from memory %t; want %t and %t", step.err, f.Halted(), knows, step.halted, step.knows)
			}
			select {
			case <-w.woken:
				if step.knows {
					t.Errorf("with %v: a long poll woke for nothing", step.err)
				}
			default:
				if !step.knows {
					t.Errorf("with %v: a long poll goes on waiting", step.err)
				}
			}
		}
	})
}

// TestStoreThatWentBackIsFoundOutForGood also when the follower saw no outage: a proxy before the store may hide it.
func TestStoreThatWentBackIsFoundOutForGood(t *testing.T) {
	for name, test := range map[string]struct{ last, least int64 }{
		"behind what was seen": {2, 0},
		"behind what is known": {3, 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{}
				f := follow(t, s)
				s.add(1, 2, 3)
				f.want(t, pollIdle, 1, 1, 2, 3)
				if err := f.CheckOnward(t.Context(), 3); err != nil {
					t.Fatalf("a store that is where it was: %v", err)
				}
				s.set(func() { s.err = metadata.ErrUnavailable })
				if err := f.CheckOnward(t.Context(), 0); !errors.Is(err, metadata.ErrUnavailable) || errors.Is(err, ErrWentBack) {
					t.Fatalf("a store that doesn't answer: %v", err)
				}
				s.set(func() { s.err, s.last = nil, test.last })
				for _, later := range []int64{test.last, 100} {
					s.set(func() { s.last = later })
					if err := f.CheckOnward(t.Context(), test.least); !errors.Is(err, ErrWentBack) {
						t.Errorf("with %d commits: %v", later, err)
					}
				}
			})
		})
	}
}

func TestFollowerTrimsTheFeedInSlices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{old: 2*trimSlice + 5}
		f := follow(t, s)
		f.want(t, 2*trimEvery, 1)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.old != 0 || len(s.trims) < 3 || s.trims[0] != feedAge {
			t.Errorf("%d entries left after %d slices of age %v", s.old, len(s.trims), s.trims)
		}
	})
}
