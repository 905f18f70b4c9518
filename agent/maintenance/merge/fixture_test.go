package merge

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/time/rate"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sqlite"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// cluster is the two stores, some topics, and what must be read from them.
type cluster struct {
	store  *faultyStore
	bucket *objstoretest.Faulty
	topics []metadata.Topic
	// want[p] are the batches of a partition from its log start on, as consumers see them.
	want map[metadata.PartitionID][]protocol.Batch
	next map[metadata.PartitionID]int64
	// start is where consumers may begin, where records were deleted: batches before it may be there or not.
	start map[metadata.PartitionID]int64
	// produced is how many bytes were put by producers.
	produced int64
}

func newCluster(t testing.TB, partitions ...int32) *cluster {
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
	c := &cluster{
		store: &faultyStore{Store: store}, bucket: objstoretest.NewFaulty(memory.Open()),
		want: map[metadata.PartitionID][]protocol.Batch{}, next: map[metadata.PartitionID]int64{},
		start: map[metadata.PartitionID]int64{},
	}
	for i, n := range partitions {
		topic, err := store.CreateTopic(t.Context(), metadata.NewTopic{Name: fmt.Sprintf("t%d", i), Partitions: n})
		if err != nil {
			t.Fatal(err)
		}
		c.topics = append(c.topics, topic)
	}
	return c
}

// merger is one of an agent. It merges four files a time, whatever their age.
func (c *cluster) merger(config Config) *Merger {
	if config.FileBytes == 0 {
		config.FileBytes = 1 << 20
	}
	config.After, config.Compression = time.Nanosecond, datafile.Auto
	config.MemoryBytes = max(config.MemoryBytes, 4*config.FileBytes)
	m := New(config, c.bucket, c.store, NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	m.sparseEvery = 0
	for i := range m.claims {
		m.claims[i].MaxFiles = 4
	}
	return m
}

func progress() *maintenance.Progress {
	return maintenance.NewProgress("merge", rate.NewLimiter(rate.Inf, 1<<20), maintenance.NewMetrics(prometheus.NewRegistry()))
}

// shortClaims makes the merger's claims run out soon.
func shortClaims(m *Merger) *Merger {
	for i := range m.claims {
		m.claims[i].For = 100 * time.Millisecond
	}
	return m
}

// drain merges until nothing is due, and returns the number of rounds that merged something.
func drain(t testing.TB, m *Merger) (rounds int) {
	t.Helper()
	for {
		more, err := m.Round(t.Context(), progress())
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return rounds
		}
		if rounds++; rounds > 1000 {
			t.Fatal("a thousand rounds, and more is due")
		}
	}
}

// makeBatch makes a batch as a producer sends it.
func makeBatch(t testing.TB, random *rand.Rand, records, valueSize int) protocol.Batch {
	t.Helper()
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(records - 1), FirstTimestamp: time.Now().UnixMilli(),
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(records),
	}
	b.MaxTimestamp = b.FirstTimestamp
	for i := range records {
		// Half of it compresses.
		value := bytes.Repeat([]byte{'v'}, valueSize)
		for k := range value[:valueSize/2] {
			value[k] = byte(random.IntN(256))
		}
		r := kmsg.Record{Key: fmt.Appendf(nil, "key %d", i), Value: value, OffsetDelta: int32(i)}
		body := r.AppendTo(nil)[1:]
		b.Records = append(binary.AppendVarint(b.Records, int64(len(body))), body...)
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	return seal(raw)
}

// seal gives a batch the CRC of its content.
func seal(b protocol.Batch) protocol.Batch {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// setProducer makes the batch one of an idempotent producer.
func setProducer(b protocol.Batch, id int64, epoch int16, sequence int32, transactional bool) protocol.Batch {
	b = slices.Clone(b)
	if transactional {
		binary.BigEndian.PutUint16(b[21:], uint16(b.Attributes())|0x10)
	}
	binary.BigEndian.PutUint64(b[43:], uint64(id))
	binary.BigEndian.PutUint16(b[51:], uint16(epoch))
	binary.BigEndian.PutUint32(b[53:], uint32(sequence))
	return seal(b)
}

// at names a partition.
type at struct {
	topic int
	index int32
}

// produce writes and commits one data file, and returns its ID.
func (c *cluster) produce(t testing.TB, compression datafile.Compression, batches map[at][]protocol.Batch) uuid.UUID {
	t.Helper()
	var inputs []datafile.Input
	byTopic := map[uuid.UUID]int{}
	for place, list := range batches {
		topic := c.topics[place.topic]
		byTopic[topic.ID] = place.topic
		in := datafile.Input{TopicID: topic.ID, Partition: place.index}
		for _, b := range list {
			in.Batches = append(in.Batches, datafile.Batch{Bytes: b, Compressed: b.Codec() != protocol.CodecNone, Records: b.LastOffsetDelta() + 1,
				MaxTimestamp: b.MaxTimestamp(), ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence()})
		}
		inputs = append(inputs, in)
	}
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	file, err := datafile.Encode(id, compression, inputs)
	if err == nil {
		err = c.bucket.Bucket.Put(t.Context(), datafile.Key(file.ID), file.Bytes)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.produced += int64(len(file.Bytes))
	commit := metadata.File{ID: file.ID, Size: int64(len(file.Bytes))}
	for i, s := range file.Sections {
		a := metadata.Append{Partition: c.topics[byTopic[s.TopicID]].Partitions[s.Partition], Encoding: metadata.Encoding(s.Encoding),
			Position: s.Position, StoredSize: s.StoredSize}
		for _, b := range inputs[i].Batches {
			batch := protocol.Batch(b.Bytes)
			a.Batches = append(a.Batches, metadata.Batch{Size: int32(len(b.Bytes)), Records: b.Records, MaxTimestamp: b.MaxTimestamp,
				ProducerID: b.ProducerID, ProducerEpoch: b.ProducerEpoch, BaseSequence: b.BaseSequence,
				Transactional: batch.IsTransactional(), AddsPartition: batch.IsTransactional()})
		}
		commit.Appends = append(commit.Appends, a)
	}
	result, err := c.store.Store.CommitFiles(t.Context(), []metadata.File{commit})
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range commit.Appends {
		for k, outcome := range result.Files[0].Outcomes[i] {
			switch {
			case outcome.Err != nil:
				t.Fatal(outcome.Err)
			case !outcome.Duplicate:
				c.saw(a.Partition, inputs[i].Batches[k].Bytes, outcome.BaseOffset)
			}
		}
	}
	return file.ID
}

// saw notes what consumers are to see.
func (c *cluster) saw(partition metadata.PartitionID, b protocol.Batch, base int64) {
	b = slices.Clone(b)
	b.SetBaseOffset(base)
	b.SetLeaderEpoch(protocol.LeaderEpoch)
	c.want[partition] = append(c.want[partition], b)
	c.next[partition] = base + int64(b.LastOffsetDelta()) + 1
}

// produceSome commits files with a batch or two in each partition.
func (c *cluster) produceSome(t testing.TB, random *rand.Rand, files int) (ids []uuid.UUID) {
	t.Helper()
	for range files {
		batches := map[at][]protocol.Batch{}
		for topic := range c.topics {
			for index := range c.topics[topic].Partitions {
				for range 1 + random.IntN(2) {
					place := at{topic, int32(index)}
					batches[place] = append(batches[place], makeBatch(t, random, 1+random.IntN(3), 10+random.IntN(3000)))
				}
			}
		}
		ids = append(ids, c.produce(t, datafile.Auto, batches))
	}
	return ids
}

// transaction is a producer's transaction.
type transaction struct {
	metadata.ProducerEpoch
	id        string
	sequences map[at]int32
	places    []at
}

func (c *cluster) begin(t testing.TB) *transaction {
	t.Helper()
	p := &transaction{id: uuid.NewString(), sequences: map[at]int32{}}
	id, err := c.store.Store.AllocateProducerIDs(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	p.ProducerEpoch = c.change(t, p.id, metadata.InitProducer{Timeout: time.Hour, Expected: metadata.NoProducer, NewProducerID: id}).Results[0].Producer
	return p
}

func (p *transaction) batch(place at, b protocol.Batch) protocol.Batch {
	if !slices.Contains(p.places, place) {
		p.places = append(p.places, place)
	}
	sequence := p.sequences[place]
	p.sequences[place] += b.LastOffsetDelta() + 1
	return setProducer(b, p.ID, p.Epoch, sequence, true)
}

// end ends it, with a marker in each of its partitions.
func (c *cluster) end(t testing.TB, p *transaction, commit bool) {
	t.Helper()
	changed := c.change(t, p.id, metadata.EndTransaction{Producer: p.ProducerEpoch, Commit: commit, Version: metadata.TransactionV2, NewProducerID: -1})
	for _, entry := range changed.Commits {
		for _, run := range entry.Runs {
			m, ok := run.Marker()
			if !ok {
				t.Fatal("a transaction ended with something else than a marker")
			}
			c.saw(run.Partition, protocol.EndMarker{ProducerID: m.ProducerID, ProducerEpoch: m.Epoch, Commit: m.Commit, Timestamp: m.Timestamp}.AppendTo(nil), run.BaseOffset)
		}
	}
	p.ProducerEpoch, p.places = changed.Results[0].Producer, nil
	clear(p.sequences)
}

func (c *cluster) change(t testing.TB, id string, op metadata.TransactionOp) metadata.TransactionsChanged {
	t.Helper()
	changed, err := c.store.Store.ChangeTransactions(t.Context(), []metadata.TransactionRequest{{ID: id, Op: op}})
	if err == nil {
		err = changed.Results[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// runs returns all rows of a partition from its log start on.
func (c *cluster) runs(t testing.TB, partition metadata.PartitionID) []metadata.Run {
	t.Helper()
	bounds, err := c.store.Store.Bounds(t.Context(), []metadata.PartitionID{partition})
	if err != nil {
		t.Fatal(err)
	}
	var runs []metadata.Run
	for offset := bounds[0].LogStartOffset; offset < bounds[0].NextOffset; {
		found, err := c.store.Store.FindRuns(t.Context(), []metadata.RunQuery{{Partition: partition, Offset: offset, MaxBytes: 1 << 30, MaxRuns: metadata.MaxRuns}})
		if err != nil || len(found[0].Runs) == 0 {
			t.Fatalf("%v: nothing at offset %d of %d to %d", err, offset, bounds[0].LogStartOffset, bounds[0].NextOffset)
		}
		for i, run := range found[0].Runs {
			if len(runs) > 0 && run.BaseOffset != runs[len(runs)-1].NextOffset() || i == 0 && run.BaseOffset > offset {
				t.Fatalf("hole before the run at %d of partition %d", run.BaseOffset, partition)
			}
			runs = append(runs, run)
		}
		offset = runs[len(runs)-1].NextOffset()
	}
	return runs
}

// check reads all partitions by the index, without the code of merges, and compares.
func (c *cluster) check(t testing.TB) {
	t.Helper()
	objects := map[uuid.UUID][]byte{}
	for partition, want := range c.want {
		runs := c.runs(t, partition)
		i := 0
		for i < len(want) && len(runs) > 0 && want[i].BaseOffset() < runs[0].BaseOffset && want[i].BaseOffset() < c.start[partition] {
			i++
		}
		if len(runs) == 0 && c.start[partition] == c.next[partition] {
			continue
		}
		for _, run := range runs {
			rest, err := c.content(t, objects, run)
			if err != nil {
				t.Fatalf("partition %d: %v", partition, err)
			}
			offset := run.BaseOffset
			for len(rest) > 0 {
				var b protocol.Batch
				if b, rest, err = protocol.NextBatch(rest); err != nil {
					t.Fatal(err)
				}
				if !run.Merged {
					b = slices.Clone(b)
					b.SetBaseOffset(offset)
					b.SetLeaderEpoch(protocol.LeaderEpoch)
				}
				offset = b.BaseOffset() + int64(b.LastOffsetDelta()) + 1
				if i == len(want) || !bytes.Equal(b, want[i]) {
					t.Fatalf("partition %d: batch %d at offset %d is not what was produced", partition, i, b.BaseOffset())
				}
				i++
			}
			if offset != run.NextOffset() {
				t.Fatalf("partition %d: run of %d to %d ends with %d", partition, run.BaseOffset, run.NextOffset()-1, offset-1)
			}
		}
		if i != len(want) {
			t.Fatalf("partition %d: %d batches of %d", partition, i, len(want))
		}
	}
}

// content returns the batches of a run.
func (c *cluster) content(t testing.TB, objects map[uuid.UUID][]byte, run metadata.Run) ([]byte, error) {
	t.Helper()
	if m, ok := run.Marker(); ok {
		return protocol.EndMarker{ProducerID: m.ProducerID, ProducerEpoch: m.Epoch, Commit: m.Commit, Timestamp: m.Timestamp}.AppendTo(nil), nil
	}
	object, ok := objects[run.FileID]
	if !ok {
		var err error
		if object, err = c.bucket.Bucket.Get(t.Context(), datafile.Key(run.FileID), 0, -1); err != nil {
			return nil, err
		}
		objects[run.FileID] = object
	}
	stored := object[run.Position : run.Position+int64(run.StoredSize)]
	if run.Encoding == metadata.EncodingRaw {
		return stored, nil
	}
	return datafile.DecodeRange(stored, int(run.Skip), int(run.Size))
}

// files returns the IDs of the files that rows refer to.
func (c *cluster) files(t testing.TB) map[uuid.UUID]bool {
	t.Helper()
	files := map[uuid.UUID]bool{}
	for partition := range c.want {
		for _, run := range c.runs(t, partition) {
			if run.Encoding != metadata.EncodingMarker {
				files[run.FileID] = true
			}
		}
	}
	return files
}

// faultyStore is the real store, whose calls fail as a hook says.
type faultyStore struct {
	*sqlite.Store
	mu   sync.Mutex
	hook func(method string) fault
}

// fault is what happens to a call: nothing, if zero.
type fault struct {
	err       error
	persisted bool   // the call is carried out before
	after     func() // called when it was
}

func (f *faultyStore) inject(hook func(method string) fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

// call makes a call as the hook says.
func call[T any](f *faultyStore, method string, do func() (T, error)) (T, error) {
	f.mu.Lock()
	hook := f.hook
	f.mu.Unlock()
	var now fault
	if hook != nil {
		now = hook(method)
	}
	var none T
	if now.err != nil && !now.persisted {
		return none, now.err
	}
	result, err := do()
	if now.after != nil {
		now.after()
	}
	if now.err != nil {
		return none, now.err
	}
	return result, err
}

func (f *faultyStore) Now(ctx context.Context) (time.Time, error) {
	return call(f, "Now", func() (time.Time, error) { return f.Store.Now(ctx) })
}

func (f *faultyStore) ClaimFiles(ctx context.Context, claim metadata.FileClaim) ([]metadata.ClaimedFile, error) {
	return call(f, "ClaimFiles", func() ([]metadata.ClaimedFile, error) { return f.Store.ClaimFiles(ctx, claim) })
}

func (f *faultyStore) RenewFiles(ctx context.Context, holder uuid.UUID, files []uuid.UUID, period time.Duration) (bool, error) {
	return call(f, "RenewFiles", func() (bool, error) { return f.Store.RenewFiles(ctx, holder, files, period) })
}

func (f *faultyStore) ReleaseFiles(ctx context.Context, holder uuid.UUID, files []uuid.UUID, settle bool) error {
	_, err := call(f, "ReleaseFiles", func() (struct{}, error) {
		return struct{}{}, f.Store.ReleaseFiles(ctx, holder, files, settle)
	})
	return err
}

func (f *faultyStore) ReplaceRuns(ctx context.Context, r metadata.Replacement) ([]bool, error) {
	return call(f, "ReplaceRuns", func() ([]bool, error) { return f.Store.ReplaceRuns(ctx, r) })
}

func (f *faultyStore) ListTopics(ctx context.Context) ([]metadata.Topic, int64, error) {
	type listed struct {
		topics []metadata.Topic
		seq    int64
	}
	l, err := call(f, "ListTopics", func() (l listed, err error) { l.topics, l.seq, err = f.Store.ListTopics(ctx); return l, err })
	return l.topics, l.seq, err
}

func (f *faultyStore) FindRuns(ctx context.Context, q []metadata.RunQuery) ([]metadata.PartitionRuns, error) {
	return call(f, "FindRuns", func() ([]metadata.PartitionRuns, error) { return f.Store.FindRuns(ctx, q) })
}

func (f *faultyStore) MergeBacklog(ctx context.Context) ([]metadata.LevelBacklog, error) {
	return call(f, "MergeBacklog", func() ([]metadata.LevelBacklog, error) { return f.Store.MergeBacklog(ctx) })
}

// seeded returns a random source whose seed the test's log tells.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
