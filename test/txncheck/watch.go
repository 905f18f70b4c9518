package txncheck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// watcher asks for watermarks and reads by requests of its own.
type watcher struct {
	run    *Run
	client *kgo.Client
}

func (r *Run) newWatcher(name string) (*watcher, error) {
	client, _, err := r.client(name, nil)
	return &watcher{run: r, client: client}, err
}

// ask sends a request to the address the run was given, and tries once.
func ask[Resp kmsg.Response](ctx context.Context, w *watcher, request kmsg.Request) (resp Resp, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestOverhead)
	defer cancel()
	answer, err := w.client.SeedBrokers()[0].Request(ctx, request)
	if err != nil {
		return resp, err
	}
	return answer.(Resp), nil
}

// watermarks asks for the ends of all partitions, as one isolation level sees them.
func (w *watcher) watermarks(ctx context.Context, committed bool) (Watermarks, error) {
	j := w.run.journal
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	if committed {
		req.IsolationLevel = 1
	}
	for topic, partitions := range j.index {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		for n := range partitions {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = int32(n), -1
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	m := Watermarks{Asked: j.now(), Offsets: slices.Repeat([]int64{-1}, len(j.h.Partitions))}
	resp, err := ask[*kmsg.ListOffsetsResponse](ctx, w, req)
	m.Answered = j.now()
	if err != nil {
		return m, err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := code(fmt.Sprintf("list the offsets of %s-%d", t.Topic, p.Partition), p.ErrorCode); err != nil {
				return m, err
			}
			m.Offsets[j.index[t.Topic][p.Partition]] = p.Offset
		}
	}
	if slices.Contains(m.Offsets, -1) {
		return m, errors.New("list offsets: not all partitions were answered")
	}
	return m, nil
}

// snapshot asks for the stable offsets, and then for the high watermarks.
func (w *watcher) snapshot(ctx context.Context) (s Snapshot, err error) {
	if s.Stable, err = w.watermarks(ctx, true); err != nil {
		return s, err
	}
	if s.High, err = w.watermarks(ctx, false); err != nil {
		return s, err
	}
	w.run.journal.snapshot(s)
	return s, nil
}

// watch takes snapshots. A server that dies under the question answers none, and
// the next one is asked over another connection.
func (r *Run) watch(ctx context.Context) {
	w, err := r.newWatcher("watch")
	if err != nil {
		r.journal.problem(Broken, "watch: %v", err)
		return
	}
	defer w.client.Close()
	for pause(ctx, 50*time.Millisecond) {
		_, _ = w.snapshot(ctx)
	}
}

// watchOffsets asks for the group's offsets.
func (r *Run) watchOffsets(ctx context.Context) {
	w, err := r.newWatcher("watch-offsets")
	if err != nil {
		r.journal.problem(Broken, "watch offsets: %v", err)
		return
	}
	defer w.client.Close()
	for pause(ctx, 100*time.Millisecond) {
		_, _ = w.offsets(ctx)
	}
}

// offsets asks for the group's offsets, pending ones aside.
func (w *watcher) offsets(ctx context.Context) (Offsets, error) {
	j := w.run.journal
	ctx, cancel := context.WithTimeout(ctx, requestOverhead)
	defer cancel()
	o := Offsets{Asked: j.now(), Offsets: slices.Repeat([]int64{-1}, len(j.h.Partitions))}
	resp, err := kadm.NewClient(w.client).FetchOffsets(ctx, w.run.config.Group)
	o.Answered = j.now()
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		return o, err
	}
	resp.Each(func(r kadm.OffsetResponse) { o.Offsets[j.index[r.Topic][r.Partition]] = r.At })
	j.offsets(o)
	return o, nil
}

// allDecided returns an error while a transaction is open.
func (r *Run) allDecided(ctx context.Context, w *watcher) error {
	s, err := w.snapshot(ctx)
	if err != nil {
		return err
	}
	for p, stable := range s.Stable.Offsets {
		if high := s.High.Offsets[p]; stable != high {
			return fmt.Errorf("%s: last stable offset %d, high watermark %d", r.journal.h.Partitions[p], stable, high)
		}
	}
	return nil
}

// allTransformed returns an error while the group has input, which was read before.
func (r *Run) allTransformed(ctx context.Context, w *watcher) error {
	o, err := w.offsets(ctx)
	if err != nil {
		return err
	}
	for p, partition := range r.journal.h.Partitions {
		if end := r.journal.ends(p, true); partition.Input && max(0, o.Offsets[p]) < end {
			return fmt.Errorf("%s: committed offset %d, last record before %d", partition, o.Offsets[p], end)
		}
	}
	return nil
}
