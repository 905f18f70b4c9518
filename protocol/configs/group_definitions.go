package configs

import "slices"

// GroupDefinitions returns the configs of consumer, share and streams groups,
// by name (KIP-848, KIP-932, KIP-1071).
func GroupDefinitions() []Definition { return slices.Clone(groupDefinitions) }

// ClientMetricsDefinitions returns the configs of a client metrics
// subscription, by name (KIP-714).
func ClientMetricsDefinitions() []Definition { return slices.Clone(clientMetricsDefinitions) }

var groupDefinitions = []Definition{
	{Name: "consumer.heartbeat.interval.ms", Type: typeInt, Default: "5000", Synonyms: from("group.consumer.heartbeat.interval.ms"), check: atLeast(1),
		Doc: "Time between two heartbeats of a member of a consumer group."},
	{Name: "consumer.session.timeout.ms", Type: typeInt, Default: "45000", Synonyms: from("group.consumer.session.timeout.ms"), check: atLeast(1),
		Doc: "Time without a heartbeat after which a member of a consumer group counts as gone."},
	{Name: "share.auto.offset.reset", Type: typeString, Default: "latest", check: offsetReset,
		Doc: "Where a share group starts to read a partition: latest, earliest, or by_duration: and an ISO 8601 duration."},
	{Name: "share.heartbeat.interval.ms", Type: typeInt, Default: "5000", Synonyms: from("group.share.heartbeat.interval.ms"), check: atLeast(1),
		Doc: "Time between two heartbeats of a member of a share group."},
	{Name: "share.isolation.level", Type: typeString, Default: "read_uncommitted", check: oneOf("read_committed", "read_uncommitted"),
		Doc: "Whether a share group is given records of transactions that are not committed."},
	{Name: "share.record.lock.duration.ms", Type: typeInt, Default: "30000", Synonyms: from("group.share.record.lock.duration.ms"), check: between(1000, 3600000),
		Doc: "Time for which a record given to a member of a share group is kept from the others."},
	{Name: "share.session.timeout.ms", Type: typeInt, Default: "45000", Synonyms: from("group.share.session.timeout.ms"), check: atLeast(1),
		Doc: "Time without a heartbeat after which a member of a share group counts as gone."},
	{Name: "streams.heartbeat.interval.ms", Type: typeInt, Default: "5000", Synonyms: from("group.streams.heartbeat.interval.ms"), check: atLeast(1),
		Doc: "Time between two heartbeats of a member of a streams group."},
	{Name: "streams.initial.rebalance.delay.ms", Type: typeInt, Default: "3000", Synonyms: from("group.streams.initial.rebalance.delay.ms"), check: atLeast(0),
		Doc: "Time that a new streams group waits for more members before its first rebalance."},
	{Name: "streams.num.standby.replicas", Type: typeInt, Default: "0", Synonyms: from("group.streams.num.standby.replicas"), check: atLeast(0),
		Doc: "Standby copies of each task of a streams group."},
	{Name: "streams.session.timeout.ms", Type: typeInt, Default: "45000", Synonyms: from("group.streams.session.timeout.ms"), check: atLeast(1),
		Doc: "Time without a heartbeat after which a member of a streams group counts as gone."},
}

var clientMetricsDefinitions = []Definition{
	{Name: "interval.ms", Type: typeInt, Default: "300000",
		Doc: "Time between two reports of a client's metrics."},
	{Name: "match", Type: typeList,
		Doc: "Which clients the subscription is for, as selector=pattern, where all must match; the selectors are client_instance_id, client_id, client_software_name, client_software_version, client_source_address and client_source_port, the patterns regular expressions for the whole value. Empty is all clients."},
	{Name: "metrics", Type: typeList,
		Doc: "Prefixes of the names of the metrics to report; * is all, empty is none."},
}

// Names of the settings of groups that [Broker] has a field for.
const (
	groupMinSessionTimeoutMs         = "group.min.session.timeout.ms"
	groupMaxSessionTimeoutMs         = "group.max.session.timeout.ms"
	groupInitialRebalanceDelayMs     = "group.initial.rebalance.delay.ms"
	groupMaxSize                     = "group.max.size"
	groupConsumerSessionTimeoutMs    = "group.consumer.session.timeout.ms"
	groupConsumerHeartbeatIntervalMs = "group.consumer.heartbeat.interval.ms"
	groupConsumerMaxSize             = "group.consumer.max.size"
	groupConsumerAssignors           = "group.consumer.assignors"
	groupConsumerMigrationPolicy     = "group.consumer.migration.policy"
	groupRebalanceProtocols          = "group.coordinator.rebalance.protocols"
	// groupMaxMetadataBytes is Wadi's own: Kafka bounds a group by the largest
	// record that its offsets topic takes.
	groupMaxMetadataBytes = "wadi.group.max.metadata.bytes"
)

// groupBrokerDefinitions set the group configs' defaults and bounds.
var groupBrokerDefinitions = []Definition{
	groupInt(groupConsumerHeartbeatIntervalMs, "5000", "Default of the group config consumer.heartbeat.interval.ms."),
	groupInt("group.consumer.max.heartbeat.interval.ms", "15000", "Longest heartbeat interval of consumer groups."),
	groupInt("group.consumer.max.session.timeout.ms", "60000", "Longest session timeout of consumer groups."),
	groupInt(groupConsumerMaxSize, maxInt, "Members of a consumer group at most."),
	groupInt("group.consumer.min.heartbeat.interval.ms", "5000", "Shortest heartbeat interval of consumer groups."),
	groupInt("group.consumer.min.session.timeout.ms", "45000", "Shortest session timeout of consumer groups."),
	groupInt(groupConsumerSessionTimeoutMs, "45000", "Default of the group config consumer.session.timeout.ms."),
	{Name: groupConsumerAssignors, Type: typeList, Default: "uniform,range", Settable: true, check: someOf("uniform", "range"),
		Doc: "Assignors that consumer groups may choose from; the first is for those that don't choose."},
	{Name: groupConsumerMigrationPolicy, Type: typeString, Default: "bidirectional", Settable: true, check: oneOf("disabled", "downgrade", "upgrade", "bidirectional"),
		Doc: "Whether a group with members may change from the classic to the consumer protocol (upgrade) and back (downgrade)."},
	{Name: groupRebalanceProtocols, Type: typeList, Default: "classic,consumer", Settable: true, check: eachOf("classic", "consumer", "share", "streams"),
		Doc: "Group protocols that are enabled."},
	{Name: groupInitialRebalanceDelayMs, Type: typeInt, Default: "3000", Settable: true, check: atLeast(0),
		Doc: "Time that a new classic group waits for more members before its first rebalance."},
	{Name: groupMaxSessionTimeoutMs, Type: typeInt, Default: "1800000", Settable: true, check: atLeast(1),
		Doc: "Longest session timeout that a member of a classic group may ask for."},
	groupInt(groupMaxSize, maxInt, "Members of a classic group at most."),
	{Name: groupMinSessionTimeoutMs, Type: typeInt, Default: "6000", Settable: true, check: atLeast(0),
		Doc: "Shortest session timeout that a member of a classic group may ask for."},
	groupInt("group.share.heartbeat.interval.ms", "5000", "Default of the group config share.heartbeat.interval.ms."),
	groupInt("group.share.session.timeout.ms", "45000", "Default of the group config share.session.timeout.ms."),
	{Name: "group.share.record.lock.duration.ms", Type: typeInt, Default: "30000", Settable: true, check: between(1000, 3600000),
		Doc: "Default of the group config share.record.lock.duration.ms."},
	groupInt("group.streams.heartbeat.interval.ms", "5000", "Default of the group config streams.heartbeat.interval.ms."),
	{Name: "group.streams.initial.rebalance.delay.ms", Type: typeInt, Default: "3000", Settable: true, check: atLeast(0),
		Doc: "Default of the group config streams.initial.rebalance.delay.ms."},
	{Name: "group.streams.num.standby.replicas", Type: typeInt, Default: "0", Settable: true, check: atLeast(0),
		Doc: "Default of the group config streams.num.standby.replicas."},
	groupInt("group.streams.session.timeout.ms", "45000", "Default of the group config streams.session.timeout.ms."),
	{Name: groupMaxMetadataBytes, Type: typeInt, Default: "1048576", Settable: true, check: atLeast(1024),
		Doc: "Bytes that one member may store in its group at most: subscription, user data, assignment."},
}

// groupInt is a settable INT of at least 1.
func groupInt(name, value, doc string) Definition {
	return Definition{Name: name, Type: typeInt, Default: value, Settable: true, Doc: doc, check: atLeast(1)}
}
