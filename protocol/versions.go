package protocol

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// keyApiVersions is the one key that headers treat differently.
const keyApiVersions = 18

// VersionRange is one API of the broker and the versions that it is served in.
type VersionRange struct {
	Key int16
	// Min and Max are served, both inclusive.
	Min, Max int16
	// Advertised is the minimum that ApiVersions tells clients. It differs from
	// Min for Produce alone: librdkafka (2.0, for one) takes a broker that does not
	// serve Produce from version 0 for one without gzip, snappy and lz4, and sends
	// uncompressed (KAFKA-18659; Kafka 4 does as we do). Whoever really asks
	// below Min gets UNSUPPORTED_VERSION.
	Advertised int16
	Name       string
}

// api is a row of the table: the range and the body's shape, by which requests
// are checked before they are decoded.
type api struct {
	VersionRange
	body shape
}

// table holds the APIs served, by key: the only place with their versions. A
// new API is a row here, its shape in shapes.go, and a handler.
var table = []api{
	{VersionRange{Key: 0, Min: 3, Max: 13, Advertised: 0, Name: "Produce"}, produceShape},
	{VersionRange{Key: 1, Min: 4, Max: 18, Advertised: 4, Name: "Fetch"}, fetchShape},
	{VersionRange{Key: 2, Min: 1, Max: 11, Advertised: 1, Name: "ListOffsets"}, listOffsetsShape},
	{VersionRange{Key: 3, Min: 0, Max: 13, Advertised: 0, Name: "Metadata"}, metadataShape},
	{VersionRange{Key: 8, Min: 2, Max: 10, Advertised: 2, Name: "OffsetCommit"}, offsetCommitShape},
	{VersionRange{Key: 9, Min: 1, Max: 10, Advertised: 1, Name: "OffsetFetch"}, offsetFetchShape},
	{VersionRange{Key: 10, Min: 0, Max: 6, Advertised: 0, Name: "FindCoordinator"}, findCoordinatorShape},
	{VersionRange{Key: 11, Min: 0, Max: 9, Advertised: 0, Name: "JoinGroup"}, joinGroupShape},
	{VersionRange{Key: 12, Min: 0, Max: 4, Advertised: 0, Name: "Heartbeat"}, heartbeatShape},
	{VersionRange{Key: 13, Min: 0, Max: 5, Advertised: 0, Name: "LeaveGroup"}, leaveGroupShape},
	{VersionRange{Key: 14, Min: 0, Max: 5, Advertised: 0, Name: "SyncGroup"}, syncGroupShape},
	{VersionRange{Key: 15, Min: 0, Max: 6, Advertised: 0, Name: "DescribeGroups"}, describeGroupsShape},
	{VersionRange{Key: 16, Min: 0, Max: 5, Advertised: 0, Name: "ListGroups"}, listGroupsShape},
	{VersionRange{Key: keyApiVersions, Min: 0, Max: 4, Advertised: 0, Name: "ApiVersions"}, apiVersionsShape},
	{VersionRange{Key: 19, Min: 2, Max: 7, Advertised: 2, Name: "CreateTopics"}, createTopicsShape},
	{VersionRange{Key: 20, Min: 1, Max: 6, Advertised: 1, Name: "DeleteTopics"}, deleteTopicsShape},
	{VersionRange{Key: 21, Min: 0, Max: 2, Advertised: 0, Name: "DeleteRecords"}, deleteRecordsShape},
	{VersionRange{Key: 22, Min: 0, Max: 5, Advertised: 0, Name: "InitProducerId"}, initProducerIDShape},
	{VersionRange{Key: 23, Min: 2, Max: 4, Advertised: 2, Name: "OffsetForLeaderEpoch"}, offsetForLeaderEpochShape},
	{VersionRange{Key: 24, Min: 0, Max: 5, Advertised: 0, Name: "AddPartitionsToTxn"}, addPartitionsToTxnShape},
	{VersionRange{Key: 25, Min: 0, Max: 4, Advertised: 0, Name: "AddOffsetsToTxn"}, addOffsetsToTxnShape},
	{VersionRange{Key: 26, Min: 0, Max: 5, Advertised: 0, Name: "EndTxn"}, endTxnShape},
	{VersionRange{Key: 28, Min: 0, Max: 5, Advertised: 0, Name: "TxnOffsetCommit"}, txnOffsetCommitShape},
	{VersionRange{Key: 29, Min: 1, Max: 3, Advertised: 1, Name: "DescribeAcls"}, describeACLsShape},
	{VersionRange{Key: 30, Min: 1, Max: 3, Advertised: 1, Name: "CreateAcls"}, createACLsShape},
	{VersionRange{Key: 31, Min: 1, Max: 3, Advertised: 1, Name: "DeleteAcls"}, deleteACLsShape},
	{VersionRange{Key: 32, Min: 1, Max: 4, Advertised: 1, Name: "DescribeConfigs"}, describeConfigsShape},
	{VersionRange{Key: 33, Min: 0, Max: 2, Advertised: 0, Name: "AlterConfigs"}, alterConfigsShape},
	{VersionRange{Key: 35, Min: 1, Max: 4, Advertised: 1, Name: "DescribeLogDirs"}, describeLogDirsShape},
	{VersionRange{Key: 37, Min: 0, Max: 3, Advertised: 0, Name: "CreatePartitions"}, createPartitionsShape},
	{VersionRange{Key: 42, Min: 0, Max: 2, Advertised: 0, Name: "DeleteGroups"}, deleteGroupsShape},
	{VersionRange{Key: 43, Min: 0, Max: 2, Advertised: 0, Name: "ElectLeaders"}, electLeadersShape},
	{VersionRange{Key: 44, Min: 0, Max: 1, Advertised: 0, Name: "IncrementalAlterConfigs"}, incrementalAlterConfigsShape},
	{VersionRange{Key: 45, Min: 0, Max: 1, Advertised: 0, Name: "AlterPartitionReassignments"}, alterPartitionReassignmentsShape},
	{VersionRange{Key: 46, Min: 0, Max: 0, Advertised: 0, Name: "ListPartitionReassignments"}, listPartitionReassignmentsShape},
	{VersionRange{Key: 47, Min: 0, Max: 0, Advertised: 0, Name: "OffsetDelete"}, offsetDeleteShape},
	{VersionRange{Key: 48, Min: 0, Max: 1, Advertised: 0, Name: "DescribeClientQuotas"}, describeClientQuotasShape},
	{VersionRange{Key: 55, Min: 0, Max: 2, Advertised: 0, Name: "DescribeQuorum"}, describeQuorumShape},
	{VersionRange{Key: 57, Min: 0, Max: 2, Advertised: 0, Name: "UpdateFeatures"}, updateFeaturesShape},
	{VersionRange{Key: 60, Min: 0, Max: 2, Advertised: 0, Name: "DescribeCluster"}, describeClusterShape},
	{VersionRange{Key: 61, Min: 0, Max: 0, Advertised: 0, Name: "DescribeProducers"}, describeProducersShape},
	{VersionRange{Key: 65, Min: 0, Max: 0, Advertised: 0, Name: "DescribeTransactions"}, describeTransactionsShape},
	{VersionRange{Key: 66, Min: 0, Max: 2, Advertised: 0, Name: "ListTransactions"}, listTransactionsShape},
	{VersionRange{Key: 68, Min: 0, Max: 1, Advertised: 0, Name: "ConsumerGroupHeartbeat"}, consumerGroupHeartbeatShape},
	{VersionRange{Key: 69, Min: 0, Max: 1, Advertised: 0, Name: "ConsumerGroupDescribe"}, consumerGroupDescribeShape},
	{VersionRange{Key: 71, Min: 0, Max: 0, Advertised: 0, Name: "GetTelemetrySubscriptions"}, getTelemetrySubscriptionsShape},
	{VersionRange{Key: 72, Min: 0, Max: 0, Advertised: 0, Name: "PushTelemetry"}, pushTelemetryShape},
	{VersionRange{Key: 74, Min: 0, Max: 1, Advertised: 0, Name: "ListConfigResources"}, listConfigResourcesShape},
	{VersionRange{Key: 75, Min: 0, Max: 0, Advertised: 0, Name: "DescribeTopicPartitions"}, describeTopicPartitionsShape},
}

// Versions returns the APIs that are served, sorted by key. The slice is the caller's.
func Versions() []VersionRange {
	ranges := make([]VersionRange, len(table))
	for i, a := range table {
		ranges[i] = a.VersionRange
	}
	return ranges
}

// Supports reports whether the version of the API is served.
func Supports(key, version int16) bool {
	a := lookup(key)
	return a != nil && version >= a.Min && version <= a.Max
}

// lookup returns the row of a key, nil when the API is not served.
func lookup(key int16) *api {
	i, found := slices.BinarySearchFunc(table, key, func(a api, key int16) int { return int(a.Key) - int(key) })
	if !found {
		return nil
	}
	return &table[i]
}

// headerForm is what the header of an API's requests depends on.
type headerForm struct {
	known bool
	// flexibleFrom is the first version with header version 2, last the newest
	// version that is known at all.
	flexibleFrom, last int16
}

// headerForms holds the form of every API that kmsg knows, served or not, by
// key: the header of a request that is refused is read as well.
var headerForms = func() (forms [kmsg.MaxKey + 1]headerForm) {
	for key := range forms {
		req := kmsg.RequestForKey(int16(key))
		if req == nil {
			continue
		}
		form := headerForm{known: true, last: req.MaxVersion()}
		for form.flexibleFrom <= form.last {
			req.SetVersion(form.flexibleFrom)
			if req.IsFlexible() {
				break
			}
			form.flexibleFrom++
		}
		forms[key] = form
	}
	return forms
}()

// formOf returns the header form of any key that a peer may send.
func formOf(key int16) headerForm {
	if key < 0 || int(key) >= len(headerForms) {
		return headerForm{}
	}
	return headerForms[key]
}
