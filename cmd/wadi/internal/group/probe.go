package group

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
)

// How records are probed for. A broker answers with whole batches, and with at
// least one of the partition that it reads first; so the first round is for the usual
// small batch, and later ones for what was too large then.
const (
	probePartitions  = 64       // in one request
	probeConcurrency = 4        // requests at a time
	probeFirstBytes  = 64 << 10 // of a partition, in the first round
	probeLaterBytes  = 1 << 20  // of a partition, after that
	probeTotalBytes  = 16 << 20 // of a request
	probeWait        = 500      // ms that a broker may wait for one byte, for those that look at the log later
)

// probed is when the record at an offset was written, or why nobody knows.
type probed struct {
	written time.Time
	err     error
}

// errNoRecord is when a partition has no record from an offset on, although
// its end is behind it: compaction took them, or retention just now.
var errNoRecord = errors.New("there is no record to read at this offset")

// probe reads when the first record at or behind each offset was written.
// Each partition must be in topics. It reads batches of many partitions at once and
// drops all but the first record's timestamp.
func probe(ctx context.Context, client *bootstrap.Client, topics kadm.TopicDetails, offsets map[partition]int64) map[partition]probed {
	byLeader := map[int32][]partition{}
	for p := range offsets {
		leader := topics[p.topic].Partitions[p.partition].Leader
		byLeader[leader] = append(byLeader[leader], p)
	}
	var requests []*probeRequest
	for leader, partitions := range byLeader {
		slices.SortFunc(partitions, comparePartitions)
		for chunk := range slices.Chunk(partitions, probePartitions) {
			r := &probeRequest{client: client, leader: leader, topics: topics, left: slices.Clone(chunk), next: map[partition]int64{}, found: map[partition]probed{}}
			for _, p := range chunk {
				r.next[p] = offsets[p]
			}
			requests = append(requests, r)
		}
	}
	var running sync.WaitGroup
	slots := make(chan struct{}, probeConcurrency)
	for _, r := range requests {
		slots <- struct{}{}
		running.Go(func() {
			r.run(ctx)
			<-slots
		})
	}
	running.Wait()
	found := map[partition]probed{}
	for _, r := range requests {
		maps.Copy(found, r.found)
	}
	return found
}

// probeRequest probes partitions that have one leader.
type probeRequest struct {
	client *bootstrap.Client
	leader int32
	topics kadm.TopicDetails
	left   []partition
	// next is where to go on with a partition: behind batches that were
	// emptied by compaction.
	next  map[partition]int64
	found map[partition]probed
}

// run asks again and again for what is left, until a round brings nothing.
func (r *probeRequest) run(ctx context.Context) {
	for maxBytes := int32(probeFirstBytes); len(r.left) > 0; maxBytes = probeLaterBytes {
		moved, err := r.round(ctx, maxBytes)
		if err == nil && !moved {
			err = errNoRecord
		}
		if err != nil {
			r.giveUp(err)
		}
	}
}

func (r *probeRequest) giveUp(err error) {
	for _, p := range r.left {
		r.found[p] = probed{err: err}
	}
	r.left = nil
}

// round sends one request and takes what it brings. It reports whether that
// was anything at all.
func (r *probeRequest) round(ctx context.Context, maxBytes int32) (moved bool, err error) {
	ctx, cancel := r.client.Bound(ctx)
	defer cancel()
	answer, err := r.client.Broker(int(r.leader)).RetriableRequest(ctx, r.fetch(maxBytes))
	if err != nil {
		return false, err
	}
	response, ok := answer.(*kmsg.FetchResponse)
	if !ok {
		return false, errors.New("the answer is to another request")
	}
	if err := kerr.ErrorForCode(response.ErrorCode); err != nil {
		return false, err
	}
	names := map[[16]byte]string{}
	for _, p := range r.left {
		names[r.topics[p.topic].ID] = p.topic
	}
	for _, topic := range response.Topics {
		name := topic.Topic
		if name == "" { // from v13 on, KIP-516
			name = names[topic.TopicID]
		}
		for i := range topic.Partitions {
			p := partition{name, topic.Partitions[i].Partition}
			if !slices.Contains(r.left, p) {
				return false, fmt.Errorf("broker %d answered for %s partition %d, which nobody asked for", r.leader, name, p.partition)
			}
			moved = r.take(p, &topic.Partitions[i]) || moved
		}
	}
	return moved, nil
}

// take takes the answer for one partition. It reports whether that brought a
// record, an error or at least a later offset; an answer may be empty for want of room.
func (r *probeRequest) take(p partition, answer *kmsg.FetchResponseTopicPartition) bool {
	// Control records count: a partition that ends in one would have no answer else.
	options := kgo.ProcessFetchPartitionOpts{Topic: p.topic, Partition: p.partition, Offset: r.next[p], KeepControlRecords: true}
	records, next := kgo.ProcessFetchPartition(options, answer, kgo.DefaultDecompressor(), nil)
	switch {
	case len(records.Records) > 0:
		r.found[p] = probed{written: records.Records[0].Timestamp}
	case records.Err != nil:
		r.found[p] = probed{err: records.Err}
	default:
		moved := next > r.next[p]
		r.next[p] = next
		return moved
	}
	r.left = slices.DeleteFunc(r.left, func(q partition) bool { return p == q })
	return true
}

// fetch returns the request for what is left: of topics by name and by ID,
// whichever the version has.
func (r *probeRequest) fetch(maxBytes int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = probeWait, 1, probeTotalBytes
	for _, p := range r.left { // by topic
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != p.topic {
			topic := kmsg.NewFetchRequestTopic()
			topic.Topic, topic.TopicID = p.topic, r.topics[p.topic].ID
			req.Topics = append(req.Topics, topic)
		}
		ask := kmsg.NewFetchRequestTopicPartition()
		ask.Partition, ask.FetchOffset, ask.PartitionMaxBytes = p.partition, r.next[p], maxBytes
		last := &req.Topics[len(req.Topics)-1]
		last.Partitions = append(last.Partitions, ask)
	}
	return req
}
