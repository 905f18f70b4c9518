package protocol

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// benchBatch is about 1 MB of records of the given size.
func benchBatch(b *testing.B, valueSize int) Batch {
	records := make([]kmsg.Record, 1<<20/(valueSize+16))
	for i := range records {
		records[i] = kmsg.Record{Key: fmt.Appendf(nil, "key-%d", i), Value: bytes.Repeat([]byte{byte(i)}, valueSize)}
	}
	return build(b, records, nil)
}

func BenchmarkCRC(b *testing.B) {
	batch := benchBatch(b, 100)
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		if !batch.CheckCRC() {
			b.Fatal("wrong CRC")
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	for _, size := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("values of %d bytes", size), func(b *testing.B) {
			batch := benchBatch(b, size)
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if err := batch.Validate(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(batch.NumRecords()), "ns/record")
		})
	}
}

func BenchmarkRecords(b *testing.B) {
	batch := benchBatch(b, 100)
	for codec := CodecNone; codec.valid(); codec++ {
		b.Run(codec.String(), func(b *testing.B) {
			packed, err := Recompress(batch, codec, codec.DefaultLevel(), testLimit)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range packed.Records(testLimit) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkRecompress(b *testing.B) {
	batch := benchBatch(b, 100)
	for codec := CodecNone; codec.valid(); codec++ {
		b.Run(codec.String(), func(b *testing.B) {
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Recompress(batch, codec, codec.DefaultLevel(), testLimit); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseProduce(b *testing.B) {
	req := kmsg.NewPtrProduceRequest()
	req.Version = 13
	topic := kmsg.ProduceRequestTopic{}
	for i := range int32(12) {
		topic.Partitions = append(topic.Partitions, kmsg.ProduceRequestTopicPartition{Partition: i, Records: make([]byte, 64<<10)})
	}
	req.Topics = append(req.Topics, topic)
	body := req.AppendTo(nil)
	h := RequestHeader{Key: 0, Version: 13}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseRequest(h, body); err != nil {
			b.Fatal(err)
		}
	}
}
