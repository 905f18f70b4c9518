package soak

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// written is a partition of the topic into which 100 records were written, one every
// ten seconds.
func written(t *testing.T, topic Topic) (p *partition, records []*kgo.Record, now time.Time) {
	t.Helper()
	topic.Name, topic.Partitions = "t", 2
	p = newLedger(NewPayload(1), []Topic{topic}).find("t", 1)
	now = time.UnixMilli(1_700_000_000_000)
	for i := range int64(100) {
		n, record := p.next(now)
		record.Offset = n
		if err := p.ack(n, i); err != nil {
			t.Fatal(err)
		}
		records = append(records, record)
		now = now.Add(10 * time.Second)
	}
	return p, records, now
}

func TestGoneRecordsAreJudgedByTheirTopic(t *testing.T) {
	kept, _, now := written(t, Topic{})
	timed, _, _ := written(t, Topic{Retention: 500 * time.Second}) // of which the first 50 are out
	sized, _, _ := written(t, Topic{RetentionBytes: 20_000})
	both, _, _ := written(t, Topic{Retention: 900 * time.Second, RetentionBytes: 20_000})
	compact, _, _ := written(t, Topic{Keys: 3, DeleteRetention: time.Hour})
	for _, test := range []struct {
		name     string
		p        *partition
		from, to int64
		gone     bool
	}{
		{"nothing", kept, 10, 10, true},
		{"of a topic that keeps all", kept, 0, 1, false},
		{"beyond what was sent", timed, 0, 101, false},
		{"old enough", timed, 0, 51, true},
		{"old enough, from the middle", timed, 20, 51, true},
		{"one too many", timed, 0, 52, false},
		{"all", timed, 0, 100, false},
		{"more than enough left", sized, 0, 50, true},
		{"less than enough left", sized, 0, 95, false},
		{"by size though not by time", both, 0, 50, true},
		{"by neither", both, 0, 95, false},
		{"replaced by later ones", compact, 0, 80, true},
		{"the latest of each key", compact, 0, 100, false},
	} {
		if err := test.p.gone(test.from, test.to, now); (err == nil) != test.gone {
			t.Errorf("%s: %v, want it to be gone: %v", test.name, err, test.gone)
		}
	}
}

func TestTombstonesGoInTheirTime(t *testing.T) {
	p, records, now := written(t, Topic{Keys: 100, DeleteRetention: 10 * time.Minute})
	tombstones := 0
	for n, record := range records {
		key, tombstone := p.payload.Key(0, 1, int64(n), 100)
		if (record.Value == nil) != tombstone {
			t.Fatalf("record %d is a tombstone: %v", n, record.Value == nil)
		}
		if p.latest[key] > int64(n) {
			continue
		}
		old := now.Sub(record.Timestamp) >= 10*time.Minute
		if tombstone {
			tombstones++
		}
		if err := p.gone(int64(n), int64(n)+1, now); (err == nil) != (tombstone && old) {
			t.Errorf("record %d, the latest of its key, a tombstone: %v, old: %v: %v", n, tombstone, old, err)
		}
	}
	if tombstones == 0 {
		t.Error("no tombstones")
	}
}

func TestRecordsAreWhatWasWritten(t *testing.T) {
	for _, topic := range []Topic{{}, {Compressible: true}, {Keys: 3}} {
		p, records, _ := written(t, topic)
		for _, record := range records {
			if err := p.check(record); err != nil {
				t.Error(err)
			}
		}
		whole := 0
		for records[whole].Value == nil {
			whole++
		}
		for name, test := range map[string]struct {
			says  string
			spoil func(r *kgo.Record)
		}{
			"another offset":   {"", func(r *kgo.Record) { r.Offset++ }},
			"never sent":       {"where 100 records were sent", func(r *kgo.Record) { r.Offset = 100 }},
			"another key":      {"has the key", func(r *kgo.Record) { r.Key = []byte("another") }},
			"no value":         {"tombstone", func(r *kgo.Record) { r.Value = nil }},
			"short":            {"bytes", func(r *kgo.Record) { r.Value = r.Value[:10] }},
			"a wrong byte":     {"wrong bytes", func(r *kgo.Record) { r.Value = append([]byte{}, r.Value...); r.Value[100] ^= 1 }},
			"an older time":    {"timestamp", func(r *kgo.Record) { r.Timestamp = r.Timestamp.Add(-time.Minute) }},
			"a younger time":   {"timestamp", func(r *kgo.Record) { r.Timestamp = r.Timestamp.Add(time.Minute) }},
			"a future topic's": {"topic 7", func(r *kgo.Record) { r.Value = p.payload.Value(7, 1, r.Offset, topic.Compressible) }},
		} {
			spoiled := *records[whole]
			test.spoil(&spoiled)
			if err := p.check(&spoiled); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: %v, want %q", name, err, test.says)
			}
		}
	}
}

func TestAcknowledgementsAreInOrder(t *testing.T) {
	p, _, now := written(t, Topic{})
	n, _ := p.next(now)
	for _, offset := range []int64{99, 101} {
		if p.ack(n, offset) == nil {
			t.Errorf("record %d is acknowledged with offset %d", n, offset)
		}
	}
	if p.ack(n+1, n+1) == nil {
		t.Error("a record before its predecessor")
	}
	if err := p.ack(n, n); err != nil {
		t.Error(err)
	}
}
