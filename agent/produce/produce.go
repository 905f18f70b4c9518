package produce

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/errcode"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
)

// Produce is API key 0, served in versions 3 to 13.
//
//	v3   record batches of magic 2 only (KIP-98)
//	v5   log start offset in the answer (KIP-107)
//	v7   zstd (KIP-110)
//	v8   errors of single records (KIP-467)
//	v9   flexible (KIP-482)
//	v10  the current leader with NOT_LEADER errors (KIP-951), which clients take only of a higher epoch: never sent
//	v11  TRANSACTION_ABORTABLE for a batch outside of a transaction; before it INVALID_TXN_STATE (KIP-890)
//	v12  batches add their partition to the transaction, and begin it (KIP-890)
//	v13  topics by ID (KIP-516)

// Topics is what the write path asks of the topic catalog.
type Topics interface {
	// TopicByName fails with metadata.ErrUnknownTopic only after the metadata
	// store confirmed that there is none.
	TopicByName(ctx context.Context, name string) (metadata.Topic, error)
	TopicByID(ctx context.Context, id uuid.UUID) (metadata.Topic, error)
	TopicConfig(topic metadata.Topic) configs.Topic
}

// ErrRefused: records that nobody wants to hear of (acks=0) were not accepted.
var ErrRefused = errors.New("records sent with acks=0 were refused")

// Handler answers Produce.
type Handler struct {
	topics  Topics
	acc     *Accumulator
	metrics *Metrics
	log     *slog.Logger
}

// NewHandler makes the handler; it writes through acc.
func NewHandler(topics Topics, acc *Accumulator, metrics *Metrics, log *slog.Logger) *Handler {
	return &Handler{topics: topics, acc: acc, metrics: metrics, log: log}
}

const (
	// minTimeout and maxTimeout bound the wait for the data file whatever the
	// client's timeout says: 0 would never see a commit.
	minTimeout = time.Second
	maxTimeout = 5 * time.Minute
)

// Produce validates the request, adds what is valid to the open data file, and
// returns the function that waits for the offsets. The request's bytes are in
// use until release is called. The answer is nil for acks=0; then ErrRefused says
// that something was not accepted, of which Kafka tells such a producer by closing
// its connection.
func (h *Handler) Produce(ctx context.Context, req *kmsg.ProduceRequest, release func()) func() (*kmsg.ProduceResponse, error) {
	return h.start(ctx, req, release, checkTransaction(req))
}

// Elsewhere answers a request as Produce does that another agent is to get: nothing of it is
// accepted, and its producer asks anew where to write, and goes there.
func (h *Handler) Elsewhere(ctx context.Context, req *kmsg.ProduceRequest, release func()) func() (*kmsg.ProduceResponse, error) {
	return h.start(ctx, req, release, refuse(kerr.NotLeaderForPartition, "this agent takes no records (--roles)"))
}

// start starts a request; whole is why nothing of it is accepted, nil mostly.
func (h *Handler) start(ctx context.Context, req *kmsg.ProduceRequest, release func(), whole *refusal) func() (*kmsg.ProduceResponse, error) {
	deadline := time.Now().Add(min(max(time.Duration(req.TimeoutMillis)*time.Millisecond, minTimeout), maxTimeout))
	call := &call{req: req, resp: req.ResponseKind().(*kmsg.ProduceResponse), now: time.Now(), whole: whole}
	call.fill(ctx, h.topics)
	h.count(call.entries)

	if len(call.entries) == 0 {
		release()
	} else {
		var err error
		if call.ticket, err = h.acc.Add(call.entries, release); err != nil {
			call.failEntries(codeOf(err, req.Version), err.Error())
			call.refused += len(call.entries)
			call.entries = nil
		}
	}
	if req.Acks == 0 {
		refused := call.refused > 0
		return func() (*kmsg.ProduceResponse, error) {
			if refused {
				return nil, ErrRefused
			}
			return nil, nil
		}
	}
	waits := len(call.entries) > 0
	// The answer needs neither, and both point into the request's bytes, whose
	// place in memory the data file takes.
	call.entries, call.req = nil, nil
	return func() (*kmsg.ProduceResponse, error) {
		if waits {
			h.await(call, deadline)
		}
		return call.resp, nil
	}
}

func (h *Handler) count(entries []Entry) {
	records, bytes := 0, 0
	for _, e := range entries {
		records += int(e.Batch.NumRecords())
		bytes += len(e.Batch)
	}
	h.metrics.batches.Add(float64(len(entries)))
	h.metrics.records.Add(float64(records))
	h.metrics.recordBytes.Add(float64(bytes))
}

// await fills the results in when the file is committed. A client whose time
// is over is told so, and its file goes on: the client's retry finds either a
// duplicate or nothing.
func (h *Handler) await(c *call, deadline time.Time) {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-c.ticket.Done():
	case <-timer.C:
		c.failEntries(kerr.RequestTimedOut.Code, "the records are not committed yet; the object store or the metadata store is slow")
		return
	}
	for i, part := range c.parts {
		r := c.ticket.Result(i)
		part.BaseOffset, part.LogStartOffset = r.BaseOffset, r.LogStartOffset
		if r.Err != nil {
			part.ErrorCode, part.ErrorMessage, part.LogAppendTime = codeOf(r.Err, c.resp.Version), message(r.Err.Error()), -1
		}
	}
}

// call is one Produce request on its way.
type call struct {
	req  *kmsg.ProduceRequest
	resp *kmsg.ProduceResponse
	now  time.Time

	entries []Entry
	parts   []*kmsg.ProduceResponseTopicPartition // where the result of entries[i] goes
	records int64
	refused int
	ticket  Ticket
	whole   *refusal // as in start
}

// fill makes the answer's rows and the entries of what is valid.
func (c *call) fill(ctx context.Context, topics Topics) {
	c.resp.Topics = make([]kmsg.ProduceResponseTopic, len(c.req.Topics))
	for i := range c.req.Topics {
		rt, out := &c.req.Topics[i], &c.resp.Topics[i]
		*out = kmsg.NewProduceResponseTopic()
		out.Topic, out.TopicID = rt.Topic, rt.TopicID
		out.Partitions = make([]kmsg.ProduceResponseTopicPartition, len(rt.Partitions))
		topic, config, whole := c.lookUp(ctx, topics, rt)
		for j := range rt.Partitions {
			rp, part := &rt.Partitions[j], &out.Partitions[j]
			*part = kmsg.NewProduceResponseTopicPartition()
			part.Partition = rp.Partition
			c.partition(rp, part, topic, config, whole)
		}
	}
}

// lookUp finds a topic of the request, or why none of its partitions can be written.
func (c *call) lookUp(ctx context.Context, topics Topics, rt *kmsg.ProduceRequestTopic) (metadata.Topic, configs.Topic, *refusal) {
	if c.whole != nil {
		return metadata.Topic{}, configs.Topic{}, c.whole
	}
	if acks := c.req.Acks; acks < -1 || acks > 1 {
		return metadata.Topic{}, configs.Topic{}, refuse(kerr.InvalidRequiredAcks, "acks must be -1, 0 or 1, not %d", acks)
	}
	var topic metadata.Topic
	var err error
	if c.req.Version >= 13 {
		if topic, err = topics.TopicByID(ctx, rt.TopicID); err == nil {
			rt.Topic = topic.Name
		}
	} else {
		if err := protocol.CheckTopicName(rt.Topic); err != nil {
			return topic, configs.Topic{}, refuse(kerr.InvalidTopicException, "%v", err)
		}
		topic, err = topics.TopicByName(ctx, rt.Topic)
	}
	switch {
	case err != nil && c.req.Version >= 13 && errcode.Of(err) == kerr.UnknownTopicOrPartition.Code:
		return topic, configs.Topic{}, refuse(kerr.UnknownTopicID, "no topic has this ID")
	case err != nil:
		return topic, configs.Topic{}, &refusal{code: errcode.Of(err), message: err.Error()}
	case topic.Internal:
		return topic, configs.Topic{}, refuse(kerr.InvalidTopicException, "topic %s is internal, clients can't write to it", topic.Name)
	}
	return topic, topics.TopicConfig(topic), nil
}

func (c *call) partition(rp *kmsg.ProduceRequestTopicPartition, part *kmsg.ProduceResponseTopicPartition,
	topic metadata.Topic, config configs.Topic, why *refusal) {
	if why == nil && (rp.Partition < 0 || int(rp.Partition) >= len(topic.Partitions)) {
		why = refuse(kerr.UnknownTopicOrPartition, "topic %s has partitions 0 to %d", topic.Name, len(topic.Partitions)-1)
	}
	var batch protocol.Batch
	if why == nil {
		batch, why = validate(rp.Records, c.req.Version, config, c.now)
	}
	if why == nil {
		if c.records += int64(batch.NumRecords()); c.records > maxRecords {
			why = refuse(kerr.MessageTooLarge, "the request claims more than %d records", int64(maxRecords))
		}
	}
	part.BaseOffset, part.LogStartOffset = -1, -1
	if why != nil {
		part.ErrorCode, part.ErrorMessage, part.ErrorRecords = why.code, message(why.message), why.records
		c.refused++
		return
	}
	if config.LogAppendTime {
		part.LogAppendTime = c.now.UnixMilli()
	}
	c.entries = append(c.entries, Entry{
		Topic: topic.ID, Index: rp.Partition, Partition: topic.Partitions[rp.Partition],
		Batch: batch, AddsPartition: c.req.Version >= addsPartitionFrom,
	})
	c.parts = append(c.parts, part)
}

// failEntries answers everything that was accepted with the code.
func (c *call) failEntries(code int16, why string) {
	for _, part := range c.parts {
		part.ErrorCode, part.ErrorMessage, part.LogAppendTime = code, message(why), -1
	}
}

// codeOf returns Kafka's code for a batch's or a file's error, in an answer of the
// version. A file that failed left nothing behind that anybody reads, so the
// producer may retry.
func codeOf(err error, version int16) int16 {
	switch {
	case errors.Is(err, ErrStopped):
		return kerr.NotLeaderForPartition.Code
	case errors.Is(err, ErrFileFailed):
		return kerr.KafkaStorageError.Code
	case errors.Is(err, metadata.ErrInvalidTransactionState) && version == abortableVersion:
		return kerr.TransactionAbortable.Code
	}
	return errcode.Of(err)
}

// message returns the text for the wire, cut to a length that is no burden.
func message(s string) *string {
	if len(s) > 512 {
		s = s[:512]
	}
	return &s
}
