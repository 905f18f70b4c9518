package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// reader checks what one client reads of some partitions.
type reader struct {
	run    *Run
	name   string
	client *kgo.Client

	mu        sync.Mutex
	positions map[*partition]int64
}

// newReader begins at the offsets. Where a log start has passed a position, the client goes
// on from there, and the checker judges what it missed.
func (r *Run) newReader(name string, from map[*partition]int64) (*reader, error) {
	offsets := map[string]map[int32]kgo.Offset{}
	for p, offset := range from {
		if offsets[p.topic.Name] == nil {
			offsets[p.topic.Name] = map[int32]kgo.Offset{}
		}
		offsets[p.topic.Name][p.index] = kgo.NewOffset().At(offset)
	}
	client, err := kgo.NewClient(append(r.clientOptions(name), kgo.ConsumePartitions(offsets),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(500*time.Millisecond), kgo.FetchMaxPartitionBytes(1<<20))...)
	if err != nil {
		return nil, err
	}
	return &reader{run: r, name: name, client: client, positions: from}, nil
}

// poll reads once, checks, and returns how many records came.
func (r *reader) poll(ctx context.Context) (n int) {
	fetches := r.client.PollFetches(ctx)
	fetches.EachError(func(topic string, index int32, err error) {
		if ctx.Err() == nil {
			r.run.problems.add(fmt.Errorf("%s: fetch of %s/%d: %w", r.name, topic, index, err))
		}
	})
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if len(f.Records) == 0 {
			return
		}
		p := r.run.ledger.find(f.Topic, f.Partition)
		for _, record := range f.Records {
			if err := r.take(p, record, now); err != nil {
				r.run.problems.add(fmt.Errorf("%s: %w", r.name, err))
			}
			r.positions[p] = record.Offset + 1
		}
		n += len(f.Records)
	})
	r.run.read.Add(int64(n))
	return n
}

// take checks a record, and what should have come before it.
func (r *reader) take(p *partition, record *kgo.Record, now time.Time) error {
	expected := r.positions[p]
	if record.Offset < expected {
		return fmt.Errorf("%v: offset %d comes after %d", p, record.Offset, expected-1)
	}
	if record.Offset > expected {
		r.run.gaps.Add(1)
		if err := p.gone(expected, record.Offset, now); err != nil {
			return err
		}
	}
	return p.check(record)
}

// behind returns the partitions in which the reader has not come to the offset yet.
func (r *reader) behind(to map[*partition]int64) []*partition {
	r.mu.Lock()
	defer r.mu.Unlock()
	var behind []*partition
	for p, offset := range to {
		if r.positions[p] < offset {
			behind = append(behind, p)
		}
	}
	return behind
}

// tail reads until ctx ends.
func (r *reader) tail(ctx context.Context) {
	for ctx.Err() == nil {
		r.poll(ctx)
	}
}

// errStuck ends a reader that does not come to its end.
var errStuck = errors.New("does not come to the end")

// readTo reads until the reader has come to the offsets, or has found that the rest may be gone. It gives
// up when nothing came for as long as the run's patience.
func (r *reader) readTo(ctx context.Context, to map[*partition]int64) error {
	defer r.client.Close()
	for last := time.Now(); ctx.Err() == nil; {
		limit, cancel := context.WithDeadline(ctx, last.Add(r.run.config.Patience))
		err := r.arrived(limit, to)
		cancel()
		if err == nil {
			return nil
		}
		if time.Since(last) >= r.run.config.Patience && ctx.Err() == nil {
			return fmt.Errorf("%s: %w: %w", r.name, errStuck, err)
		}
		some, enough := context.WithTimeout(ctx, time.Second)
		if r.poll(some) > 0 {
			last = time.Now()
		}
		enough()
	}
	return nil
}

// arrived returns nil when nothing is to come before the offsets.
func (r *reader) arrived(ctx context.Context, to map[*partition]int64) error {
	behind := r.behind(to)
	if len(behind) == 0 {
		return nil
	}
	// What lies before a log start does not come any more, and neither do the last records
	// of a compacted partition whose keys have later ones.
	starts, err := r.run.logStarts(ctx, behind)
	if err != nil {
		return err
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range behind {
		rest := max(r.positions[p], starts[p])
		if err := p.gone(r.positions[p], min(rest, to[p]), now); err != nil {
			return err
		}
		if rest < to[p] && (p.topic.Keys == 0 || p.gone(rest, to[p], now) != nil) {
			return fmt.Errorf("%v: read up to offset %d of %d, log start %d", p, r.positions[p], to[p], starts[p])
		}
	}
	return nil
}

// logStarts asks for the earliest offsets.
func (r *Run) logStarts(ctx context.Context, partitions []*partition) (map[*partition]int64, error) {
	topics := map[string]bool{}
	for _, p := range partitions {
		topics[p.topic.Name] = true
	}
	var names []string
	for name := range topics {
		names = append(names, name)
	}
	listed, err := kadm.NewClient(r.admin).ListStartOffsets(ctx, names...)
	if err != nil {
		return nil, err
	}
	if err := listed.Error(); err != nil {
		return nil, err
	}
	starts := map[*partition]int64{}
	for _, p := range partitions {
		offset, ok := listed.Lookup(p.topic.Name, p.index)
		if !ok {
			return nil, fmt.Errorf("%v: no answer about its log start", p)
		}
		starts[p] = offset.Offset
	}
	return starts, nil
}

// catchUp reads some partitions from anywhere to where their ends are now, again and
// again until ctx ends.
func (r *Run) catchUp(ctx context.Context, number int) {
	random := rand.New(rand.NewPCG(r.config.Seed, uint64(1_000_000+number)))
	for round := 0; ctx.Err() == nil; round++ {
		from, to := map[*partition]int64{}, map[*partition]int64{}
		for range 1 + random.IntN(8) {
			p := r.ledger.partitions[random.IntN(len(r.ledger.partitions))]
			if acked, _ := p.ends(); acked > 0 {
				// Some begin near the end, some far before it, some before what is left.
				back := int64(float64(acked) * random.Float64() * random.Float64())
				from[p], to[p] = acked-back, acked
			}
		}
		reader, err := r.newReader(fmt.Sprintf("soak-catch-up-%d", number), from)
		if err == nil {
			err = reader.readTo(ctx, to)
		}
		if err != nil && ctx.Err() == nil {
			r.problems.add(err)
		}
		if ctx.Err() == nil {
			r.catchUps.Add(1)
			pause(ctx, 200*time.Millisecond)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
