package soak

import (
	"strconv"
	"time"
)

// Topic is a topic of the load. Without any limit it keeps everything.
type Topic struct {
	Name       string
	Partitions int32
	// Share is the topic's part of the rate, of the sum of all shares.
	Share float64
	// Retention and RetentionBytes are the configs retention.ms and retention.bytes, 0 for no limit.
	Retention      time.Duration
	RetentionBytes int64
	// Keys is the number of keys in each partition of a compacted topic; 0 for a topic that isn't.
	Keys int
	// DeleteRetention is the config delete.retention.ms of a compacted topic.
	DeleteRetention time.Duration
	// Compressible values shrink to about a half.
	Compressible bool
	// Configs are further ones.
	Configs map[string]string
}

// DefaultTopics have 1,000 partitions, of each kind some.
func DefaultTopics(retention time.Duration, retentionBytes int64) []Topic {
	return []Topic{
		{Name: "by-time", Partitions: 500, Share: 0.5, Retention: retention},
		{Name: "by-size", Partitions: 300, Share: 0.3, RetentionBytes: retentionBytes},
		{Name: "by-both", Partitions: 150, Share: 0.15, Retention: retention, RetentionBytes: retentionBytes, Compressible: true},
		{Name: "compacted", Partitions: 20, Share: 0.04, Keys: 500, DeleteRetention: retention, Configs: map[string]string{"min.cleanable.dirty.ratio": "0.3"}},
		{Name: "kept", Partitions: 30, Share: 0.01},
	}
}

// configs are the topic's as Kafka spells them.
func (t Topic) configs() map[string]*string {
	out := map[string]*string{}
	set := func(name, value string) { out[name] = &value }
	for name, value := range t.Configs {
		set(name, value)
	}
	switch {
	case t.Keys > 0:
		set("cleanup.policy", "compact")
		set("delete.retention.ms", strconv.FormatInt(t.DeleteRetention.Milliseconds(), 10))
	default:
		set("cleanup.policy", "delete")
		set("retention.ms", "-1")
		if t.Retention > 0 {
			set("retention.ms", strconv.FormatInt(t.Retention.Milliseconds(), 10))
		}
		if t.RetentionBytes > 0 {
			set("retention.bytes", strconv.FormatInt(t.RetentionBytes, 10))
		}
	}
	return out
}
