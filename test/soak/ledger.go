package soak

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// markEvery is by how much a record may be younger than the ledger takes it to be.
const markEvery = time.Second

// ledger knows what was written.
type ledger struct {
	payload    *Payload
	topics     []Topic
	partitions []*partition
	byName     map[string][]*partition // by topic, in the order of indexes
}

func newLedger(payload *Payload, topics []Topic) *ledger {
	l := &ledger{payload: payload, topics: topics, byName: map[string][]*partition{}}
	for i := range topics {
		topic := &topics[i]
		for index := range topic.Partitions {
			p := &partition{payload: payload, topic: topic, topicIndex: int32(i), index: index}
			if topic.Keys > 0 {
				p.latest = slices.Repeat([]int64{-1}, topic.Keys)
			}
			l.partitions = append(l.partitions, p)
			l.byName[topic.Name] = append(l.byName[topic.Name], p)
		}
	}
	return l
}

// find returns the partition of a record that was read.
func (l *ledger) find(topic string, index int32) *partition { return l.byName[topic][index] }

// partition is what was written to one partition.
type partition struct {
	payload           *Payload
	topic             *Topic
	topicIndex, index int32

	mu sync.Mutex
	// sent and acked are the numbers of the next record to send and to be acknowledged.
	sent, acked int64
	// bytes are those of all values sent.
	bytes int64
	// marks say when records were written, about one a second.
	marks []mark
	// latest is the number of the last record sent of each key, of a compacted topic.
	latest []int64
}

// mark: record n was sent at the time (ms), and the values before it had so many bytes.
type mark struct{ n, ms, bytes int64 }

func (p *partition) String() string { return p.topic.Name + "/" + strconv.Itoa(int(p.index)) }

// next makes the next record.
func (p *partition) next(now time.Time) (n int64, record *kgo.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n = p.sent
	record = &kgo.Record{Topic: p.topic.Name, Partition: p.index, Timestamp: time.UnixMilli(now.UnixMilli())}
	record.Key, record.Value = p.content(n)
	if p.topic.Keys > 0 {
		key, _ := p.payload.Key(p.topicIndex, p.index, n, p.topic.Keys)
		p.latest[key] = n
	}
	// A clock that was set back must not make records older than they are told to be.
	if last := len(p.marks) - 1; last < 0 || now.UnixMilli()-p.marks[last].ms >= markEvery.Milliseconds() {
		p.marks = append(p.marks, mark{n, now.UnixMilli(), p.bytes})
	}
	p.sent++
	p.bytes += int64(len(record.Value))
	return n, record
}

// content returns the key and the value of record n.
func (p *partition) content(n int64) (key, value []byte) {
	if p.topic.Keys > 0 {
		k, tombstone := p.payload.Key(p.topicIndex, p.index, n, p.topic.Keys)
		key = strconv.AppendInt([]byte("key-"), int64(k), 10)
		if tombstone {
			return key, nil
		}
	}
	return key, p.payload.Value(p.topicIndex, p.index, n, p.topic.Compressible)
}

// ack takes the acknowledgement of record n.
func (p *partition) ack(n, offset int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if offset != n || n != p.acked {
		return fmt.Errorf("%v: record %d was acknowledged with offset %d, after %d records", p, n, offset, p.acked)
	}
	p.acked++
	return nil
}

// ends returns how many records are acknowledged, and how many may be there.
func (p *partition) ends() (acked, sent int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acked, p.sent
}

// at returns the marks before and after record n; a mark of the end where there is none yet.
func (p *partition) at(n int64) (before, after mark) {
	i, found := slices.BinarySearchFunc(p.marks, n, func(m mark, n int64) int { return int(m.n - n) })
	if !found {
		i--
	}
	before, after = p.marks[i], mark{p.sent, 1<<63 - 1, p.bytes}
	if i+1 < len(p.marks) {
		after = p.marks[i+1]
	}
	return before, after
}

// check returns an error unless the record is what was written at its offset.
func (p *partition) check(r *kgo.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Offset < 0 || r.Offset >= p.sent {
		return fmt.Errorf("%v: a record at offset %d, where %d records were sent", p, r.Offset, p.sent)
	}
	key, value := p.content(r.Offset)
	if !bytes.Equal(key, r.Key) {
		return fmt.Errorf("%v: offset %d has the key %q, not %q", p, r.Offset, r.Key, key)
	}
	if (value == nil) != (r.Value == nil) {
		return fmt.Errorf("%v: offset %d is a tombstone: %v, but was sent as one: %v", p, r.Offset, r.Value == nil, value == nil)
	}
	if value != nil {
		if err := p.payload.Check(p.topicIndex, p.index, r.Offset, p.topic.Compressible, r.Value); err != nil {
			return fmt.Errorf("%v: offset %d holds %w", p, r.Offset, err)
		}
	}
	before, after := p.at(r.Offset)
	if ms := r.Timestamp.UnixMilli(); ms < before.ms || ms > after.ms {
		return fmt.Errorf("%v: offset %d has the timestamp %v, which lies not between %v and %v", p, r.Offset, r.Timestamp,
			time.UnixMilli(before.ms), time.UnixMilli(after.ms))
	}
	return nil
}

// gone returns an error unless all records from an offset to another (exclusive) may be gone by now.
func (p *partition) gone(from, to int64, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if to > p.sent {
		return fmt.Errorf("%v: at offset %d, where %d records were sent", p, to, p.sent)
	}
	if from >= to {
		return nil
	}
	if p.topic.Keys > 0 {
		return p.compacted(from, to, now)
	}
	last, _ := p.at(to - 1)
	age := now.Sub(time.UnixMilli(last.ms))
	if p.topic.Retention > 0 && age >= p.topic.Retention {
		return nil
	}
	start, _ := p.at(to)
	if left := p.bytes - start.bytes + (p.sent-start.n)*recordOverhead; p.topic.RetentionBytes > 0 && left >= p.topic.RetentionBytes {
		return nil
	}
	return fmt.Errorf("%v: records %d to %d are gone, the last of which was written %v ago, with %d behind it", p, from, to-1, age.Round(time.Millisecond), p.sent-to)
}

// compacted is gone for a compacted topic.
func (p *partition) compacted(from, to int64, now time.Time) error {
	for n := from; n < to; n++ {
		key, tombstone := p.payload.Key(p.topicIndex, p.index, n, p.topic.Keys)
		if p.latest[key] > n {
			continue
		}
		written, _ := p.at(n)
		if age := now.Sub(time.UnixMilli(written.ms)); !tombstone || age < p.topic.DeleteRetention {
			return fmt.Errorf("%v: record %d is gone, which is the latest of key %d (a tombstone: %v), written %v ago", p, n, key, tombstone, age.Round(time.Millisecond))
		}
	}
	return nil
}
