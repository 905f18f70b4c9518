package protocol

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// stubBroker answers just what a producer asks, for one topic "t" of one
// partition, and keeps the batches that it is sent.
type stubBroker struct {
	listener net.Listener

	mu      sync.Mutex
	batches [][]byte // under mu
}

func startStubBroker(t *testing.T) *stubBroker {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stubBroker{listener: listener}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			conns.Go(func() {
				defer conn.Close()
				if err := s.serve(conn); !hungUp(err) {
					t.Errorf("stub broker: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		conns.Wait()
	})
	return s
}

// hungUp tells whether a client ended the connection, which it may at any time.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// serve answers until something fails: at the latest, when the client hangs up.
func (s *stubBroker) serve(conn net.Conn) error {
	for {
		size, err := ReadFrameSize(conn, MaxFrameBytes)
		if err != nil {
			return err
		}
		frame := make([]byte, size)
		if _, err := io.ReadFull(conn, frame); err != nil {
			return err
		}
		h, body, err := ParseRequestHeader(frame)
		if err != nil {
			return err
		}
		req, err := ParseRequest(h, body)
		if errors.Is(err, ErrUnsupportedVersion) && h.Key == keyApiVersions {
			// franz-go asks in version 5 first and must understand version 0.
			req, err = kmsg.NewPtrApiVersionsRequest(), nil
		}
		if err != nil {
			return err
		}
		if _, err := conn.Write(AppendResponse(nil, h, s.answer(req, h))); err != nil {
			return err
		}
	}
}

func (s *stubBroker) answer(req kmsg.Request, h RequestHeader) kmsg.Response {
	switch req := req.(type) {
	case *kmsg.ApiVersionsRequest:
		resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
		if !Supports(h.Key, h.Version) {
			resp.ErrorCode = kerr.UnsupportedVersion.Code
		}
		for _, v := range Versions() {
			resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: v.Key, MinVersion: v.Advertised, MaxVersion: v.Max})
		}
		return resp
	case *kmsg.MetadataRequest:
		addr := s.listener.Addr().(*net.TCPAddr)
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		resp.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 1, Host: addr.IP.String(), Port: int32(addr.Port)}}
		resp.ControllerID = 1
		resp.Topics = []kmsg.MetadataResponseTopic{{
			Topic:      kmsg.StringPtr("t"),
			TopicID:    [16]byte{1},
			Partitions: []kmsg.MetadataResponseTopicPartition{{Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}},
		}}
		return resp
	case *kmsg.InitProducerIDRequest:
		resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ProducerID, resp.ProducerEpoch = 4711, 2
		return resp
	case *kmsg.ProduceRequest:
		return s.produce(req)
	}
	return req.ResponseKind()
}

func (s *stubBroker) produce(req *kmsg.ProduceRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, topic := range req.Topics {
		answer := kmsg.ProduceResponseTopic{Topic: topic.Topic, TopicID: topic.TopicID}
		for _, p := range topic.Partitions {
			s.mu.Lock()
			s.batches = append(s.batches, bytes.Clone(p.Records))
			s.mu.Unlock()
			answer.Partitions = append(answer.Partitions, kmsg.NewProduceResponseTopicPartition())
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return resp
}

func clientRecords() []*kgo.Record {
	var records []*kgo.Record
	for i := range 50 {
		r := &kgo.Record{
			Topic:     "t",
			Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i*7%20)),
			Value:     bytes.Repeat(fmt.Appendf(nil, "value %d ", i), i),
		}
		if i%3 > 0 {
			r.Key = fmt.Appendf(nil, "key %d", i)
			r.Headers = []kgo.RecordHeader{{Key: "h", Value: []byte{byte(i)}}, {Key: "null"}}
		}
		records = append(records, r)
	}
	return records
}

// What franz-go's producer sends, byte for byte off a socket: it comes with
// every codec, and with a producer ID.
func TestBatchesOfAClient(t *testing.T) {
	for codec, option := range []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	} {
		codec := Codec(codec)
		t.Run(codec.String(), func(t *testing.T) {
			broker := startStubBroker(t)
			client, err := kgo.NewClient(
				kgo.SeedBrokers(broker.listener.Addr().String()),
				kgo.ProducerBatchCompression(option),
				kgo.ProducerLinger(10*time.Millisecond),
			)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			sent := clientRecords()
			if err := client.ProduceSync(ctx, sent...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			broker.mu.Lock()
			defer broker.mu.Unlock()
			checkClientBatches(t, broker.batches, codec, sent)
		})
	}
}

func checkClientBatches(t *testing.T, batches [][]byte, codec Codec, sent []*kgo.Record) {
	t.Helper()
	next := int32(0)
	for _, wire := range batches {
		b, rest, err := NextBatch(wire)
		if err != nil || len(rest) > 0 {
			t.Fatalf("%v, %d bytes left", err, len(rest))
		}
		if err := b.Validate(); err != nil {
			t.Fatal(err)
		}
		// A client leaves out compression that does not pay.
		if b.Codec() != codec && b.Codec() != CodecNone {
			t.Errorf("codec %v, want %v", b.Codec(), codec)
		}
		if b.ProducerID() != 4711 || b.ProducerEpoch() != 2 || b.BaseSequence() != next {
			t.Errorf("producer %d, epoch %d, sequence %d, want 4711, 2, %d", b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), next)
		}
		newest := int64(0)
		for _, r := range collect(t, b, testLimit) {
			checkRecord(t, r, sent[next])
			newest = max(newest, r.Timestamp)
			next++
		}
		if newest != b.MaxTimestamp() {
			t.Errorf("max timestamp %d, the records' is %d", b.MaxTimestamp(), newest)
		}
	}
	if int(next) != len(sent) {
		t.Errorf("got %d records, want %d", next, len(sent))
	}
}

func checkRecord(t *testing.T, got Record, want *kgo.Record) {
	t.Helper()
	var headers []Header
	for _, h := range want.Headers {
		headers = append(headers, Header(h))
	}
	if !bytes.Equal(got.Key, want.Key) || (got.Key == nil) != (want.Key == nil) || !bytes.Equal(got.Value, want.Value) ||
		got.Timestamp != want.Timestamp.UnixMilli() || !reflect.DeepEqual(got.Headers, headers) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// The other direction: franz-go's consumer decodes what Recompress writes.
func TestAClientReadsRecompressedBatches(t *testing.T) {
	original := build(t, threeRecords(), nil)
	want := collect(t, original, 0)
	for codec := CodecNone; codec.valid(); codec++ {
		b, err := Recompress(original, codec, codec.DefaultLevel(), testLimit)
		if err != nil {
			t.Fatal(err)
		}
		b.SetBaseOffset(500)
		b.SetLeaderEpoch(LeaderEpoch)
		response := kmsg.NewFetchResponseTopicPartition()
		response.RecordBatches = b
		response.HighWatermark = 503
		fetched, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
			Topic: "t", Offset: 500, KeepControlRecords: true,
		}, &response, kgo.DefaultDecompressor(), nil)
		if fetched.Err != nil || next != 503 {
			t.Errorf("%v: %v, next offset %d", codec, fetched.Err, next)
		}
		for i, r := range fetched.Records {
			w := want[i]
			w.Offset += 500
			if r.Offset != w.Offset {
				t.Errorf("%v: offset %d, want %d", codec, r.Offset, w.Offset)
			}
			checkRecord(t, w, r)
		}
		if len(fetched.Records) != len(want) {
			t.Errorf("%v: got %d records", codec, len(fetched.Records))
		}
	}
}
