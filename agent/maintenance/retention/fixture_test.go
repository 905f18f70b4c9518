package retention

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sqlite"
	"github.com/wadi-log/wadi/protocol/configs"
)

// cluster is the metadata store of a cluster, in a bubble of synctest: its clock is time.Now.
type cluster struct {
	testing.TB
	*sqlite.Store
	broker configs.Broker
	// skew is by how much the metadata store's clock is ahead of the agents'.
	skew   time.Duration
	logged bytes.Buffer
	// call is asked before each call of an agent; nil for no faults.
	call func(name string) fault
}

// fault says what happens to one call. The zero fault is none.
type fault struct {
	err error
	// persisted: the call is carried out all the same.
	persisted bool
}

// run runs a test on a fresh cluster.
func run(t *testing.T, test func(c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "metadata.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		}()
		c := &cluster{TB: t, Store: store, broker: configs.DefaultBroker()}
		test(c)
	})
}

func (c *cluster) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// topic creates a topic.
func (c *cluster) topic(name string, partitions int32, set map[string]string) metadata.Topic {
	c.Helper()
	topic, err := c.CreateTopic(c.Context(), metadata.NewTopic{Name: name, Partitions: partitions, Configs: set})
	c.must(err)
	return topic
}

// write commits a file with a batch of so many records and bytes in each of the partitions.
func (c *cluster) write(records int32, size int32, at time.Time, partitions ...metadata.PartitionID) {
	c.Helper()
	id := uuid.New()
	// Not NewV7, whose times never go back, from one bubble to the next.
	binary.BigEndian.PutUint64(id[:], uint64(time.Now().UnixMilli())<<16|0x7<<12|uint64(id[7]))
	file := metadata.File{ID: id, Size: int64(size) * int64(len(partitions))}
	slices.Sort(partitions)
	for i, p := range partitions {
		file.Appends = append(file.Appends, metadata.Append{
			Partition: p, Position: int64(i) * int64(size), StoredSize: size,
			Batches: []metadata.Batch{{Size: size, Records: records, MaxTimestamp: at.UnixMilli(), ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}},
		})
	}
	result, err := c.CommitFiles(c.Context(), []metadata.File{file})
	c.must(err)
	for i, batches := range result.Files[0].Outcomes {
		if err := batches[0].Err; err != nil {
			c.Fatalf("append %d: %v", i, err)
		}
	}
}

// starts are the log starts of the topic's partitions.
func (c *cluster) starts(topic metadata.Topic) []int64 {
	c.Helper()
	bounds, err := c.Bounds(c.Context(), topic.Partitions)
	c.must(err)
	var starts []int64
	for _, b := range bounds {
		starts = append(starts, b.LogStartOffset)
	}
	return starts
}

func (c *cluster) wantStarts(topic metadata.Topic, want ...int64) {
	c.Helper()
	if got := c.starts(topic); !slices.Equal(got, want) {
		c.Errorf("log starts of %s are %v, want %v", topic.Name, got, want)
	}
}

// agent is the job on one agent.
type agent struct {
	*cluster
	holder  uuid.UUID
	job     maintenance.Job
	metrics *prometheus.Registry
	p       *maintenance.Progress
}

func (c *cluster) agent() *agent {
	a := &agent{cluster: c, holder: uuid.New(), metrics: prometheus.NewRegistry()}
	a.p = maintenance.NewProgress("retention", rate.NewLimiter(rate.Inf, 1), maintenance.NewMetrics(a.metrics))
	a.job = Job(calls{c}, calls{c}, calls{c}, func() *configs.Broker { return &c.broker }, a.holder,
		slog.New(slog.NewTextHandler(&c.logged, nil)))
	return a
}

// round does a round, which no lease is in the way of.
func (a *agent) round() error {
	a.Helper()
	time.Sleep(a.job.Every())
	more, err := a.job.Round(a.Context(), a.p)
	if more {
		a.Error("a round left something for now")
	}
	return err
}

// metric returns what the agent's metric shows.
func (a *agent) metric(name string) float64 {
	a.Helper()
	families, err := a.metrics.Gather()
	a.must(err)
	for _, family := range families {
		if family.GetName() == "wadi_job_"+name {
			m := family.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return 0
}

// calls are an agent's calls of the store, which may fail.
type calls struct{ *cluster }

func through[T any](c *cluster, name string, do func() (T, error)) (T, error) {
	var none T
	var f fault
	if c.call != nil {
		f = c.call(name)
	}
	if f.err != nil && !f.persisted {
		return none, f.err
	}
	out, err := do()
	if f.err != nil {
		return none, f.err
	}
	return out, err
}

func (c calls) AllTopics(ctx context.Context) ([]metadata.Topic, error) {
	return through(c.cluster, "AllTopics", func() ([]metadata.Topic, error) {
		topics, _, err := c.Store.ListTopics(ctx)
		return topics, err
	})
}

func (c calls) Now(ctx context.Context) (time.Time, error) {
	return through(c.cluster, "Now", func() (time.Time, error) {
		now, err := c.Store.Now(ctx)
		return now.Add(c.skew), err
	})
}

func (c calls) AcquireLease(ctx context.Context, holder uuid.UUID, name string, period time.Duration) (bool, error) {
	return through(c.cluster, "AcquireLease", func() (bool, error) { return c.Store.AcquireLease(ctx, holder, name, period) })
}

func (c calls) RetainedFrom(ctx context.Context, queries []metadata.RetentionQuery) ([]int64, error) {
	return through(c.cluster, "RetainedFrom", func() ([]int64, error) { return c.Store.RetainedFrom(ctx, queries) })
}

func (c calls) Bounds(ctx context.Context, partitions []metadata.PartitionID) ([]metadata.Bounds, error) {
	return through(c.cluster, "Bounds", func() ([]metadata.Bounds, error) { return c.Store.Bounds(ctx, partitions) })
}

func (c calls) DeleteRecords(ctx context.Context, deletions []metadata.RecordsDeletion) (metadata.RecordsDeleted, error) {
	return through(c.cluster, "DeleteRecords", func() (metadata.RecordsDeleted, error) { return c.Store.DeleteRecords(ctx, deletions) })
}

// sleep lets time pass in the bubble.
func (c *cluster) sleep(d time.Duration) { time.Sleep(d) }
