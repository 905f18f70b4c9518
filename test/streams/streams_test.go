package streams

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/test/harness"
)

const (
	partitions = 4
	// pace is how many flights are produced a second: slow enough for some 20 kills.
	pace = 2500
	// interval is the time from one kill to the next.
	interval = 3 * time.Second
	// patience is for a machine that does much else; some 80 s are needed.
	patience = 10 * time.Minute
)

// TestExactlyOnceWhileEverythingIsKilled runs by `make streams`.
func TestExactlyOnceWhileEverythingIsKilled(t *testing.T) {
	folder := os.Getenv("WADI_STREAMS")
	if folder == "" {
		t.Skip("the application is installed and run by `make streams`, since it takes minutes")
	}
	for _, setup := range chosenSetups() {
		t.Run(setup.name, func(t *testing.T) { run(t, setup.start(t), folder) })
	}
}

func run(t *testing.T, on cluster, folder string) {
	flights := harness.Flights(t)
	a := newApplication(t, on.bootstrap, folder)
	admin := kadm.NewClient(client(t, on.bootstrap))
	created, err := admin.CreateTopics(t.Context(), partitions, -1, nil, a.flights(), a.totals())
	if err := errors.Join(err, created.Error()); err != nil {
		t.Fatal(err)
	}
	instances := []*instance{newInstance(t, a), newInstance(t, a)}
	harness.Eventually(t, 2*time.Minute, func() error {
		topics, err := admin.ListTopics(t.Context(), a.regrouped(), a.changelog())
		return errors.Join(err, topics.Error())
	})

	o := observe(t, a)
	produced := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	producer := client(t, on.bootstrap, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	go func() { produced <- produceFlights(ctx, producer, a.flights(), flights) }()
	start := time.Now()
	killed := killUntilDone(ctx, t, on.agents, instances, o, len(flights))
	if err := <-produced; err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	for _, i := range instances {
		i.program.Stop()
	}

	h := History{Flights: flights}
	whole, aborted := map[string][][]Record{}, 0
	for _, topic := range []string{a.regrouped(), a.changelog(), a.totals()} {
		decided(t, admin, topic)
		for p, log := range readLogs(t, on.bootstrap, topic) {
			records, n, err := committed(log)
			if err != nil {
				t.Fatalf("%s, partition %d: %v", topic, p, err)
			}
			whole[topic] = append(whole[topic], records)
			aborted += n
		}
	}
	harness.Eventually(t, time.Minute, func() error {
		if n := o.behind(whole); n > 0 {
			return fmt.Errorf("the observer has not seen %d records", n)
		}
		return nil
	})
	o.stop()
	o.sample(t.Context()) // where the group stands in the end
	if o.err != nil {
		t.Error(o.err)
	}
	for topic, records := range whole {
		if err := o.check(topic, records); err != nil {
			t.Error(err)
		}
	}
	h.Regrouped, h.Changelog, h.Totals, h.Commits = whole[a.regrouped()], whole[a.changelog()], whole[a.totals()], o.commits
	if err := h.Verify(); err != nil {
		t.Error(err)
	}
	if aborted == 0 {
		t.Errorf("%d instances were killed, and nothing of theirs was aborted", killed[1])
	}
	t.Logf("%d flights in %.0f s; killed %d agents and %d instances; %d transactions in the totals; %d records were aborted; %d committed offsets checked",
		len(flights), took.Seconds(), killed[0], killed[1], transactions(h.Totals), aborted, len(h.Commits))
}

// killUntilDone kills agents in turn, and once in a round an instance, until all flights
// are counted. It returns how many agents and instances it killed.
//
// A group misses a member that died only when its session is over, and each agent that
// starts gives all members a session anew: agents that all die within seconds never
// come to that. So they are spared for a while when an instance was killed.
func killUntilDone(ctx context.Context, t *testing.T, agents []*harness.AgentProcess, instances []*instance, o *observer, flights int) (killed [2]int) {
	const (
		round                 = 24 // intervals
		kill, start, spareEnd = 6, 8, 14
	)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n := 0; ; n++ {
		counted, err := o.progress()
		if err != nil {
			t.Fatal(err)
		}
		at := n % round
		if down := at > kill && at <= start; counted >= flights && !down {
			return killed
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d of %d flights were counted in %v", counted, flights, patience)
		}
		victim := instances[n/round%len(instances)]
		switch {
		case at == kill:
			victim.program.Kill()
			killed[1]++
		case at == start:
			victim.start(t)
		case at > kill && at < spareEnd || len(agents) == 0:
		default:
			agents[n%len(agents)].Kill()
			agents[n%len(agents)].Restart()
			killed[0]++
		}
		for _, i := range instances {
			i.program.Check()
		}
	}
}

// produceFlights produces flight n as "NUMBER DISTANCE DELAY" to offset n/partitions of partition n%partitions.
func produceFlights(ctx context.Context, c *kgo.Client, topic string, flights []harness.Flight) error {
	const perSecond = 20
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	failed := make(chan error, 1)
	for n, f := range flights {
		if n%(pace/perSecond) == 0 {
			select {
			case <-tick.C:
			case err := <-failed:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		value := fmt.Sprintf("%d %d %d", n, f.Distance, f.Delay)
		c.Produce(ctx, &kgo.Record{Topic: topic, Partition: int32(n % partitions), Value: []byte(value)}, func(r *kgo.Record, err error) {
			if err == nil && r.Offset != int64(n/partitions) {
				err = fmt.Errorf("it lies at offset %d", r.Offset)
			}
			if err != nil {
				select {
				case failed <- fmt.Errorf("produce flight %d: %w", n, err):
				default: // the first says enough
				}
			}
		})
	}
	if err := c.Flush(ctx); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// decided waits until no transaction is open in the topic.
func decided(t *testing.T, admin *kadm.Client, topic string) {
	t.Helper()
	harness.Eventually(t, time.Minute, func() error {
		ends, err := admin.ListEndOffsets(t.Context(), topic)
		stable, err2 := admin.ListCommittedOffsets(t.Context(), topic)
		if err := errors.Join(err, err2, ends.Error(), stable.Error()); err != nil {
			return err
		}
		for p, end := range ends[topic] {
			if last := stable[topic][p].Offset; last != end.Offset {
				return fmt.Errorf("%s, partition %d: the last stable offset is %d, the end %d", topic, p, last, end.Offset)
			}
		}
		return nil
	})
}

// transactions returns how many transactions wrote the records of all partitions,
// one counted in each partition that it wrote to.
func transactions(partitions [][]Record) int {
	n := 0
	for _, records := range partitions {
		for i, r := range records {
			if i == 0 || r.End != records[i-1].End {
				n++
			}
		}
	}
	return n
}

// client returns a franz-go client, closed with the test.
func client(t *testing.T, bootstrap string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(options, kgo.SeedBrokers(bootstrap), kgo.MetadataMinAge(100*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
