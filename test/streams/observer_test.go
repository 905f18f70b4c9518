package streams

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// observer watches a run from outside: it reads what the application writes as a
// consumer of committed records does, and asks for the group's committed offsets.
type observer struct {
	application application
	admin       *kadm.Client
	cancel      context.CancelFunc
	work        sync.WaitGroup

	mu      sync.Mutex
	seen    map[string][][]kgo.Record // by topic and partition
	commits []CommittedOffset
	err     error
}

// observe starts an observer, which goes on until it is stopped. The topics must exist.
func observe(t *testing.T, a application) *observer {
	t.Helper()
	consumer := client(t, a.bootstrap, kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeTopics(a.regrouped(), a.changelog(), a.totals()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithCancel(t.Context())
	o := &observer{application: a, admin: kadm.NewClient(client(t, a.bootstrap)), cancel: cancel, seen: map[string][][]kgo.Record{}}
	for _, topic := range []string{a.regrouped(), a.changelog(), a.totals()} {
		o.seen[topic] = make([][]kgo.Record, partitions)
	}
	o.work.Go(func() { o.read(ctx, consumer) })
	o.work.Go(func() { o.watch(ctx) })
	t.Cleanup(o.stop)
	return o
}

// stop ends the observer. Then its fields may be read.
func (o *observer) stop() {
	o.cancel()
	o.work.Wait()
}

// progress returns how many totals were seen, and what went wrong.
func (o *observer) progress() (totals int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, records := range o.seen[o.application.totals()] {
		totals += len(records)
	}
	return totals, o.err
}

// behind returns how many records of the topics it has not seen yet.
func (o *observer) behind(whole map[string][][]Record) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	behind := 0
	for topic, logs := range whole {
		for p, records := range logs {
			behind += len(records) - len(o.seen[topic][p])
		}
	}
	return behind
}

func (o *observer) read(ctx context.Context, consumer *kgo.Client) {
	for {
		fetches := consumer.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		o.mu.Lock()
		fetches.EachError(func(topic string, partition int32, err error) {
			o.err = errors.Join(o.err, fmt.Errorf("read partition %d of %s: %w", partition, topic, err))
		})
		fetches.EachRecord(func(r *kgo.Record) {
			o.seen[r.Topic][r.Partition] = append(o.seen[r.Topic][r.Partition], *r)
		})
		o.mu.Unlock()
	}
}

// watch asks for offsets several times a second. What can't be answered now, when
// an agent was killed or an offset belongs to an open transaction, is asked for again.
func (o *observer) watch(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if ctx.Err() == nil {
			o.sample(ctx)
		}
	}
}

// sample asks for last stable offsets first and for committed offsets then: see [CommittedOffset].
func (o *observer) sample(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	a := o.application
	stable, err := o.admin.ListCommittedOffsets(ctx, a.regrouped(), a.totals())
	if err != nil || stable.Error() != nil {
		return
	}
	offsets, err := o.admin.FetchOffsets(kadm.RequireStable(ctx), a.name)
	if err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, topic := range []string{a.flights(), a.regrouped()} {
		for p := range int32(partitions) {
			committed, ok := offsets.Lookup(topic, p)
			if !ok || committed.Err != nil || committed.At < 0 {
				continue
			}
			c := CommittedOffset{Source: topic == a.flights(), Partition: p, Offset: committed.At}
			if c.Source {
				for q := range int32(partitions) {
					c.Stable = append(c.Stable, stable[a.regrouped()][q].Offset)
				}
			} else {
				c.Stable = []int64{stable[a.totals()][p].Offset}
			}
			o.note(c)
		}
	}
}

// note keeps an offset that is not the one known, or by which more was readable.
func (o *observer) note(c CommittedOffset) {
	for _, known := range slices.Backward(o.commits) {
		if known.Source == c.Source && known.Partition == c.Partition {
			if known.Offset == c.Offset && slices.Equal(known.Stable, c.Stable) {
				return
			}
			break
		}
	}
	o.commits = append(o.commits, c)
}

// check returns what differs between what the observer read as it was committed and the
// records that count in the end.
func (o *observer) check(topic string, whole [][]Record) error {
	for p, records := range whole {
		seen := o.seen[topic][p]
		for i, r := range seen {
			if i == len(records) || r.Offset != records[i].Offset || r.ProducerID != records[i].ProducerID ||
				string(r.Key) != records[i].Key || string(r.Value) != records[i].Value {
				return fmt.Errorf("%s, partition %d: a consumer of committed records read %s at offset %d, which is not committed",
					topic, p, r.Value, r.Offset)
			}
		}
		if len(seen) != len(records) {
			return fmt.Errorf("%s, partition %d: a consumer of committed records read %d of %d", topic, p, len(seen), len(records))
		}
	}
	return nil
}

// readLogs reads all partitions of a topic, with markers and what was aborted.
func readLogs(t *testing.T, bootstrap, topic string) [][]Entry {
	t.Helper()
	c := client(t, bootstrap, kgo.ConsumeTopics(topic), kgo.KeepControlRecords(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ends, err := kadm.NewClient(c).ListEndOffsets(t.Context(), topic)
	if err := errors.Join(err, ends.Error()); err != nil {
		t.Fatal(err)
	}
	logs, missing := make([][]Entry, partitions), int64(0)
	ends.Each(func(o kadm.ListedOffset) { missing += o.Offset })
	for missing > 0 {
		fetches := c.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			e := Entry{Offset: r.Offset, ProducerID: r.ProducerID, Key: string(r.Key), Value: string(r.Value)}
			if r.Attrs.IsControl() {
				e = Entry{Offset: r.Offset, ProducerID: r.ProducerID, Marker: Abort}
				if binary.BigEndian.Uint16(r.Key[2:]) == 1 { // the key is the version, then the type
					e.Marker = Commit
				}
			}
			logs[r.Partition] = append(logs[r.Partition], e)
			missing--
		})
	}
	return logs
}
