package configs

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

type settings = map[string]string

func broker(t *testing.T, static, defaults, own settings) Broker {
	t.Helper()
	b, err := ParseBroker(static)
	if err == nil {
		b, err = b.With(defaults, own)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTheMostParticularBrokerConfigHolds(t *testing.T) {
	static := settings{"message.max.bytes": "1000", "log.retention.hours": "1", "producer.id.expiration.ms": "5"}
	for name, tc := range map[string]struct {
		defaults, own settings
		maxBytes      int32
		retentionMs   int64
	}{
		"static":          {nil, nil, 1000, 3600000},
		"default":         {settings{"message.max.bytes": "2000", "log.retention.ms": "77"}, nil, 2000, 77},
		"own":             {nil, settings{"message.max.bytes": " 3000 "}, 3000, 3600000},
		"own and default": {settings{"message.max.bytes": "2000", "log.retention.ms": "77"}, settings{"message.max.bytes": "3000"}, 3000, 77},
	} {
		t.Run(name, func(t *testing.T) {
			b := broker(t, static, tc.defaults, tc.own)
			topic, err := ParseTopic(nil, b)
			if err != nil {
				t.Fatal(err)
			}
			if b.MessageMaxBytes != tc.maxBytes || topic.MaxMessageBytes != tc.maxBytes || topic.RetentionMs != tc.retentionMs || b.ProducerIDExpirationMs != 5 {
				t.Errorf("broker %+v, topic %+v", b, topic)
			}
			// What was set over the wire replaces what was set before.
			again, err := b.With(nil, nil)
			if err != nil || again.MessageMaxBytes != 1000 {
				t.Errorf("without dynamic configs message.max.bytes is %d, %v", again.MessageMaxBytes, err)
			}
		})
	}
}

func TestOnlyDynamicBrokerConfigsAreTaken(t *testing.T) {
	for name, tc := range map[string]struct {
		set  settings
		want string
	}{
		"static":        {settings{"num.partitions": "7", "fetch.max.bytes": "5000", "message.max.bytes": "7"}, "Cannot update these configs dynamically: fetch.max.bytes, num.partitions"},
		"other unit":    {settings{"log.retention.hours": "7"}, "Cannot update these configs dynamically: log.retention.hours"},
		"fact":          {settings{"listeners": "x"}, "Cannot update these configs dynamically: listeners"},
		"unknown":       {settings{"nope": "7"}, "Unknown broker config name: nope"},
		"job":           {settings{JobsPaused: "merge,mergers"}, "String must be one of: all, compact, "},
		"value":         {settings{"message.max.bytes": "-5"}, "Invalid value -5 for configuration message.max.bytes: Value must be at least 0"},
		"contradiction": {settings{"log.cleaner.min.compaction.lag.ms": "10", "log.cleaner.max.compaction.lag.ms": "5"}, "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)"},
	} {
		for _, sets := range [][2]settings{{tc.set, nil}, {nil, tc.set}} {
			_, err := DefaultBroker().With(sets[0], sets[1])
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: error %v, want %q", name, err, tc.want)
			}
		}
	}
}

// TestDynamicBrokerConfigsAreThoseOfKafka: those of its list that exist here, and our own.
func TestDynamicBrokerConfigsAreThoseOfKafka(t *testing.T) {
	want := []string{
		"compression.gzip.level", "compression.lz4.level", "compression.type", "compression.zstd.level",
		"follower.replication.throttled.rate", "leader.replication.throttled.rate", "log.cleaner.backoff.ms", "log.cleaner.delete.retention.ms",
		"log.cleaner.max.compaction.lag.ms", "log.cleaner.min.cleanable.ratio", "log.cleaner.min.compaction.lag.ms", "log.cleanup.policy",
		"log.flush.interval.messages", "log.flush.interval.ms", "log.index.interval.bytes", "log.index.size.max.bytes",
		"log.local.retention.bytes", "log.local.retention.ms", "log.message.timestamp.after.max.ms", "log.message.timestamp.before.max.ms",
		"log.message.timestamp.type", "log.preallocate", "log.retention.bytes", "log.retention.ms", "log.roll.jitter.ms", "log.roll.ms",
		"log.segment.bytes", "log.segment.delete.delay.ms", "max.connections.per.ip", "message.max.bytes", "min.insync.replicas", "producer.id.expiration.ms",
		"replica.alter.log.dirs.io.max.bytes.per.second", "unclean.leader.election.enable",
		JobsPaused,
	}
	var got []string
	for _, d := range BrokerDefinitions() {
		if d.Dynamic {
			got = append(got, d.Name)
		}
		if d.Dynamic && !d.Settable {
			t.Errorf("%s may be set over the wire and not on the agent", d.Name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestDescribeNamesAllLayers(t *testing.T) {
	b := broker(t, settings{"message.max.bytes": "1000"}, settings{"message.max.bytes": "2000", "log.retention.ms": "7"}, settings{"message.max.bytes": "3000"})
	chain := []Link{
		{"message.max.bytes", "3000", kmsg.ConfigSourceDynamicBrokerConfig},
		{"message.max.bytes", "2000", kmsg.ConfigSourceDynamicDefaultBrokerConfig},
		{"message.max.bytes", "1000", kmsg.ConfigSourceStaticBrokerConfig},
		{"message.max.bytes", "1048588", kmsg.ConfigSourceDefaultConfig},
	}
	find := func(entries []Entry, name string) Entry {
		i := slices.IndexFunc(entries, func(e Entry) bool { return e.Name == name })
		if i < 0 {
			t.Fatalf("no %s", name)
		}
		return entries[i]
	}
	if e := find(DescribeBroker(b, nil), "message.max.bytes"); *e.Value != "3000" || e.Source != chain[0].Source || !slices.Equal(e.Chain, chain) {
		t.Errorf("broker: %s from %v, %v", *e.Value, e.Source, e.Chain)
	}
	if e := find(DescribeTopic(nil, b), "max.message.bytes"); *e.Value != "3000" || e.Source != chain[0].Source || !slices.Equal(e.Chain, chain) {
		t.Errorf("topic: %s from %v, %v", *e.Value, e.Source, e.Chain)
	}
	if e := find(DescribeTopic(nil, b), "retention.ms"); *e.Value != "7" || e.Source != kmsg.ConfigSourceDynamicDefaultBrokerConfig {
		t.Errorf("topic: %s from %v, %v", *e.Value, e.Source, e.Chain)
	}
	defaults := DescribeBrokerDefaults(b)
	if len(defaults) != 2 || defaults[0].Name != "log.retention.ms" || *defaults[1].Value != "2000" || !slices.Equal(defaults[1].Chain, chain[1:2]) {
		t.Errorf("defaults: %+v", defaults)
	}
}

func TestParseGroup(t *testing.T) {
	b := broker(t, settings{"group.consumer.heartbeat.interval.ms": "6000", "group.consumer.max.session.timeout.ms": "90000"}, nil, nil)
	for name, tc := range map[string]struct {
		group settings
		want  Group
		err   string
	}{
		"defaults":      {nil, Group{45000, 6000}, ""},
		"own":           {settings{"consumer.session.timeout.ms": " 80000", "consumer.heartbeat.interval.ms": "5000"}, Group{80000, 5000}, ""},
		"other kinds":   {settings{"share.isolation.level": "read_committed", "streams.num.standby.replicas": "1"}, Group{45000, 6000}, ""},
		"unknown":       {settings{"nope": "1"}, Group{}, "Unknown group config name: nope"},
		"no number":     {settings{"consumer.session.timeout.ms": "x"}, Group{}, "Invalid value x for configuration consumer.session.timeout.ms: Not a number of type INT"},
		"zero":          {settings{"consumer.heartbeat.interval.ms": "0"}, Group{}, "Value must be at least 1"},
		"short session": {settings{"consumer.session.timeout.ms": "5"}, Group{}, "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms"},
		"long session":  {settings{"consumer.session.timeout.ms": "90001"}, Group{}, "consumer.session.timeout.ms must be less than or equal to group.consumer.max.session.timeout.ms"},
		"fast":          {settings{"consumer.heartbeat.interval.ms": "50"}, Group{}, "consumer.heartbeat.interval.ms must be greater than or equal to group.consumer.min.heartbeat.interval.ms"},
		"slow":          {settings{"consumer.heartbeat.interval.ms": "15001"}, Group{}, "consumer.heartbeat.interval.ms must be less than or equal to group.consumer.max.heartbeat.interval.ms"},
		"share":         {settings{"share.session.timeout.ms": "5000"}, Group{}, "share.session.timeout.ms must be greater than share.heartbeat.interval.ms"},
		"reset":         {settings{"share.auto.offset.reset": "by_duration:P1DT2H3.5S"}, Group{45000, 6000}, ""},
		"no duration":   {settings{"share.auto.offset.reset": "by_duration:P"}, Group{}, "must be either 'earliest', 'latest' or of the format"},
		"no reset":      {settings{"share.auto.offset.reset": "x"}, Group{}, "must be either 'earliest', 'latest' or of the format"},
	} {
		got, err := ParseGroup(tc.group, b)
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%s: %+v, %v, want %+v, %q", name, got, err, tc.want, tc.err)
		}
	}
}

func TestParseClientMetrics(t *testing.T) {
	m, err := ParseClientMetrics(settings{"interval.ms": "500", "metrics": "a., b.", "match": "client_id=x.*,client_software_name = Java"})
	if err != nil || m.IntervalMs != 500 || !slices.Equal(m.Metrics, []string{"a.", "b."}) || len(m.Match) != 2 {
		t.Fatalf("got %+v, %v", m, err)
	}
	for value, want := range map[string]bool{"x": true, "xyz": true, "yx": false} {
		if m.Match[ClientID].MatchString(value) != want {
			t.Errorf("client ID %q matches: %v", value, !want)
		}
	}
	if m, err := ParseClientMetrics(nil); err != nil || m.IntervalMs != 300000 || len(m.Metrics)+len(m.Match) != 0 {
		t.Errorf("defaults are %+v, %v", m, err)
	}
	for name, tc := range map[string]struct {
		set     settings
		want    string
		request bool // INVALID_REQUEST
	}{
		"unknown":    {settings{"nope": "1"}, "Unknown client metrics configuration: nope", true},
		"short":      {settings{"interval.ms": "99"}, "Invalid value 99 for interval.ms, interval must be between 100 and 3600000 (1 hour)", true},
		"long":       {settings{"interval.ms": "3600001"}, "interval must be between", true},
		"no number":  {settings{"interval.ms": "x"}, "Invalid value x for configuration interval.ms: Not a number of type INT", false},
		"selector":   {settings{"match": "foo=bar"}, "Illegal client matching pattern: foo=bar", false},
		"no pattern": {settings{"match": "client_id"}, "Illegal client matching pattern: client_id", false},
		"pattern":    {settings{"match": "client_id=["}, "Illegal client matching pattern: client_id=[", false},
		"two halves": {settings{"match": "client_id=a)|(?:b"}, "Illegal client matching pattern", false},
		"no text":    {settings{"metrics": "a\x00"}, "Not a text", false},
		"no UTF-8":   {settings{"metrics": "\xff"}, "Not a text", false},
	} {
		_, err := ParseClientMetrics(tc.set)
		if !errors.Is(err, ErrInvalid) || errors.Is(err, ErrInvalidRequest) != tc.request || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
	}
}

func FuzzParseClientMetrics(f *testing.F) {
	f.Add("500", "a.,b.", "client_id=x.*")
	f.Add("0", "*", "client_id=a)|(b")
	f.Fuzz(func(t *testing.T, interval, metrics, match string) {
		m, err := ParseClientMetrics(settings{"interval.ms": interval, "metrics": metrics, "match": match})
		switch {
		case err != nil && !errors.Is(err, ErrInvalid):
			t.Fatal(err)
		case err == nil && (m.IntervalMs < minInterval || m.IntervalMs > maxInterval):
			t.Fatalf("interval %d", m.IntervalMs)
		}
	})
}
