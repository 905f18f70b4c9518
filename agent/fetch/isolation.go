package fetch

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
)

// isolation is which records a consumer asks for (KIP-98). Levels that don't
// exist are taken for the first.
type isolation int8

const (
	readUncommitted isolation = 0
	// readCommitted ends at the last stable offset. What was aborted before it is
	// sent, and the consumer told to skip it.
	readCommitted isolation = 1
)

// end is where the offsets end that the consumer may read.
func (l isolation) end(b *metadata.Bounds) int64 {
	if l == readCommitted {
		return b.StableOffset
	}
	return b.NextOffset
}

// abortedWithin returns the aborted transactions that overlap the offsets from
// one to before another. They come by first offset: Kafka has them in the order of
// their ends, most clients sort them, and those that don't would let records through.
func (p *plan) abortedWithin(from, until int64) []kmsg.FetchResponseTopicPartitionAbortedTransaction {
	within := []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
	for i := range p.aborted {
		a := &p.aborted[i]
		if a.LastOffset >= from && a.FirstOffset < until {
			t := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
			t.ProducerID, t.FirstOffset = a.ProducerID, a.FirstOffset
			within = append(within, t)
		}
		if a.StableOffset >= until {
			break // what ends later begins later
		}
	}
	slices.SortFunc(within, func(a, b kmsg.FetchResponseTopicPartitionAbortedTransaction) int {
		return cmp.Or(cmp.Compare(a.FirstOffset, b.FirstOffset), cmp.Compare(a.ProducerID, b.ProducerID))
	})
	return within
}
