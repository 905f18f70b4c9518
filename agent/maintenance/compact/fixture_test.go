package compact

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/time/rate"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/agent/maintenance/rewrite"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sqlite"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) {
	// Encoders and decoders are shared by all tests, and so must not be made in the bubble of one.
	for codec := protocol.CodecNone; codec <= protocol.CodecZstd; codec++ {
		packed, err := protocol.Compress(codec, codec.DefaultLevel(), make([]byte, 1000))
		if err == nil {
			_, err = protocol.Decompress(codec, packed, 1000)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := warmUpFiles(); err != nil {
		panic(err)
	}
	var err error
	if emptyStore, err = makeEmptyStore(); err != nil {
		panic(err)
	}
	os.Exit(harness.Main(m))
}

// emptyStore is the file of a store that was just made, which takes longer than most tests.
var emptyStore []byte

func makeEmptyStore() (file []byte, err error) {
	folder, err := os.MkdirTemp("", "compact")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	path := filepath.Join(folder, "metadata.db")
	store, err := sqlite.Open(context.Background(), path)
	if err != nil {
		return nil, err
	}
	if err := store.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

func warmUpFiles() error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	input := datafile.Input{Batches: []datafile.Batch{{Bytes: make([]byte, 10_000), Records: 1}}}
	file, err := datafile.Encode(id, datafile.Zstd, []datafile.Input{input})
	if err != nil {
		return err
	}
	s := file.Sections[0]
	_, err = datafile.DecodeFrames(file.Bytes[s.Position:s.Position+int64(s.StoredSize)], int(s.Size))
	return err
}

// inWorld runs the test in a bubble, whose clock is that of the agents and of the metadata store.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newWorld(t)) })
}

// world is a log over real stores.
type world struct {
	testing.TB
	store  *faultyStore
	bucket *objstoretest.Faulty
	// produced is the next sequence number of a producer in a partition.
	produced map[sequenceKey]int32
	metrics  *prometheus.Registry
	progress *maintenance.Progress
	topics   topics
}

type sequenceKey struct {
	producer  metadata.ProducerEpoch
	partition metadata.PartitionID
}

func newWorld(t testing.TB) *world {
	t.Helper()
	path := filepath.Join(t.TempDir(), "metadata.db")
	if err := os.WriteFile(path, emptyStore, 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{
		TB: t, store: &faultyStore{Store: store}, bucket: objstoretest.NewFaulty(memory.Open()),
		produced: map[sequenceKey]int32{}, metrics: prometheus.NewRegistry(),
	}
	w.topics = topics{w.store}
	w.progress = maintenance.NewProgress("compact", rate.NewLimiter(rate.Inf, 1<<20), maintenance.NewMetrics(w.metrics))
	return w
}

// faultyStore is the store with faults.
type faultyStore struct {
	*sqlite.Store
	mu sync.Mutex
	// before and after are asked at each call of the name. What they return the caller gets;
	// after the call was carried out in the second case.
	before, after func(call string) error
	finished      map[metadata.PartitionID]int64
}

// faulty carries the call out, unless its fault comes before.
func (s *faultyStore) faulty(name string, call func() error) error {
	s.mu.Lock()
	before, after := s.before, s.after
	s.mu.Unlock()
	if before != nil {
		if err := before(name); err != nil {
			return err
		}
	}
	err := call()
	if after != nil && err == nil {
		err = after(name)
	}
	return err
}

func (s *faultyStore) FindRuns(ctx context.Context, queries []metadata.RunQuery) (found []metadata.PartitionRuns, err error) {
	err = s.faulty("FindRuns", func() error { found, err = s.Store.FindRuns(ctx, queries); return err })
	return found, err
}

func (s *faultyStore) ReplaceRuns(ctx context.Context, r metadata.Replacement) (taken []bool, err error) {
	err = s.faulty("ReplaceRuns", func() error { taken, err = s.Store.ReplaceRuns(ctx, r); return err })
	return taken, err
}

func (s *faultyStore) Compactions(ctx context.Context, ids []metadata.PartitionID) (states []metadata.Compaction, err error) {
	err = s.faulty("Compactions", func() error { states, err = s.Store.Compactions(ctx, ids); return err })
	return states, err
}

func (s *faultyStore) AcquireLease(ctx context.Context, holder uuid.UUID, name string, period time.Duration) (ok bool, err error) {
	err = s.faulty("AcquireLease", func() error { ok, err = s.Store.AcquireLease(ctx, holder, name, period); return err })
	return ok, err
}

func (s *faultyStore) ReleaseLease(ctx context.Context, holder uuid.UUID, name string) error {
	return s.faulty("ReleaseLease", func() error { return s.Store.ReleaseLease(ctx, holder, name) })
}

func (s *faultyStore) FinishCompactions(ctx context.Context, finished []metadata.CompactedUntil) (commits []metadata.Commit, err error) {
	err = s.faulty("FinishCompactions", func() error {
		if commits, err = s.Store.FinishCompactions(ctx, finished); err == nil && s.finished != nil {
			for _, f := range finished {
				s.finished[f.Partition] = f.Offset
			}
		}
		return err
	})
	return commits, err
}

// wait lets time pass in the bubble.
func (w *world) wait(d time.Duration) { time.Sleep(d) }

// topics reads topics from the store each time.
type topics struct{ store *faultyStore }

func (s topics) AllTopics(ctx context.Context) ([]metadata.Topic, error) {
	all, _, err := s.store.ListTopics(ctx)
	return all, err
}

func (s topics) TopicByID(ctx context.Context, id uuid.UUID) (metadata.Topic, error) {
	found, err := s.store.TopicsByID(ctx, []uuid.UUID{id})
	if err == nil && len(found) == 0 {
		err = metadata.ErrUnknownTopic
	}
	if err != nil {
		return metadata.Topic{}, err
	}
	return found[0], nil
}

var broker = configs.DefaultBroker()

func defaults() *configs.Broker { return &broker }

// topic makes a compacted topic; the pairs are more of its configs.
func (w *world) topic(name string, partitions int32, pairs ...string) metadata.Topic {
	w.Helper()
	set := map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0", "delete.retention.ms": "3600000"}
	for i := 0; i < len(pairs); i += 2 {
		set[pairs[i]] = pairs[i+1]
	}
	topic, err := w.store.CreateTopic(w.Context(), metadata.NewTopic{Name: name, Partitions: partitions, Configs: set})
	if err != nil {
		w.Fatal(err)
	}
	return topic
}

func (w *world) configure(topic metadata.Topic, name, value string) {
	w.Helper()
	_, err := w.store.AlterTopicConfigs(w.Context(), topic.ID, func(set map[string]string) (map[string]string, error) {
		set = maps.Clone(set)
		set[name] = value
		return set, nil
	})
	if err != nil {
		w.Fatal(err)
	}
}

// keyed is a record to be; a nil value is a tombstone, a nil key is none.
type keyed struct {
	key, value []byte
	timestamp  int64
}

func kv(key, value string) keyed { return keyed{[]byte(key), []byte(value), 0} }
func tombstone(key string) keyed { return keyed{[]byte(key), nil, 0} }

// batch makes a batch as a producer sends it.
func (w *world) batch(codec protocol.Codec, records ...keyed) protocol.Batch {
	w.Helper()
	now := time.Now().UnixMilli()
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(len(records) - 1), FirstTimestamp: now,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(len(records)),
	}
	for i, r := range records {
		if r.timestamp == 0 {
			r.timestamp = now
		}
		b.MaxTimestamp = max(b.MaxTimestamp, r.timestamp)
		kr := kmsg.Record{
			Key: r.key, Value: r.value, OffsetDelta: int32(i), TimestampDelta64: r.timestamp - now,
			Headers: []kmsg.Header{{Key: "h", Value: binary.AppendUvarint(nil, uint64(i))}},
		}
		body := kr.AppendTo(nil)[1:]
		b.Records = append(binary.AppendVarint(b.Records, int64(len(body))), body...)
	}
	batch, err := protocol.Recompress(sealed(w, b), codec, codec.DefaultLevel(), decompressLimit)
	if err != nil {
		w.Fatal(err)
	}
	return batch
}

// sealed gives a batch its length and CRC.
func sealed(t testing.TB, b kmsg.RecordBatch) protocol.Batch {
	t.Helper()
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	batch, _, err := protocol.NextBatch(raw)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// by makes the batch one of the producer's.
func (w *world) by(producer metadata.ProducerEpoch, transactional bool, partition metadata.PartitionID, b protocol.Batch) protocol.Batch {
	w.Helper()
	var kb kmsg.RecordBatch
	if err := kb.ReadFrom(b); err != nil {
		w.Fatal(err)
	}
	key := sequenceKey{producer, partition}
	kb.ProducerID, kb.ProducerEpoch, kb.FirstSequence = producer.ID, producer.Epoch, w.produced[key]
	w.produced[key] += kb.LastOffsetDelta + 1
	if transactional {
		kb.Attributes |= 1 << 4
	}
	return sealed(w, kb)
}

// placed is a batch on its way into a partition.
type placed struct {
	topic metadata.Topic
	index int32
	batch protocol.Batch
}

// produce commits the batches in one data file, and returns the offset of each.
func (w *world) produce(batches ...placed) []int64 {
	w.Helper()
	id, err := datafile.NewID(time.Now())
	if err != nil {
		w.Fatal(err)
	}
	type section struct {
		topic uuid.UUID
		index int32
	}
	partitions := map[section]metadata.PartitionID{}
	metas, from := map[section][]metadata.Batch{}, map[section][]int{}
	var inputs []datafile.Input
	for i, b := range batches {
		s := section{b.topic.ID, b.index}
		at := slices.IndexFunc(inputs, func(in datafile.Input) bool { return section{in.TopicID, in.Partition} == s })
		if at < 0 {
			at = len(inputs)
			inputs = append(inputs, datafile.Input{TopicID: b.topic.ID, Partition: b.index})
			partitions[s] = b.topic.Partitions[b.index]
		}
		records := b.batch.LastOffsetDelta() + 1
		inputs[at].Batches = append(inputs[at].Batches, datafile.Batch{
			Bytes: b.batch, Compressed: b.batch.Codec() != protocol.CodecNone, Records: records, MaxTimestamp: b.batch.MaxTimestamp(),
			ProducerID: b.batch.ProducerID(), ProducerEpoch: b.batch.ProducerEpoch(), BaseSequence: b.batch.BaseSequence(),
		})
		metas[s] = append(metas[s], metadata.Batch{
			Size: int32(len(b.batch)), Records: records, MaxTimestamp: b.batch.MaxTimestamp(), ProducerID: b.batch.ProducerID(),
			ProducerEpoch: b.batch.ProducerEpoch(), BaseSequence: b.batch.BaseSequence(),
			Transactional: b.batch.IsTransactional(), AddsPartition: b.batch.IsTransactional(),
		})
		from[s] = append(from[s], i)
	}
	file, err := datafile.Encode(id, datafile.Auto, inputs)
	if err != nil {
		w.Fatal(err)
	}
	if err := w.bucket.Put(w.Context(), datafile.Key(id), file.Bytes); err != nil {
		w.Fatal(err)
	}
	f := metadata.File{ID: id, Size: int64(len(file.Bytes))}
	for _, s := range file.Sections {
		key := section{s.TopicID, s.Partition}
		f.Appends = append(f.Appends, metadata.Append{
			Partition: partitions[key], Encoding: metadata.Encoding(s.Encoding),
			Position: s.Position, StoredSize: s.StoredSize, Batches: metas[key],
		})
	}
	result, err := w.store.CommitFiles(w.Context(), []metadata.File{f})
	if err != nil {
		w.Fatal(err)
	}
	offsets := make([]int64, len(batches))
	for i, outcomes := range result.Files[0].Outcomes {
		for k, o := range outcomes {
			if o.Err != nil || o.Duplicate {
				w.Fatalf("batch refused: %+v", o)
			}
			offsets[from[section{file.Sections[i].TopicID, file.Sections[i].Partition}][k]] = o.BaseOffset
		}
	}
	return offsets
}

// put produces a batch of its own file into partition 0.
func (w *world) put(topic metadata.Topic, records ...keyed) int64 {
	w.Helper()
	return w.produce(placed{topic, 0, w.batch(protocol.CodecNone, records...)})[0]
}

// producer initialises a transactional producer.
func (w *world) producer(id string) *metadata.ProducerEpoch {
	w.Helper()
	next, err := w.store.AllocateProducerIDs(w.Context(), 1)
	if err != nil {
		w.Fatal(err)
	}
	return w.change(id, metadata.InitProducer{Timeout: time.Hour, Expected: metadata.NoProducer, NewProducerID: next})
}

// end commits or aborts the producer's transaction.
func (w *world) end(id string, p *metadata.ProducerEpoch, commit bool) {
	w.Helper()
	*p = *w.change(id, metadata.EndTransaction{Producer: *p, Commit: commit, Version: metadata.TransactionV2, NewProducerID: -1})
}

func (w *world) change(id string, op metadata.TransactionOp) *metadata.ProducerEpoch {
	w.Helper()
	changed, err := w.store.ChangeTransactions(w.Context(), []metadata.TransactionRequest{{ID: id, Op: op}})
	if err == nil {
		err = changed.Results[0].Err
	}
	if err != nil {
		w.Fatal(err)
	}
	return &changed.Results[0].Producer
}

// compactor returns an agent's compaction, with memory for so many keys in a pass.
func (w *world) compactor(keys int64) *Compactor {
	return New(w.store, w.bucket, w.topics, defaults, uuid.New(), Config{
		KeyBytes: keys * slotBytes * 3 / 2, WindowBytes: 1 << 20, FileBytes: 1 << 20,
	}, slog.New(slog.NewTextHandler(testWriter{w}, &slog.HandlerOptions{Level: slog.LevelError})))
}

// testWriter puts the log into the test's. It tells of what operators are to see.
type testWriter struct{ testing.TB }

func (t testWriter) Write(b []byte) (int, error) {
	t.Logf("%s", bytes.TrimSpace(b))
	return len(b), nil
}

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// compact does rounds until there is nothing more.
func (w *world) compact(c *Compactor) {
	w.Helper()
	for range 1000 {
		more, err := c.Round(w.Context(), w.progress)
		if err != nil {
			w.Fatal(err)
		}
		if !more {
			return
		}
	}
	w.Fatal("there is always more to do")
}

func (w *world) bounds(partition metadata.PartitionID) metadata.Compaction {
	w.Helper()
	states, err := w.store.Store.Compactions(w.Context(), []metadata.PartitionID{partition})
	if err != nil {
		w.Fatal(err)
	}
	return states[0]
}

// runsFrom returns all runs from the offset on, and the aborted transactions that overlap them.
func (w *world) runsFrom(partition metadata.PartitionID, offset int64) (runs []metadata.Run, aborted []metadata.AbortedTransaction) {
	w.Helper()
	for {
		found, err := w.store.Store.FindRuns(w.Context(), []metadata.RunQuery{{Partition: partition, Offset: offset, MaxBytes: math.MaxInt64, MaxRuns: metadata.MaxRuns}})
		if err != nil {
			w.Fatal(err)
		}
		for _, a := range found[0].Aborted {
			if !slices.Contains(aborted, a) {
				aborted = append(aborted, a)
			}
		}
		if len(found[0].Runs) == 0 {
			return runs, aborted
		}
		runs = append(runs, found[0].Runs...)
		offset = runs[len(runs)-1].NextOffset()
	}
}

// batches are all of the partition from the offset's run on, as they are in the log.
func (w *world) batches(runs []metadata.Run) (batches []protocol.Batch) {
	w.Helper()
	for b, err := range rewrite.NewReader(w.bucket.Bucket, w.progress, 1<<20).Batches(w.Context(), runs) {
		if err != nil {
			w.Fatal(err)
		}
		batches = append(batches, slices.Clone(b))
	}
	return batches
}

// read returns what franz-go makes of the partition from the offset on.
func (w *world) read(partition metadata.PartitionID, offset int64, committed bool) []*kgo.Record {
	w.Helper()
	runs, aborted := w.runsFrom(partition, offset)
	end := int64(math.MaxInt64)
	if committed {
		end = w.bounds(partition).StableOffset
	}
	return decode(w, w.batches(runs), aborted, offset, end, committed)
}

// decode returns what a client makes of the batches that a broker sends it.
func decode(t testing.TB, batches []protocol.Batch, aborted []metadata.AbortedTransaction, offset, end int64, committed bool) []*kgo.Record {
	t.Helper()
	response := kmsg.NewFetchResponseTopicPartition()
	response.HighWatermark = math.MaxInt64
	for _, b := range batches {
		if offset < end && b.BaseOffset()+int64(b.LastOffsetDelta()) >= offset && b.BaseOffset() < end {
			response.RecordBatches = append(response.RecordBatches, b...)
		}
	}
	options := kgo.ProcessFetchPartitionOpts{Topic: "t", Offset: offset}
	if committed {
		options.IsolationLevel = kgo.ReadCommitted()
		slices.SortFunc(aborted, func(a, b metadata.AbortedTransaction) int { return int(a.FirstOffset - b.FirstOffset) })
		for _, a := range aborted {
			if a.LastOffset >= offset {
				at := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
				at.ProducerID, at.FirstOffset = a.ProducerID, a.FirstOffset
				response.AbortedTransactions = append(response.AbortedTransactions, at)
			}
		}
	}
	fetched, _ := kgo.ProcessFetchPartition(options, &response, decompressor{}, nil)
	if fetched.Err != nil {
		t.Fatal(fetched.Err)
	}
	return fetched.Records
}

// decompressor is ours, since franz-go's closes what it made after the bubble that it was made in. (Whether clients
// understand our compression is tested in package protocol.)
type decompressor struct{}

func (decompressor) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	return protocol.Decompress(protocol.Codec(codec), src, decompressLimit)
}

// pairs are the records as text: offset:key=value.
func pairs(records []*kgo.Record) (all []string) {
	for _, r := range records {
		value := "=" + string(r.Value)
		if r.Value == nil {
			value = " gone"
		}
		all = append(all, fmt.Sprint(r.Offset, ":", string(r.Key), value))
	}
	return all
}

// metric is the job's metric of that name.
func (w *world) metric(name string) float64 {
	w.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		w.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.Metric[0].GetCounter().GetValue() + f.Metric[0].GetGauge().GetValue()
		}
	}
	return 0 // before it is counted
}
