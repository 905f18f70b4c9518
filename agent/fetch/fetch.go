package fetch

// Fetch, API key 1, versions 4 to 18.
//
// Version 4 adds the isolation level and the last stable offset (KIP-98), 5
// the log start offset (KIP-107), 6 may answer KAFKA_STORAGE_ERROR, 7 adds fetch
// sessions (KIP-227), 9 the current leader epoch (KIP-320), 10 allows zstd
// (KIP-110), 11 the rack and the preferred read replica (KIP-392), 12 is flexible and
// adds the last fetched epoch and divergence (KIP-595), 13 topic IDs instead of
// names (KIP-516), 15 the replica state (KIP-903), 16 the endpoints of new
// leaders (KIP-951), 17 directory IDs (KIP-853), 18 the replica's high
// watermark (KIP-1166).
//
// Sessions are not kept: any agent may get the next request, so every request
// is a full one, and is answered with session 0, which tells the client so. What
// replicas send is ignored; there are none.

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	pool "github.com/libp2p/go-buffer-pool"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/semaphore"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// Topics is what the read path asks of the topics. Unknown ones are
// metadata.ErrUnknownTopic, only after the metadata store confirmed it.
type Topics interface {
	TopicByName(ctx context.Context, name string) (metadata.Topic, error)
	TopicByID(ctx context.Context, id uuid.UUID) (metadata.Topic, error)
}

// Config bounds the read path.
type Config struct {
	// MaxBytes bounds one response, whatever the client allows: Kafka's
	// fetch.max.bytes. A single larger batch passes.
	MaxBytes int64
	// ResponseBytes bounds the answers in memory, those of tailing consumers
	// and those of catching-up ones each. Requests wait for their turn.
	ResponseBytes int64
	// TailAge is how old a data file may be that the tail in memory names, by the time in its
	// ID. Merges replace files, which are deleted some time later: of older ones the metadata
	// store is asked where their records are by now. 0 is no limit.
	TailAge time.Duration
	// Elsewhere returns where a consumer is to read, by what it asks for; nil for one that is served all here. A nil
	// Elsewhere serves all here. rack is the consumer's, "" for none, and version that of its request.
	Elsewhere func(client protocol.Client, version int16, rack string) Elsewhere
}

// Elsewhere returns the node ID of the broker from which a consumer is to read a partition from an offset on; false if it is
// served here, in which it may change its mind. records tells whether there are any.
type Elsewhere = func(topic uuid.UUID, partition int32, offset int64, records bool) (nodeID int32, elsewhere bool)

// DefaultConfig has Kafka's fetch.max.bytes.
func DefaultConfig() Config {
	return Config{MaxBytes: 55 << 20, ResponseBytes: 128 << 20, TailAge: 5 * time.Minute}
}

// Store is what the read path asks of the metadata store.
type Store interface {
	metadata.Log
	metadata.Offsets
}

// Fetcher answers Fetch, ListOffsets and OffsetForLeaderEpoch.
type Fetcher struct {
	topics  Topics
	store   Store
	tail    *Tail
	planner planner
	reader  *reader
	config  Config

	// responses bounds the bytes of answers that are read or being written, of
	// tailing consumers and of those that catch up each: slow readers of old
	// records must not keep new ones from the others.
	responses [2]*semaphore.Weighted
	turns     *turns
	draining  chan struct{}
	drainOnce sync.Once
}

// New makes the handlers over the collaborators, which the caller runs and closes.
func New(topics Topics, store Store, tail *Tail, blocks *Blocks, metrics *Metrics, config Config, logger *slog.Logger) *Fetcher {
	return &Fetcher{
		topics: topics, store: store, tail: tail, config: config,
		planner: planner{tail: tail, log: store, metrics: metrics, tailAge: config.TailAge},
		reader:  newReader(blocks, metrics, logger),
		responses: [2]*semaphore.Weighted{
			Hot: semaphore.NewWeighted(config.ResponseBytes), Cold: semaphore.NewWeighted(config.ResponseBytes)},
		turns:    newTurns(blocks.way),
		draining: make(chan struct{}),
	}
}

// MakeWay has consumers that catch up leave most of the CPU to others for a second, since
// somebody produced so many bytes. (Fetcher itself knows who reads what was just written.)
func (f *Fetcher) MakeWay(produced int64) { f.turns.makeWay(produced) }

// Drain ends all long polls, now and from now on: they are answered with what
// there is, so that a stopping agent doesn't wait for them.
func (f *Fetcher) Drain() { f.drainOnce.Do(func() { close(f.draining) }) }

// Fetch answers with the batches from the offsets asked on. It waits until
// there are min_bytes of them, or an error, or max_wait is over. The caller calls
// done once it has written the answer: until then its batches are counted
// among the responses in memory, after it their buffer is used again.
func (f *Fetcher) Fetch(ctx context.Context, client protocol.Client, req *kmsg.FetchRequest) (resp *kmsg.FetchResponse, done func()) {
	resp = req.ResponseKind().(*kmsg.FetchResponse)
	const newSession, noSession = 0, -1
	if req.SessionEpoch != newSession && req.SessionEpoch != noSession {
		resp.ErrorCode = kerr.FetchSessionIDNotFound.Code
		return resp, func() {}
	}
	r := &fetching{
		req: req, resp: resp, level: isolation(req.IsolationLevel), done: func() {},
		maxBytes: min(max(0, int64(req.MaxBytes)), f.config.MaxBytes),
	}
	r.minBytes = min(int64(req.MinBytes), r.maxBytes)
	if f.config.Elsewhere != nil && req.Version >= preferredFrom {
		r.elsewhere = f.config.Elsewhere(client, req.Version, req.Rack)
	}
	f.await(ctx, r)
	if ctx.Err() == nil {
		f.read(ctx, r)
	}
	f.finish(r)
	return resp, r.done
}

// preferredFrom is the version of Fetch from which on a consumer can be sent to another replica.
const preferredFrom = 11

// send names the brokers to read from, for the partitions that are read elsewhere, and plans no records of these. It
// reports whether there are any. What is wrong with a partition is told here all the same: a consumer that is told so
// by a replica asks the leader again, which we are.
func (r *fetching) send() (sent bool) {
	if r.elsewhere == nil {
		return false
	}
	for i := range r.plans {
		p := &r.plans[i]
		if p.err != nil {
			continue
		}
		at := r.parts[i].offset
		if nodeID, elsewhere := r.elsewhere(r.topics[i], r.slots[i].Partition, at, p.until > at); elsewhere {
			r.slots[i].PreferredReadReplica = nodeID
			r.bytes -= p.bytes
			*p = plan{Bounds: p.Bounds, until: p.until}
			sent = true
		}
	}
	return sent
}

// fetching is a Fetch request being answered.
type fetching struct {
	req                *kmsg.FetchRequest
	resp               *kmsg.FetchResponse
	level              isolation
	maxBytes, minBytes int64
	// elsewhere tells which partitions the consumer is to read from other brokers; nil is none.
	elsewhere Elsewhere

	// failed: a partition is answered with an error, so nothing waits.
	failed bool
	// parts are the partitions without an error so far; topics[i] is the topic of parts[i], slots[i] where
	// it is answered, and plans[i] what to read of it.
	parts  []asked
	topics []uuid.UUID
	slots  []*kmsg.FetchResponseTopicPartition
	plans  []plan
	// bytes is what the plans will return, about.
	bytes int64
	// done gives back what the answer holds.
	done func()
}

// replanPause is the time between two plans of a request that woke without
// having enough.
const replanPause = 5 * time.Millisecond

// await plans the request until it is worth answering. One with a partition that is read elsewhere is at once, as in Kafka.
func (f *Fetcher) await(ctx context.Context, r *fetching) {
	over := time.NewTimer(time.Duration(max(0, r.req.MaxWaitMillis)) * time.Millisecond)
	defer over.Stop()
	for first := true; ; first = false {
		f.resolve(ctx, r)
		f.plan(ctx, r)
		if first && r.send() {
			return
		}
		if r.failed || len(r.parts) == 0 || r.bytes >= r.minBytes || r.req.MaxWaitMillis <= 0 {
			return
		}
		w := f.tail.wait(r.level, r.positions(), r.minBytes-r.bytes)
		last := false
		select {
		case <-w.woken:
		case <-over.C:
			last = true
		case <-f.draining:
			last = true
		case <-ctx.Done():
			last = true
		}
		came := f.tail.stop(w)
		switch {
		case last && !came:
			return // the plan is still right
		case last || w.enough():
			f.resolve(ctx, r)
			f.plan(ctx, r)
			return
		}
		// Something else happened than enough commits. Should it go on
		// happening, don't ask the store as fast as it answers.
		pause(ctx, replanPause)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// resolve finds the partitions asked for, and answers those that are not there.
func (f *Fetcher) resolve(ctx context.Context, r *fetching) {
	r.failed = false
	r.parts, r.topics, r.slots = r.parts[:0], r.topics[:0], r.slots[:0]
	r.resp.Topics = make([]kmsg.FetchResponseTopic, len(r.req.Topics))
	for i := range r.req.Topics {
		rt, out := &r.req.Topics[i], &r.resp.Topics[i]
		*out = kmsg.NewFetchResponseTopic()
		out.Topic, out.TopicID = rt.Topic, rt.TopicID
		out.Partitions = make([]kmsg.FetchResponseTopicPartition, len(rt.Partitions))
		var topic metadata.Topic
		var err error
		if r.req.Version >= 13 {
			topic, err = f.topics.TopicByID(ctx, rt.TopicID)
		} else {
			topic, err = f.topics.TopicByName(ctx, rt.Topic)
		}
		for k := range rt.Partitions {
			rp, slot := &rt.Partitions[k], &out.Partitions[k]
			*slot = kmsg.NewFetchResponseTopicPartition()
			slot.Partition = rp.Partition
			slot.RecordBatches = []byte{} // librdkafka refuses null
			id, code := f.partition(topic, err, rp.Partition, rp.CurrentLeaderEpoch)
			if errors.Is(err, metadata.ErrUnknownTopic) {
				code = r.unknownTopic()
			}
			if code != 0 {
				r.fail(slot, code)
				continue
			}
			r.parts = append(r.parts, asked{id, rp.FetchOffset, max(0, int64(rp.PartitionMaxBytes))})
			r.topics = append(r.topics, topic.ID)
			r.slots = append(r.slots, slot)
		}
	}
}

// plan plans what resolve found.
func (f *Fetcher) plan(ctx context.Context, r *fetching) {
	if cap(r.plans) < len(r.parts) {
		r.plans = make([]plan, len(r.parts))
	}
	r.plans = r.plans[:len(r.parts)]
	f.planner.plan(ctx, r.level, r.parts, r.maxBytes, r.plans)
	r.bytes = 0
	for i := range r.plans {
		r.bytes += r.plans[i].bytes
		r.failed = r.failed || r.plans[i].err != nil
	}
}

// positions are where the request stands with its plans.
func (r *fetching) positions() []position {
	at := make([]position, len(r.parts))
	for i := range r.parts {
		at[i] = position{r.parts[i].partition, max(r.plans[i].until, r.parts[i].offset), max(0, r.parts[i].maxBytes-r.plans[i].bytes)}
	}
	return at
}

// read reads what is planned, and then ahead for a consumer that catches up.
func (f *Fetcher) read(ctx context.Context, r *fetching) {
	// What is read ahead of its use is held while reading, the batches until
	// the answer is written.
	window, responses := int64(0), f.responses[Hot]
	lim := limits{maxBytes: r.maxBytes, noZstd: r.req.Version < 10}
	for i := range r.plans {
		if r.plans[i].pool == Cold && len(r.plans[i].runs) > 0 {
			window, responses = windowBytes, f.responses[Cold]
			lim.turn = &turn{turns: f.turns}
			break
		}
	}
	held := min(r.bytes, f.config.ResponseBytes)
	window = min(window, f.config.ResponseBytes-held)
	if held+window > 0 { // even 0 bytes would wait behind those who wait
		if err := responses.Acquire(ctx, held+window); err != nil {
			return // the client is gone, or nobody waits for answers any more
		}
	}
	if lim.turn == nil && r.bytes > 0 {
		f.turns.makeWay(0)
	}
	read, arena := f.reader.read(ctx, r.parts, r.plans, lim, func(i int, gone int64) plan {
		f.tail.forgetBefore(r.parts[i].partition, gone)
		anew := make([]plan, 1)
		f.planner.plan(ctx, r.level, r.parts[i:i+1], r.maxBytes, anew)
		return anew[0]
	})
	responses.Release(window)
	r.done = func() {
		pool.Put(arena)
		responses.Release(held)
	}
	for i := range read {
		if read[i].gone > 0 {
			f.tail.forgetBefore(r.parts[i].partition, read[i].gone) // or the next request meets it as well
		}
		switch {
		case r.plans[i].err != nil:
			// finish answers with it; it is that of a new plan
		case read[i].err != nil:
			r.fail(r.slots[i], f.code("fetch", read[i].err))
		case len(read[i].batches) > 0:
			r.slots[i].RecordBatches = read[i].batches
			if r.level == readCommitted {
				r.slots[i].AbortedTransactions = r.plans[i].abortedWithin(r.parts[i].offset, read[i].next)
			}
		}
	}
	f.reader.readAhead(r.parts, r.plans)
}
