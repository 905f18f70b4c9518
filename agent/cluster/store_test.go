package cluster

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sqlite"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// openStore opens a fresh store of the real kind.
func openStore(t testing.TB) metadata.Store {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "metadata.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// direct is the topics of a store without a cache before it. With an error, lookups
// find the topics in known and nothing else.
type direct struct {
	metadata.Store
	err     error
	known   []metadata.Topic
	deleted map[string]bool
}

func (d *direct) AllTopics(ctx context.Context) ([]metadata.Topic, error) {
	if d.err != nil {
		return nil, d.err
	}
	topics, _, err := d.ListTopics(ctx)
	return topics, err
}

func (d *direct) Lookup(ctx context.Context, names []string, ids []uuid.UUID) ([]metadata.Topic, error) {
	if d.err != nil {
		return d.known, d.err
	}
	byName, err := d.TopicsByName(ctx, names)
	if err != nil {
		return nil, err
	}
	byID, err := d.TopicsByID(ctx, ids)
	return append(byName, byID...), err
}

func (d *direct) RecentlyDeleted(name string) bool { return d.deleted[name] }

// view is a register that doesn't change.
type view []metadata.Agent

func (v view) Alive() []metadata.Agent { return v }
func (v view) Self() metadata.Agent    { return v[0] }

// noFeatures is a cluster in which nobody chose a level.
func noFeatures() protocol.FinalizedFeatures { return protocol.FinalizedFeatures{} }

const clusterID = "4L6g3nShT-eMCtK--X86sw"

var client = protocol.Client{ID: "test", Host: "10.0.0.1", Listener: metadata.DefaultListener}

// at is the listener of an agent.
func at(host string, port int32) []metadata.Listener {
	return []metadata.Listener{{Name: metadata.DefaultListener, Host: host, Port: port}}
}

func newTestCluster(t testing.TB, settings map[string]string, agents ...metadata.Agent) (*Cluster, *direct) {
	t.Helper()
	broker, err := configs.ParseBroker(settings)
	if err != nil {
		t.Fatal(err)
	}
	topics := &direct{Store: openStore(t), deleted: map[string]bool{}}
	return New(topics, NewRouter(view(agents), Zones{}), broker, noFeatures, clusterID, slog.New(slog.DiscardHandler)), topics
}

func create(t testing.TB, store metadata.Topics, name string, partitions int32) metadata.Topic {
	t.Helper()
	topic, err := store.CreateTopic(t.Context(), metadata.NewTopic{Name: name, Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	return topic
}
