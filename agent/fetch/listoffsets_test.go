package fetch

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
)

// listOffsets asks for partition 0 of "t" in version 11, once per timestamp.
func (a *agent) listOffsets(t testing.TB, version int16, timestamps ...int64) []kmsg.ListOffsetsResponseTopicPartition {
	t.Helper()
	var got []kmsg.ListOffsetsResponseTopicPartition
	for _, timestamp := range timestamps {
		req := kmsg.NewPtrListOffsetsRequest()
		req.Version = version
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = "t"
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp = timestamp
		topic.Partitions = append(topic.Partitions, p)
		req.Topics = append(req.Topics, topic)
		resp := a.ListOffsets(t.Context(), protocol.Client{}, req)
		if len(resp.Topics) != 1 || resp.Topics[0].Topic != "t" || len(resp.Topics[0].Partitions) != 1 {
			t.Fatalf("answer %+v", resp)
		}
		got = append(got, resp.Topics[0].Partitions[0])
	}
	return got
}

func TestListOffsetsBySpecialTimestamps(t *testing.T) {
	c := newCluster(t, 1)
	a := c.lonelyAgent(t)
	c.produce(t, map[int32][]protocol.Batch{0: {makeBatch(t, protocol.CodecNone, rec{100, 1}, rec{300, 1}, rec{200, 1})}})
	c.produce(t, map[int32][]protocol.Batch{0: {makeBatch(t, protocol.CodecNone, rec{50, 1}, rec{300, 1})}})
	type answer struct {
		offset, timestamp int64
		epoch             int32
	}
	none := answer{-1, -1, -1}
	for _, q := range []struct {
		name      string
		timestamp int64
		since     int16
		want      answer
	}{
		{"latest", -1, 1, answer{5, -1, 0}},
		{"earliest", -2, 1, answer{0, -1, 0}},
		{"largest timestamp: its first record", -3, 7, answer{1, 300, 0}},
		{"earliest local", -4, 8, answer{0, -1, 0}},
		{"latest tiered", -5, 9, none},
		{"earliest pending upload", -6, 11, none},
		{"unknown", -7, 12, none},
	} {
		for version := int16(1); version <= 11; version++ {
			got := a.listOffsets(t, version, q.timestamp)[0]
			what := fmt.Sprintf("%s, version %d", q.name, version)
			want, code := q.want, (*kerr.Error)(nil)
			if version < q.since {
				want, code = none, kerr.UnsupportedVersion
			}
			wantCode(t, what, got.ErrorCode, code)
			if (answer{got.Offset, got.Timestamp, got.LeaderEpoch}) != want {
				t.Errorf("%s: %+v, want %+v", what, got, want)
			}
		}
	}
}

func TestListOffsetsByTimestampIsExact(t *testing.T) {
	for _, v := range []struct {
		file  datafile.Compression
		batch protocol.Codec
	}{{datafile.None, protocol.CodecNone}, {datafile.S2, protocol.CodecNone}, {datafile.None, protocol.CodecGzip}, {datafile.Zstd, protocol.CodecZstd}} {
		t.Run(fmt.Sprintf("%s, %v", v.file, v.batch), func(t *testing.T) {
			c := newCluster(t, 2)
			a := c.lonelyAgent(t)
			type at struct{ offset, timestamp int64 }
			var log []at
			write := func(batches ...[]rec) {
				var list []protocol.Batch
				for _, records := range batches {
					for i := range records {
						log = append(log, at{int64(len(log)), records[i].timestamp})
					}
					list = append(list, makeBatch(t, v.batch, records...))
				}
				c.commit(t, v.file, map[int32][]protocol.Batch{0: list, 1: list})
			}
			write([]rec{{100, 200}, {150, 200}, {120, 200}}, []rec{{110, 200}, {400, 200}, {300, 200}})
			write([]rec{{50, 100}, {60, 100}}) // late: below the running maximum
			write([]rec{{390, 100}, {500, 100}}, []rec{{450, 100}})
			write([]rec{{700, 1}})
			for timestamp := int64(0); timestamp <= 800; timestamp += 5 {
				want := at{-1, -1}
				for _, r := range log {
					if r.timestamp >= timestamp {
						want = r
						break
					}
				}
				got := a.listOffsets(t, 11, timestamp)[0]
				if got.ErrorCode != 0 || (at{got.Offset, got.Timestamp}) != want {
					t.Errorf("timestamp %d: %+v, want %+v", timestamp, got, want)
				}
			}
		})
	}
}

func TestListOffsetsWithLogAppendTime(t *testing.T) {
	c := newCluster(t, 1)
	a := c.lonelyAgent(t)
	batch := makeBatch(t, protocol.CodecNone, recs(3, 10, 100)...)
	batch.SetLogAppendTime(5000)
	c.produce(t, map[int32][]protocol.Batch{0: {makeBatch(t, protocol.CodecNone, recs(2, 10, 4000)...), batch}})
	for _, timestamp := range []int64{4002, 5000, maxTimestampOffset} {
		if got := a.listOffsets(t, 11, timestamp)[0]; got.Offset != 2 || got.Timestamp != 5000 {
			t.Errorf("timestamp %d: %+v, want offset 2 at 5000", timestamp, got)
		}
	}
}

func TestListOffsetsOfAnEmptyPartition(t *testing.T) {
	c := newCluster(t, 1)
	a := c.lonelyAgent(t)
	for i, got := range a.listOffsets(t, 11, -1, -2, -3, -4, 0, 1000) {
		want := int64(-1)
		if i < 2 || i == 3 {
			want = 0
		}
		if got.ErrorCode != 0 || got.Offset != want || got.Timestamp != -1 {
			t.Errorf("question %d: %+v, want offset %d", i, got, want)
		}
	}
}

// The store's running maximum may come from a record that retention deleted,
// or that a batch only claims to have: the search goes on behind it.
func TestListOffsetsSearchesOnBehindTheRun(t *testing.T) {
	c := newCluster(t, 1)
	a := c.lonelyAgent(t)
	liar := makeBatch(t, protocol.CodecNone, recs(2, 10, 10)...)
	liar.SetLogAppendTime(900) // the timestamp of all its records,
	liar[22] &^= 0x08          // which are the producer's again
	resum(liar)
	c.produce(t, map[int32][]protocol.Batch{0: {liar}})
	c.produce(t, map[int32][]protocol.Batch{0: {makeBatch(t, protocol.CodecNone, recs(2, 10, 500)...)}})
	c.produce(t, map[int32][]protocol.Batch{0: {makeBatch(t, protocol.CodecNone, recs(3, 10, 698)...)}})
	for timestamp, want := range map[int64]int64{0: 0, 12: 2, 600: 4, 700: 6, 701: -1, 900: -1, 901: -1} {
		if got := a.listOffsets(t, 11, timestamp)[0]; got.ErrorCode != 0 || got.Offset != want {
			t.Errorf("timestamp %d: %+v, want offset %d", timestamp, got, want)
		}
	}
	// No record has the largest timestamp that the store knows of.
	if got := a.listOffsets(t, 11, maxTimestampOffset)[0]; got.ErrorCode != 0 || got.Offset != 6 || got.Timestamp != 700 {
		t.Errorf("largest timestamp: %+v, want offset 6 at 700", got)
	}
}

// TestListOffsetsAfterCompaction: what took the largest timestamps away left the runs' running
// maximum, and the next smaller one may lie before it.
func TestListOffsetsAfterCompaction(t *testing.T) {
	c := newCluster(t, 1)
	a := c.lonelyAgent(t)
	a.blocks.config.BlockBytes = 100
	for _, timestamps := range [][]int64{{100, 600}, {900, 50}, {500, 200}, {800, 300}, {400, 10}} {
		c.produce(t, map[int32][]protocol.Batch{0: {
			makeBatch(t, protocol.CodecNone, rec{timestamps[0], 100}), makeBatch(t, protocol.CodecNone, rec{timestamps[1], 100})}})
	}
	compact := func(from, to int, offsets ...int64) {
		runs := c.runsOf(t, 0)[from:to]
		if !c.merge(t, datafile.None, 0, runs, func(_ protocol.Batch, k protocol.Key) bool { return !slices.Contains(offsets, k.Offset) }) {
			t.Fatal("the merge was refused")
		}
	}
	want := func(timestamp, offset, its int64) {
		t.Helper()
		if got := a.listOffsets(t, 11, timestamp)[0]; got.ErrorCode != 0 || got.Offset != offset || got.Timestamp != its {
			t.Errorf("timestamp %d: %+v, want offset %d with %d", timestamp, got, offset, its)
		}
	}
	want(maxTimestampOffset, 2, 900)
	compact(1, 4, 2, 6) // 900 and 800
	want(maxTimestampOffset, 1, 600)
	want(550, 1, 600)
	want(601, -1, -1)
	want(450, 1, 600)
	compact(0, 2, 1) // 600
	want(maxTimestampOffset, 4, 500)
	want(300, 4, 500)
	c.deleteRecords(t, 0, 5)
	want(maxTimestampOffset, 8, 400)
	want(250, 7, 300)
	want(350, 8, 400)
	compact(0, 2, 0, 3, 4, 5, 7, 8, 9) // all
	want(maxTimestampOffset, -1, -1)
	want(0, -1, -1)
}

// TestListOffsetsReadsLittleOfALargeRun: it begins at what the index says, and reads nothing else of a run in which
// there is no such record.
func TestListOffsetsReadsLittleOfALargeRun(t *testing.T) {
	m := largeRun(t, datafile.None, 64<<20, 400) // timestamps from 1000 on
	run := &m.runs[0]
	for _, q := range []struct {
		timestamp, deleted, want int64
		most                     int64
	}{{1300, 0, 300, 5 << 16}, {1000, 0, 0, 2 << 16}, {1100, 200, 200, 5 << 16}, {1200, 50, 200, 5 << 16}, {1400, 0, -1, 0}} {
		before := m.f.readBytes()
		h, err := m.f.searchRun(t.Context(), run, q.deleted, q.timestamp)
		if err != nil || q.want < 0 && h != nil || q.want >= 0 && (h == nil || *h != hit{q.want, 1000 + q.want}) {
			t.Errorf("timestamp %d: %+v, error %v; want offset %d", q.timestamp, h, err, q.want)
		}
		if n := m.f.readBytes() - before; n > q.most {
			t.Errorf("timestamp %d: read %d bytes, want up to %d", q.timestamp, n, q.most)
		}
	}
}

func TestListOffsetsErrorsStayWithTheirPartition(t *testing.T) {
	c := newCluster(t, 5)
	a := c.lonelyAgent(t)
	batch := makeBatch(t, protocol.CodecNone, recs(10, 10, 100)...)
	bad := append(protocol.Batch(nil), batch...)
	bad[len(bad)-1]++
	c.produce(t, map[int32][]protocol.Batch{0: {batch}, 1: {bad}, 2: {batch}})
	_, file, _ := c.commit(t, datafile.Auto, map[int32][]protocol.Batch{4: {batch}})
	if err := c.bucket.Delete(t.Context(), datafile.Key(file.ID)); err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version = 7
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = "t"
	for _, q := range []struct {
		partition, epoch int32
		timestamp        int64
	}{{0, -1, 105}, {1, -1, 105}, {2, -1, -1}, {2, -1, -2}, {3, 1, -1}, {9, -1, -1}, {4, -1, 100}} {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.CurrentLeaderEpoch, p.Timestamp = q.partition, q.epoch, q.timestamp
		topic.Partitions = append(topic.Partitions, p)
	}
	nobody := kmsg.NewListOffsetsRequestTopic()
	nobody.Topic, nobody.Partitions = "nobody", topic.Partitions[:1]
	req.Topics = append(req.Topics, topic, nobody)
	resp := a.ListOffsets(t.Context(), protocol.Client{}, req)
	got := append(resp.Topics[0].Partitions, resp.Topics[1].Partitions...)
	for i, want := range []*kerr.Error{nil, kerr.CorruptMessage, kerr.InvalidRequest, kerr.InvalidRequest,
		kerr.UnknownLeaderEpoch, kerr.UnknownTopicOrPartition, kerr.KafkaStorageError, kerr.UnknownTopicOrPartition} {
		wantCode(t, fmt.Sprintf("item %d", i), got[i].ErrorCode, want)
		if want != nil && (got[i].Offset != -1 || got[i].Timestamp != -1 || got[i].LeaderEpoch != -1) {
			t.Errorf("item %d: an error with %+v", i, got[i])
		}
	}
	if got[0].Offset != 5 || got[0].Timestamp != 105 {
		t.Errorf("the good partition: %+v, want offset 5", got[0])
	}
}

func TestListOffsetsComesFromTheStoreAlone(t *testing.T) {
	c := newCluster(t, 1)
	a := c.agent(t)
	batch := makeBatch(t, protocol.CodecNone, recs(10, 10, 100)...)
	a.produce(t, map[int32][]protocol.Batch{0: {batch}})
	c.store.inject(func(string) error { return metadata.ErrUnavailable })
	for _, got := range a.listOffsets(t, 11, -1, -2, -3, 100) {
		wantCode(t, "store away", got.ErrorCode, kerr.NotLeaderForPartition)
	}
	c.store.inject(nil)
	c.bucket.Inject(func(objstoretest.Op, string) objstoretest.Fault {
		return objstoretest.Fault{Block: make(chan struct{})}
	})
	a.blocks.Drop(onlyFile(t, a))
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.TimeoutMillis = 10, 2000
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic, topic.Partitions = "t", []kmsg.ListOffsetsRequestTopicPartition{{Timestamp: 100, CurrentLeaderEpoch: -1}}
	req.Topics = append(req.Topics, topic)
	resp := a.ListOffsets(t.Context(), protocol.Client{}, req)
	wantCode(t, "objects hang", resp.Topics[0].Partitions[0].ErrorCode, kerr.RequestTimedOut)
}

// onlyFile is the file of the first run of partition 0.
func onlyFile(t testing.TB, a *agent) [16]byte {
	found, err := a.cluster.store.FindRuns(t.Context(), []metadata.RunQuery{{Partition: a.topic.Partitions[0], MaxRuns: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return found[0].Runs[0].FileID
}

func TestOffsetForLeaderEpoch(t *testing.T) {
	c := newCluster(t, 2)
	a := c.lonelyAgent(t)
	c.produce(t, map[int32][]protocol.Batch{0: {makeBatch(t, protocol.CodecNone, recs(10, 10, 100)...)}})
	for version := int16(2); version <= 4; version++ {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		req.Version = version
		topic := kmsg.NewOffsetForLeaderEpochRequestTopic()
		topic.Topic = "t"
		questions := []struct {
			partition, current, epoch int32
			code                      *kerr.Error
			wantEpoch                 int32
			wantEnd                   int64
		}{
			{0, -1, 0, nil, 0, 10},
			{1, 0, 0, nil, 0, 0},
			{0, -1, 1, nil, -1, -1},
			{0, -1, -1, nil, -1, -1},
			{0, 1, 0, kerr.UnknownLeaderEpoch, -1, -1},
			{0, -2, 0, kerr.FencedLeaderEpoch, -1, -1},
			{7, -1, 0, kerr.UnknownTopicOrPartition, -1, -1},
		}
		for _, q := range questions {
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = q.partition, q.current, q.epoch
			topic.Partitions = append(topic.Partitions, p)
		}
		nobody := kmsg.NewOffsetForLeaderEpochRequestTopic()
		nobody.Topic, nobody.Partitions = "nobody", topic.Partitions[:1]
		req.Topics = append(req.Topics, topic, nobody)
		resp := a.OffsetForLeaderEpoch(t.Context(), protocol.Client{}, req)
		for i, q := range questions {
			got := resp.Topics[0].Partitions[i]
			wantCode(t, fmt.Sprintf("version %d, question %d", version, i), got.ErrorCode, q.code)
			if got.Partition != q.partition || got.LeaderEpoch != q.wantEpoch || got.EndOffset != q.wantEnd {
				t.Errorf("version %d, question %d: %+v, want epoch %d, end %d", version, i, got, q.wantEpoch, q.wantEnd)
			}
		}
		wantCode(t, "unknown topic", resp.Topics[1].Partitions[0].ErrorCode, kerr.UnknownTopicOrPartition)
		c.store.inject(func(string) error { return metadata.ErrUnavailable })
		resp = a.OffsetForLeaderEpoch(t.Context(), protocol.Client{}, req)
		wantCode(t, "store away", resp.Topics[0].Partitions[0].ErrorCode, kerr.NotLeaderForPartition)
		c.store.inject(nil)
	}
}
