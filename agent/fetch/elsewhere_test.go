package fetch

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/wadi-log/wadi/protocol"
)

// TestConsumerIsSentElsewhere: at once, without records, from the version on that can say so. Errors are
// told here: a consumer that has one from a replica asks the leader again, and would never hear of it.
func TestConsumerIsSentElsewhere(t *testing.T) {
	c := newCluster(t, 3)
	a := c.agent(t)
	a.produce(t, map[int32][]protocol.Batch{0: {makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)}})
	var racks []string
	a.config.Elsewhere = func(_ protocol.Client, _ int16, rack string) Elsewhere {
		racks = append(racks, rack)
		if rack == "here" {
			return nil
		}
		return func(topic uuid.UUID, partition int32, offset int64, records bool) (int32, bool) {
			if offset != 0 || records != (partition == 0) {
				t.Errorf("partition %d: asked for offset %d, with records: %v", partition, offset, records)
			}
			if topic != c.topic.ID {
				t.Errorf("asked for topic %v", topic)
			}
			return 10 + partition, true
		}
	}
	for version := int16(4); version <= 18; version++ {
		req := fetchFrom(0, 0, 11)
		req.Version, req.MaxWaitMillis, req.MinBytes, req.Rack = version, longWait, 1, "there"
		if version >= 13 {
			req.Topics[0].Topic, req.Topics[0].TopicID = "", c.topic.ID
		}
		resp, err := roundTrip(a.answer(t.Context(), req))
		if err != nil {
			t.Fatal(err)
		}
		parts := resp.Topics[0].Partitions
		wantCode(t, fmt.Sprintf("version %d, out of range", version), parts[2].ErrorCode, kerr.OffsetOutOfRange)
		if parts[2].PreferredReadReplica != -1 {
			t.Errorf("version %d: a partition with an error is sent to %d", version, parts[2].PreferredReadReplica)
		}
		for i, p := range parts[:2] {
			wantCode(t, fmt.Sprintf("version %d, partition %d", version, i), p.ErrorCode, nil)
			if sent := p.PreferredReadReplica == int32(10+i); sent != (version >= preferredFrom) || !sent && p.PreferredReadReplica != -1 {
				t.Errorf("version %d, partition %d: sent to %d", version, i, p.PreferredReadReplica)
			}
			if records := len(p.RecordBatches) > 0; records != (version < preferredFrom && i == 0) || p.RecordBatches == nil {
				t.Errorf("version %d, partition %d: %d bytes", version, i, len(p.RecordBatches))
			}
			if want := int64(10 - 10*i); p.HighWatermark != want || p.LastStableOffset != want || p.LogStartOffset > 0 {
				t.Errorf("version %d, partition %d: bounds %+v", version, i, p)
			}
		}
	}
	for _, rack := range racks {
		if rack != "there" {
			t.Errorf("asked for rack %q", rack)
		}
	}
	req := fetchFrom(0)
	req.Version, req.Rack = 12, "here"
	if p := a.answer(t.Context(), req).Topics[0].Partitions[0]; p.PreferredReadReplica != -1 || len(p.RecordBatches) == 0 {
		t.Errorf("who stays here gets %+v", p)
	}
}

// TestConsumerIsSentElsewhereForAPart of what it asks for: it gets the records of the others with that, or waits for none.
func TestConsumerIsSentElsewhereForAPart(t *testing.T) {
	c := newCluster(t, 3)
	a := c.agent(t)
	batch := makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)
	a.produce(t, map[int32][]protocol.Batch{0: {batch}, 1: {batch}})
	elsewhere := map[int32]bool{}
	a.config.Elsewhere = func(protocol.Client, int16, string) Elsewhere {
		return func(_ uuid.UUID, partition int32, _ int64, _ bool) (int32, bool) { return 10, elsewhere[partition] }
	}
	for _, tc := range []struct {
		name    string
		sent    []int32
		offsets []int64
		records []bool
	}{
		{"one of two with records", []int32{0}, []int64{0, 0, 0}, []bool{false, true, false}},
		{"those with records", []int32{0, 1}, []int64{0, 0, 0}, []bool{false, false, false}},
		{"the one without", []int32{2}, []int64{0, 0, 0}, []bool{true, true, false}},
		{"one of three without", []int32{1}, []int64{10, 10, 0}, []bool{false, false, false}},
		{"none", nil, []int64{0, 10, 0}, []bool{true, false, false}},
	} {
		clear(elsewhere)
		for _, p := range tc.sent {
			elsewhere[p] = true
		}
		req := fetchFrom(tc.offsets...)
		req.Version, req.MaxWaitMillis, req.MinBytes = 12, longWait, 1
		for i, p := range a.answer(t.Context(), req).Topics[0].Partitions {
			wantCode(t, fmt.Sprintf("%s, partition %d", tc.name, i), p.ErrorCode, nil)
			want := int32(-1)
			if elsewhere[p.Partition] {
				want = 10
			}
			if p.PreferredReadReplica != want || len(p.RecordBatches) > 0 != tc.records[i] {
				t.Errorf("%s, partition %d: sent to %d, %d bytes of records", tc.name, i, p.PreferredReadReplica, len(p.RecordBatches))
			}
		}
	}
}
