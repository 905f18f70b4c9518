package configs

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafkaTopicDefaults is what `kafka-configs --describe --all` of a Kafka 4.2.0
// broker says of a topic on which nothing was set.
var kafkaTopicDefaults = map[string]string{
	"cleanup.policy": "delete", "compression.gzip.level": "-1", "compression.lz4.level": "9",
	"compression.type": "producer", "compression.zstd.level": "3", "delete.retention.ms": "86400000",
	"file.delete.delay.ms": "60000", "flush.messages": "9223372036854775807", "flush.ms": "9223372036854775807",
	"follower.replication.throttled.replicas": "", "index.interval.bytes": "4096",
	"leader.replication.throttled.replicas": "", "local.retention.bytes": "-2", "local.retention.ms": "-2",
	"max.compaction.lag.ms": "9223372036854775807", "max.message.bytes": "1048588",
	"message.timestamp.after.max.ms": "3600000", "message.timestamp.before.max.ms": "9223372036854775807",
	"message.timestamp.type": "CreateTime", "min.cleanable.dirty.ratio": "0.5", "min.compaction.lag.ms": "0",
	"min.insync.replicas": "1", "preallocate": "false", "remote.log.copy.disable": "false",
	"remote.log.delete.on.disable": "false", "remote.storage.enable": "false", "retention.bytes": "-1",
	"retention.ms": "604800000", "segment.bytes": "1073741824", "segment.index.bytes": "10485760",
	"segment.jitter.ms": "0", "segment.ms": "604800000", "unclean.leader.election.enable": "false",
}

func TestTopicDefaultsAreThoseOfKafka(t *testing.T) {
	entries := DescribeTopic(nil, DefaultBroker())
	if len(entries) != len(kafkaTopicDefaults) {
		t.Errorf("%d topic configs, Kafka has %d", len(entries), len(kafkaTopicDefaults))
	}
	for _, e := range entries {
		want, ok := kafkaTopicDefaults[e.Name]
		if !ok {
			t.Errorf("Kafka has no topic config %s", e.Name)
		} else if e.Value == nil || *e.Value != want {
			t.Errorf("%s is %v, want %q", e.Name, e.Value, want)
		}
		if e.Source != kmsg.ConfigSourceDefaultConfig {
			t.Errorf("%s comes from %v, want the default", e.Name, e.Source)
		}
	}
}

func TestDefinitionsAreWellFormed(t *testing.T) {
	for kind, definitions := range map[string][]Definition{
		"topic": TopicDefinitions(), "broker": BrokerDefinitions(), "group": GroupDefinitions(), "client metrics": ClientMetricsDefinitions(),
	} {
		if !slices.IsSortedFunc(definitions, func(a, b Definition) int { return strings.Compare(a.Name, b.Name) }) && kind != "broker" {
			t.Errorf("%s configs are not sorted by name", kind)
		}
		seen := map[string]bool{}
		for _, d := range definitions {
			if seen[d.Name] {
				t.Errorf("%s config %s is defined twice", kind, d.Name)
			}
			seen[d.Name] = true
			if d.Doc == "" {
				t.Errorf("%s config %s has no documentation", kind, d.Name)
			}
			if d.Nullable {
				if d.Default != "" {
					t.Errorf("%s config %s is nullable and has a default", kind, d.Name)
				}
			} else if canonical, err := d.Parse(d.Default); err != nil || canonical != d.Default {
				t.Errorf("%s config %s has the default %q, which parses to %q, %v", kind, d.Name, d.Default, canonical, err)
			}
			for _, s := range d.Synonyms {
				b := BrokerDefinition(s.Name)
				if b == nil {
					t.Errorf("%s config %s takes its default from %s, which is no broker config", kind, d.Name, s.Name)
					continue
				}
				if !b.Settable {
					t.Errorf("broker config %s sets a default of %s and can't be set", s.Name, d.Name)
				}
				if !b.Nullable && s.convert(b.Default) != d.Default {
					t.Errorf("%s is %s in %s, but %s in the broker config %s", d.Name, d.Default, kind, b.Default, s.Name)
				}
			}
		}
	}
}

func TestValidateTopic(t *testing.T) {
	for _, tc := range []struct {
		name, value string
		want        string // what the error says; "" for none
	}{
		{"nope", "1", "Unknown topic config name: nope"},
		{"retention.ms", "x", "Invalid value x for configuration retention.ms: Not a number of type LONG"},
		{"retention.ms", "", "Invalid value  for configuration retention.ms: Not a number of type LONG"},
		{"retention.ms", "-2", "Invalid value -2 for configuration retention.ms: Value must be at least -1"},
		{"retention.ms", " 5 ", ""},
		{"retention.ms", "9223372036854775808", "Not a number of type LONG"},
		{"max.message.bytes", "99999999999", "Not a number of type INT"},
		{"max.message.bytes", "-1", "Value must be at least 0"},
		{"cleanup.policy", "compact,foo", "Invalid value compact,foo for configuration cleanup.policy: String must be one of: compact, delete"},
		{"cleanup.policy", "", ""},
		{"cleanup.policy", "compact, delete", ""},
		{"cleanup.policy", "compact,compact", ""},
		{"compression.type", "brotli", "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"},
		{"compression.type", "GZIP", "String must be one of"},
		{"compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1"},
		{"compression.gzip.level", "10", "Value must be between 1 and 9 or equal to -1"},
		{"compression.gzip.level", "-1", ""},
		{"compression.lz4.level", "18", "Value must be no more than 17"},
		{"compression.zstd.level", "-131073", "Value must be at least -131072"},
		{"preallocate", "yes", "Expected value to be either true or false"},
		{"preallocate", "TRUE", ""},
		{"min.cleanable.dirty.ratio", "1.5", "Value must be no more than 1"},
		{"min.cleanable.dirty.ratio", "-0.1", "Value must be at least 0"},
		{"min.cleanable.dirty.ratio", "NaN", "Not a number of type DOUBLE"},
		{"min.cleanable.dirty.ratio", "0.30", ""},
		{"segment.bytes", "1", "Value must be at least 1048576"},
		{"message.timestamp.type", "createtime", "String must be one of: CreateTime, LogAppendTime"},
		{"leader.replication.throttled.replicas", "bogus", "must be the literal '*' or a list"},
		{"leader.replication.throttled.replicas", "0:1,1:2", ""},
		{"leader.replication.throttled.replicas", "*", ""},
		{"remote.storage.enable", "true", "Tiered Storage functionality is disabled in the broker"},
		{"local.retention.bytes", "-3", "Value must be at least -2"},
	} {
		t.Run(tc.name+"="+tc.value, func(t *testing.T) {
			err := ValidateTopic(map[string]string{tc.name: tc.value})
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("error %v, want none", err)
			case tc.want != "" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestValidateTopicRefusesContradiction(t *testing.T) {
	err := ValidateTopic(map[string]string{"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "5"})
	if want := "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestParseTopic(t *testing.T) {
	broker, err := ParseBroker(map[string]string{
		"log.retention.hours": "2", "message.max.bytes": "5000", "compression.type": "zstd", "log.cleanup.policy": "compact",
	})
	if err != nil {
		t.Fatal(err)
	}
	byBroker, err := ParseTopic(nil, broker)
	if err != nil {
		t.Fatal(err)
	}
	want := Topic{
		CleanupCompact: true, CompressionType: "zstd", CompressionLevel: 3, MaxMessageBytes: 5000,
		TimestampBeforeMaxMs: Unlimited, TimestampAfterMaxMs: 3600000, RetentionMs: 7200000, RetentionBytes: Unlimited,
		DeleteRetentionMs: 86400000, MaxCompactionLagMs: math.MaxInt64, MinCleanableDirtyRatio: 0.5,
	}
	if byBroker != want {
		t.Errorf("a topic without configs is\n%+v, want\n%+v", byBroker, want)
	}
	own, err := ParseTopic(map[string]string{
		"retention.ms": "-1", "cleanup.policy": "compact, delete", "compression.type": "gzip", "compression.gzip.level": "7",
		"message.timestamp.type": "LogAppendTime", "retention.bytes": "77",
	}, broker)
	if err != nil {
		t.Fatal(err)
	}
	want.CleanupDelete, want.RetentionMs, want.RetentionBytes = true, Unlimited, 77
	want.CompressionType, want.CompressionLevel, want.LogAppendTime = "gzip", 7, true
	if own != want {
		t.Errorf("a topic with configs is\n%+v, want\n%+v", own, want)
	}
}

func TestSmallerUnitsWin(t *testing.T) {
	settings := map[string]string{"log.retention.hours": "1"}
	for _, step := range []struct {
		name, value string
		wantMs      int64
	}{
		{"log.retention.hours", "1", 3600000},
		{"log.retention.minutes", "5", 300000},
		{"log.retention.ms", "7", 7},
		{"log.retention.ms", "-1", Unlimited},
	} {
		settings[step.name] = step.value
		b, err := ParseBroker(settings)
		if err != nil {
			t.Fatal(err)
		}
		if topic, err := ParseTopic(nil, b); err != nil || topic.RetentionMs != step.wantMs {
			t.Errorf("with %s=%s retention is %d ms, %v, want %d", step.name, step.value, topic.RetentionMs, err, step.wantMs)
		}
	}
}

func TestCodec(t *testing.T) {
	for name, want := range map[string]int8{"uncompressed": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4} {
		if codec, ok := (Topic{CompressionType: name}).Codec(); codec != want || !ok {
			t.Errorf("codec of %s is %d, %v, want %d", name, codec, ok, want)
		}
	}
	if _, ok := (Topic{CompressionType: "producer"}).Codec(); ok {
		t.Error("producer has a codec")
	}
}

func TestTimestampBounds(t *testing.T) {
	const now = 1_700_000_000_000
	for _, tc := range []struct {
		before, after    int64
		earliest, latest int64
	}{
		{Unlimited, Unlimited, math.MinInt64, math.MaxInt64},
		{1000, 2000, now - 1000, now + 2000},
		{0, 0, now, now},
		{math.MaxInt64 - 1, math.MaxInt64 - 1, now - math.MaxInt64 + 1, math.MaxInt64},
	} {
		topic := Topic{TimestampBeforeMaxMs: tc.before, TimestampAfterMaxMs: tc.after}
		if earliest, latest := topic.TimestampBounds(now); earliest != tc.earliest || latest != tc.latest {
			t.Errorf("bounds of -%d/+%d are %d to %d, want %d to %d", tc.before, tc.after, earliest, latest, tc.earliest, tc.latest)
		}
	}
}

func TestParseBroker(t *testing.T) {
	b := DefaultBroker()
	if b.NumPartitions != 1 || b.DefaultReplicationFactor != 1 || !b.AutoCreateTopics || !b.DeleteTopicEnable ||
		b.MessageMaxBytes != 1048588 || b.FetchMaxBytes != 57671680 || b.ConnectionsMaxIdleMs != 600000 ||
		b.MaxPartitionsPerTopic != 10000 || b.MaxRequestPartitions != 2000 || b.ProducerIDExpirationMs != 86400000 || b.TelemetryMaxBytes != 1<<20 {
		t.Errorf("defaults are %+v", b)
	}
	if b.GroupMinSessionTimeoutMs != 6000 || b.GroupMaxSessionTimeoutMs != 1800000 || b.GroupInitialRebalanceDelayMs != 3000 ||
		b.GroupMaxSize != math.MaxInt32 || b.GroupMaxMetadataBytes != 1<<20 ||
		b.GroupConsumerSessionTimeoutMs != 45000 || b.GroupConsumerHeartbeatIntervalMs != 5000 || b.GroupConsumerMaxSize != math.MaxInt32 ||
		!slices.Equal(b.GroupConsumerAssignors, []string{"uniform", "range"}) || b.GroupConsumerMigrationPolicy != "bidirectional" ||
		b.OffsetMetadataMaxBytes != 4096 || b.OffsetsRetentionMinutes != 10080 || b.OffsetsRetentionCheckIntervalMs != 600000 {
		t.Errorf("defaults of groups are %+v", b)
	}
	if b.TransactionMaxTimeoutMs != 900000 || b.TransactionAbortIntervalMs != 10000 ||
		b.TransactionalIDExpirationMs != 604800000 || b.TransactionalIDExpireIntervalMs != 3600000 {
		t.Errorf("defaults of transactions are %+v", b)
	}
	b, err := ParseBroker(map[string]string{"num.partitions": "12", "auto.create.topics.enable": "False", "delete.topic.enable": "false"})
	if err != nil || b.NumPartitions != 12 || b.AutoCreateTopics || b.DeleteTopicEnable {
		t.Errorf("settings give %+v, %v", b, err)
	}
	for name, tc := range map[string]struct {
		settings map[string]string
		want     string
	}{
		"unknown":       {map[string]string{"nope": "1"}, "Unknown broker config name: nope"},
		"fact":          {map[string]string{"node.id": "1"}, "Broker config node.id can't be set"},
		"value":         {map[string]string{"num.partitions": "0"}, "num.partitions: Value must be at least 1"},
		"number":        {map[string]string{"num.partitions": "many"}, "Not a number of type INT"},
		"contradiction": {map[string]string{"log.cleaner.max.compaction.lag.ms": "1", "log.cleaner.min.compaction.lag.ms": "2"}, "conflict"},
		"limit":         {map[string]string{"num.partitions": "10001"}, "wadi.max.partitions.per.topic (10000)"},

		"classic session":   {map[string]string{"group.max.session.timeout.ms": "5"}, "group.max.session.timeout.ms (5) must be greater than or equal to group.min.session.timeout.ms (6000)"},
		"short session":     {map[string]string{"group.consumer.session.timeout.ms": "5000"}, "group.consumer.session.timeout.ms (5000) must be greater than or equal to group.consumer.min.session.timeout.ms (45000)"},
		"long session":      {map[string]string{"group.consumer.session.timeout.ms": "60001"}, "group.consumer.max.session.timeout.ms (60000) must be"},
		"session bounds":    {map[string]string{"group.consumer.max.session.timeout.ms": "44999"}, "must be greater than or equal to group.consumer.min.session.timeout.ms"},
		"heartbeat bounds":  {map[string]string{"group.consumer.max.heartbeat.interval.ms": "4999"}, "must be greater than or equal to group.consumer.min.heartbeat.interval.ms"},
		"slow heartbeat":    {map[string]string{"group.consumer.heartbeat.interval.ms": "15001"}, "group.consumer.max.heartbeat.interval.ms (15000) must be"},
		"fast heartbeat":    {map[string]string{"group.consumer.heartbeat.interval.ms": "4999"}, "must be greater than or equal to group.consumer.min.heartbeat.interval.ms (5000)"},
		"beat over session": {map[string]string{"group.consumer.min.session.timeout.ms": "5000", "group.consumer.session.timeout.ms": "5000"}, "group.consumer.heartbeat.interval.ms (5000) must be less than group.consumer.session.timeout.ms (5000)"},
		"no assignor":       {map[string]string{"group.consumer.assignors": ","}, "group.consumer.assignors: Configuration can't be empty"},
		"other assignor":    {map[string]string{"group.consumer.assignors": "range,sticky"}, "String must be one of: uniform, range"},
		"little metadata":   {map[string]string{"wadi.group.max.metadata.bytes": "1023"}, "Value must be at least 1024"},
	} {
		if err := ValidateBroker(tc.settings); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
	}
}

func TestDescribeTopicNamesSources(t *testing.T) {
	broker, err := ParseBroker(map[string]string{"log.retention.hours": "2", "message.max.bytes": "5000"})
	if err != nil {
		t.Fatal(err)
	}
	entries := map[string]Entry{}
	for _, e := range DescribeTopic(map[string]string{"max.message.bytes": " 7 "}, broker) {
		entries[e.Name] = e
	}
	message := entries["max.message.bytes"]
	wantChain := []Link{
		{"max.message.bytes", "7", kmsg.ConfigSourceDynamicTopicConfig},
		{"message.max.bytes", "5000", kmsg.ConfigSourceStaticBrokerConfig},
		{"message.max.bytes", "1048588", kmsg.ConfigSourceDefaultConfig},
	}
	if *message.Value != "7" || message.Source != kmsg.ConfigSourceDynamicTopicConfig || !slices.Equal(message.Chain, wantChain) {
		t.Errorf("max.message.bytes is %s from %v, %v", *message.Value, message.Source, message.Chain)
	}
	retention := entries["retention.ms"]
	wantChain = []Link{{"log.retention.hours", "2", kmsg.ConfigSourceStaticBrokerConfig}}
	if *retention.Value != "7200000" || retention.Source != kmsg.ConfigSourceStaticBrokerConfig || !slices.Equal(retention.Chain, wantChain) {
		t.Errorf("retention.ms is %s from %v, %v", *retention.Value, retention.Source, retention.Chain)
	}
}

func TestDescribeBrokerShowsFactsAndSettings(t *testing.T) {
	broker, err := ParseBroker(map[string]string{"num.partitions": "4"})
	if err != nil {
		t.Fatal(err)
	}
	entries := map[string]Entry{}
	for _, e := range DescribeBroker(broker, map[string]string{"node.id": "3"}) {
		entries[e.Name] = e
	}
	for name, want := range map[string]string{
		"node.id": "3", "num.partitions": "4", "auto.create.topics.enable": "true", "log.retention.hours": "168", "min.insync.replicas": "1",
		"group.initial.rebalance.delay.ms": "3000", "inter.broker.protocol.version": "4.2", "default.replication.factor": "1",
	} {
		if e := entries[name]; e.Definition == nil || e.Value == nil || *e.Value != want {
			t.Errorf("%s is %+v, want %s", name, e, want)
		}
	}
	if e := entries["log.retention.ms"]; e.Value != nil {
		t.Errorf("log.retention.ms is %s, want null", *e.Value)
	}
	if e := entries["num.partitions"]; e.Source != kmsg.ConfigSourceStaticBrokerConfig || len(e.Chain) != 2 {
		t.Errorf("num.partitions comes from %v, %v", e.Source, e.Chain)
	}
}

func FuzzParseTopic(f *testing.F) {
	for name, value := range kafkaTopicDefaults {
		f.Add(name, value)
	}
	f.Add("cleanup.policy", ",,compact, ")
	f.Add("min.cleanable.dirty.ratio", "0x1p-2")
	f.Fuzz(func(t *testing.T, name, value string) {
		d := TopicDefinition(name)
		topic := map[string]string{name: value}
		if err := ValidateTopic(topic); err != nil {
			return
		}
		canonical, err := d.Parse(value)
		if err != nil {
			t.Fatalf("%s=%q is valid and does not parse: %v", name, value, err)
		}
		again, err := d.Parse(canonical)
		if err != nil || again != canonical {
			t.Fatalf("%s=%q is canonical as %q, which parses to %q, %v", name, value, canonical, again, err)
		}
		one, err := ParseTopic(topic, DefaultBroker())
		if err != nil {
			t.Fatal(err)
		}
		if other, err := ParseTopic(map[string]string{name: canonical}, DefaultBroker()); err != nil || one != other {
			t.Fatalf("%s=%q means %+v, its canonical form %+v, %v", name, value, one, other, err)
		}
	})
}
