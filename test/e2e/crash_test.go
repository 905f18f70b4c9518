package e2e

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/test/harness"
)

// ledger is what a producer was told: the records that were acknowledged, by
// partition in the order of their offsets.
type ledger struct {
	mu     sync.Mutex
	acked  map[string]int64 // value -> offset
	failed []error
}

func (l *ledger) promise(r *kgo.Record, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed = append(l.failed, fmt.Errorf("record %s: %w", r.Value, err))
		return
	}
	l.acked[string(r.Value)] = r.Offset
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// produceThrough produces total numbered records, idempotently, and calls
// disturb each time another part of them has been acknowledged.
func produceThrough(t *testing.T, topic string, total, parts int, disturb func(part int), seeds ...string) *ledger {
	t.Helper()
	l := &ledger{acked: map[string]int64{}}
	c := client(t, kgo.SeedBrokers(seeds...), kgo.DefaultProduceTopic(topic),
		kgo.ProducerLinger(0), kgo.MaxBufferedRecords(500), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.RetryTimeout(2*time.Minute), kgo.RecordDeliveryTimeout(2*time.Minute))
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	for part := range parts {
		for i := part * total / parts; i < (part+1)*total/parts; i++ {
			c.Produce(ctx, &kgo.Record{Key: []byte(strconv.Itoa(i % 64)), Value: []byte(strconv.Itoa(i))}, l.promise)
		}
		disturb(part)
	}
	if err := c.Flush(ctx); err != nil {
		t.Fatalf("flush: %v; %d of %d acknowledged", err, l.count(), total)
	}
	for _, err := range l.failed {
		t.Errorf("an idempotent producer gave up: %v", err)
	}
	return l
}

// checkLedger fails the test unless the topic holds every acknowledged record
// exactly once, at the offset it was acknowledged with, and nothing else twice.
func checkLedger(t *testing.T, l *ledger, got []received) {
	t.Helper()
	seen := map[string]int64{}
	nextOffset := map[int32]int64{}
	lastOfKey := map[string]int{}
	for _, r := range got {
		if first, again := seen[r.value]; again {
			t.Errorf("record %s lies at offsets %d and %d of partition %d", r.value, first, r.offset, r.partition)
		}
		if want, ok := l.acked[r.value]; ok && want != r.offset {
			t.Errorf("record %s was acknowledged with offset %d and read at %d", r.value, want, r.offset)
		}
		if r.offset != nextOffset[r.partition] {
			t.Errorf("partition %d: offset %d follows %d", r.partition, r.offset, nextOffset[r.partition]-1)
		}
		number, err := strconv.Atoi(r.value)
		if err != nil {
			t.Fatal(err)
		}
		if last, ok := lastOfKey[r.key]; ok && last > number {
			t.Errorf("key %s: record %d was read after %d", r.key, number, last)
		}
		seen[r.value], nextOffset[r.partition], lastOfKey[r.key] = r.offset, r.offset+1, number
	}
	for value, offset := range l.acked {
		if _, ok := seen[value]; !ok {
			t.Errorf("record %s was acknowledged with offset %d and is lost", value, offset)
		}
	}
}

// TestKilledAgentLosesAndDoublesNothing kills the only agent with -9 in the
// middle of idempotent produce, again and again.
func TestKilledAgentLosesAndDoublesNothing(t *testing.T) {
	eachSetup(t, func(t *testing.T, options harness.AgentOptions) {
		agent := harness.Agent(t, options)
		createTopic(t, agent.Bootstrap(), "ledger", 6)
		l := produceThrough(t, "ledger", 50_000, 5, func(int) {
			agent.Kill()
			agent.Restart()
		}, agent.Bootstrap())
		checkLedger(t, l, readAll(t, agent.Bootstrap(), "ledger"))
	})
}

// TestClientMovesToAnotherAgentWhenItsOwnDies kills the agents in turn: the
// producer's retries arrive at the one that lives.
func TestClientMovesToAnotherAgentWhenItsOwnDies(t *testing.T) {
	for _, s := range setups[1:] {
		t.Run(s.name, func(t *testing.T) {
			options := s.options(t)
			agents := []*harness.AgentProcess{harness.Agent(t, options), harness.Agent(t, options)}
			createTopic(t, agents[0].Bootstrap(), "ledger", 6)
			l := produceThrough(t, "ledger", 50_000, 4, func(part int) {
				agents[part%2].Kill()
				agents[(part+1)%2].Ready()
				agents[part%2].Restart()
			}, agents[0].Bootstrap(), agents[1].Bootstrap())
			checkLedger(t, l, readAll(t, agents[0].Bootstrap(), "ledger"))
		})
	}
}
