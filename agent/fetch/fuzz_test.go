package fetch

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// fuzzAgent has a topic with something in it.
func fuzzAgent(f *testing.F) *agent {
	c := newCluster(f, 2)
	a := c.agent(f)
	a.produce(f, map[int32][]protocol.Batch{
		0: {makeBatch(f, protocol.CodecNone, recs(10, 100, 1000)...), makeBatch(f, protocol.CodecZstd, recs(10, 100, 2000)...)}})
	return a
}

// parse reads a request's body as the server does.
func parse(req kmsg.Request, version int16, body []byte) (kmsg.Request, bool) {
	h := protocol.RequestHeader{Key: req.Key(), Version: version}
	parsed, err := protocol.ParseRequest(h, body)
	return parsed, err == nil
}

// Whatever a request says, the answer has its shape and can be encoded.
func FuzzFetch(f *testing.F) {
	a := fuzzAgent(f)
	for version := int16(4); version <= 18; version++ {
		req := fetchFrom(0, 15, -1)
		req.Version, req.Topics[0].TopicID = version, a.topic.ID
		f.Add(version, req.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		parsed, ok := parse(kmsg.NewPtrFetchRequest(), version, body)
		if !ok {
			return
		}
		req := parsed.(*kmsg.FetchRequest)
		req.MaxWaitMillis = min(req.MaxWaitMillis, 1)
		resp := a.answer(t.Context(), req)
		if resp.ErrorCode == 0 && len(resp.Topics) != len(req.Topics) {
			t.Fatalf("%d topics answered of %d", len(resp.Topics), len(req.Topics))
		}
		for i := range resp.Topics {
			if len(resp.Topics[i].Partitions) != len(req.Topics[i].Partitions) {
				t.Fatalf("%d partitions answered of %d", len(resp.Topics[i].Partitions), len(req.Topics[i].Partitions))
			}
			for _, p := range resp.Topics[i].Partitions {
				offsetsOf(t, p.RecordBatches)
			}
		}
		if _, err := roundTrip(resp); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzListOffsets(f *testing.F) {
	a := fuzzAgent(f)
	for version := int16(1); version <= 11; version++ {
		req := kmsg.NewPtrListOffsetsRequest()
		req.Version = version
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = "t"
		for i, timestamp := range []int64{-1, -2, -3, -7, 1005, 2005} {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = int32(i), timestamp
			topic.Partitions = append(topic.Partitions, p)
		}
		req.Topics = append(req.Topics, topic)
		f.Add(version, req.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		parsed, ok := parse(kmsg.NewPtrListOffsetsRequest(), version, body)
		if !ok {
			return
		}
		req := parsed.(*kmsg.ListOffsetsRequest)
		resp := a.ListOffsets(t.Context(), protocol.Client{}, req)
		if len(resp.Topics) != len(req.Topics) {
			t.Fatalf("%d topics answered of %d", len(resp.Topics), len(req.Topics))
		}
		for i := range resp.Topics {
			for k, p := range resp.Topics[i].Partitions {
				if p.Partition != req.Topics[i].Partitions[k].Partition || p.ErrorCode == 0 && p.Offset > 20 {
					t.Fatalf("asked %+v, answered %+v", req.Topics[i].Partitions[k], p)
				}
			}
		}
		again := &kmsg.ListOffsetsResponse{Version: resp.Version}
		if err := again.ReadFrom(resp.AppendTo(nil)); err != nil {
			t.Fatal(err)
		}
	})
}

// Whatever the bytes of a merged run are, what is read of it are whole batches with offsets that ascend within the
// run, from every offset.
func FuzzReadMergedRun(f *testing.F) {
	batch := makeBatch(f, protocol.CodecNone, recs(3, 10, 0)...)
	for _, base := range []int64{7, 9, 1<<63 - 1, -1} {
		second := slices.Clone(batch)
		second.SetBaseOffset(base)
		f.Add([]byte(append(slices.Clone(batch), second...)), int32(12), false)
	}
	f.Add(append([]byte{0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1}, batch...), int32(3), true)
	m := &modelLog{f: newReadFixture(f, memoryBucket(), DefaultBlocksConfig(1<<20))}
	m.f.complaints.SetLimit(0)
	f.Fuzz(func(t *testing.T, body []byte, records int32, framed bool) {
		if len(body) == 0 || records <= 0 {
			return
		}
		run := metadata.Run{Partition: 1, BaseOffset: 2, Records: records, FileID: newFileID(t), Size: int32(len(body)), StoredSize: int32(len(body)), Merged: true}
		if framed {
			run.Encoding, run.Size = metadata.EncodingFramed, records
		}
		for _, offset := range []int64{2, 2 + int64(records)/2, run.NextOffset() - 1} {
			m.f.blocks.Fill(run.FileID, slices.Clone(body)) // damaged copies are dropped
			got := m.f.read(t.Context(), []asked{{1, offset, 100}}, []plan{planned(run)}, limits{maxBytes: 1 << 20}, noReplan(t))[0]
			next := offset
			for rest := got.batches; len(rest) > 0; {
				b, behind, err := protocol.NextBatch(rest)
				if err != nil || !b.CheckCRC() || b.BaseOffset() < run.BaseOffset || lastOf(b) < next || lastOf(b) >= run.NextOffset() {
					t.Fatalf("from %d: offsets %d to %d of %d, error %v", offset, b.BaseOffset(), lastOf(b), run.NextOffset(), err)
				}
				next, rest = lastOf(b)+1, behind
			}
			if len(got.batches) > 0 && got.next != next || len(got.batches) == 0 && got.err == nil {
				t.Fatalf("from %d: up to %d (%d), error %v", offset, next, got.next, got.err)
			}
			m.f.blocks.Fill(run.FileID, slices.Clone(body))
			if h, err := m.f.searchRun(t.Context(), &run, offset, 1); err == nil && h != nil && (h.offset < offset || h.timestamp < 1) {
				t.Fatalf("from %d: found %+v", offset, *h)
			}
		}
	})
}
