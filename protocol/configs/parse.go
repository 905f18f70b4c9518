package configs

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// ErrInvalid: a config has no such name, or its value is not allowed. The message
// says which and what is allowed: INVALID_CONFIG.
var ErrInvalid = errors.New("invalid config")

// ErrInvalidRequest is the kind of ErrInvalid to which Kafka's answer is INVALID_REQUEST.
var ErrInvalidRequest = errors.New("invalid config request")

// invalid makes an error of a message that is shown to Kafka users as it is.
type invalid struct{ message string }

func (e invalid) Error() string        { return e.message }
func (e invalid) Is(target error) bool { return target == ErrInvalid }

type invalidRequest struct{ invalid }

func (e invalidRequest) Is(target error) bool {
	return target == ErrInvalid || target == ErrInvalidRequest
}

func invalidf(format string, args ...any) error {
	return invalid{message: fmt.Sprintf(format, args...)}
}

func invalidRequestf(format string, args ...any) error {
	return invalidRequest{invalid{message: fmt.Sprintf(format, args...)}}
}

// Unlimited is the value of a duration or size in a [Topic] that sets no bound.
const Unlimited = math.MaxInt64

// Topic is what a topic's configs say, after defaults. Times are in ms.
type Topic struct {
	CleanupCompact bool
	CleanupDelete  bool
	// CompressionType is producer, uncompressed, gzip, snappy, lz4 or zstd.
	CompressionType string
	// CompressionLevel is that of CompressionType; 0 where it has none.
	CompressionLevel int
	// MaxMessageBytes bounds a record batch, with its header, as sent.
	MaxMessageBytes int32
	LogAppendTime   bool
	// TimestampBeforeMaxMs and TimestampAfterMaxMs bound how far a record's
	// timestamp may lie behind and ahead of the agent's clock; Unlimited or a distance.
	TimestampBeforeMaxMs int64
	TimestampAfterMaxMs  int64
	// RetentionMs and RetentionBytes are Unlimited where Kafka has -1.
	RetentionMs    int64
	RetentionBytes int64

	DeleteRetentionMs      int64
	MinCompactionLagMs     int64
	MaxCompactionLagMs     int64
	MinCleanableDirtyRatio float64
}

// TimestampBounds returns the earliest and latest timestamp (ms, inclusive)
// that a record may carry at the time now (ms).
func (t Topic) TimestampBounds(now int64) (earliest, latest int64) {
	earliest, latest = math.MinInt64, math.MaxInt64
	if d := t.TimestampBeforeMaxMs; d != Unlimited {
		earliest = now - d
	}
	if d := t.TimestampAfterMaxMs; d < math.MaxInt64-now {
		latest = now + d
	}
	return earliest, latest
}

// Codec returns Kafka's number of the codec in which batches are to be kept
// (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd); ok is false when each batch keeps its producer's.
func (t Topic) Codec() (codec int8, ok bool) {
	i := slices.Index([]string{"uncompressed", "gzip", "snappy", "lz4", "zstd"}, t.CompressionType)
	if i < 0 {
		return 0, false
	}
	return int8(i), true
}

// ValidateTopic checks the configs of a topic: each name and value, and that
// they don't contradict each other. Errors: ErrInvalid.
func ValidateTopic(topic map[string]string) error {
	_, err := ParseTopic(topic, DefaultBroker())
	return err
}

// ParseTopic returns what the configs of a topic say, with the broker's
// settings as defaults. Errors: ErrInvalid.
func ParseTopic(topic map[string]string, broker Broker) (Topic, error) {
	for _, name := range slices.Sorted(maps.Keys(topic)) {
		d := topicByName[name]
		if d == nil {
			return Topic{}, invalidf("Unknown topic config name: %s", name)
		}
		if _, err := d.Parse(topic[name]); err != nil {
			return Topic{}, invalid{err.Error()}
		}
	}
	v := values{definitions: topicByName, set: topic, broker: broker}
	t := Topic{
		CompressionType:        v.string("compression.type"),
		MaxMessageBytes:        int32(v.int("max.message.bytes")),
		LogAppendTime:          v.string("message.timestamp.type") == "LogAppendTime",
		TimestampBeforeMaxMs:   v.int("message.timestamp.before.max.ms"),
		TimestampAfterMaxMs:    v.int("message.timestamp.after.max.ms"),
		RetentionMs:            unlimited(v.int("retention.ms")),
		RetentionBytes:         unlimited(v.int("retention.bytes")),
		DeleteRetentionMs:      v.int("delete.retention.ms"),
		MinCompactionLagMs:     v.int("min.compaction.lag.ms"),
		MaxCompactionLagMs:     v.int("max.compaction.lag.ms"),
		MinCleanableDirtyRatio: v.float("min.cleanable.dirty.ratio"),
	}
	cleanup := SplitList(v.string("cleanup.policy"))
	t.CleanupCompact = slices.Contains(cleanup, "compact")
	t.CleanupDelete = slices.Contains(cleanup, "delete")
	switch t.CompressionType {
	case "gzip", "lz4", "zstd":
		t.CompressionLevel = int(v.int("compression." + t.CompressionType + ".level"))
	}
	if t.MinCompactionLagMs > t.MaxCompactionLagMs {
		return Topic{}, invalidf("conflict topic config setting %s (%d) > %s (%d)",
			"min.compaction.lag.ms", t.MinCompactionLagMs, "max.compaction.lag.ms", t.MaxCompactionLagMs)
	}
	return t, nil
}

// unlimited turns Kafka's -1 into a bound that is never reached.
func unlimited(n int64) int64 {
	if n < 0 {
		return Unlimited
	}
	return n
}

// values reads effective values. What it reads has been validated.
type values struct {
	definitions map[string]*Definition
	set         map[string]string
	broker      Broker
}

func (v values) string(name string) string {
	value, _ := effective(v.definitions[name], v.set, v.broker)
	return value
}

func (v values) int(name string) int64 {
	n, err := strconv.ParseInt(v.string(name), 10, 64)
	if err != nil {
		panic(fmt.Sprintf("config %s has no number: %v", name, err))
	}
	return n
}

func (v values) float(name string) float64 {
	f, err := strconv.ParseFloat(v.string(name), 64)
	if err != nil {
		panic(fmt.Sprintf("config %s has no number: %v", name, err))
	}
	return f
}

// effective returns the value that holds: the one set, else the first synonym
// set on the broker (in d's unit), else the default. ok is false for null.
func effective(d *Definition, set map[string]string, broker Broker) (value string, ok bool) {
	if raw, isSet := set[d.Name]; isSet {
		if canonical, err := d.Parse(raw); err == nil {
			return canonical, true
		}
	}
	for _, s := range d.Synonyms {
		if value, isSet := broker.settings[s.Name]; isSet {
			return s.convert(value), true
		}
	}
	return d.Default, !d.Nullable
}

// convert brings a broker config's valid value into the unit of the topic
// config. Negative values mean "no limit" in every unit.
func (s Synonym) convert(value string) string {
	if s.Scale == 0 {
		return value
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return value
	}
	return strconv.FormatInt(n*s.Scale, 10) // an int32 of hours in ms fits an int64
}
