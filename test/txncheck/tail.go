package txncheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// tail is a consumer of all partitions that stays at their ends.
type tail struct {
	run       *Run
	number    int32
	committed bool

	mu   sync.Mutex
	next []int64 // by partition
}

func newTail(r *Run, committed bool) *tail {
	return &tail{run: r, number: r.readers.Add(1), committed: committed, next: make([]int64, len(r.journal.h.Partitions))}
}

func (t *tail) live(ctx context.Context) {
	from := map[string]map[int32]kgo.Offset{}
	for _, p := range t.run.journal.h.Partitions {
		if from[p.Topic] == nil {
			from[p.Topic] = map[int32]kgo.Offset{}
		}
		from[p.Topic][p.Number] = kgo.NewOffset().At(0)
	}
	options := []kgo.Opt{
		kgo.ConsumePartitions(from), kgo.FetchMaxWait(500 * time.Millisecond),
		// An offset out of range would be a lie.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
	}
	if t.committed {
		options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	} else {
		options = append(options, kgo.KeepControlRecords())
	}
	client, _, err := t.run.client(fmt.Sprint("tail-", t.number), t.run.config.Losses, options...)
	if err != nil {
		t.run.journal.problem(Skipped, "tailing reader %d: %v", t.number, err)
		return
	}
	defer client.Close()
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachPartition(func(p kgo.FetchTopicPartition) {
			if p.Err != nil {
				t.run.readerFailed(fmt.Sprintf("tailing reader %d: %s-%d", t.number, p.Topic, p.Partition), p.Err)
				return
			}
			t.take(t.run.journal.index[p.Topic][p.Partition], p.FetchPartition)
		})
	}
}

// take notes what came of a partition.
func (t *tail) take(partition int32, p kgo.FetchPartition) {
	if len(p.Records) == 0 {
		return
	}
	t.mu.Lock()
	from := t.next[partition]
	t.mu.Unlock()
	to := t.run.journal.read(t.number, t.committed, partition, from, -1, p.LastStableOffset, p.Records)
	t.mu.Lock()
	t.next[partition] = to
	t.mu.Unlock()
}

// readerFailed notes an error that no reader may get: one of a server that is not
// about to pass, or what a client takes for damage. Servers may die.
func (r *Run) readerFailed(reader string, err error) {
	_, network := errors.AsType[net.Error](err)
	ke, kafka := errors.AsType[*kerr.Error](err)
	if network || kafka && ke.Retriable || errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
		return
	}
	r.journal.problem(Skipped, "%s: %v", reader, err)
}

// position is the offset behind the last record of a partition that the reader got.
func (t *tail) position(partition int) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next[partition]
}

// allTailed returns an error until each tailing reader got the last record for it.
func (r *Run) allTailed() error {
	for _, t := range r.tailing {
		for p := range r.journal.h.Partitions {
			if want, got := r.journal.ends(p, t.committed), t.position(p); got < want {
				return fmt.Errorf("reader %d is at offset %d of %s, whose last record lies before %d", t.number, got, r.journal.h.Partitions[p], want)
			}
		}
	}
	return nil
}
