package produce

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
)

// handler returns a handler over the path, whose topic has the configs.
func (p *path) handler(topicConfigs map[string]string) *Handler {
	p.t.Helper()
	config, err := configs.ParseTopic(topicConfigs, configs.DefaultBroker())
	if err != nil {
		p.t.Fatal(err)
	}
	return NewHandler(oneTopic{p.topic, config}, p.acc, p.metrics, slog.New(slog.DiscardHandler))
}

func produceRequest(version, acks int16, topic string, partition int32, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(version)
	req.Acks, req.TimeoutMillis = acks, 30_000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = partition, records
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// send answers the request and returns its only partition.
func send(t *testing.T, h *Handler, req *kmsg.ProduceRequest) kmsg.ProduceResponseTopicPartition {
	t.Helper()
	released := make(chan struct{})
	resp, err := h.Produce(t.Context(), req, func() { close(released) })()
	if err != nil {
		t.Fatal(err)
	}
	<-released
	if resp.Version != req.Version {
		t.Errorf("answered in version %d, asked in %d", resp.Version, req.Version)
	}
	return resp.Topics[0].Partitions[0]
}

func TestProduceAnswersKafkasErrors(t *testing.T) {
	now := time.Now()
	stamped := func(at time.Time) []byte {
		b := plain("v")
		b.SetLogAppendTime(at.UnixMilli()) // sets the largest timestamp
		b[22] &^= 0x08                     // and is CreateTime all the same
		copy(b[27:35], b[35:43])           // the base timestamp too
		return seal(b)
	}
	with := func(at int, value byte) []byte {
		b := plain("v")
		b[at] = value
		return seal(b)
	}
	zstd, err := protocol.Recompress(plain("v"), protocol.CodecZstd, 3, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	compacted := map[string]string{"cleanup.policy": "compact"}
	cases := []struct {
		name    string
		configs map[string]string
		req     *kmsg.ProduceRequest
		want    *kerr.Error
	}{
		{"good", nil, produceRequest(9, -1, "t", 0, plain("v")), nil},
		{"good, oldest version", nil, produceRequest(3, 1, "t", 0, plain("v")), nil},
		{"acks 2", nil, produceRequest(9, 2, "t", 0, plain("v")), kerr.InvalidRequiredAcks},
		{"no such topic", nil, produceRequest(9, -1, "u", 0, plain("v")), kerr.UnknownTopicOrPartition},
		{"no such topic ID", nil, produceRequest(13, -1, "", 0, plain("v")), kerr.UnknownTopicID},
		{"illegal topic name", nil, produceRequest(9, -1, "a b", 0, plain("v")), kerr.InvalidTopicException},
		{"no such partition", nil, produceRequest(9, -1, "t", 3, plain("v")), kerr.UnknownTopicOrPartition},
		{"negative partition", nil, produceRequest(9, -1, "t", -1, plain("v")), kerr.UnknownTopicOrPartition},
		{"no records", nil, produceRequest(9, -1, "t", 0, nil), kerr.InvalidRecord},
		{"two batches", nil, produceRequest(9, -1, "t", 0, slices.Concat(plain("v"), plain("v"))), kerr.InvalidRecord},
		{"wrong CRC", nil, produceRequest(9, -1, "t", 0, func() []byte { b := plain("v"); b[17] ^= 1; return b }()), kerr.CorruptMessage},
		{"magic 1", nil, produceRequest(9, -1, "t", 0, with(16, 1)), kerr.InvalidRecord},
		{"control batch", nil, produceRequest(9, -1, "t", 0, with(22, 0x20)), kerr.InvalidRecord},
		{"above max.message.bytes", map[string]string{"max.message.bytes": "60"}, produceRequest(9, -1, "t", 0, plain("v")), kerr.MessageTooLarge},
		{"zstd before version 7", nil, produceRequest(6, -1, "t", 0, zstd), kerr.UnsupportedCompressionType},
		{"zstd", nil, produceRequest(7, -1, "t", 0, zstd), nil},
		{"no key on a compacted topic", compacted, produceRequest(9, -1, "t", 0, newBatch(-1, -1, "", "v")), kerr.InvalidRecord},
		{"a key on a compacted topic", compacted, produceRequest(9, -1, "t", 0, plain("v")), nil},
		{"from the future", nil, produceRequest(9, -1, "t", 0, stamped(now.Add(2*time.Hour))), kerr.InvalidTimestamp},
		{"from the past", nil, produceRequest(9, -1, "t", 0, stamped(now.Add(-1000*time.Hour))), nil},
		{"too old", map[string]string{"message.timestamp.before.max.ms": "1000"}, produceRequest(9, -1, "t", 0, stamped(now.Add(-time.Hour))), kerr.InvalidTimestamp},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			got := send(t, newPath(t, nil).handler(test.configs), test.req)
			err := kerr.ErrorForCode(got.ErrorCode)
			if test.want == nil && err != nil || test.want != nil && !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if test.want == nil && got.BaseOffset != 0 || test.want != nil && got.BaseOffset != -1 {
				t.Errorf("base offset %d", got.BaseOffset)
			}
		})
	}
}

func TestRecordsAtFaultAreNamed(t *testing.T) {
	p := newPath(t, nil)
	got := send(t, p.handler(map[string]string{"cleanup.policy": "compact"}), produceRequest(9, -1, "t", 0, newBatch(-1, -1, "", "v")))
	if len(got.ErrorRecords) != 1 || got.ErrorRecords[0].RelativeOffset != 0 || got.ErrorMessage == nil {
		t.Errorf("got %+v", got)
	}
}

func TestTopicsByIDFromVersion13(t *testing.T) {
	p := newPath(t, nil)
	req := produceRequest(13, -1, "", 1, plain("v"))
	req.Topics[0].TopicID = p.topic.ID
	if got := send(t, p.handler(nil), req); got.ErrorCode != 0 || got.BaseOffset != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestLogAppendTimeStampsTheBatchAndTheAnswer(t *testing.T) {
	p := newPath(t, nil)
	before := time.Now().UnixMilli()
	batch := plain("v")
	got := send(t, p.handler(map[string]string{"message.timestamp.type": "LogAppendTime"}), produceRequest(9, -1, "t", 0, batch))
	if got.ErrorCode != 0 || got.LogAppendTime < before {
		t.Errorf("error %d, log append time %d, sent at %d", got.ErrorCode, got.LogAppendTime, before)
	}
	if !batch.LogAppendTime() || batch.MaxTimestamp() != got.LogAppendTime || !batch.CheckCRC() {
		t.Errorf("the batch was not stamped: %d", batch.MaxTimestamp())
	}
}

func TestCompressionTypeRecompresses(t *testing.T) {
	config, err := configs.ParseTopic(map[string]string{"compression.type": "lz4"}, configs.DefaultBroker())
	if err != nil {
		t.Fatal(err)
	}
	got, refused := validate(plain("value"), 9, config, time.Now())
	if refused != nil {
		t.Fatal(refused.message)
	}
	if got.Codec() != protocol.CodecLZ4 || !got.CheckCRC() {
		t.Fatalf("codec %v", got.Codec())
	}
	for record, err := range got.Records(1 << 20) {
		if err != nil || string(record.Value) != "value" {
			t.Errorf("record %q, %v", record.Value, err)
		}
	}
}

// TestDecompressionBombIsRefused sends 64 KiB that would become 256 MiB, to a
// topic whose rules make us look at the records.
func TestDecompressionBombIsRefused(t *testing.T) {
	zeros, err := protocol.Compress(protocol.CodecZstd, 3, make([]byte, 256<<20))
	if err != nil {
		t.Fatal(err)
	}
	bomb := append(slices.Clone(plain("v"))[:protocol.BatchHeaderSize], zeros...)
	bomb[22] = byte(protocol.CodecZstd)
	size := len(bomb) - 12
	bomb[8], bomb[9], bomb[10], bomb[11] = byte(size>>24), byte(size>>16), byte(size>>8), byte(size)
	p := newPath(t, nil)
	got := send(t, p.handler(map[string]string{"cleanup.policy": "compact"}), produceRequest(9, -1, "t", 0, seal(bomb)))
	if got.ErrorCode != kerr.MessageTooLarge.Code && got.ErrorCode != kerr.InvalidRecord.Code && got.ErrorCode != kerr.CorruptMessage.Code {
		t.Errorf("got %v", kerr.ErrorForCode(got.ErrorCode))
	}
}

func TestAcksZeroIsNotAnsweredAndStored(t *testing.T) {
	p := newPath(t, nil)
	released := make(chan struct{})
	wait := p.handler(nil).Produce(t.Context(), produceRequest(9, 0, "t", 0, plain("v")), func() { close(released) })
	if resp, err := wait(); resp != nil || err != nil {
		t.Errorf("answered with %+v, %v", resp, err)
	}
	<-released
	if got := p.nextOffset(0); got != 1 {
		t.Errorf("the log ends at %d, want 1", got)
	}
}

func TestRefusalOfAcksZeroIsReported(t *testing.T) {
	p := newPath(t, nil)
	resp, err := p.handler(nil).Produce(t.Context(), produceRequest(9, 0, "t", 7, plain("v")), func() {})()
	if resp != nil || !errors.Is(err, ErrRefused) {
		t.Errorf("got %+v, %v, want ErrRefused", resp, err)
	}
}

// TestElsewhereTakesNothing: what another agent is to get is refused with the error upon which producers ask
// Metadata for the leader, in each version, and with acks=0 in the only way that there is.
func TestElsewhereTakesNothing(t *testing.T) {
	p := newPath(t, nil)
	h := p.handler(nil)
	for version := int16(3); version <= 13; version++ {
		released := 0
		resp, err := h.Elsewhere(t.Context(), produceRequest(version, -1, "t", 0, plain("v")), func() { released++ })()
		if err != nil {
			t.Fatal(err)
		}
		if part := resp.Topics[0].Partitions[0]; part.ErrorCode != kerr.NotLeaderForPartition.Code || part.BaseOffset != -1 || !kerr.IsRetriable(kerr.ErrorForCode(part.ErrorCode)) {
			t.Errorf("version %d: %+v", version, part)
		}
		if released != 1 || resp.Version != version {
			t.Errorf("version %d: released %d times, answered in version %d", version, released, resp.Version)
		}
	}
	if resp, err := h.Elsewhere(t.Context(), produceRequest(9, 0, "t", 0, plain("v")), func() {})(); resp != nil || !errors.Is(err, ErrRefused) {
		t.Errorf("acks=0: %+v, %v", resp, err)
	}
	if got := p.nextOffset(0); got != 0 {
		t.Errorf("the log ends at %d", got)
	}
}

func TestRecompressedBatchIsHeldToMaxMessageBytes(t *testing.T) {
	small, err := protocol.Recompress(plain(strings.Repeat("x", 10_000)), protocol.CodecZstd, 3, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	p := newPath(t, nil)
	got := send(t, p.handler(map[string]string{"compression.type": "uncompressed", "max.message.bytes": "5000"}), produceRequest(9, -1, "t", 0, small))
	if got.ErrorCode != kerr.MessageTooLarge.Code {
		t.Errorf("a batch of %d bytes that grows to 10,000: %v, want MESSAGE_TOO_LARGE", len(small), kerr.ErrorForCode(got.ErrorCode))
	}
}

func TestProducerIsToldInTimeAndItsRetryIsADuplicate(t *testing.T) {
	p := newPath(t, nil)
	release := make(chan struct{})
	p.bucket.Fail(objstoretest.Put, 1, objstoretest.Fault{Block: release})
	h := p.handler(nil)
	req := produceRequest(9, -1, "t", 0, newBatch(7, 0, "k", "v"))
	req.TimeoutMillis = 1
	resp, err := h.Produce(t.Context(), req, func() {})()
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Topics[0].Partitions[0].ErrorCode; got != kerr.RequestTimedOut.Code {
		t.Fatalf("got %v, want REQUEST_TIMED_OUT", kerr.ErrorForCode(got))
	}
	close(release)
	again := send(t, h, produceRequest(9, -1, "t", 0, newBatch(7, 0, "k", "v")))
	if again.ErrorCode != 0 || again.BaseOffset != 0 {
		t.Errorf("the retry got %+v, want offset 0", again)
	}
	if got := p.nextOffset(0); got != 1 {
		t.Errorf("the log ends at %d, want 1", got)
	}
}

// FuzzProduce sends whatever parses as a Produce request.
func FuzzProduce(f *testing.F) {
	f.Add(int16(9), produceRequest(9, -1, "t", 0, plain("v")).AppendTo(nil))
	f.Add(int16(3), produceRequest(3, 1, "t", 2, plain("v")).AppendTo(nil))
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		parsed, err := protocol.ParseRequest(protocol.RequestHeader{Key: int16(kmsg.Produce), Version: version}, body)
		if err != nil {
			return
		}
		config, err := configs.ParseTopic(map[string]string{"cleanup.policy": "compact", "message.timestamp.before.max.ms": "1000"}, configs.DefaultBroker())
		if err != nil {
			t.Fatal(err)
		}
		for _, topic := range parsed.(*kmsg.ProduceRequest).Topics {
			for _, part := range topic.Partitions {
				if batch, refused := validate(part.Records, version, config, time.Now()); refused == nil && !batch.CheckCRC() {
					t.Error("a batch with a wrong CRC was accepted")
				}
			}
		}
	})
}
