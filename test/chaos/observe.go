package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Observer reads all topics of some worlds, as consumers of committed records do.
type Observer struct {
	client *kgo.Client
	work   sync.WaitGroup

	mu   sync.Mutex
	logs Logs
	next map[string][]int64 // offsets, by topic and partition
	err  error
}

// Observe begins to read from the start.
func Observe(bootstrap string, worlds []World, partitions int32) (*Observer, error) {
	o := &Observer{logs: Logs{}, next: map[string][]int64{}}
	from := map[string]map[int32]kgo.Offset{}
	for _, world := range worlds {
		for _, topic := range world.Topics() {
			o.logs[topic], o.next[topic], from[topic] = make([][]Record, partitions), make([]int64, partitions), map[int32]kgo.Offset{}
			for p := range partitions {
				from[topic][p] = kgo.NewOffset().At(0)
			}
		}
	}
	var err error
	if o.client, err = kgo.NewClient(append(connect(bootstrap, "observer"), kgo.ConsumePartitions(from), kgo.KeepControlRecords(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NoResetOffset()))...); err != nil {
		return nil, err
	}
	o.work.Go(o.read)
	return o, nil
}

func (o *Observer) read() {
	for {
		fetches := o.client.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		o.mu.Lock()
		fetches.EachError(func(topic string, partition int32, err error) {
			if !kgo.IsRetryableBrokerErr(err) {
				o.err = errors.Join(o.err, fmt.Errorf("the observer, of %s/%d: %w", topic, partition, err))
			}
		})
		fetches.EachRecord(func(r *kgo.Record) {
			// Markers tell how far it has come where nothing committed lies behind them.
			o.next[r.Topic][r.Partition] = r.Offset + 1
			if !r.Attrs.IsControl() {
				o.logs[r.Topic][r.Partition] = append(o.logs[r.Topic][r.Partition], Record{r.Offset, string(r.Value)})
			}
		})
		o.mu.Unlock()
	}
}

// Logs returns what was read so far. The error is of a read that no client may fail with.
func (o *Observer) Logs() (Logs, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	logs := Logs{}
	for topic, partitions := range o.logs {
		logs[topic] = slices.Clone(partitions)
	}
	return logs, o.err
}

// AtEnd returns an error until all transactions have ended and everything was read.
func (o *Observer) AtEnd(ctx context.Context) error {
	admin := kadm.NewClient(o.client)
	topics := slices.Sorted(maps.Keys(o.next)) // as Observe made it
	ends, err := admin.ListEndOffsets(ctx, topics...)
	stable, err2 := admin.ListCommittedOffsets(ctx, topics...)
	if err := errors.Join(err, err2, ends.Error(), stable.Error()); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, topic := range topics {
		for p, next := range o.next[topic] {
			end, last := ends[topic][int32(p)].Offset, stable[topic][int32(p)].Offset
			if last != end || next != end {
				return fmt.Errorf("%s/%d: the observer has read up to offset %d, the last stable offset is %d, the end %d", topic, p, next, last, end)
			}
		}
	}
	return nil
}

// Close ends the observer.
func (o *Observer) Close() {
	o.client.Close()
	o.work.Wait()
}
