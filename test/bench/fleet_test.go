package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/test/harness"
)

const (
	fleetTopic       = "fleet"
	fleetGroups      = 500
	groupMembers     = 20
	fleetMembers     = fleetGroups * groupMembers
	memberPartitions = 10
	// dialsAtOnce keeps the agents' listen queues from overflowing.
	dialsAtOnce = 128
	// assembleTimeout bounds how long it takes until all groups are stable.
	assembleTimeout = 3 * time.Minute
)

// member is one of a group, by one of the two protocols.
type member interface {
	// join returns when the member is in its group.
	join() error
	// beat sends a heartbeat; moved tells that the group told the member to join again,
	// or gave it other partitions.
	beat() (moved bool, err error)
}

// seat is what members have in common: where they are.
type seat struct {
	peer  *peer
	group string
	// retries counts the answers that ask to try again.
	retries *atomic.Int64
}

// fleet is all members of all groups, each on a connection of its own. They are spread
// over the agents at random, so that members of a group meet different ones.
type fleet struct {
	b       *testing.B
	agents  []*harness.AgentProcess
	create  func(seat) member
	cancel  context.CancelFunc
	members sync.WaitGroup
	errs    chan error
	joined  atomic.Int64
	retries atomic.Int64
	duty    atomic.Pointer[duty]
	// watched: the members are measured, and must not be moved.
	watched atomic.Bool
	waits   [fleetMembers][]time.Duration // each is its member's until all have ended
}

// duty is what members do over and over, until changed is closed: then there is
// another one.
type duty struct {
	do      func(member) (moved bool, err error)
	every   time.Duration
	changed chan struct{}
}

func newFleet(b *testing.B, agents []*harness.AgentProcess, create func(seat) member) *fleet {
	return &fleet{b: b, agents: agents, create: create, errs: make(chan error, fleetMembers)}
}

// assemble lets all members join, which then send heartbeats, and returns when all
// groups are stable.
func (f *fleet) assemble(every time.Duration) {
	f.b.Helper()
	ctx, cancel := context.WithCancel(f.b.Context())
	f.cancel = cancel
	f.b.Cleanup(func() {
		cancel()
		f.members.Wait()
	})
	f.duty.Store(&duty{do: member.beat, every: every, changed: make(chan struct{})})
	seed := rand.Uint64()
	f.b.Logf("members meet agents by seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dials := make(chan struct{}, dialsAtOnce)
	for i := range fleetMembers {
		address := f.agents[random.IntN(len(f.agents))].Bootstrap()
		f.members.Go(func() {
			if err := f.serve(ctx, i, address, dials); err != nil && ctx.Err() == nil {
				f.errs <- fmt.Errorf("member %d: %w", i, err)
			}
		})
	}
	f.awaitStable()
}

// serve is the life of one member.
func (f *fleet) serve(ctx context.Context, i int, address string, dials chan struct{}) error {
	dials <- struct{}{}
	peer, err := dialPeer(ctx, address)
	<-dials
	if err != nil {
		return err
	}
	defer peer.close()
	m := f.create(seat{peer: peer, group: fmt.Sprintf("group-%03d", i%fleetGroups), retries: &f.retries})
	if err := m.join(); err != nil {
		return err
	}
	f.joined.Add(1)
	for {
		d := f.duty.Load()
		if err := f.perform(ctx, m, d, i); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// perform does a duty until it changes, from a random moment on. Who is behind
// doesn't make up for it.
func (f *fleet) perform(ctx context.Context, m member, d *duty, i int) error {
	timer := time.NewTimer(rand.N(d.every))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.changed:
			return nil
		case <-timer.C:
		}
		watched, start := f.watched.Load(), time.Now()
		moved, err := d.do(m)
		took := time.Since(start)
		if err != nil {
			return err
		}
		if watched && f.watched.Load() {
			f.waits[i] = append(f.waits[i], took)
			if moved {
				return errors.New("its group rebalanced, with nobody coming or going")
			}
		}
		timer.Reset(max(d.every-took, 0))
	}
}

// switchTo gives all members another duty.
func (f *fleet) switchTo(do func(member) (moved bool, err error), every time.Duration) {
	old := f.duty.Swap(&duty{do: do, every: every, changed: make(chan struct{})})
	close(old.changed)
}

// watch measures the members for d.
func (f *fleet) watch(d time.Duration) {
	f.b.Helper()
	f.watched.Store(true)
	f.rest(d)
	f.watched.Store(false)
}

// rest waits, unless a member fails.
func (f *fleet) rest(d time.Duration) {
	f.b.Helper()
	select {
	case err := <-f.errs:
		f.b.Fatal(err)
	case <-time.After(d):
	}
}

// disband ends all members and returns how long each answer took while they were watched.
func (f *fleet) disband() []time.Duration {
	f.b.Helper()
	f.cancel()
	f.members.Wait()
	select {
	case err := <-f.errs:
		f.b.Fatal(err)
	default:
	}
	return slices.Concat(f.waits[:]...)
}

// awaitStable returns when all members have joined and all groups are stable.
func (f *fleet) awaitStable() {
	f.b.Helper()
	peer, err := dialPeer(f.b.Context(), f.agents[0].Bootstrap())
	if err != nil {
		f.b.Fatal(err)
	}
	defer peer.close()
	req := kmsg.NewPtrListGroupsRequest()
	req.SetVersion(5)
	req.StatesFilter = []string{"Stable"}
	for start := time.Now(); ; {
		joined := f.joined.Load()
		resp, err := ask[*kmsg.ListGroupsResponse](peer, req)
		if err != nil {
			f.b.Fatal(err)
		}
		if joined == fleetMembers && len(resp.Groups) == fleetGroups {
			return
		}
		if time.Since(start) > assembleTimeout {
			f.b.Fatalf("%d of %d members have joined, and %d of %d groups are stable, after %v",
				joined, fleetMembers, len(resp.Groups), fleetGroups, assembleTimeout)
		}
		f.rest(100 * time.Millisecond)
	}
}
