package fetch

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
)

func memoryBucket() *objstoretest.Faulty { return objstoretest.NewFaulty(memory.Open()) }

// cluster is the two stores that agents share, and one topic.
type cluster struct {
	store       *faultyStore
	bucket      *objstoretest.Faulty
	topic       metadata.Topic
	producerIDs atomic.Int64 // the last one
}

// newCluster has topic "t" with the number of partitions.
func newCluster(t testing.TB, partitions int32) *cluster {
	t.Helper()
	store := openStore(t)
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	c := &cluster{store: &faultyStore{Store: store}, bucket: memoryBucket()}
	c.topic = c.createTopic(t, "t", partitions)
	return c
}

func (c *cluster) createTopic(t testing.TB, name string, partitions int32) metadata.Topic {
	t.Helper()
	topic, err := c.store.CreateTopic(t.Context(), metadata.NewTopic{Name: name, Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

// TopicByName and TopicByID ask the store each time.
func (c *cluster) TopicByName(ctx context.Context, name string) (metadata.Topic, error) {
	return one(c.store.TopicsByName(ctx, []string{name}))
}

func (c *cluster) TopicByID(ctx context.Context, id uuid.UUID) (metadata.Topic, error) {
	return one(c.store.TopicsByID(ctx, []uuid.UUID{id}))
}

func one(topics []metadata.Topic, err error) (metadata.Topic, error) {
	if err == nil && len(topics) == 0 {
		err = metadata.ErrUnknownTopic
	}
	if err != nil {
		return metadata.Topic{}, err
	}
	return topics[0], nil
}

// agent is the read path of one agent.
type agent struct {
	*cluster
	*Fetcher
	blocks   *Blocks
	follower *Follower
}

// answer answers the request as a server does, which has copied the batches
// when it says that it is done.
func (a *agent) answer(ctx context.Context, req *kmsg.FetchRequest) *kmsg.FetchResponse {
	resp, done := a.Fetch(ctx, protocol.Client{}, req)
	defer done()
	for i := range resp.Topics {
		for k := range resp.Topics[i].Partitions {
			p := &resp.Topics[i].Partitions[k]
			p.RecordBatches = slices.Clone(p.RecordBatches)
		}
	}
	return resp
}

// agent has its follower running, and at the end of the feed.
func (c *cluster) agent(t testing.TB) *agent {
	a := c.lonelyAgent(t)
	started := make(chan struct{})
	a.follower.followers.OnGap = func(context.Context) { close(started) }
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		a.follower.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-stopped
	})
	<-started
	return a
}

// lonelyAgent is an agent whose follower doesn't run.
func (c *cluster) lonelyAgent(t testing.TB) *agent {
	metrics := testMetrics()
	tail := NewTail(DefaultTailRuns)
	blocks := NewBlocks(c.bucket, nil, DefaultBlocksConfig(64<<20), metrics)
	t.Cleanup(blocks.Close)
	followers := Followers{OnCommits: func(context.Context, []metadata.Commit) {}, OnGap: func(context.Context) {}}
	return &agent{
		cluster: c, blocks: blocks,
		Fetcher:  New(c, c.store, tail, blocks, metrics, DefaultConfig(), quiet()),
		follower: NewFollower(c.store, tail, followers, quiet()),
	}
}

// produce writes and commits one data file, by no agent, and returns the base
// offsets of the partitions' first batches.
func (c *cluster) produce(t testing.TB, batches map[int32][]protocol.Batch) map[int32]int64 {
	t.Helper()
	base, _, _ := c.commit(t, datafile.Auto, batches)
	return base
}

// produce does the same by the agent, as its write path does.
func (a *agent) produce(t testing.TB, batches map[int32][]protocol.Batch) map[int32]int64 {
	t.Helper()
	base, file, commits := a.commit(t, datafile.Auto, batches)
	a.blocks.Fill(file.ID, file.Bytes)
	if a.tail.Apply(commits) {
		a.follower.Kick()
	}
	return base
}

func (c *cluster) commit(t testing.TB, compression datafile.Compression, batches map[int32][]protocol.Batch) (map[int32]int64, datafile.File, []metadata.Commit) {
	t.Helper()
	var inputs []datafile.Input
	for p, list := range batches {
		in := datafile.Input{TopicID: c.topic.ID, Partition: p}
		for _, b := range list {
			in.Batches = append(in.Batches, datafile.Batch{Bytes: b, Compressed: b.Codec() != protocol.CodecNone, Records: b.LastOffsetDelta() + 1,
				MaxTimestamp: b.MaxTimestamp(), ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence()})
		}
		inputs = append(inputs, in)
	}
	file, err := datafile.Encode(newFileID(t), compression, inputs)
	if err == nil {
		err = c.bucket.Put(t.Context(), datafile.Key(file.ID), file.Bytes)
	}
	if err != nil {
		t.Fatal(err)
	}
	commit := metadata.File{ID: file.ID, Size: int64(len(file.Bytes))}
	for _, s := range file.Sections {
		a := metadata.Append{Partition: c.topic.Partitions[s.Partition], Encoding: metadata.Encoding(s.Encoding),
			Position: s.Position, StoredSize: s.StoredSize}
		for _, b := range batches[s.Partition] {
			a.Batches = append(a.Batches, metadata.Batch{Size: int32(b.Size()), Records: b.LastOffsetDelta() + 1, MaxTimestamp: b.MaxTimestamp(),
				ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(),
				Transactional: b.IsTransactional(), AddsPartition: b.IsTransactional()})
		}
		commit.Appends = append(commit.Appends, a)
	}
	result, err := c.store.CommitFiles(t.Context(), []metadata.File{commit})
	if err != nil {
		t.Fatal(err)
	}
	base := map[int32]int64{}
	for i, s := range file.Sections {
		base[s.Partition] = result.Files[0].Outcomes[i][0].BaseOffset
		if err := result.Files[0].Outcomes[i][0].Err; err != nil {
			t.Fatal(err)
		}
	}
	return base, file, result.Commits
}

// fetchFrom is a version 12 request for partitions of "t", by offset, in order.
func fetchFrom(offsets ...int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes, req.MinBytes = 12, 1<<30, 1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = "t"
	for i, offset := range offsets {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = int32(i), offset, 1<<20
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	return req
}

// fetch fetches and returns the answers of the (only) topic.
func (a *agent) fetch(t testing.TB, req *kmsg.FetchRequest) []kmsg.FetchResponseTopicPartition {
	t.Helper()
	resp := a.answer(t.Context(), req)
	if resp.ErrorCode != 0 || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != len(req.Topics[0].Partitions) {
		t.Fatalf("error %d, %d topics", resp.ErrorCode, len(resp.Topics))
	}
	return resp.Topics[0].Partitions
}

// faultyStore is the real store with a hook, called with the method's name: its
// error is what the caller gets.
type faultyStore struct {
	metadata.Store
	mu    sync.Mutex
	hook  func(method string) error
	calls map[string]int
}

func (f *faultyStore) inject(hook func(method string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

func (f *faultyStore) count(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[method]
}

func (f *faultyStore) fault(method string) error {
	f.mu.Lock()
	if f.calls == nil {
		f.calls = map[string]int{}
	}
	f.calls[method]++
	hook := f.hook
	f.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(method)
}

func (f *faultyStore) FindRuns(ctx context.Context, q []metadata.RunQuery) ([]metadata.PartitionRuns, error) {
	if err := f.fault("FindRuns"); err != nil {
		return nil, err
	}
	return f.Store.FindRuns(ctx, q)
}

func (f *faultyStore) Bounds(ctx context.Context, p []metadata.PartitionID) ([]metadata.Bounds, error) {
	if err := f.fault("Bounds"); err != nil {
		return nil, err
	}
	return f.Store.Bounds(ctx, p)
}

func (f *faultyStore) RunByTimestamp(ctx context.Context, q []metadata.TimestampQuery) ([]metadata.TimestampRun, error) {
	if err := f.fault("RunByTimestamp"); err != nil {
		return nil, err
	}
	return f.Store.RunByTimestamp(ctx, q)
}

func (f *faultyStore) LastSeq(ctx context.Context) (int64, error) {
	if err := f.fault("LastSeq"); err != nil {
		return 0, err
	}
	return f.Store.LastSeq(ctx)
}

func (f *faultyStore) Commits(ctx context.Context, after int64, limit int) ([]metadata.Commit, error) {
	if err := f.fault("Commits"); err != nil {
		return nil, err
	}
	return f.Store.Commits(ctx, after, limit)
}
