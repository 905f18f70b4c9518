package txncheck

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// readAgainAndAgain reads everything from the start, up to where it ended when
// the pass began, by Fetch requests of its own. The longer that takes the longer it rests.
func (r *Run) readAgainAndAgain(ctx context.Context, committed bool) {
	w, err := r.newWatcher(fmt.Sprint("pass-", committed))
	if err != nil {
		r.journal.problem(Broken, "read from the start: %v", err)
		return
	}
	defer w.client.Close()
	for ctx.Err() == nil {
		start := r.journal.now()
		// A pass ends early where no server answers; what is wrong is noted on the way.
		_ = r.readFromStart(ctx, w, committed)
		pause(ctx, max(200*time.Millisecond, 2*(r.journal.now()-start)))
	}
}

// readFromStart reads each partition up to its end at the isolation level, as of now.
func (r *Run) readFromStart(ctx context.Context, w *watcher, committed bool) error {
	s, err := w.snapshot(ctx)
	if err != nil {
		return err
	}
	ends := s.High.Offsets
	if committed {
		ends = s.Stable.Offsets
	}
	p := &pass{watcher: w, number: r.readers.Add(1), committed: committed, next: make([]int64, len(ends)), ends: ends}
	for failures := 0; p.behind(); {
		err := p.fetch(ctx)
		if err == nil {
			failures = 0
			continue
		}
		// A server that died says nothing wrong; the next one goes on.
		if failures++; failures == 20 || !pause(ctx, 50*time.Millisecond) {
			return err
		}
	}
	return nil
}

// pass is one reading of everything.
type pass struct {
	*watcher
	number     int32
	committed  bool
	next, ends []int64 // by partition
	turn       int
}

func (p *pass) behind() bool {
	for i := range p.ends {
		if p.next[i] < p.ends[i] {
			return true
		}
	}
	return false
}

// byName keeps a Fetch at a version that names topics.
type byName struct{ *kmsg.FetchRequest }

func (byName) MaxVersion() int16 { return 12 }

// fetch asks for all partitions that are behind, another one first each time.
func (p *pass) fetch(ctx context.Context) error {
	j := p.run.journal
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.SessionEpoch, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = -1, -1, 200, 1, 4<<20
	if p.committed {
		req.IsolationLevel = 1
	}
	p.turn++
	for k := range p.ends {
		i := (k + p.turn) % len(p.ends)
		if p.next[i] >= p.ends[i] {
			continue
		}
		part := kmsg.NewFetchRequestTopicPartition()
		part.Partition, part.FetchOffset, part.PartitionMaxBytes = j.h.Partitions[i].Number, p.next[i], 1<<20
		topic := kmsg.NewFetchRequestTopic()
		topic.Topic = j.h.Partitions[i].Topic
		topic.Partitions = append(topic.Partitions, part)
		req.Topics = append(req.Topics, topic)
	}
	resp, err := ask[*kmsg.FetchResponse](ctx, p.watcher, byName{req})
	if err != nil {
		return err
	}
	if err := code("fetch", resp.ErrorCode); err != nil {
		return err
	}
	var errs []error
	for _, topic := range resp.Topics {
		for k := range topic.Partitions {
			errs = append(errs, p.take(topic.Topic, &topic.Partitions[k]))
		}
	}
	return errors.Join(errs...)
}

// take notes what came of a partition.
func (p *pass) take(topic string, part *kmsg.FetchResponseTopicPartition) error {
	j := p.run.journal
	i := j.index[topic][part.Partition]
	at := j.h.Partitions[i]
	if err := checkMarkers(part.RecordBatches); err != nil {
		j.problem(Marker, "%s: %v", at, err)
	}
	options := kgo.ProcessFetchPartitionOpts{KeepControlRecords: !p.committed, Offset: p.next[i], Topic: topic, Partition: part.Partition}
	if p.committed {
		options.IsolationLevel = kgo.ReadCommitted()
	}
	got, next := kgo.ProcessFetchPartition(options, part, kgo.DefaultDecompressor(), nil)
	if got.Err != nil {
		p.run.readerFailed(fmt.Sprintf("reader %d: %s from offset %d", p.number, at, p.next[i]), got.Err)
		return fmt.Errorf("%s from offset %d: %w", at, p.next[i], got.Err)
	}
	p.next[i] = j.read(p.number, p.committed, i, p.next[i], next, part.LastStableOffset, got.Records)
	return nil
}
