package fetch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/wadi-log/wadi/metadata"
)

const (
	// pollSoon and pollLate bound the time between two polls while long polls
	// wait: the former after commits came, doubling up to the latter while none do.
	pollSoon = 5 * time.Millisecond
	pollLate = 50 * time.Millisecond
	// pollIdle is the time between polls when nobody waits.
	pollIdle = 250 * time.Millisecond
	// pollTimeout bounds one query.
	pollTimeout = 5 * time.Second
	// pollLimit is the number of commits taken at once.
	pollLimit = 256
	// retryFirst and retryMost bound the pause after a failed poll.
	retryFirst = 100 * time.Millisecond
	retryMost  = 5 * time.Second

	// feedAge is how old entries of the feed are trimmed: an agent that lost
	// the store for less than that catches up without dropping what it has.
	feedAge = 2 * time.Hour
	// trimEvery is the mean time between two trims by one agent, trimSlice the
	// number of entries that one query deletes.
	trimEvery = 5 * time.Minute
	trimSlice = 1000
)

// ErrWentBack: the metadata store has fewer commits than it had. It was restored, or it failed over to a replica that lagged.
var ErrWentBack = errors.New("the metadata store went back in time")

// Followers names who is told of the commits of the feed. Both functions are
// called in the follower's goroutine, one call after the other.
type Followers struct {
	// OnCommits gets commits in order, before the tail does, so that a long
	// poll that wakes for a changed topic finds it changed. Each commit is
	// brought once, except those that this agent made itself and gave to the
	// tail first: they only hold runs, log starts and what was compacted.
	OnCommits func(ctx context.Context, commits []metadata.Commit)
	// OnGap says that commits may be missing between the last call and the
	// next: whoever keeps a copy of the store's state reads it anew. It is
	// called once at the start.
	OnGap func(ctx context.Context)
}

// Follower tails the metadata store's feed with one query a poll, however
// many partitions, topics and clients there are.
type Follower struct {
	feed      metadata.Feed
	tail      *Tail
	followers Followers
	log       *slog.Logger

	kick chan struct{}
	// back is an ErrWentBack since the store was first seen to have gone back; nil before.
	back atomic.Pointer[error]
	// halted: the outage is, or became, one of a store that is halted.
	halted atomic.Bool

	// Owned by Run.
	started bool
	pause   time.Duration // while somebody waits
	failed  time.Time     // when the outage began; zero without one
	retry   *backoff.ExponentialBackOff
}

// NewFollower makes a follower that feeds the tail.
func NewFollower(feed metadata.Feed, tail *Tail, followers Followers, log *slog.Logger) *Follower {
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = retryFirst, retryMost
	return &Follower{
		feed: feed, tail: tail, followers: followers, log: log,
		kick: make(chan struct{}, 1), pause: pollSoon, retry: retry,
	}
}

// Kick makes the next poll come at once. The write path calls it when
// [Tail.Apply] reported a gap: another agent's commits come before its own.
func (f *Follower) Kick() {
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// CheckOnward fails with ErrWentBack when the store has fewer commits than the follower ever saw of it, or than least. Once
// it has, it fails for good: what the store commits next hides that it went back.
func (f *Follower) CheckOnward(ctx context.Context, least int64) error {
	had := max(f.tail.Seq(), least) // before the query: commits go on meanwhile
	last, err := f.feed.LastSeq(ctx)
	if err != nil {
		return fmt.Errorf("read the feed's last number: %w", err)
	}
	if last < had {
		f.wentBack(had, last)
	}
	if back := f.back.Load(); back != nil {
		return *back
	}
	return nil
}

// wentBack notes that the store had so many commits, and has fewer.
func (f *Follower) wentBack(had, has int64) {
	err := fmt.Errorf("%w: it had %d commits, and then %d", ErrWentBack, had, has)
	f.back.CompareAndSwap(nil, &err)
}

// Halted reports whether the store refused the last polls since it is halted ([metadata.Halts]).
func (f *Follower) Halted() bool { return f.halted.Load() }

// Run follows the feed until ctx ends. It survives outages of the store.
func (f *Follower) Run(ctx context.Context) {
	var trimmer sync.WaitGroup
	trimmer.Go(func() { f.trim(ctx) })
	defer trimmer.Wait()
	for ctx.Err() == nil {
		n, err := f.poll(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			f.lost(err)
			f.sleep(ctx, f.retry.NextBackOff())
			continue
		}
		f.found()
		if n < pollLimit {
			f.rest(ctx, n > 0)
		}
	}
}

// poll brings what is new, or the position to start from.
func (f *Follower) poll(ctx context.Context) (n int, err error) {
	query, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	if !f.started || !f.failed.IsZero() {
		if err := f.locate(ctx, query); err != nil {
			return 0, err
		}
	}
	after := f.tail.Seq()
	commits, err := f.feed.Commits(query, after, pollLimit)
	if err != nil {
		return 0, fmt.Errorf("read the feed after commit %d: %w", after, err)
	}
	if len(commits) == 0 {
		return 0, nil
	}
	if commits[0].Seq != after+1 {
		f.log.Warn("entries of the commit feed are gone; caches start over", "after", after, "next", commits[0].Seq)
		f.started = false
		return pollLimit, nil // poll again at once
	}
	f.followers.OnCommits(ctx, commits)
	f.tail.Apply(commits)
	return len(commits), nil
}

// locate finds where the feed ends, at the start, and looks after an outage
// whether it still goes on from where we are.
func (f *Follower) locate(ctx, query context.Context) error {
	had := f.tail.Seq() // before the query: own commits go on meanwhile
	last, err := f.feed.LastSeq(query)
	if err != nil {
		return fmt.Errorf("read the feed's last number: %w", err)
	}
	if f.started && last >= had {
		return nil
	}
	if f.started {
		f.log.Error("the metadata store lost commits that it had acknowledged; was it restored, or did it fail over to a replica that lagged?",
			"had", had, "has", last)
		f.wentBack(had, last)
	}
	f.tail.Reset(last)
	f.started = true
	f.followers.OnGap(ctx)
	return nil
}

// lost and found log an outage once, at both of its ends, and that the store lost changes as soon as that is known. The tail,
// which answers through outages, forgets what it has by then: it may be what is lost.
func (f *Follower) lost(err error) {
	halted := errors.Is(err, metadata.ErrHalted)
	if f.failed.IsZero() {
		f.failed = time.Now()
		if !halted {
			f.log.Warn("the metadata store does not answer; consumers wait until it does", "error", err)
		}
	}
	if halted && f.halted.CompareAndSwap(false, true) {
		f.tail.Forget()
		f.log.Error("the metadata store lost changes that were acknowledged; nothing is served until they are back or given up", "error", err)
	}
}

func (f *Follower) found() {
	if !f.failed.IsZero() {
		f.log.Info("the metadata store answers again", "outage", time.Since(f.failed).Round(time.Millisecond))
		f.failed = time.Time{}
		f.halted.Store(false)
		f.retry.Reset()
	}
}

// rest waits for the time of the next poll.
func (f *Follower) rest(ctx context.Context, busy bool) {
	if busy {
		f.pause = pollSoon
	}
	if f.tail.Waiting() == 0 {
		if !f.sleep(ctx, pollIdle) {
			return
		}
	}
	f.sleep(ctx, f.pause)
	f.pause = min(2*f.pause, pollLate)
}

// sleep waits for the time, a kick or ctx. It reports whether it was cut short
// because somebody began to wait.
func (f *Follower) sleep(ctx context.Context, d time.Duration) (waiterCame bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	var arrived chan struct{}
	if d == pollIdle {
		arrived = f.tail.arrived
	}
	select {
	case <-timer.C:
	case <-f.kick:
	case <-arrived:
		return true
	case <-ctx.Done():
	}
	return false
}

// trim deletes old entries of the feed now and then. All agents do; each is
// done sooner for it.
func (f *Follower) trim(ctx context.Context) {
	for {
		pause := time.NewTimer(trimEvery/2 + rand.N(trimEvery))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
		// Of a store that is away, Run has told.
		if err := f.trimOnce(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, metadata.ErrUnavailable) {
			f.log.Warn("trimming the commit feed failed; it is tried again later", "error", err)
		}
	}
}

func (f *Follower) trimOnce(ctx context.Context) error {
	for {
		query, cancel := context.WithTimeout(ctx, pollTimeout)
		n, err := f.feed.TrimFeed(query, feedAge, trimSlice)
		cancel()
		if err != nil || n < trimSlice {
			return err
		}
	}
}
