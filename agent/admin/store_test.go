package admin

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sqlite"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// direct is the topics of a real store without a cache before it. With an
// error set, that is the answer of lookups, or of changes and of questions about the feed.
type direct struct {
	metadata.Store
	lookup error
	change error
}

func (d *direct) AllTopics(ctx context.Context) ([]metadata.Topic, error) {
	topics, _, err := d.ListTopics(ctx)
	return topics, err
}

func (d *direct) Lookup(ctx context.Context, names []string, ids []uuid.UUID) ([]metadata.Topic, error) {
	if d.lookup != nil {
		return nil, d.lookup
	}
	byName, err := d.TopicsByName(ctx, names)
	if err != nil {
		return nil, err
	}
	byID, err := d.TopicsByID(ctx, ids)
	return append(byName, byID...), err
}

func (d *direct) TopicByName(ctx context.Context, name string) (metadata.Topic, error) {
	return d.one(d.Lookup(ctx, []string{name}, nil))
}

func (d *direct) TopicNow(ctx context.Context, name string) (metadata.Topic, error) {
	return d.TopicByName(ctx, name)
}

func (d *direct) TopicByID(ctx context.Context, id uuid.UUID) (metadata.Topic, error) {
	return d.one(d.Lookup(ctx, nil, []uuid.UUID{id}))
}

func (d *direct) one(topics []metadata.Topic, err error) (metadata.Topic, error) {
	switch {
	case err != nil:
		return metadata.Topic{}, err
	case len(topics) == 0:
		return metadata.Topic{}, metadata.ErrUnknownTopic
	}
	return topics[0], nil
}

func (d *direct) CreateTopic(ctx context.Context, topic metadata.NewTopic) (metadata.Topic, error) {
	if d.change != nil {
		return metadata.Topic{}, d.change
	}
	return d.Store.CreateTopic(ctx, topic)
}

func (d *direct) DeleteTopic(ctx context.Context, id uuid.UUID) error {
	if d.change != nil {
		return d.change
	}
	return d.Store.DeleteTopic(ctx, id)
}

func (d *direct) CreatePartitions(ctx context.Context, id uuid.UUID, count int32) (metadata.Topic, error) {
	if d.change != nil {
		return metadata.Topic{}, d.change
	}
	return d.Store.CreatePartitions(ctx, id, count)
}

func (d *direct) AlterTopicConfigs(ctx context.Context, id uuid.UUID, edit metadata.ConfigEdit) (metadata.Topic, error) {
	if d.change != nil {
		return metadata.Topic{}, d.change
	}
	return d.Store.AlterTopicConfigs(ctx, id, edit)
}

func (d *direct) DeleteRecords(ctx context.Context, deletions []metadata.RecordsDeletion) (metadata.RecordsDeleted, error) {
	if d.change != nil {
		return metadata.RecordsDeleted{}, d.change
	}
	return d.Store.DeleteRecords(ctx, deletions)
}

func (d *direct) PartitionSizes(ctx context.Context, partitions []metadata.PartitionID) ([]int64, error) {
	if d.change != nil {
		return nil, d.change
	}
	return d.Store.PartitionSizes(ctx, partitions)
}

func (d *direct) ActiveProducers(ctx context.Context, partitions []metadata.PartitionID) ([][]metadata.ActiveProducer, error) {
	if d.change != nil {
		return nil, d.change
	}
	return d.Store.ActiveProducers(ctx, partitions)
}

// uncached is the settings of broker 1, read from a real store at each use.
type uncached struct {
	*direct
	t      testing.TB
	static configs.Broker
}

func (u *uncached) all() map[metadata.ConfigResource]map[string]string {
	set, _, err := u.ListConfigs(context.Background())
	if err != nil {
		u.t.Fatal(err)
	}
	return set
}

func (u *uncached) Of(r metadata.ConfigResource) map[string]string { return u.all()[r] }

func (u *uncached) Broker() *configs.Broker {
	broker := u.BrokerOf(1)
	return &broker
}

func (u *uncached) BrokerOf(nodeID int32) configs.Broker {
	set := u.all()
	broker, err := u.static.With(set[metadata.ConfigResource{Kind: metadata.BrokerConfig}],
		set[metadata.ConfigResource{Kind: metadata.BrokerConfig, Name: strconv.Itoa(int(nodeID))}])
	if err != nil {
		u.t.Fatal(err)
	}
	return broker
}

func (u *uncached) Names(kind metadata.ConfigKind) []string {
	var names []string
	for r := range u.all() {
		if r.Kind == kind {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	return names
}

func (u *uncached) Alter(ctx context.Context, r metadata.ConfigResource, edit metadata.ConfigEdit) error {
	if u.change != nil {
		return u.change
	}
	_, _, err := u.AlterConfigs(ctx, r, edit)
	return err
}

func (u *uncached) UsualLevel() string { return "INFO" }

// view is a register that doesn't change.
type view []metadata.Agent

func (v view) Alive() []metadata.Agent { return v }
func (v view) Self() metadata.Agent    { return v[0] }
func (v view) Brokers(protocol.Client) (ids []int32) {
	for _, a := range v {
		if id := a.BrokerID(a.Listeners[0]); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}
func (v view) Controller(protocol.Client) (int32, metadata.Listener) {
	return v[0].BrokerID(v[0].Listeners[0]), v[0].Listeners[0]
}

// Place has the partitions of a client on one agent, by the length of its name.
func (v view) Place(c protocol.Client) func(uuid.UUID, int32) ([]int32, bool) {
	leader := v[len(c.ID)%2]
	return func(uuid.UUID, int32) ([]int32, bool) {
		return []int32{leader.NodeID}, leader.Listeners[0] == v[0].Listeners[0]
	}
}

// at is the listener of an agent.
func at(host string, port int32) []metadata.Listener {
	return []metadata.Listener{{Name: metadata.DefaultListener, Host: host, Port: port}}
}

func (d *direct) LastSeq(ctx context.Context) (int64, error) {
	if d.change != nil {
		return 0, d.change
	}
	return d.Store.LastSeq(ctx)
}

var client = protocol.Client{ID: "test", Host: "10.0.0.1"}

// newTestAdmin makes handlers over a fresh store, with the brokers 1 and 2.
func newTestAdmin(t testing.TB, settings map[string]string) (*Admin, *direct) {
	t.Helper()
	broker, err := configs.ParseBroker(settings)
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "metadata.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	agents := view{{NodeID: 1, Listeners: at("one", 9092), Zone: "a"}, {NodeID: 2, Listeners: at("::1", 9093)}}
	topics := &direct{Store: store}
	over := &uncached{direct: topics, t: t, static: broker}
	return New(topics, topics, agents, over, topics, map[string]string{"log.dirs": "s3://bucket"}, slog.New(slog.DiscardHandler)), topics
}

func create(t testing.TB, store metadata.Topics, topic metadata.NewTopic) metadata.Topic {
	t.Helper()
	topic.Partitions = max(topic.Partitions, 1)
	created, err := store.CreateTopic(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func find(t testing.TB, store metadata.Topics, name string) (metadata.Topic, bool) {
	t.Helper()
	topics, err := store.TopicsByName(t.Context(), []string{name})
	if err != nil {
		t.Fatal(err)
	}
	if len(topics) == 0 {
		return metadata.Topic{}, false
	}
	return topics[0], true
}

// onTheWire sends a response through its encoding, which drops what the
// version has no room for.
func onTheWire[R kmsg.Response](t testing.TB, resp R) R {
	t.Helper()
	read := resp.RequestKind().ResponseKind().(R)
	if err := read.ReadFrom(resp.AppendTo(nil)); err != nil {
		t.Fatalf("%T version %d can't be read back: %v", resp, resp.GetVersion(), err)
	}
	return read
}

// result renders an error code and its message, "ok" for none.
func result(code int16, message *string) string {
	text := "ok"
	if code != 0 {
		text = kerr.TypedErrorForCode(code).Message
	}
	if message != nil && *message != "" {
		text = fmt.Sprintf("%s: %s", text, *message)
	}
	return text
}

// write commits one batch of so many records to the partition, 10 bytes each, as the
// producer (-1 for none) with its first sequence.
func write(t testing.TB, store metadata.Log, partition metadata.PartitionID, records int32, producer int64, sequence int32) {
	t.Helper()
	commit(t, store, partition, metadata.Batch{Size: 10 * records, Records: records, MaxTimestamp: 1, ProducerID: producer, ProducerEpoch: 3, BaseSequence: sequence})
}

// commit commits a file with one batch.
func commit(t testing.TB, store metadata.Log, partition metadata.PartitionID, batch metadata.Batch) {
	t.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	file := metadata.File{ID: id, Size: 1 << 10, Appends: []metadata.Append{{Partition: partition, StoredSize: batch.Size, Batches: []metadata.Batch{batch}}}}
	result, err := store.CommitFiles(t.Context(), []metadata.File{file})
	if err == nil {
		err = result.Files[0].Outcomes[0][0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
}

func ptr(s string) *string { return &s }
