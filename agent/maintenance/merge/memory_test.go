package merge

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

// oneObject is a bucket in which every object is the same one, but for their IDs, which merges don't read. What is put
// is gone. So that the memory of a merge is that of the merge alone.
type oneObject struct {
	objstore.Bucket
	body []byte
}

func (b oneObject) Get(_ context.Context, _ string, offset, length int64) ([]byte, error) {
	end := min(offset+length, int64(len(b.body)))
	return append(make([]byte, 0, end-offset), b.body[offset:end]...), nil
}

func (oneObject) Put(context.Context, string, []byte) error { return nil }

// produceSame commits the same file of one batch in each of the topic's partitions so many times, and returns the bucket that
// has them.
func (c *cluster) produceSame(t testing.TB, files int, batches ...protocol.Batch) oneObject {
	t.Helper()
	topic := c.topics[0]
	inputs := make([]datafile.Input, len(topic.Partitions))
	for i := range inputs {
		inputs[i] = datafile.Input{TopicID: topic.ID, Partition: int32(i)}
		for _, b := range batches {
			inputs[i].Batches = append(inputs[i].Batches, datafile.Batch{Bytes: b, Records: b.LastOffsetDelta() + 1, MaxTimestamp: b.MaxTimestamp(),
				ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1})
		}
	}
	var body []byte
	for range files {
		id, err := uuid.NewV7()
		if err != nil {
			t.Fatal(err)
		}
		file, err := datafile.Encode(id, datafile.None, inputs)
		if err != nil {
			t.Fatal(err)
		}
		body = file.Bytes
		commit := metadata.File{ID: id, Size: int64(len(body))}
		for i, s := range file.Sections {
			a := metadata.Append{Partition: topic.Partitions[i], Encoding: metadata.Encoding(s.Encoding), Position: s.Position, StoredSize: s.StoredSize}
			for _, b := range batches {
				a.Batches = append(a.Batches, metadata.Batch{Size: int32(len(b)), Records: b.LastOffsetDelta() + 1, MaxTimestamp: b.MaxTimestamp(),
					ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1})
			}
			commit.Appends = append(commit.Appends, a)
		}
		if _, err := c.store.Store.CommitFiles(t.Context(), []metadata.File{commit}); err != nil {
			t.Fatal(err)
		}
	}
	return oneObject{c.bucket, body}
}

// heapPeak is the largest heap in bytes, above what there was before, that the collector finds reachable while do runs. It
// collects often, so that it misses little.
func heapPeak(do func()) int64 {
	live := func() int64 {
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	runtime.GC()
	before := live()
	peak := before
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				peak = max(peak, live())
			case <-done:
				return
			}
		}
	}()
	do()
	close(done)
	<-stopped
	return peak - before
}

// mergeLoads are what merges of agents with little and with usual memory have to get along with: very many small runs,
// and a large partition alone.
var mergeLoads = []struct {
	name                 string
	partitions           int32
	files, batches, size int // size of a record; 8 records a batch
}{
	{"10000 partitions in 32 files", 10_000, 32, 1, 20},
	{"2 GiB of one partition", 1, 256, 8, 128 << 10},
}

// BenchmarkMergeMemory is the largest heap of merges, in all and as a share of their Config.MemoryBytes.
func BenchmarkMergeMemory(b *testing.B) {
	for _, load := range mergeLoads {
		for _, memory := range []int64{16 << 20, 64 << 20, 256 << 20} {
			b.Run(fmt.Sprintf("%s/%d MiB", load.name, memory>>20), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					c := newCluster(b, load.partitions)
					batches := make([]protocol.Batch, load.batches)
					for i := range batches {
						batches[i] = makeBatch(b, seeded(b), 8, load.size)
					}
					bucket := c.produceSame(b, load.files, batches...)
					m := New(Config{After: time.Nanosecond, FlushBytes: 8 << 20, FileBytes: memory / 4, MemoryBytes: memory, Compression: datafile.Auto},
						bucket, c.store, NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
					peak := heapPeak(func() {
						b.StartTimer()
						drain(b, m)
						b.StopTimer()
					})
					b.ReportMetric(float64(peak)/(1<<20), "heap-peak-MiB")
					b.ReportMetric(float64(peak)/float64(memory), "of-memory")
					b.StartTimer()
				}
			})
		}
	}
}
