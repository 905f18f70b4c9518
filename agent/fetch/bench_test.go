package fetch

import (
	"context"
	"fmt"
	"testing"

	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

// BenchmarkFetchFromCache serves 1 MiB of one partition per request, from files
// that the cache has: MB/s of one core.
func BenchmarkFetchFromCache(b *testing.B) {
	for _, v := range []struct {
		name        string
		compression datafile.Compression
		records     int // of 1 KiB per batch
	}{{"raw/batches of 16 KiB", datafile.None, 16}, {"raw/batches of 1 KiB", datafile.None, 1}, {"s2/batches of 16 KiB", datafile.S2, 16}} {
		b.Run(v.name, func(b *testing.B) {
			c := newCluster(b, 1)
			a := c.agent(b)
			a.Fetcher.topics = staleTopics{c.topic} // a catalog has it in memory
			batch := makeBatch(b, protocol.CodecNone, recs(v.records, 1000, 0)...)
			list := make([]protocol.Batch, (8<<20)/batch.Size())
			for i := range list {
				list[i] = batch
			}
			for range 2 {
				_, file, commits := c.commit(b, v.compression, map[int32][]protocol.Batch{0: list})
				a.blocks.Fill(file.ID, file.Bytes)
				if a.tail.Apply(commits) {
					b.Fatal("gap")
				}
			}
			end := int64(2 * len(list) * v.records)
			offset := int64(0)
			b.ReportAllocs()
			for b.Loop() {
				p := a.fetch(b, fetchFrom(offset))[0]
				b.SetBytes(int64(len(p.RecordBatches)))
				last, _, err := lastBatch(p.RecordBatches)
				if err != nil {
					b.Fatal(err)
				}
				if offset = last.BaseOffset() + int64(v.records); offset >= end {
					offset = 0
				}
			}
		})
	}
}

func lastBatch(b []byte) (last protocol.Batch, n int, err error) {
	for len(b) > 0 {
		if last, b, err = protocol.NextBatch(b); err != nil {
			return nil, 0, err
		}
		n++
	}
	return last, n, nil
}

// BenchmarkIdlePoll is what a poll costs that finds nothing, by partitions.
func BenchmarkIdlePoll(b *testing.B) {
	for _, partitions := range []int32{1, 100, 10_000} {
		b.Run(fmt.Sprint(partitions), func(b *testing.B) {
			c := newCluster(b, partitions)
			a := c.agent(b)
			a.Fetcher.topics = staleTopics{c.topic}
			req := fetchFrom(make([]int64, partitions)...)
			a.fetch(b, req)
			req.MaxWaitMillis = longWait
			ctx, cancel := context.WithCancel(b.Context())
			cancel() // the wait is over at once
			b.ReportAllocs()
			for b.Loop() {
				a.answer(ctx, req)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(partitions), "ns/partition")
		})
	}
}
