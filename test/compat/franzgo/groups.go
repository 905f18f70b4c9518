package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// member is a member of a group that polls and commits until it is closed.
type member struct {
	client *kgo.Client
	once   sync.Once
	done   chan struct{} // closed when it polls no more

	mu       sync.Mutex
	assigned map[string][]int32
	revoked  int // the most partitions that one revocation took
	revokes  int
	values   []string
}

// join starts a member of the group.
func join(group, topic string, options ...kgo.Opt) (*member, error) {
	m := &member{done: make(chan struct{}), assigned: map[string][]int32{}}
	lost := func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) { m.lose(partitions) }
	var err error
	m.client, err = newClient(append([]kgo.Opt{
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.AutoCommitInterval(500 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) { m.gain(partitions) }),
		kgo.OnPartitionsRevoked(lost),
		kgo.OnPartitionsLost(lost),
	}, options...)...)
	if err != nil {
		return nil, err
	}
	go m.poll()
	return m, nil
}

func (m *member) poll() {
	defer close(m.done)
	for {
		fetches := m.client.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		m.mu.Lock()
		fetches.EachRecord(func(r *kgo.Record) { m.values = append(m.values, string(r.Value)) })
		m.mu.Unlock()
	}
}

func (m *member) gain(partitions map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, ps := range partitions {
		m.assigned[topic] = append(m.assigned[topic], ps...)
	}
}

func (m *member) lose(partitions map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	count := 0
	for topic, ps := range partitions {
		count += len(ps)
		m.assigned[topic] = slices.DeleteFunc(m.assigned[topic], func(p int32) bool { return slices.Contains(ps, p) })
	}
	if count > 0 {
		m.revokes++
	}
	m.revoked = max(m.revoked, count)
}

// owned are the partitions of all topics, sorted.
func (m *member) owned() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var owned []int32
	for _, ps := range m.assigned {
		owned = append(owned, ps...)
	}
	slices.Sort(owned)
	return owned
}

func (m *member) topics() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.assigned))
}

func (m *member) read() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.values)
}

func (m *member) revocations() (count, largest int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.revokes, m.revoked
}

// close leaves the group, unless the member is static.
func (m *member) close() {
	m.once.Do(m.client.Close)
	<-m.done
}

// sharedOut tells whether the members own all partitions, each has some and none is owned twice.
func sharedOut(members ...*member) bool {
	var all []int32
	for _, m := range members {
		owned := m.owned()
		if len(owned) == 0 {
			return false
		}
		all = append(all, owned...)
	}
	slices.Sort(all)
	return slices.Equal(all, []int32{0, 1, 2, 3, 4, 5})
}

func until(ctx context.Context, what string, holds func() bool) error {
	return eventually(ctx, what, func() (bool, error) { return holds(), nil })
}

// start creates the topic and a first member, which owns all.
func start(ctx context.Context, name string, options ...kgo.Opt) (*member, error) {
	if err := createTopic(ctx, name, partitions); err != nil {
		return nil, err
	}
	m, err := join(name, name, options...)
	if err != nil {
		return nil, err
	}
	if err := until(ctx, "the first member owns all", func() bool { return len(m.owned()) == partitions }); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func rebalance(ctx context.Context, name string, options ...kgo.Opt) error {
	first, err := start(ctx, name, options...)
	if err != nil {
		return err
	}
	defer first.close()
	return churn(ctx, name, first, options...)
}

// cooperative wants the first member to keep something in each rebalance.
func cooperative(ctx context.Context, name string, options ...kgo.Opt) error {
	first, err := start(ctx, name, options...)
	if err != nil {
		return err
	}
	defer first.close()
	if err := churn(ctx, name, first, options...); err != nil {
		return err
	}
	if _, largest := first.revocations(); largest == partitions {
		return fmt.Errorf("a revocation took everything from the first member")
	}
	return nil
}

// churn has two more members join, read with the first one, and leave.
func churn(ctx context.Context, name string, first *member, options ...kgo.Opt) error {
	second, err := join(name, name, options...)
	if err != nil {
		return err
	}
	defer second.close()
	third, err := join(name, name, options...)
	if err != nil {
		return err
	}
	defer third.close()
	if err := until(ctx, "three members share", func() bool { return sharedOut(first, second, third) }); err != nil {
		return err
	}
	if err := produce(ctx, name, partitions, numbers(60)); err != nil {
		return err
	}
	if err := until(ctx, "they read everything", func() bool {
		all := slices.Concat(first.read(), second.read(), third.read())
		slices.Sort(all)
		return len(slices.Compact(all)) == 60
	}); err != nil {
		return err
	}
	second.close()
	third.close()
	return takesOver(ctx, name, first)
}

// takesOver wants the member to get all partitions, and to read what comes then.
func takesOver(ctx context.Context, name string, m *member) error {
	if err := until(ctx, "the member owns all again", func() bool { return len(m.owned()) == partitions }); err != nil {
		return err
	}
	after := []string{"after 0", "after 1", "after 2", "after 3", "after 4", "after 5"}
	if err := produce(ctx, name, partitions, after); err != nil {
		return err
	}
	return until(ctx, "it reads all partitions", func() bool {
		read := m.read()
		return !slices.ContainsFunc(after, func(value string) bool { return !slices.Contains(read, value) })
	})
}

func crash(ctx context.Context, name string, options ...kgo.Opt) error {
	survivor, err := start(ctx, name, options...)
	if err != nil {
		return err
	}
	defer survivor.close()
	args := []string{"--member", name}
	if len(options) > 0 {
		args = append(args, "consumer")
	}
	victim := exec.CommandContext(ctx, os.Args[0], args...)
	victim.Stderr = os.Stderr
	if err := victim.Start(); err != nil {
		return err
	}
	shared := until(ctx, "they share", func() bool { n := len(survivor.owned()); return n > 0 && n < partitions })
	if err := victim.Process.Kill(); err != nil {
		return err
	}
	_ = victim.Wait() // it was killed
	if shared != nil {
		return shared
	}
	return takesOver(ctx, name, survivor)
}

// memberToKill is a member in a process of its own.
func memberToKill(ctx context.Context, name string, protocol ...string) {
	var options []kgo.Opt
	if len(protocol) > 0 {
		options = append(options, kgo.ServerSideBalancer())
	}
	if _, err := join(name, name, options...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-ctx.Done()
}

func commit(ctx context.Context, name string, options ...kgo.Opt) error {
	if err := createTopic(ctx, name, 1); err != nil {
		return err
	}
	if err := produce(ctx, name, 1, numbers(30)); err != nil {
		return err
	}
	options = append(slices.Clone(options), kgo.ConsumerGroup(name), kgo.ConsumeTopics(name), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	first, err := newClient(options...)
	if err != nil {
		return err
	}
	defer first.Close()
	got, err := read(ctx, first, 30)
	if err != nil {
		return err
	}
	if err := first.CommitRecords(ctx, got[11]); err != nil {
		return err
	}
	first.Close()
	if err := asAdmin(func(admin *kadm.Client) error {
		fetched, err := admin.FetchOffsets(ctx, name)
		if o, _ := fetched.Lookup(name, 0); err == nil && o.At != 12 {
			return fmt.Errorf("committed %d, want 12", o.At)
		}
		return err
	}); err != nil {
		return err
	}
	second, err := newClient(options...)
	if err != nil {
		return err
	}
	defer second.Close()
	got, err = read(ctx, second, 18)
	if err == nil && got[0].Offset != 12 {
		return fmt.Errorf("resumed at %d, want 12", got[0].Offset)
	}
	return err
}

func static(ctx context.Context, name string, options ...kgo.Opt) error {
	instance := func(id string) []kgo.Opt { return append(slices.Clone(options), kgo.InstanceID(id)) }
	other, err := start(ctx, name, instance("other")...)
	if err != nil {
		return err
	}
	defer other.close()
	returning, err := join(name, name, instance("returning")...)
	if err != nil {
		return err
	}
	defer returning.close()
	if err := until(ctx, "they share", func() bool { return sharedOut(other, returning) }); err != nil {
		return err
	}
	before := returning.owned()
	revocations, _ := other.revocations()
	returning.close()
	back, err := join(name, name, instance("returning")...)
	if err != nil {
		return err
	}
	defer back.close()
	if err := until(ctx, "it is back", func() bool { return slices.Equal(back.owned(), before) }); err != nil {
		return err
	}
	if now, _ := other.revocations(); now != revocations {
		return fmt.Errorf("the other member saw %d revocations meanwhile", now-revocations)
	}
	return nil
}

func regex(ctx context.Context, name string, options ...kgo.Opt) error {
	if err := createTopic(ctx, name+"-1", 1); err != nil {
		return err
	}
	m, err := join(name, name+"-[0-9]", append(slices.Clone(options), kgo.ConsumeRegex())...)
	if err != nil {
		return err
	}
	defer m.close()
	if err := until(ctx, "the first topic", func() bool { return slices.Equal(m.topics(), []string{name + "-1"}) }); err != nil {
		return err
	}
	if err := createTopic(ctx, name+"-2", 1); err != nil {
		return err
	}
	return until(ctx, "the topic that came later", func() bool {
		return slices.Equal(m.topics(), []string{name + "-1", name + "-2"})
	})
}
