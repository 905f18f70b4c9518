package rewrite

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/time/rate"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

func progress() *maintenance.Progress {
	return maintenance.NewProgress("test", rate.NewLimiter(rate.Inf, 1<<20), maintenance.NewMetrics(prometheus.NewRegistry()))
}

// makeBatch makes a batch as a producer sends it. Values compress well, unless noise.
func makeBatch(t testing.TB, codec protocol.Codec, records, valueSize int, noise bool) protocol.Batch {
	t.Helper()
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(records - 1), FirstTimestamp: 1_700_000_000_000,
		MaxTimestamp: 1_700_000_000_000, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(records),
	}
	for i := range records {
		value := bytes.Repeat([]byte{'v'}, valueSize)
		if noise {
			for k := range value {
				value[k] = byte(rand.N(256))
			}
		}
		r := kmsg.Record{Key: fmt.Appendf(nil, "key %d", i), Value: value, OffsetDelta: int32(i)}
		body := r.AppendTo(nil)[1:]
		b.Records = append(binary.AppendVarint(b.Records, int64(len(body))), body...)
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	batch, _, err := protocol.NextBatch(raw)
	if err == nil {
		err = batch.Validate()
	}
	if err == nil && codec != protocol.CodecNone {
		batch, err = protocol.Recompress(batch, codec, codec.DefaultLevel(), 1<<30)
	}
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// log is one partition's runs, and what they hold as consumers see it.
type log struct {
	runs []metadata.Run
	want []protocol.Batch
	next int64
}

// put writes a data file as producers fill it, with a section of each partition, and appends its runs to the logs.
func put(t testing.TB, bucket objstore.Bucket, compression datafile.Compression, logs []*log, batches [][]protocol.Batch) uuid.UUID {
	t.Helper()
	inputs := make([]datafile.Input, len(batches))
	for p := range batches {
		inputs[p] = datafile.Input{TopicID: topicID, Partition: int32(p)}
		for _, b := range batches[p] {
			inputs[p].Batches = append(inputs[p].Batches, datafile.Batch{
				Bytes: b, Compressed: b.Codec() != protocol.CodecNone, Records: b.LastOffsetDelta() + 1, MaxTimestamp: b.MaxTimestamp(), ProducerID: -1,
			})
		}
	}
	file, err := datafile.Encode(newTestID(t), compression, inputs)
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Put(t.Context(), datafile.Key(file.ID), file.Bytes); err != nil {
		t.Fatal(err)
	}
	for p, s := range file.Sections {
		l := logs[p]
		l.runs = append(l.runs, metadata.Run{
			Partition: metadata.PartitionID(p), BaseOffset: l.next, Records: s.Records, FileID: file.ID, Encoding: metadata.Encoding(s.Encoding),
			Position: s.Position, StoredSize: s.StoredSize, Size: s.Size, MaxTimestamp: s.MaxTimestamp,
		})
		for _, b := range batches[p] {
			l.append(b)
		}
	}
	return file.ID
}

// append notes what consumers are to see next.
func (l *log) append(b protocol.Batch) {
	b = slices.Clone(b)
	b.SetBaseOffset(l.next)
	b.SetLeaderEpoch(protocol.LeaderEpoch)
	l.want = append(l.want, b)
	l.next += int64(b.LastOffsetDelta()) + 1
}

// end appends a transaction's end.
func (l *log) end(partition int32, commit bool) {
	m := metadata.Marker{ProducerID: 4711, Epoch: 3, Commit: commit, Timestamp: 1_700_000_000_001}
	l.runs = append(l.runs, m.Run(metadata.PartitionID(partition), l.next, 1_700_000_000_000))
	b := protocol.EndMarker{ProducerID: 4711, ProducerEpoch: 3, Commit: commit, Timestamp: 1_700_000_000_001}.AppendTo(nil)
	l.append(b)
}

var topicID = uuid.MustParse("6b0f2c9e-8a3d-4a55-9f53-0b7d2f2d9c11")

func newTestID(t testing.TB) uuid.UUID {
	t.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// check compares what a reader yields with what consumers are to see.
func (l *log) check(t testing.TB, r *Reader) {
	t.Helper()
	i := 0
	for b, err := range r.Batches(t.Context(), l.runs) {
		if err != nil {
			t.Fatal(err)
		}
		if i == len(l.want) || !bytes.Equal(b, l.want[i]) {
			t.Fatalf("batch %d at offset %d of %d bytes is not what was written", i, b.BaseOffset(), len(b))
		}
		i++
	}
	if i != len(l.want) {
		t.Fatalf("%d batches of %d", i, len(l.want))
	}
}

// seeded returns a random source whose seed the test's log tells.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
