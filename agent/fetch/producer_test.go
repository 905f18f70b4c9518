package fetch

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// producer writes transactions of [metadata.TransactionV2].
type producer struct {
	metadata.ProducerEpoch
	id        string
	sequences map[int32]int32 // the next ones, by partition
}

// producer is one that nobody else is.
func (c *cluster) producer(t testing.TB) *producer {
	t.Helper()
	p := &producer{id: uuid.NewString(), sequences: map[int32]int32{}}
	// Not the store's: an entry of the feed that an agent without a follower never hears of.
	c.change(t, p, metadata.InitProducer{Timeout: time.Hour, Expected: metadata.NoProducer, NewProducerID: c.producerIDs.Add(1)})
	return p
}

// batch makes the batch the next one of the producer's transaction in the partition.
func (p *producer) batch(partition int32, b protocol.Batch) protocol.Batch {
	b = slices.Clone(b)
	setProducer(b, p.ID, p.Epoch, p.sequences[partition])
	p.sequences[partition] += b.LastOffsetDelta() + 1
	return b
}

// end ends the producer's transaction, by no agent, and returns the feed entries.
func (c *cluster) end(t testing.TB, p *producer, commit bool) []metadata.Commit {
	t.Helper()
	return c.change(t, p, metadata.EndTransaction{Producer: p.ProducerEpoch, Commit: commit, Version: metadata.TransactionV2, NewProducerID: -1})
}

// end does the same by the agent, as its write path does.
func (a *agent) end(t testing.TB, p *producer, commit bool) {
	t.Helper()
	if a.tail.Apply(a.cluster.end(t, p, commit)) {
		a.follower.Kick()
	}
}

func (c *cluster) change(t testing.TB, p *producer, op metadata.TransactionOp) []metadata.Commit {
	t.Helper()
	changed, err := c.store.ChangeTransactions(t.Context(), []metadata.TransactionRequest{{ID: p.id, Op: op}})
	if err == nil {
		err = changed.Results[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
	p.ProducerEpoch = changed.Results[0].Producer
	clear(p.sequences) // a new epoch starts over
	return changed.Commits
}

// deleteRecords raises the log start of a partition of "t".
func (c *cluster) deleteRecords(t testing.TB, partition int32, before int64) {
	t.Helper()
	deleted, err := c.store.DeleteRecords(t.Context(), []metadata.RecordsDeletion{{Partition: c.topic.Partitions[partition], Before: before}})
	if err == nil {
		err = deleted.Partitions[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
}

// bounds are those of a partition of "t".
func (c *cluster) bounds(t testing.TB, partition int32) metadata.Bounds {
	t.Helper()
	bounds, err := c.store.Store.Bounds(t.Context(), []metadata.PartitionID{c.topic.Partitions[partition]})
	if err != nil {
		t.Fatal(err)
	}
	return bounds[0]
}

// lastSeq is the number of the newest commit.
func (c *cluster) lastSeq(t testing.TB) int64 {
	t.Helper()
	seq, err := c.store.Store.LastSeq(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return seq
}
