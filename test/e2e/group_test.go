package e2e

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/test/harness"
)

const (
	groupPartitions = 40
	groupMembers    = 20
)

// groupFlags let groups react in seconds, so that the test can watch many rebalances.
var groupFlags = []string{
	"--kafka-config=group.initial.rebalance.delay.ms=200",
	"--kafka-config=group.consumer.min.session.timeout.ms=5000",
	"--kafka-config=group.consumer.session.timeout.ms=15000",
	"--kafka-config=group.consumer.min.heartbeat.interval.ms=200",
	"--kafka-config=group.consumer.heartbeat.interval.ms=500",
}

// TestGroupBehindBalancer has the members of a group join, leave and crash, and
// kills every agent with -9 in turn, while each request may reach another agent. Each
// record is delivered, offsets are committed in order, and the death of an agent
// alone moves no partition.
func TestGroupBehindBalancer(t *testing.T) {
	for _, test := range []struct {
		name     string
		agents   int
		protocol kgo.Opt
	}{
		{"2 agents, classic eager", 2, kgo.Balancers(kgo.RangeBalancer())},
		{"5 agents, classic cooperative", 5, kgo.Balancers(kgo.CooperativeStickyBalancer())},
		{"5 agents, consumer protocol", 5, kgo.ServerSideBalancer()},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFleet(t, test.agents)
			createTopic(t, f.balancer.Address(), "work", groupPartitions)
			g := &groupRun{t: t, fleet: f, journal: newJournal(), protocol: test.protocol,
				admin: kadm.NewClient(client(t, kgo.SeedBrokers(f.balancer.Address()), kgo.RetryTimeout(time.Minute)))}
			written := g.startProducer()
			watched := g.watchCommits()

			g.joinAll(groupMembers)
			g.churn()
			g.killEveryAgent()

			ledger := written()
			g.consumeAll(ledger)
			watched()
			checkLedger(t, ledger, g.journal.received())
			for _, problem := range g.journal.problems {
				t.Error(problem)
			}
			t.Logf("%d joins and leaves: p50 %v, p99 %v; %d times two crashes: the longest %v", len(g.orderly), quantile(g.orderly, 0.5),
				quantile(g.orderly, 0.99), len(g.crashed), quantile(g.crashed, 1))
		})
	}
}

// agentFleet is a few agents behind a load balancer, which is all that clients know of.
type agentFleet struct {
	balancer *harness.Balancer
	agents   []*harness.AgentProcess
}

func newFleet(t *testing.T, agents int) *agentFleet {
	t.Helper()
	options := setups[1].options(t)
	options.Flags = append(options.Flags, groupFlags...)
	return startFleet(t, options, agents)
}

func startFleet(t *testing.T, options harness.AgentOptions, agents int) *agentFleet {
	t.Helper()
	f := &agentFleet{balancer: harness.NewBalancer(t)}
	options.Flags = append(options.Flags, "--advertise="+f.balancer.Address())
	for range agents {
		f.agents = append(f.agents, harness.Agent(t, options))
	}
	f.balancer.Start(f.agents...)
	return f
}

// groupRun is one group under test.
type groupRun struct {
	t        *testing.T
	fleet    *agentFleet
	journal  *journal
	protocol kgo.Opt
	admin    *kadm.Client // through the balancer
	members  []*member
	// orderly and crashed are the times from a change of members until all have their
	// partitions: of joins and leaves, and of crashes, which a session's end shows.
	orderly, crashed []time.Duration
}

func (g *groupRun) join() {
	g.members = append(g.members, join(g.t, g.journal, g.fleet.balancer.Address(), "workers", "work", g.protocol))
}

// joinAll starts the first members, not all at once.
func (g *groupRun) joinAll(n int) {
	g.t.Logf("%d members joined an empty group and had their partitions after %v", n, g.rebalance("join of the first", func() {
		for range n {
			g.join()
		}
	}).Round(time.Millisecond))
}

// churn replaces members, some of which say good-bye and some of which don't.
func (g *groupRun) churn() {
	for round := range 6 {
		g.orderly = append(g.orderly,
			g.rebalance("a member leaves", func() { g.remove(round).leave() }),
			g.rebalance("a member joins", g.join))
	}
	for round := range 2 {
		g.crashed = append(g.crashed, g.rebalance("two crash, two join", func() {
			g.remove(round).crash()
			g.remove(round + 3).crash()
			g.join()
			g.join()
		}))
	}
}

func (g *groupRun) remove(i int) *member {
	m := g.members[i%len(g.members)]
	g.members = slices.Delete(g.members, i%len(g.members), i%len(g.members)+1)
	return m
}

// rebalance waits, after a change, until each partition has one owner again, all
// members have some and are in one generation, and that stays so for a second.
func (g *groupRun) rebalance(what string, change func()) time.Duration {
	g.t.Helper()
	start := time.Now()
	change()
	var settled time.Time
	harness.Eventually(g.t, 2*time.Minute, func() error {
		if err := g.balanced(); err != nil {
			settled = time.Time{}
			return fmt.Errorf("after %s: %w", what, err)
		}
		if settled.IsZero() {
			settled = time.Now()
		}
		if time.Since(settled) < time.Second {
			return fmt.Errorf("after %s: settled only now", what)
		}
		return nil
	})
	return settled.Sub(start)
}

func (g *groupRun) balanced() error {
	owners := map[int32]int{}
	_, first := g.members[0].GroupMetadata()
	for i, m := range g.members {
		if _, generation := m.GroupMetadata(); generation != first {
			return fmt.Errorf("member %d is in generation %d, the first in %d", i, generation, first)
		}
		partitions := m.partitions()
		if len(partitions) == 0 {
			return fmt.Errorf("member %d of %d has no partition", i, len(g.members))
		}
		for _, p := range partitions {
			if other, taken := owners[p]; taken {
				return fmt.Errorf("partition %d has two owners, %d and %d", p, other, i)
			}
			owners[p] = i
		}
	}
	if len(owners) != groupPartitions {
		return fmt.Errorf("%d of %d partitions have an owner", len(owners), groupPartitions)
	}
	return nil
}

// killEveryAgent kills one agent after the other and starts it again. No member
// may notice: not its generation, nor its partitions.
func (g *groupRun) killEveryAgent() {
	before := g.memberships()
	for _, agent := range g.fleet.agents {
		agent.Kill()
		g.progress(2)
		agent.Restart()
		g.fleet.balancer.Ready() // or there may be none left when the next one dies
		g.progress(2)
	}
	for i, after := range g.memberships() {
		if after != before[i] {
			g.t.Errorf("the death of agents alone changed member %d from %+v to %+v", i, before[i], after)
		}
	}
}

// membership is what a rebalance would change.
type membership struct {
	id         string
	generation int32
	changes    int64
}

func (g *groupRun) memberships() (all []membership) {
	for _, m := range g.members {
		id, generation := m.GroupMetadata()
		all = append(all, membership{id, generation, m.changes.Load()})
	}
	return all
}

// progress waits until the group has committed something anew, the given number of times.
func (g *groupRun) progress(times int) {
	g.t.Helper()
	before := int64(-1)
	for range times + 1 { // the first time is for the number before
		harness.Eventually(g.t, time.Minute, func() error {
			after, err := g.committed()
			switch {
			case err != nil: // an agent may die under the question
				return fmt.Errorf("fetch the group's offsets: %w", err)
			case after <= before:
				return fmt.Errorf("the group has committed %d, as before", after)
			}
			before = after
			return nil
		})
	}
}

// committed is the sum of the group's offsets.
func (g *groupRun) committed() (sum int64, err error) {
	offsets, err := g.admin.FetchOffsets(g.t.Context(), "workers")
	offsets.Each(func(o kadm.OffsetResponse) { sum += max(o.At, 0) })
	return sum, err
}

// startProducer produces numbered records until the returned function is called,
// which returns what was acknowledged.
func (g *groupRun) startProducer() (stop func() *ledger) {
	l := &ledger{acked: map[string]int64{}}
	c := client(g.t, kgo.SeedBrokers(g.fleet.balancer.Address()), kgo.DefaultProduceTopic("work"),
		kgo.ProducerLinger(5*time.Millisecond), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.RetryTimeout(2*time.Minute), kgo.RecordDeliveryTimeout(2*time.Minute))
	ctx, cancel := context.WithCancel(g.t.Context())
	var producing sync.WaitGroup
	producing.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			c.Produce(context.WithoutCancel(ctx), &kgo.Record{Key: []byte(strconv.Itoa(i % 400)), Value: []byte(strconv.Itoa(i))}, l.promise)
			<-tick.C
		}
	})
	return func() *ledger {
		cancel()
		producing.Wait()
		if err := c.Flush(g.t.Context()); err != nil {
			g.t.Fatal(err)
		}
		for _, err := range l.failed {
			g.t.Errorf("an idempotent producer gave up: %v", err)
		}
		return l
	}
}

// watchCommits looks at the committed offsets all the while: none goes back.
func (g *groupRun) watchCommits() (stop func()) {
	ctx, cancel := context.WithCancel(g.t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		last := map[int32]int64{}
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			offsets, err := g.admin.FetchOffsets(ctx, "workers")
			if err != nil {
				continue // an agent died under the question
			}
			offsets.Each(func(o kadm.OffsetResponse) {
				if o.At < last[o.Partition] {
					g.journal.problem("partition %d: offset %d was committed, then %d", o.Partition, last[o.Partition], o.At)
				}
				last[o.Partition] = max(last[o.Partition], o.At)
			})
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

// consumeAll waits until everything acknowledged was delivered.
func (g *groupRun) consumeAll(l *ledger) {
	g.t.Helper()
	harness.Eventually(g.t, 2*time.Minute, func() error {
		if got, want := len(g.journal.received()), l.count(); got < want {
			return fmt.Errorf("%d of %d records were delivered", got, want)
		}
		return nil
	})
}

// quantile of durations.
func quantile(all []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].Round(time.Millisecond)
}
