package protocol

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a Kafka 4.2 broker serves of the APIs that Wadi serves too.
func TestVersionsAreThoseOfKafka(t *testing.T) {
	want := []VersionRange{
		{0, 3, 13, 0, "Produce"},
		{1, 4, 18, 4, "Fetch"},
		{2, 1, 11, 1, "ListOffsets"},
		{3, 0, 13, 0, "Metadata"},
		{8, 2, 10, 2, "OffsetCommit"},
		{9, 1, 10, 1, "OffsetFetch"},
		{10, 0, 6, 0, "FindCoordinator"},
		{11, 0, 9, 0, "JoinGroup"},
		{12, 0, 4, 0, "Heartbeat"},
		{13, 0, 5, 0, "LeaveGroup"},
		{14, 0, 5, 0, "SyncGroup"},
		{15, 0, 6, 0, "DescribeGroups"},
		{16, 0, 5, 0, "ListGroups"},
		{18, 0, 4, 0, "ApiVersions"},
		{19, 2, 7, 2, "CreateTopics"},
		{20, 1, 6, 1, "DeleteTopics"},
		{21, 0, 2, 0, "DeleteRecords"},
		{22, 0, 5, 0, "InitProducerId"},
		{23, 2, 4, 2, "OffsetForLeaderEpoch"},
		{24, 0, 5, 0, "AddPartitionsToTxn"},
		{25, 0, 4, 0, "AddOffsetsToTxn"},
		{26, 0, 5, 0, "EndTxn"},
		{28, 0, 5, 0, "TxnOffsetCommit"},
		{29, 1, 3, 1, "DescribeAcls"},
		{30, 1, 3, 1, "CreateAcls"},
		{31, 1, 3, 1, "DeleteAcls"},
		{32, 1, 4, 1, "DescribeConfigs"},
		{33, 0, 2, 0, "AlterConfigs"},
		{35, 1, 4, 1, "DescribeLogDirs"},
		{37, 0, 3, 0, "CreatePartitions"},
		{42, 0, 2, 0, "DeleteGroups"},
		{43, 0, 2, 0, "ElectLeaders"},
		{44, 0, 1, 0, "IncrementalAlterConfigs"},
		{45, 0, 1, 0, "AlterPartitionReassignments"},
		{46, 0, 0, 0, "ListPartitionReassignments"},
		{47, 0, 0, 0, "OffsetDelete"},
		{48, 0, 1, 0, "DescribeClientQuotas"},
		{55, 0, 2, 0, "DescribeQuorum"},
		{57, 0, 2, 0, "UpdateFeatures"},
		{60, 0, 2, 0, "DescribeCluster"},
		{61, 0, 0, 0, "DescribeProducers"},
		{65, 0, 0, 0, "DescribeTransactions"},
		{66, 0, 2, 0, "ListTransactions"},
		{68, 0, 1, 0, "ConsumerGroupHeartbeat"},
		{69, 0, 1, 0, "ConsumerGroupDescribe"},
		{71, 0, 0, 0, "GetTelemetrySubscriptions"},
		{72, 0, 0, 0, "PushTelemetry"},
		{74, 0, 1, 0, "ListConfigResources"},
		{75, 0, 0, 0, "DescribeTopicPartitions"},
	}
	if got := Versions(); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestVersionTableIsConsistent(t *testing.T) {
	if !slices.IsSortedFunc(table, func(a, b api) int { return int(a.Key) - int(b.Key) }) {
		t.Error("not sorted by key")
	}
	for i, a := range table {
		if i > 0 && table[i-1].Key == a.Key {
			t.Errorf("key %d stands there twice", a.Key)
		}
		req := kmsg.RequestForKey(a.Key)
		if req == nil {
			t.Fatalf("%s: kmsg does not know key %d", a.Name, a.Key)
		}
		// kmsg's own name for what Kafka calls AlterPartitionReassignments.
		name := strings.Replace(kmsg.NameForKey(a.Key), "AlterPartitionAssignments", "AlterPartitionReassignments", 1)
		if !strings.EqualFold(a.Name, name) {
			t.Errorf("%s: key %d is %s", a.Name, a.Key, kmsg.NameForKey(a.Key))
		}
		if a.Advertised < 0 || a.Advertised > a.Min || a.Min > a.Max || a.Max > req.MaxVersion() {
			t.Errorf("%s: impossible range %+v, kmsg knows up to %d", a.Name, a.VersionRange, req.MaxVersion())
		}
		if len(a.body) == 0 {
			t.Errorf("%s: no shape", a.Name)
		}
	}
}

func TestSupports(t *testing.T) {
	for _, c := range []struct {
		key, version int16
		want         bool
	}{
		{0, 3, true},
		{0, 13, true},
		{0, 2, false}, // advertised, not served
		{0, 14, false},
		{0, -1, false},
		{75, 0, true},
		{75, 1, false},
		{4, 0, false}, // among brokers only
		{-1, 0, false},
		{1000, 0, false},
	} {
		if got := Supports(c.key, c.version); got != c.want {
			t.Errorf("Supports(%d, %d) is %v", c.key, c.version, got)
		}
	}
}

func TestVersionsIsACopy(t *testing.T) {
	Versions()[0].Max = 99
	if Versions()[0].Max == 99 {
		t.Error("a caller can change the table")
	}
}
