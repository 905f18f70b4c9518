package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// journal is what the members of one group were given, and what they committed.
type journal struct {
	mu        sync.Mutex
	delivered map[int32]map[int64]received // by partition and offset
	problems  []string
}

func newJournal() *journal { return &journal{delivered: map[int32]map[int64]received{}} }

func (j *journal) deliver(r *kgo.Record) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.delivered[r.Partition] == nil {
		j.delivered[r.Partition] = map[int64]received{}
	}
	is := received{r.Partition, r.Offset, string(r.Key), string(r.Value)}
	if had, again := j.delivered[r.Partition][r.Offset]; again && had != is {
		j.problems = append(j.problems, fmt.Sprintf("%+v was delivered before as %+v", is, had))
	}
	j.delivered[r.Partition][r.Offset] = is
}

func (j *journal) problem(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.problems = append(j.problems, fmt.Sprintf(format, args...))
}

// received returns what was delivered, by partition and offset, each offset once.
func (j *journal) received() (all []received) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, offsets := range j.delivered {
		all = slices.AppendSeq(all, maps.Values(offsets))
	}
	slices.SortFunc(all, func(a, b received) int {
		if a.partition != b.partition {
			return int(a.partition) - int(b.partition)
		}
		return int(a.offset - b.offset)
	})
	return all
}

// member is one consumer of a group. It commits what it has handled, after it
// handled it, as applications do.
type member struct {
	*kgo.Client
	cancel context.CancelFunc
	done   chan struct{}
	net    *severable

	mu       sync.Mutex
	assigned map[int32]bool
	next     map[int32]int64 // per partition, in the present assignment
	// changes counts how often it was given or lost partitions.
	changes atomic.Int64
}

// join starts a member whose records go into the journal.
func join(t *testing.T, j *journal, bootstrap, group, topic string, options ...kgo.Opt) *member {
	t.Helper()
	m := &member{done: make(chan struct{}), net: &severable{}, assigned: map[int32]bool{}, next: map[int32]int64{}}
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(t.Context())
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(bootstrap), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.HeartbeatInterval(500 * time.Millisecond), kgo.SessionTimeout(15 * time.Second), kgo.RebalanceTimeout(20 * time.Second),
		kgo.AutoCommitMarks(), kgo.AutoCommitInterval(200 * time.Millisecond),
		kgo.MetadataMinAge(100 * time.Millisecond), kgo.RetryTimeout(time.Minute),
		kgo.AlwaysRetryEOF(), // an agent that dies while it greets a client doesn't ask for TLS
		kgo.Dialer(m.net.dial),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			m.change(parts[topic], true)
		}),
		kgo.OnPartitionsRevoked(func(ctx context.Context, c *kgo.Client, parts map[string][]int32) {
			if err := c.CommitMarkedOffsets(ctx); err != nil && ctx.Err() == nil {
				t.Logf("a commit at a revocation: %v", err)
			}
			m.change(parts[topic], false)
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			m.change(parts[topic], false)
		}),
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	m.Client = c
	go m.consume(ctx, j)
	t.Cleanup(func() { m.crash() })
	return m
}

func (m *member) change(partitions []int32, assigned bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(partitions) > 0 {
		m.changes.Add(1)
	}
	for _, p := range partitions {
		delete(m.next, p)
		if assigned {
			m.assigned[p] = true
		} else {
			delete(m.assigned, p)
		}
	}
}

func (m *member) partitions() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]int32, 0, len(m.assigned))
	for p := range m.assigned {
		all = append(all, p)
	}
	return all
}

// consume handles records until ctx ends: in one assignment each partition's
// offsets follow each other.
func (m *member) consume(ctx context.Context, j *journal) {
	defer close(m.done)
	for {
		fetches := m.PollFetches(ctx)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		fetches.EachError(func(topic string, partition int32, err error) {
			j.problem("a consumer was told of %s/%d: %v", topic, partition, err)
		})
		fetches.EachRecord(func(r *kgo.Record) {
			m.mu.Lock()
			if want, ok := m.next[r.Partition]; ok && r.Offset != want {
				j.problem("partition %d: offset %d came where %d was next", r.Partition, r.Offset, want)
			}
			m.next[r.Partition] = r.Offset + 1
			m.mu.Unlock()
			j.deliver(r)
			m.MarkCommitRecords(r)
		})
	}
}

// leave ends the member in order: it commits and tells the group.
func (m *member) leave() {
	m.cancel()
	<-m.done
	m.Close()
}

// crash ends the member as a power cut does: its connections are gone, and
// nobody is told.
func (m *member) crash() {
	m.net.sever()
	m.cancel()
	<-m.done
	m.Close()
}

// severable dials until it is severed, and then cuts all connections.
type severable struct {
	mu      sync.Mutex
	severed bool
	conns   []net.Conn
}

func (s *severable) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.severed {
		_ = conn.Close()
		return nil, errors.New("severed")
	}
	s.conns = append(s.conns, conn)
	return conn, nil
}

func (s *severable) sever() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.severed = true
	for _, conn := range s.conns {
		_ = conn.Close()
	}
}
