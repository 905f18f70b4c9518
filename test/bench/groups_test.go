package bench

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wadi-log/wadi/test/harness"
	"github.com/wadi-log/wadi/test/measure"
)

const (
	// heartbeats are watched for so long once all groups are stable, commits too.
	watchHeartbeats = 40 * time.Second
	watchCommits    = 20 * time.Second
	// The intervals at which clients send heartbeats by default, and at which
	// these members commit: 100,000 offsets a second all together.
	classicInterval  = 3 * time.Second
	consumerInterval = 5 * time.Second
	commitInterval   = fleetMembers * memberPartitions * time.Second / 100_000
)

// BenchmarkGroupHeartbeats is 10,000 members of 500 groups, who have nothing to
// say but that they live. Each has a connection of its own to any of 3 agents.
func BenchmarkGroupHeartbeats(b *testing.B) {
	for _, kind := range []struct {
		name, api string
		make      func(seat) member
		every     time.Duration
	}{
		{"classic", "Heartbeat", newClassicMember, classicInterval},
		{"consumer", "ConsumerGroupHeartbeat", newConsumerMember, consumerInterval},
	} {
		b.Run(kind.name, func(b *testing.B) {
			g := startGroups(b, 3)
			f := newFleet(b, g.agents, kind.make)
			cold := g.measure(func() { f.assemble(kind.every) })
			b.ReportMetric(cold.took.Seconds(), "cold-s")
			b.ReportMetric(cold.cpu().Seconds(), "cold-agents-cpu-s")
			b.ReportMetric(cold.postgres.Seconds(), "cold-postgres-cpu-s")
			b.ReportMetric(cold.counted["wadi_group_stores_total"]/fleetMembers, "cold-stores/member")
			b.ReportMetric(cold.counted["wadi_group_conflicts_total"]/fleetMembers, "cold-conflicts/member")
			b.ReportMetric(float64(f.retries.Swap(0))/fleetMembers, "cold-retries/member")

			r := g.measure(func() { f.watch(watchHeartbeats) })
			waits := f.disband()
			b.ReportMetric(float64(len(waits))/r.took.Seconds(), "heartbeats/s")
			answered := r.counted[fmt.Sprintf("wadi_request_duration_seconds_count{api=%q}", kind.api)]
			b.ReportMetric(100*r.counted["wadi_group_cached_heartbeats_total"]/answered, "without-store-%")
			r.report(b)
			reportWaits(b, waits)
			b.ReportMetric(float64(f.retries.Load()), "retries")
		})
	}
}

// BenchmarkOffsetCommits offers 100,000 offsets a second: the same members,
// each of whom commits its 10 partitions, and again when it was answered.
func BenchmarkOffsetCommits(b *testing.B) {
	for _, agents := range []int{1, 3} {
		b.Run(fmt.Sprintf("agents=%d", agents), func(b *testing.B) {
			g := startGroups(b, agents)
			f := newFleet(b, g.agents, newClassicMember)
			f.assemble(classicInterval)
			f.switchTo(func(m member) (bool, error) { return false, m.(*classicMember).commit() }, commitInterval)
			f.rest(2 * commitInterval) // all rows are there

			r := g.measure(func() { f.watch(watchCommits) })
			waits := f.disband()
			b.ReportMetric(r.counted["wadi_group_committed_offsets_total"]/r.took.Seconds(), "offsets/s")
			b.ReportMetric(r.counted["wadi_group_offset_commit_requests_sum"]/r.counted["wadi_group_offset_commit_requests_count"], "requests/transaction")
			b.ReportMetric(1000*r.counted["wadi_group_offset_commit_seconds_sum"]/r.counted["wadi_group_offset_commit_seconds_count"], "transaction-ms")
			r.report(b)
			reportWaits(b, waits)
			b.ReportMetric(float64(f.retries.Load()), "retries")
		})
	}
}

func reportWaits(b *testing.B, waits []time.Duration) {
	b.Helper()
	if len(waits) == 0 {
		b.Fatal("nothing was answered")
	}
	b.ReportMetric(quantile(waits, 0.5), "p50-ms")
	b.ReportMetric(quantile(waits, 0.99), "p99-ms")
	b.ReportMetric(quantile(waits, 1), "max-ms")
	b.ReportMetric(0, "ns/op")
}

// groups are agents that share a database.
type groups struct {
	b        *testing.B
	agents   []*harness.AgentProcess
	postgres *measure.Postgres
}

func startGroups(b *testing.B, agents int) *groups {
	b.Helper()
	options, _ := places[1].open(b)
	options.Flags = append(options.Flags, fmt.Sprintf("--max-connections=%d", fleetMembers+100))
	g := &groups{b: b, postgres: measure.OpenPostgres(b, options.Metadata)}
	for range agents {
		g.agents = append(g.agents, harness.Agent(b, options))
	}
	createTopic(b, g.agents[0].Bootstrap(), fleetTopic, groupMembers*memberPartitions)
	return g
}

// result is what something cost.
type result struct {
	took         time.Duration
	agents       []time.Duration // CPU time of each
	postgres     time.Duration   // CPU time of all its processes
	load         time.Duration   // CPU time of this process, which sends the load
	transactions float64
	rows         map[string]float64 // inserted and updated, by table
	counted      map[string]float64 // the agents' metrics, all together
}

// measure tells what the agents and Postgres did meanwhile.
func (g *groups) measure(during func()) result {
	g.b.Helper()
	before, start := g.sample(), time.Now()
	during()
	after := g.sample()
	r := result{took: time.Since(start), transactions: after.transactions - before.transactions,
		postgres: after.postgres - before.postgres, load: after.load - before.load, rows: difference(after.rows, before.rows), counted: difference(after.counted, before.counted)}
	for i := range after.agents {
		r.agents = append(r.agents, after.agents[i]-before.agents[i])
	}
	return r
}

func difference(after, before map[string]float64) map[string]float64 {
	d := make(map[string]float64, len(after))
	for key := range after {
		d[key] = after[key] - before[key]
	}
	return d
}

func (g *groups) sample() result {
	g.b.Helper()
	s := result{counted: map[string]float64{}}
	for _, a := range g.agents {
		s.agents = append(s.agents, used(g.b, a).CPU)
		for name, v := range a.Metrics() {
			s.counted[name] += v
		}
	}
	s.postgres, s.load = g.postgres.CPU(), measure.Self(g.b).CPU
	s.transactions, s.rows = g.postgres.Written()
	return s
}

// cpu is the CPU time of all agents.
func (r result) cpu() (sum time.Duration) {
	for _, d := range r.agents {
		sum += d
	}
	return sum
}

// report reports what all group benchmarks have in common, CPU in percent of a core.
func (r result) report(b *testing.B) {
	b.Helper()
	percent := func(d time.Duration) float64 { return 100 * d.Seconds() / r.took.Seconds() }
	b.ReportMetric(percent(slices.Max(r.agents)), "busiest-agent-cpu-%")
	b.ReportMetric(percent(r.cpu()), "agents-cpu-%")
	b.ReportMetric(percent(r.postgres), "postgres-cpu-%")
	b.ReportMetric(percent(r.load), "load-cpu-%")
	b.ReportMetric(r.transactions/r.took.Seconds(), "transactions/s")
	for table, n := range r.rows {
		if n > 0 {
			b.ReportMetric(n/r.took.Seconds(), table+"-rows/s")
		}
	}
}
