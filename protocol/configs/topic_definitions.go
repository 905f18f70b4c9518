package configs

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	typeBool   = kmsg.ConfigTypeBoolean
	typeString = kmsg.ConfigTypeString
	typeShort  = kmsg.ConfigTypeShort
	typeInt    = kmsg.ConfigTypeInt
	typeLong   = kmsg.ConfigTypeLong
	typeDouble = kmsg.ConfigTypeDouble
	typeList   = kmsg.ConfigTypeList

	maxLong = "9223372036854775807"
	maxInt  = "2147483647"
)

// TopicDefinitions returns all topic configs of Kafka 4.2, by name.
func TopicDefinitions() []Definition { return slices.Clone(topicDefinitions) }

// TopicDefinition returns the topic config of that name, nil if there is none.
func TopicDefinition(name string) *Definition { return topicByName[name] }

var topicByName = byName(topicDefinitions)

func from(names ...string) []Synonym {
	synonyms := make([]Synonym, len(names))
	for i, name := range names {
		synonyms[i].Name = name
	}
	return synonyms
}

const (
	hour   = 60 * minute
	minute = 60 * 1000
)

// kept marks configs that describe what Wadi doesn't have: local files,
// segments, replicas.
const kept = " Kept and shown for tools; it has no effect here, "

var topicDefinitions = []Definition{
	{Name: "cleanup.policy", Type: typeList, Default: "delete", Synonyms: from("log.cleanup.policy"), check: eachOf("compact", "delete"),
		Doc: "What becomes of old records: \"delete\" drops those beyond retention.ms or retention.bytes, \"compact\" keeps the latest record of each key, both together do both. The empty list keeps all records for ever."},
	{Name: "compression.gzip.level", Type: typeInt, Default: "-1", Synonyms: from("compression.gzip.level"), check: gzipLevel,
		Doc: "Level of compression when compression.type is gzip: 1 (fastest) to 9 (smallest), or -1 for gzip's own default."},
	{Name: "compression.lz4.level", Type: typeInt, Default: "9", Synonyms: from("compression.lz4.level"), check: between(1, 17),
		Doc: "Level of compression when compression.type is lz4: 1 (fastest) to 17 (smallest)."},
	{Name: "compression.type", Type: typeString, Default: "producer", Synonyms: from("compression.type"), check: compressionType,
		Doc: "Codec in which record batches are kept. \"producer\" leaves each batch as its producer sent it, \"uncompressed\" decompresses it, gzip, snappy, lz4 and zstd compress it anew where it comes in another codec."},
	{Name: "compression.zstd.level", Type: typeInt, Default: "3", Synonyms: from("compression.zstd.level"), check: between(-131072, 22),
		Doc: "Level of compression when compression.type is zstd: -131072 (fastest) to 22 (smallest)."},
	{Name: "delete.retention.ms", Type: typeLong, Default: "86400000", Synonyms: from("log.cleaner.delete.retention.ms"), check: atLeast(0),
		Doc: "How long compaction keeps a tombstone (a record with a null value), so that a consumer reading from the start still sees the deletion."},
	{Name: "file.delete.delay.ms", Type: typeLong, Default: "60000", Synonyms: from("log.segment.delete.delay.ms"), check: atLeast(0),
		Doc: "Time to wait before a log file is deleted." + kept + "for data files have a grace period of their own."},
	{Name: "flush.messages", Type: typeLong, Default: maxLong, Synonyms: from("log.flush.interval.messages"), check: atLeast(1),
		Doc: "Number of records after which a log is forced to disk." + kept + "for every acknowledged record is durable."},
	{Name: "flush.ms", Type: typeLong, Default: maxLong, Synonyms: from("log.flush.interval.ms"), check: atLeast(0),
		Doc: "Time after which a log is forced to disk." + kept + "for every acknowledged record is durable."},
	{Name: "follower.replication.throttled.replicas", Type: typeList, check: throttledReplicas,
		Doc: "Replicas whose replication is throttled on the follower's side, as partition:broker pairs or *." + kept + "for there are no replicas."},
	{Name: "index.interval.bytes", Type: typeInt, Default: "4096", Synonyms: from("log.index.interval.bytes"), check: atLeast(0),
		Doc: "Bytes between two entries of a segment's index." + kept + "for there are no segments."},
	{Name: "leader.replication.throttled.replicas", Type: typeList, check: throttledReplicas,
		Doc: "Replicas whose replication is throttled on the leader's side, as partition:broker pairs or *." + kept + "for there are no replicas."},
	{Name: "local.retention.bytes", Type: typeLong, Default: "-2", Synonyms: from("log.local.retention.bytes"), check: atLeast(-2),
		Doc: "Size to which a partition's local log may grow with tiered storage; -2 means retention.bytes." + kept + "for all records are in the object store."},
	{Name: "local.retention.ms", Type: typeLong, Default: "-2", Synonyms: from("log.local.retention.ms"), check: atLeast(-2),
		Doc: "Time for which a local segment is kept with tiered storage; -2 means retention.ms." + kept + "for all records are in the object store."},
	{Name: "max.compaction.lag.ms", Type: typeLong, Default: maxLong, Synonyms: from("log.cleaner.max.compaction.lag.ms"), check: atLeast(1),
		Doc: "Longest time that a record of a compacted topic may wait for compaction."},
	{Name: "max.message.bytes", Type: typeInt, Default: "1048588", Synonyms: from("message.max.bytes"), check: atLeast(0),
		Doc: "Largest record batch accepted, in bytes as sent (compressed, with its header)."},
	{Name: "message.timestamp.after.max.ms", Type: typeLong, Default: "3600000", Synonyms: from("log.message.timestamp.after.max.ms"), check: atLeast(0),
		Doc: "How far a record's timestamp may lie ahead of the agent's clock; a record beyond is refused. Not applied with message.timestamp.type LogAppendTime."},
	{Name: "message.timestamp.before.max.ms", Type: typeLong, Default: maxLong, Synonyms: from("log.message.timestamp.before.max.ms"), check: atLeast(0),
		Doc: "How far a record's timestamp may lie behind the agent's clock; a record beyond is refused. Not applied with message.timestamp.type LogAppendTime."},
	{Name: "message.timestamp.type", Type: typeString, Default: "CreateTime", Synonyms: from("log.message.timestamp.type"), check: oneOf("CreateTime", "LogAppendTime"),
		Doc: "Whether records keep the timestamp that their producer gave (CreateTime) or get the time at which the agent took them (LogAppendTime)."},
	{Name: "min.cleanable.dirty.ratio", Type: typeDouble, Default: "0.5", Synonyms: from("log.cleaner.min.cleanable.ratio"), check: ratio,
		Doc: "Share of a partition that may be uncompacted before it is compacted: lower wastes less space, higher costs less work."},
	{Name: "min.compaction.lag.ms", Type: typeLong, Default: "0", Synonyms: from("log.cleaner.min.compaction.lag.ms"), check: atLeast(0),
		Doc: "Shortest time that a record of a compacted topic stays uncompacted."},
	{Name: "min.insync.replicas", Type: typeInt, Default: "1", Synonyms: from("min.insync.replicas"), check: atLeast(1),
		Doc: "Replicas that must have a record before it is acknowledged." + kept + "for the object store replicates, and every acknowledged record is durable."},
	{Name: "preallocate", Type: typeBool, Default: "false", Synonyms: from("log.preallocate"),
		Doc: "Whether a segment's file is allocated when it is made." + kept + "for there are no segments."},
	{Name: "remote.log.copy.disable", Type: typeBool, Default: "false",
		Doc: "Whether tiered storage takes no more segments." + kept + "for all records are in the object store."},
	{Name: "remote.log.delete.on.disable", Type: typeBool, Default: "false",
		Doc: "Whether tiered segments are deleted when tiered storage is switched off." + kept + "for all records are in the object store."},
	{Name: "remote.storage.enable", Type: typeBool, Default: "false", check: noTieredStorage,
		Doc: "Whether old segments move to tiered storage. Only false is accepted: all records are in the object store from the first moment."},
	{Name: "retention.bytes", Type: typeLong, Default: "-1", Synonyms: from("log.retention.bytes"),
		Doc: "Size of a partition beyond which its oldest records are dropped when cleanup.policy has delete; -1 is no limit."},
	{Name: "retention.ms", Type: typeLong, Default: "604800000", check: atLeast(-1),
		Synonyms: []Synonym{{Name: "log.retention.ms"}, {Name: "log.retention.minutes", Scale: minute}, {Name: "log.retention.hours", Scale: hour}},
		Doc:      "Age beyond which records are dropped when cleanup.policy has delete; -1 is no limit."},
	{Name: "segment.bytes", Type: typeInt, Default: "1073741824", Synonyms: from("log.segment.bytes"), check: atLeast(1 << 20),
		Doc: "Size of a log segment." + kept + "for records of many partitions share a data file."},
	{Name: "segment.index.bytes", Type: typeInt, Default: "10485760", Synonyms: from("log.index.size.max.bytes"), check: atLeast(4),
		Doc: "Size of a segment's index." + kept + "for there are no segments."},
	{Name: "segment.jitter.ms", Type: typeLong, Default: "0", check: atLeast(0),
		Synonyms: []Synonym{{Name: "log.roll.jitter.ms"}, {Name: "log.roll.jitter.hours", Scale: hour}},
		Doc:      "Random time taken off segment.ms." + kept + "for there are no segments."},
	{Name: "segment.ms", Type: typeLong, Default: "604800000", check: atLeast(1),
		Synonyms: []Synonym{{Name: "log.roll.ms"}, {Name: "log.roll.hours", Scale: hour}},
		Doc:      "Age at which a log segment is closed." + kept + "for there are no segments."},
	{Name: "unclean.leader.election.enable", Type: typeBool, Default: "false", Synonyms: from("unclean.leader.election.enable"),
		Doc: "Whether a replica out of sync may become leader." + kept + "for there are no replicas and no acknowledged record is ever lost with a leader."},
}

var compressionType = oneOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer")

func noTieredStorage(value string) string {
	if value == "true" {
		return "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
	}
	return ""
}
