package configs

import (
	"slices"
	"strings"
)

// BrokerDefinitions returns the broker configs that agents have, by name: those
// that set the default of a topic or group config, those that act by
// themselves, and those that report what the agent is.
func BrokerDefinitions() []Definition { return slices.Clone(brokerDefinitions) }

// BrokerDefinition returns the broker config of that name, nil if there is none.
func BrokerDefinition(name string) *Definition { return brokerByName[name] }

var (
	brokerDefinitions = allBrokerDefinitions()
	brokerByName      = byName(brokerDefinitions)
)

// allBrokerDefinitions adds to the table below one broker config for each
// topic config's synonym that the table doesn't name itself: it has the topic
// config's type, default and allowed values. The first synonym of each topic
// config is dynamic, as in Kafka; those in other units are not.
func allBrokerDefinitions() []Definition {
	all := slices.Concat(ownBrokerDefinitions, groupBrokerDefinitions)
	known := byName(all)
	dynamic := map[string]bool{}
	for _, t := range topicDefinitions {
		for i, s := range t.Synonyms {
			dynamic[s.Name] = i == 0
			if known[s.Name] == nil {
				d := t
				d.Name, d.Synonyms, d.Settable = s.Name, nil, true
				d.Doc = "Default of the topic config " + t.Name + ". " + t.Doc
				all = append(all, d)
			}
		}
	}
	for i := range all {
		all[i].Dynamic = all[i].Dynamic || dynamic[all[i].Name]
	}
	slices.SortFunc(all, func(a, b Definition) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Names of the settings that [Broker] has a field for.
const (
	numPartitions            = "num.partitions"
	defaultReplicationFactor = "default.replication.factor"
	autoCreateTopicsEnable   = "auto.create.topics.enable"
	deleteTopicEnable        = "delete.topic.enable"
	messageMaxBytes          = "message.max.bytes"
	fetchMaxBytes            = "fetch.max.bytes"
	connectionsMaxIdleMs     = "connections.max.idle.ms"
	maxConnectionsPerIP      = "max.connections.per.ip"
	queuedMaxRequests        = "queued.max.requests"
	maxRequestPartitionSize  = "max.request.partition.size.limit"
	producerIDExpirationMs   = "producer.id.expiration.ms"

	offsetMetadataMaxBytes          = "offset.metadata.max.bytes"
	offsetsRetentionMinutes         = "offsets.retention.minutes"
	offsetsRetentionCheckIntervalMs = "offsets.retention.check.interval.ms"

	retentionCheckIntervalMs = "log.retention.check.interval.ms"
	cleanerBackoffMs         = "log.cleaner.backoff.ms"

	telemetryMaxBytes = "telemetry.max.bytes"

	transactionMaxTimeoutMs         = "transaction.max.timeout.ms"
	transactionAbortIntervalMs      = "transaction.abort.timed.out.transaction.cleanup.interval.ms"
	transactionalIDExpirationMs     = "transactional.id.expiration.ms"
	transactionalIDExpireIntervalMs = "transaction.remove.expired.transaction.cleanup.interval.ms"

	// MaxPartitionsPerTopic is Wadi's own: Kafka allows 10,000 new partitions
	// in a request and has no limit for a topic.
	MaxPartitionsPerTopic = "wadi.max.partitions.per.topic"
	// JobsPaused is Wadi's own: background work that agents are not to do for now.
	JobsPaused = "wadi.jobs.paused"
)

// JobNames are those that JobsPaused takes.
func JobNames() []string {
	return []string{"all", "compact", "delete", "merge", "orphans", "retention", "snapshot", "trim"}
}

var ownBrokerDefinitions = []Definition{
	// What the agent is; values come from its configuration.
	{Name: "advertised.listeners", Type: typeList, Nullable: true,
		Doc: "Where clients are told to connect."},
	{Name: "authorizer.class.name", Type: typeString,
		Doc: "Who decides what clients may do; empty when everyone may do everything."},
	{Name: "broker.id", Type: typeInt, Default: "-1",
		Doc: "The broker's ID."},
	{Name: "broker.rack", Type: typeString, Nullable: true,
		Doc: "The agent's zone."},
	{Name: "inter.broker.protocol.version", Type: typeString, Default: "4.2",
		Doc: "The Kafka version whose APIs are served, for tools that ask."},
	{Name: "follower.replication.throttled.rate", Type: typeLong, Default: maxLong, Settable: true, Dynamic: true, check: atLeast(0),
		Doc: "Bytes per second of throttled replication on the follower's side." + kept + "for there are no replicas."},
	{Name: "leader.replication.throttled.rate", Type: typeLong, Default: maxLong, Settable: true, Dynamic: true, check: atLeast(0),
		Doc: "Bytes per second of throttled replication on the leader's side." + kept + "for there are no replicas."},
	{Name: "listeners", Type: typeList, Default: "PLAINTEXT://localhost:9092",
		Doc: "Where the agent listens."},
	{Name: "log.dirs", Type: typeList, Nullable: true,
		Doc: "Where records are kept: the object store."},
	{Name: "max.connections", Type: typeInt, Default: maxInt, check: atLeast(0),
		Doc: "Open client connections at most."},
	{Name: "max.incremental.fetch.session.cache.slots", Type: typeInt, Default: "0", check: atLeast(0),
		Doc: "Incremental fetch sessions kept. Always 0: every fetch names its partitions, so that any agent can answer it."},
	{Name: "node.id", Type: typeInt, Default: "-1",
		Doc: "The agent's node ID, which clients know as broker ID."},
	{Name: "process.roles", Type: typeList, Default: "broker,controller",
		Doc: "What the agent does; every agent takes every request."},
	{Name: "replica.alter.log.dirs.io.max.bytes.per.second", Type: typeLong, Default: maxLong, Settable: true, Dynamic: true, check: atLeast(0),
		Doc: "Bytes per second of moves between log directories." + kept + "for there is one."},
	{Name: "sasl.enabled.mechanisms", Type: typeList,
		Doc: "SASL mechanisms by which clients may log in; empty without authentication."},
	{Name: "socket.request.max.bytes", Type: typeInt, Default: "104857600", check: atLeast(1),
		Doc: "Largest request accepted, in bytes."},

	// What an operator may set.
	{Name: autoCreateTopicsEnable, Type: typeBool, Default: "true", Settable: true,
		Doc: "Whether a client that asks for a topic's metadata creates the topic when there is none."},
	{Name: connectionsMaxIdleMs, Type: typeLong, Default: "600000", Settable: true,
		Doc: "Time after which a connection without a request is closed."},
	{Name: defaultReplicationFactor, Type: typeInt, Default: "1", Settable: true, check: between(1, 32767),
		Doc: "Replication factor of topics created without one." + kept + "for the object store replicates: every topic is shown with one replica."},
	{Name: deleteTopicEnable, Type: typeBool, Default: "true", Settable: true,
		Doc: "Whether topics may be deleted."},
	{Name: fetchMaxBytes, Type: typeInt, Default: "57671680", Settable: true, check: atLeast(1024),
		Doc: "Bytes in the answer to a fetch request at most, whatever the client allows; a first batch above it is sent all the same."},
	{Name: cleanerBackoffMs, Type: typeLong, Default: "15000", Settable: true, Dynamic: true, check: atLeast(0),
		Doc: "Time between two looks for partitions to compact, once none is due."},
	{Name: retentionCheckIntervalMs, Type: typeLong, Default: "300000", Settable: true, check: atLeast(1),
		Doc: "Time between two looks for records that retention drops."},
	{Name: "log.flush.interval.ms", Type: typeLong, Nullable: true, Settable: true, check: atLeast(0),
		Doc: "Default of the topic config flush.ms." + kept + "for every acknowledged record is durable."},
	{Name: "log.retention.hours", Type: typeInt, Default: "168", Settable: true,
		Doc: "Default of the topic config retention.ms, in hours; log.retention.minutes and log.retention.ms win over it."},
	{Name: "log.retention.minutes", Type: typeInt, Nullable: true, Settable: true,
		Doc: "Default of the topic config retention.ms, in minutes; log.retention.ms wins over it."},
	{Name: "log.retention.ms", Type: typeLong, Nullable: true, Settable: true,
		Doc: "Default of the topic config retention.ms; -1 is no limit."},
	{Name: "log.roll.hours", Type: typeInt, Default: "168", Settable: true, check: atLeast(1),
		Doc: "Default of the topic config segment.ms, in hours." + kept + "for there are no segments."},
	{Name: "log.roll.ms", Type: typeLong, Nullable: true, Settable: true, check: atLeast(1),
		Doc: "Default of the topic config segment.ms." + kept + "for there are no segments."},
	{Name: "log.roll.jitter.hours", Type: typeInt, Default: "0", Settable: true, check: atLeast(0),
		Doc: "Default of the topic config segment.jitter.ms, in hours." + kept + "for there are no segments."},
	{Name: "log.roll.jitter.ms", Type: typeLong, Nullable: true, Settable: true, check: atLeast(0),
		Doc: "Default of the topic config segment.jitter.ms." + kept + "for there are no segments."},
	{Name: maxConnectionsPerIP, Type: typeInt, Default: maxInt, Settable: true, Dynamic: true, check: atLeast(1),
		Doc: "Open client connections from one address at most; behind a load balancer all may have its address."},
	{Name: maxRequestPartitionSize, Type: typeInt, Default: "2000", Settable: true, check: atLeast(1),
		Doc: "Partitions in one answer of DescribeTopicPartitions at most."},
	{Name: numPartitions, Type: typeInt, Default: "1", Settable: true, check: atLeast(1),
		Doc: "Partitions of topics created without a number."},
	{Name: offsetMetadataMaxBytes, Type: typeInt, Default: "4096", Settable: true, check: atLeast(0),
		Doc: "Size of the text that a consumer may store with a committed offset at most."},
	{Name: offsetsRetentionCheckIntervalMs, Type: typeLong, Default: "600000", Settable: true, check: atLeast(1),
		Doc: "Time between two looks for committed offsets that expired."},
	{Name: offsetsRetentionMinutes, Type: typeInt, Default: "10080", Settable: true, check: atLeast(1),
		Doc: "Time for which committed offsets are kept after their group became empty or left the topic."},
	{Name: producerIDExpirationMs, Type: typeInt, Default: "86400000", Settable: true, Dynamic: true, check: atLeast(1),
		Doc: "Time without a write after which a partition forgets an idempotent producer."},
	{Name: queuedMaxRequests, Type: typeInt, Default: "500", Settable: true, check: atLeast(1),
		Doc: "Requests of all connections at most that are under way behind another one of their connection. Produce requests count by their bytes instead, against --memory-bytes."},
	{Name: telemetryMaxBytes, Type: typeInt, Default: "1048576", Settable: true, check: atLeast(1),
		Doc: "Bytes of metrics, as sent, that a client may push at once."},
	{Name: transactionAbortIntervalMs, Type: typeInt, Default: "10000", Settable: true, check: atLeast(1),
		Doc: "Time between two looks for open transactions whose timeout has passed."},
	{Name: transactionMaxTimeoutMs, Type: typeInt, Default: "900000", Settable: true, check: atLeast(1),
		Doc: "Longest transaction timeout that a producer may ask for."},
	{Name: transactionalIDExpireIntervalMs, Type: typeInt, Default: "3600000", Settable: true, check: atLeast(1),
		Doc: "Time between two looks for transactional IDs that nobody uses any more."},
	{Name: transactionalIDExpirationMs, Type: typeInt, Default: "604800000", Settable: true, check: atLeast(1),
		Doc: "Time without use after which a transactional ID is forgotten."},
	{Name: JobsPaused, Type: typeList, Settable: true, Dynamic: true, check: eachOf(JobNames()...),
		Doc: "Background work that agents are not to do: names of jobs, or all."},
	{Name: MaxPartitionsPerTopic, Type: typeInt, Default: "10000", Settable: true, check: atLeast(1),
		Doc: "Partitions that a topic may have at most, and that one request may create."},
}
