package recovery_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/time/rate"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/agent/maintenance/backup"
	"github.com/wadi-log/wadi/agent/maintenance/merge"
	"github.com/wadi-log/wadi/agent/maintenance/recovery"
	"github.com/wadi-log/wadi/agent/maintenance/rewrite"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sqlite"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
)

// cluster is a bucket, and the metadata store that goes with it.
type cluster struct {
	*testing.T
	store  *sqlite.Store
	bucket *objstoretest.Faulty
	// at is the time of the next file's ID.
	at time.Time
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{T: t, bucket: objstoretest.NewFaulty(memory.Open()), at: time.Now()}
	c.newStore()
	return c
}

// newStore replaces the metadata store by an empty one.
func (c *cluster) newStore() {
	c.Helper()
	store, err := sqlite.Open(c.Context(), filepath.Join(c.TempDir(), "metadata.db"))
	c.must(err)
	c.Cleanup(func() {
		if err := store.Close(); err != nil {
			c.Error(err)
		}
	})
	c.store = store
}

func (c *cluster) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

func progress() *maintenance.Progress {
	return maintenance.NewProgress("recover", rate.NewLimiter(rate.Inf, 1), maintenance.NewMetrics(prometheus.NewRegistry()))
}

func (c *cluster) topic(name string, partitions int32) metadata.Topic {
	c.Helper()
	topic, err := c.store.CreateTopic(c.Context(), metadata.NewTopic{Name: name, Partitions: partitions, Configs: map[string]string{"retention.ms": "-1"}})
	c.must(err)
	return topic
}

func (c *cluster) snapshot() backup.Manifest {
	c.Helper()
	m, err := backup.Write(c.Context(), c.store, c.bucket, progress())
	c.must(err)
	return m
}

// merge merges all files from producers.
func (c *cluster) merge() {
	c.Helper()
	merger := merge.New(merge.Config{After: time.Nanosecond, FileBytes: 1 << 20, MemoryBytes: 16 << 20, Compression: datafile.Auto},
		c.bucket, c.store, merge.NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	for more := true; more; {
		var err error
		more, err = merger.Round(c.Context(), progress())
		c.must(err)
	}
}

// recover loses the metadata store and recovers it.
func (c *cluster) recover(o recovery.Options) (*recovery.Report, error) {
	c.Helper()
	c.newStore()
	return recovery.Recover(c.Context(), c.store, c.bucket, progress(), o)
}

func (c *cluster) mustRecover(o recovery.Options) *recovery.Report {
	c.Helper()
	report, err := c.recover(o)
	c.must(err)
	return report
}

// writer is a producer; its ID is -1 for one without idempotence.
type writer struct {
	id            int64
	epoch         int16
	transactional bool
	sequences     map[string]int32
}

func (c *cluster) producer() *writer {
	c.Helper()
	id, err := c.store.AllocateProducerIDs(c.Context(), 1)
	c.must(err)
	return &writer{id: id, sequences: map[string]int32{}}
}

func plain() *writer { return &writer{id: -1, epoch: -1} }

// batch makes the writer's next batch for a partition, one record for each value.
func (w *writer) batch(topic metadata.Topic, partition int32, values ...string) item {
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(len(values) - 1), FirstTimestamp: 1000, MaxTimestamp: 1000,
		ProducerID: w.id, ProducerEpoch: w.epoch, FirstSequence: -1, NumRecords: int32(len(values)),
	}
	if w.id >= 0 {
		key := fmt.Sprint(topic.ID, partition)
		b.FirstSequence = w.sequences[key]
		w.sequences[key] += int32(len(values))
	}
	if w.transactional {
		b.Attributes = 0x10
	}
	for i, value := range values {
		r := kmsg.Record{Value: []byte(value), OffsetDelta: int32(i)}
		body := r.AppendTo(nil)[1:]
		b.Records = append(binary.AppendVarint(b.Records, int64(len(body))), body...)
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return item{topic, partition, raw}
}

// item is a batch for a partition.
type item struct {
	topic     metadata.Topic
	partition int32
	batch     protocol.Batch
}

// put encodes the batches, each for a partition of its own or behind those for it, into a file, and puts that.
func (c *cluster) put(items ...item) (datafile.File, metadata.File) {
	c.Helper()
	var inputs []datafile.Input
	topics := map[uuid.UUID]metadata.Topic{}
	for _, it := range items {
		topics[it.topic.ID] = it.topic
		i := slices.IndexFunc(inputs, func(in datafile.Input) bool { return in.TopicID == it.topic.ID && in.Partition == it.partition })
		if i < 0 {
			i = len(inputs)
			inputs = append(inputs, datafile.Input{TopicID: it.topic.ID, Partition: it.partition})
		}
		b := it.batch
		inputs[i].Batches = append(inputs[i].Batches, datafile.Batch{Bytes: b, Records: b.LastOffsetDelta() + 1, MaxTimestamp: b.MaxTimestamp(),
			ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence()})
	}
	id, err := datafile.NewID(c.at)
	c.must(err)
	c.at = c.at.Add(time.Millisecond)
	file, err := datafile.Encode(id, datafile.Auto, inputs)
	c.must(err)
	c.must(c.bucket.Put(c.Context(), datafile.Key(id), file.Bytes))
	commit := metadata.File{ID: id, Size: int64(len(file.Bytes))}
	for _, s := range file.Sections {
		a := metadata.Append{Partition: topics[s.TopicID].Partitions[s.Partition], Encoding: metadata.Encoding(s.Encoding), Position: s.Position, StoredSize: s.StoredSize}
		for _, it := range items {
			if it.topic.ID == s.TopicID && it.partition == s.Partition {
				b := it.batch
				a.Batches = append(a.Batches, metadata.Batch{Size: int32(len(b)), Records: b.LastOffsetDelta() + 1, MaxTimestamp: b.MaxTimestamp(),
					ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(),
					Transactional: b.IsTransactional(), AddsPartition: b.IsTransactional()})
			}
		}
		commit.Appends = append(commit.Appends, a)
	}
	return file, commit
}

// produce puts and commits a file, and requires that all of it is accepted.
func (c *cluster) produce(items ...item) {
	c.Helper()
	for _, o := range c.commit(items...) {
		if o.Err != nil || o.Duplicate {
			c.Fatalf("got %+v", o)
		}
	}
}

func (c *cluster) commit(items ...item) (outcomes []metadata.Outcome) {
	c.Helper()
	_, commit := c.put(items...)
	result, err := c.store.CommitFiles(c.Context(), []metadata.File{commit})
	c.must(err)
	return slices.Concat(result.Files[0].Outcomes...)
}

// read returns what consumers read of a partition, one line for each offset: the value, or the marker.
// With committed, it is what those with read_committed do.
func (c *cluster) read(partition metadata.PartitionID, committed bool) (lines []string) {
	c.Helper()
	reader := rewrite.NewReader(c.bucket, progress(), 1<<20)
	for offset := int64(0); ; {
		found, err := c.store.FindRuns(c.Context(), []metadata.RunQuery{{Partition: partition, Offset: offset, MaxBytes: 1 << 40, MaxRuns: metadata.MaxRuns}})
		c.must(err)
		if len(found[0].Runs) == 0 {
			return lines
		}
		for b, err := range reader.Batches(c.Context(), found[0].Runs) {
			c.must(err)
			hidden := committed && slices.ContainsFunc(found[0].Aborted, func(a metadata.AbortedTransaction) bool {
				return a.ProducerID == b.ProducerID() && b.BaseOffset() >= a.FirstOffset && b.BaseOffset() < a.LastOffset
			})
			for r, err := range b.Records(1 << 20) {
				c.must(err)
				line := fmt.Sprintf("%d %s", r.Offset, r.Value)
				if b.IsControl() {
					line = fmt.Sprintf("%d marker", b.BaseOffset())
				}
				if !hidden && (!committed || !b.IsControl()) {
					lines = append(lines, line)
				}
			}
		}
		offset = found[0].Runs[len(found[0].Runs)-1].NextOffset()
	}
}

func (c *cluster) wantLog(partition metadata.PartitionID, committed bool, want ...string) {
	c.Helper()
	if got := c.read(partition, committed); !slices.Equal(got, want) {
		c.Errorf("partition %d: got\n%q\nwant\n%q", partition, got, want)
	}
}

func (c *cluster) named(name string) metadata.Topic {
	c.Helper()
	topics, err := c.store.TopicsByName(c.Context(), []string{name})
	c.must(err)
	if len(topics) != 1 {
		c.Fatalf("topic %q: got %+v", name, topics)
	}
	return topics[0]
}
