package group

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/group/machine"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sqlite"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// spy is the real store, watched and disturbed: for a call of that kind, before may
// refuse it, and after may lose its reply.
type spy struct {
	metadata.Store
	mu            sync.Mutex
	before, after func(kind string) error
	calls         map[string]int
}

func (s *spy) disturb(before, after func(kind string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.after = before, after
}

func (s *spy) count(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[kind]
}

func (s *spy) enter(kind string) (lost func(error) error, err error) {
	s.mu.Lock()
	s.calls[kind]++
	before, after := s.before, s.after
	s.mu.Unlock()
	if before != nil {
		err = before(kind)
	}
	return func(err error) error {
		if err == nil && after != nil {
			return after(kind)
		}
		return err
	}, err
}

func (s *spy) LoadGroups(ctx context.Context, refs []metadata.GroupRef) ([]metadata.Group, time.Time, error) {
	lost, err := s.enter("load")
	if err != nil {
		return nil, time.Time{}, err
	}
	groups, now, err := s.Store.LoadGroups(ctx, refs)
	return groups, now, lost(err)
}

func (s *spy) GroupVersions(ctx context.Context, ids []string) ([]int64, time.Time, error) {
	if _, err := s.enter("versions"); err != nil {
		return nil, time.Time{}, err
	}
	return s.Store.GroupVersions(ctx, ids)
}

func (s *spy) StoreGroup(ctx context.Context, id string, version int64, state metadata.GroupState) (int64, error) {
	lost, err := s.enter("store")
	if err != nil {
		return 0, err
	}
	newVersion, err := s.Store.StoreGroup(ctx, id, version, state)
	return newVersion, lost(err)
}

func (s *spy) ClaimDueGroups(ctx context.Context, limit int, lease time.Duration) ([]string, error) {
	if _, err := s.enter("claim"); err != nil {
		return nil, err
	}
	return s.Store.ClaimDueGroups(ctx, limit, lease)
}

func (s *spy) BeatMembers(ctx context.Context, agent uuid.UUID, beats []metadata.GroupBeats) error {
	if _, err := s.enter("beat"); err != nil {
		return err
	}
	return s.Store.BeatMembers(ctx, agent, beats)
}

func (s *spy) HeardThrough(ctx context.Context, agent uuid.UUID, through time.Time) (time.Time, error) {
	if _, err := s.enter("heard"); err != nil {
		return time.Time{}, err
	}
	return s.Store.HeardThrough(ctx, agent, through)
}

func (s *spy) WriteOffsets(ctx context.Context, refs []metadata.GroupRef, decide func(time.Time, []metadata.Group) (metadata.OffsetChanges, error)) error {
	lost, err := s.enter("offsets")
	if err != nil {
		return err
	}
	return lost(s.Store.WriteOffsets(ctx, refs, decide))
}

func (s *spy) ChangeTransactions(ctx context.Context, requests []metadata.TransactionRequest) (metadata.TransactionsChanged, error) {
	lost, err := s.enter("change")
	if err != nil {
		return metadata.TransactionsChanged{}, err
	}
	changed, err := s.Store.ChangeTransactions(ctx, requests)
	return changed, lost(err)
}

func (s *spy) DeleteGroup(ctx context.Context, id string, version int64) error {
	if _, err := s.enter("delete"); err != nil {
		return err
	}
	return s.Store.DeleteGroup(ctx, id, version)
}

func (s *spy) DeleteUnusedGroup(ctx context.Context, id string, version int64) error {
	if _, err := s.enter("delete"); err != nil {
		return err
	}
	return s.Store.DeleteUnusedGroup(ctx, id, version)
}

// transactionsOf makes changes of transactions one by one.
type transactionsOf struct{ store *spy }

func (t transactionsOf) Change(ctx context.Context, id string, op metadata.TransactionOp) (metadata.TransactionResult, error) {
	changed, err := t.store.ChangeTransactions(ctx, []metadata.TransactionRequest{{ID: id, Op: op}})
	if err != nil {
		return metadata.TransactionResult{}, err
	}
	return changed.Results[0], nil
}

// catalogOf answers from the store, as the catalog does when it is fresh.
type catalogOf struct{ metadata.Store }

func (c catalogOf) Snapshot(ctx context.Context) ([]metadata.Topic, int64, error) {
	return c.ListTopics(ctx)
}

func (c catalogOf) Lookup(ctx context.Context, names []string, ids []uuid.UUID) ([]metadata.Topic, error) {
	byName, err := c.TopicsByName(ctx, names)
	if err != nil {
		return nil, err
	}
	byID, err := c.TopicsByID(ctx, ids)
	return append(byName, byID...), err
}

// brokerSettings are a broker's configs as Settings.
type brokerSettings struct{ configs.Broker }

func (s brokerSettings) Limits(string) machine.Limits { return LimitsOf(s.Broker) }
func (s brokerSettings) Offsets() OffsetSettings      { return OffsetSettingsOf(s.Broker) }
func (s brokerSettings) ConsumerProtocol() bool       { return true }

// quick lets groups react at once.
var quick = map[string]string{
	"group.initial.rebalance.delay.ms": "0", "group.min.session.timeout.ms": "1",
	"group.consumer.min.session.timeout.ms": "1", "group.consumer.min.heartbeat.interval.ms": "1",
}

// fleet is a database and the agents on it.
type fleet struct {
	testing.TB
	path     string
	settings brokerSettings
	topic    metadata.Topic
}

// node is one agent: its coordinator over a store of its own.
type node struct {
	*Coordinator
	fleet *fleet
	spy   *spy
	stop  context.CancelFunc
	once  sync.Once
	done  chan struct{}
}

// newFleet makes a database with the topic "t" of 4 partitions.
func newFleet(t testing.TB, settings map[string]string) *fleet {
	t.Helper()
	all := map[string]string{}
	for name, value := range quick {
		all[name] = value
	}
	for name, value := range settings {
		all[name] = value
	}
	broker, err := configs.ParseBroker(all)
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{TB: t, path: filepath.Join(t.TempDir(), "metadata.db"), settings: brokerSettings{broker}}
	store := f.open()
	if f.topic, err = store.CreateTopic(t.Context(), metadata.NewTopic{Name: "t", Partitions: 4}); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fleet) open() metadata.Store {
	f.Helper()
	store, err := sqlite.Open(f.Context(), f.path)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := store.Close(); err != nil {
			f.Error(err)
		}
	})
	return store
}

// agent starts one more agent.
func (f *fleet) agent() *node {
	f.Helper()
	store := f.open()
	n := &node{fleet: f, spy: &spy{Store: store, calls: map[string]int{}}, done: make(chan struct{})}
	n.Coordinator = New(n.spy, transactionsOf{n.spy}, catalogOf{store}, f.settings, uuid.New(), NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	var ctx context.Context
	ctx, n.stop = context.WithCancel(context.Background())
	go func() {
		defer close(n.done)
		n.Run(ctx)
	}()
	f.Cleanup(n.kill)
	return n
}

// kill ends the agent as kill -9 does: nobody is answered any more.
func (n *node) kill() {
	n.once.Do(func() {
		n.stop()
		<-n.done
		n.Close()
	})
}

// client is a classic member as its library keeps it.
type client struct {
	t          testing.TB
	group      string
	id         string
	instance   *string
	generation int32
	timeout    time.Duration
	released   *atomic.Int32 // joins whose bytes were given back while they waited
}

func (c *client) release() { c.released.Add(1) }

// nobodyLeaves is a connection that stays.
var nobodyLeaves = Waiting{Release: func() {}}

func (f *fleet) client(group string) *client {
	return &client{t: f, group: group, generation: -1, timeout: time.Minute, released: new(atomic.Int32)}
}

var software = protocol.Client{ID: "test", Host: "127.0.0.1"}

// joinStart sends the JoinGroup and returns how to wait for the answer.
func (c *client) joinStart(n *node, gone <-chan struct{}) func() *kmsg.JoinGroupResponse {
	req := kmsg.NewPtrJoinGroupRequest()
	req.SetVersion(9)
	req.Group, req.MemberID, req.InstanceID, req.ProtocolType = c.group, c.id, c.instance, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(c.timeout.Milliseconds()), 60_000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name = "range"
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Topics = []string{"t"}
	p.Metadata = meta.AppendTo(nil)
	req.Protocols = append(req.Protocols, p)
	wait := n.JoinGroup(c.t.Context(), software, Waiting{Gone: gone, Release: c.release}, req)
	return func() *kmsg.JoinGroupResponse {
		resp, _ := wait().(*kmsg.JoinGroupResponse)
		return resp
	}
}

// join joins, with an ID of its own first, and waits for the answer.
func (c *client) join(n *node) *kmsg.JoinGroupResponse {
	c.t.Helper()
	c.ask(n)
	return c.joined(c.joinStart(n, nil)())
}

// ask gets a dynamic member its ID (KIP-394).
func (c *client) ask(n *node) {
	c.t.Helper()
	if c.id != "" || c.instance != nil {
		return
	}
	resp := c.joinStart(n, nil)()
	if resp.ErrorCode != 79 || resp.MemberID == "" { // MEMBER_ID_REQUIRED
		c.t.Fatalf("the first join was answered %+v", resp)
	}
	c.id = resp.MemberID
}

func (c *client) joined(resp *kmsg.JoinGroupResponse) *kmsg.JoinGroupResponse {
	c.t.Helper()
	if resp == nil {
		c.t.Fatal("the join has no answer")
	}
	if resp.ErrorCode == 0 {
		c.id, c.generation = resp.MemberID, resp.Generation
	}
	return resp
}

// syncStart sends the SyncGroup; the leader brings an assignment for each ID.
func (c *client) syncStart(n *node, assign ...string) func() *kmsg.SyncGroupResponse {
	req := kmsg.NewPtrSyncGroupRequest()
	req.SetVersion(5)
	kind, protocol := "consumer", "range"
	req.Group, req.MemberID, req.InstanceID, req.Generation = c.group, c.id, c.instance, c.generation
	req.ProtocolType, req.Protocol = &kind, &protocol
	for i, id := range assign {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = id, fmt.Appendf(nil, "part %d", i)
		req.GroupAssignment = append(req.GroupAssignment, a)
	}
	wait := n.SyncGroup(c.t.Context(), software, nobodyLeaves, req)
	return func() *kmsg.SyncGroupResponse {
		resp, _ := wait().(*kmsg.SyncGroupResponse)
		return resp
	}
}

func (c *client) heartbeat(n *node) int16 {
	req := kmsg.NewPtrHeartbeatRequest()
	req.SetVersion(4)
	req.Group, req.MemberID, req.InstanceID, req.Generation = c.group, c.id, c.instance, c.generation
	return n.Heartbeat(c.t.Context(), software, req).ErrorCode
}

func (c *client) commit(n *node, offsets ...int64) []int16 {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.SetVersion(9)
	req.Group, req.MemberID, req.InstanceID, req.Generation = c.group, c.id, c.instance, c.generation
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = "t"
	for i, offset := range offsets {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		text := fmt.Sprint("at ", offset)
		p.Partition, p.Offset, p.Metadata = int32(i), offset, &text
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	resp := n.OffsetCommit(c.t.Context(), software, req)
	var codes []int16
	for _, p := range resp.Topics[0].Partitions {
		codes = append(codes, p.ErrorCode)
	}
	return codes
}

// committedOffsets returns the group's offsets of the topic "t", -1 for none.
func (c *client) committedOffsets(n *node) []int64 {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.SetVersion(8)
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = c.group
	topic := kmsg.NewOffsetFetchRequestGroupTopic()
	topic.Topic, topic.Partitions = "t", []int32{0, 1, 2, 3}
	g.Topics = append(g.Topics, topic)
	req.Groups = append(req.Groups, g)
	resp := n.OffsetFetch(c.t.Context(), software, req)
	var offsets []int64
	for _, p := range resp.Groups[0].Topics[0].Partitions {
		offsets = append(offsets, p.Offset)
	}
	return offsets
}

// stable makes a group of one member in its first generation.
func (f *fleet) stable(n *node, group string) *client {
	f.Helper()
	c := f.client(group)
	if resp := c.join(n); resp.ErrorCode != 0 {
		f.Fatalf("join: %+v", resp)
	}
	if resp := c.syncStart(n, c.id)(); resp.ErrorCode != 0 {
		f.Fatalf("sync: %+v", resp)
	}
	return c
}

// eventually waits for what another agent brings about.
func (f *fleet) eventually(what string, is func() bool) {
	f.Helper()
	harness.Eventually(f, time.Minute, func() error {
		if !is() {
			return fmt.Errorf("%s: not yet", what)
		}
		return nil
	})
}
