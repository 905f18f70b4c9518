package admin

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

func TestListConfigResources(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	create(t, topics, metadata.NewTopic{Name: "t"})
	for _, r := range []resource{{groupResource, "g"}, {clientResource, "m"}, {brokerResource, ""}} {
		ops := map[kmsg.ConfigResourceType]operation{groupResource: set("consumer.session.timeout.ms", "50000"), clientResource: set("metrics", "*"), brokerResource: set("message.max.bytes", "5000")}
		if got := a.IncrementalAlterConfigs(t.Context(), client, incrementRequest(r, ops[r.kind])).Resources[0]; got.ErrorCode != 0 {
			t.Fatal(*got.ErrorMessage)
		}
	}
	for _, tc := range []struct {
		version int16
		kinds   []int8
		want    string
	}{
		{0, nil, "ok 0:m"},
		{1, nil, "ok 2:t 4:1 4:2 8:1 8:2 16:m 32:g"},
		{1, []int8{16, 16}, "ok 16:m"},
		{1, []int8{32, 2}, "ok 32:g 2:t"},
		{1, []int8{2, 99}, "UNSUPPORTED_VERSION"},
		{1, []int8{0}, "UNSUPPORTED_VERSION"},
	} {
		req := kmsg.NewPtrListConfigResourcesRequest()
		req.Version, req.ResourceTypes = tc.version, tc.kinds
		resp := onTheWire(t, a.ListConfigResources(t.Context(), client, req))
		got := []string{result(resp.ErrorCode, nil)}
		for _, r := range resp.ConfigResources {
			kind := r.Type
			if tc.version == 0 {
				kind = 0 // not on the wire
			}
			got = append(got, fmt.Sprintf("%d:%s", kind, r.Name))
		}
		if got := strings.Join(got, " "); got != tc.want {
			t.Errorf("v%d %v: %q, want %q", tc.version, tc.kinds, got, tc.want)
		}
	}
}

func TestElectLeadersIsNeverNeeded(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	create(t, topics, metadata.NewTopic{Name: "t", Partitions: 2})
	for _, tc := range []struct {
		version int16
		kind    int8
		topics  []kmsg.ElectLeadersRequestTopic
		want    string
	}{
		{0, 0, []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{0, 7}}, {Topic: "none", Partitions: []int32{0}}},
			"ok t-0 ELECTION_NOT_NEEDED: Leader election not needed for topic partition., t-7 UNKNOWN_TOPIC_OR_PARTITION: No such partition as t-7, none-0 UNKNOWN_TOPIC_OR_PARTITION: No such topic as none"},
		{2, 1, []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{1, -1}}},
			"ok t-1 ELECTION_NOT_NEEDED: Leader election not needed for topic partition., t--1 UNKNOWN_TOPIC_OR_PARTITION: No such partition as t--1"},
		{2, 5, []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{1}}}, "INVALID_REQUEST t-1 INVALID_REQUEST: Unknown election type 5"},
		{2, 0, nil, "ok t"},
		{1, 0, []kmsg.ElectLeadersRequestTopic{}, "ok "},
	} {
		req := kmsg.NewPtrElectLeadersRequest()
		req.Version, req.ElectionType, req.Topics = tc.version, tc.kind, tc.topics
		resp := onTheWire(t, a.ElectLeaders(t.Context(), client, req))
		var got []string
		for _, topic := range resp.Topics {
			if len(topic.Partitions) == 0 {
				got = append(got, topic.Topic)
			}
			for _, p := range topic.Partitions {
				got = append(got, fmt.Sprintf("%s-%d %s", topic.Topic, p.Partition, result(p.ErrorCode, p.ErrorMessage)))
			}
		}
		if got := result(resp.ErrorCode, nil) + " " + strings.Join(got, ", "); got != tc.want {
			t.Errorf("v%d: %q, want %q", tc.version, got, tc.want)
		}
	}
}

func TestReassignmentsChangeNothing(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	create(t, topics, metadata.NewTopic{Name: "t"})
	for _, tc := range []struct {
		client    protocol.Client
		topic     string
		partition int32
		replicas  []int32
		want      string
	}{
		{client, "t", 0, []int32{1}, "ok"},
		{protocol.Client{ID: "odd"}, "t", 0, []int32{2}, "ok"}, // where this client is told that it is
		{client, "t", 0, []int32{2}, "INVALID_REPLICA_ASSIGNMENT: Partitions have no replicas that could move"},
		{client, "t", 0, []int32{1, 2}, "INVALID_REPLICA_ASSIGNMENT: Partitions have no replicas that could move"},
		{client, "t", 0, []int32{3}, "INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes broker 3, but no such broker is registered."},
		{client, "t", 0, []int32{}, "INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes an empty replica list."},
		{client, "t", 0, []int32{1, 1}, "INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes the broker 1 more than once."},
		{client, "t", 0, nil, "NO_REASSIGNMENT_IN_PROGRESS: "},
		{client, "t", 7, []int32{1}, "UNKNOWN_TOPIC_OR_PARTITION: Unable to find partition t:7."},
		{client, "none", 0, nil, "UNKNOWN_TOPIC_OR_PARTITION: Unable to find a topic named none."},
	} {
		for version := int16(0); version <= 1; version++ {
			req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
			req.Version = version
			req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: tc.topic, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: tc.partition, Replicas: tc.replicas}}}}
			p := onTheWire(t, a.AlterPartitionReassignments(t.Context(), tc.client, req)).Topics[0].Partitions[0]
			if got := result(p.ErrorCode, p.ErrorMessage); got != tc.want && !(tc.want != "ok" && strings.HasPrefix(got, tc.want)) || p.Partition != tc.partition {
				t.Errorf("v%d %+v: %q", version, tc, got)
			}
		}
	}
	list := kmsg.NewPtrListPartitionReassignmentsRequest()
	if resp := onTheWire(t, a.ListPartitionReassignments(t.Context(), client, list)); resp.ErrorCode != 0 || len(resp.Topics) != 0 {
		t.Errorf("reassignments: %+v", resp)
	}
}

func TestDescribeQuorum(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	create(t, topics, metadata.NewTopic{Name: "t"})
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Topics = []kmsg.DescribeQuorumRequestTopic{
		{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{Partition: 0}, {Partition: 3}}},
		{Topic: "t", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{Partition: 0}}},
	}
	for version := int16(0); version <= 2; version++ {
		req.Version = version
		resp := onTheWire(t, a.DescribeQuorum(t.Context(), client, req))
		p := resp.Topics[0].Partitions[0]
		if p.ErrorCode != 0 || p.LeaderID != 1 || p.LeaderEpoch != 0 || p.HighWatermark != 1 || len(p.CurrentVoters) != 1 || len(p.Observers) != 1 ||
			p.CurrentVoters[0].ReplicaID != 1 || p.Observers[0].ReplicaID != 2 || p.Observers[0].LogEndOffset != 1 {
			t.Errorf("v%d: %+v", version, p)
		}
		for _, other := range []kmsg.DescribeQuorumResponseTopicPartition{resp.Topics[0].Partitions[1], resp.Topics[1].Partitions[0]} {
			if got := result(other.ErrorCode, nil); got != "UNKNOWN_TOPIC_OR_PARTITION" {
				t.Errorf("v%d: %s", version, got)
			}
		}
		if version == 2 && (len(resp.Nodes) != 1 || resp.Nodes[0].Listeners[0].Host != "one" || resp.Nodes[0].Listeners[0].Port != 9092) {
			t.Errorf("nodes %+v", resp.Nodes)
		}
	}
	topics.change = metadata.ErrUnavailable
	if resp := a.DescribeQuorum(t.Context(), client, req); result(resp.ErrorCode, nil) != "NOT_CONTROLLER" {
		t.Errorf("while the store is away: %+v", resp)
	}
}

func updateFeatures(t *testing.T, a *Admin, version int16, updates ...kmsg.UpdateFeaturesRequestFeatureUpdate) *kmsg.UpdateFeaturesResponse {
	t.Helper()
	req := kmsg.NewPtrUpdateFeaturesRequest()
	req.Version, req.FeatureUpdates = version, updates
	return onTheWire(t, a.UpdateFeatures(t.Context(), client, req))
}

func TestUpdateFeatures(t *testing.T) {
	a, _ := newTestAdmin(t, nil)
	const invalid = "INVALID_UPDATE_VERSION: The update failed for all features since the following feature had an error: Invalid update version "
	for _, tc := range []struct {
		feature string
		level   int16
		kind    int8
		want    string
	}{
		{"group.version", 1, 1, "ok"},
		{"group.version", 1, 2, "ok"},
		{"group.version", 9, 1, invalid + "9 for feature group.version. Local controller 1 only supports versions 0-1"},
		{"group.version", 0, 2, invalid + "0 for feature group.version. This feature comes with the version of Wadi that runs, at 1."},
		{"group.version", -1, 3, invalid + "-1 for feature group.version. A feature version cannot be less than 0."},
		{"group.version", 1, 0, invalid + "1 for feature group.version. The controller does not support the given upgrade type."},
		{"group.version", 1, 9, invalid + "1 for feature group.version. The controller does not support the given upgrade type."},
		{"nope", 1, 1, invalid + "1 for feature nope. Local controller 1 does not support this feature."},
		{"nope", 0, 2, invalid + "0 for feature nope. Feature nope not found."},
	} {
		for version := int16(1); version <= 2; version++ {
			update := kmsg.UpdateFeaturesRequestFeatureUpdate{Feature: tc.feature, MaxVersionLevel: tc.level, UpgradeType: tc.kind}
			resp := updateFeatures(t, a, version, update)
			if got := result(resp.ErrorCode, resp.ErrorMessage); got != tc.want {
				t.Errorf("v%d %+v: %q", version, tc, got)
			}
			// A client of version 1 asks the results, once there is no error for all.
			if want := version == 1 && tc.want == "ok"; want != (len(resp.Results) == 1) {
				t.Errorf("v%d %+v: results %+v", version, tc, resp.Results)
			}
		}
	}
}

func TestFeatureLevelsAreStored(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	const name = "transaction.version"
	feature := protocol.Feature{Name: name, Max: 2}
	down := kmsg.UpdateFeaturesRequestFeatureUpdate{Feature: name, MaxVersionLevel: 1, UpgradeType: 2}
	stored := func() (level int16, epoch int64) {
		t.Helper()
		f, err := protocol.ParseFinalizedFeatures(a.settings.Of(finalizedFeatures))
		if err != nil {
			t.Fatal(err)
		}
		return f.Level(feature), f.Epoch
	}
	trial := kmsg.NewPtrUpdateFeaturesRequest()
	trial.Version, trial.ValidateOnly, trial.FeatureUpdates = 2, true, []kmsg.UpdateFeaturesRequestFeatureUpdate{down}
	for _, step := range []struct {
		name  string
		ask   func() *kmsg.UpdateFeaturesResponse
		level int16
		epoch int64
		ok    bool
	}{
		{"a trial", func() *kmsg.UpdateFeaturesResponse { return a.UpdateFeatures(t.Context(), client, trial) }, 2, 0, true},
		{"one of two that can't be", func() *kmsg.UpdateFeaturesResponse {
			return updateFeatures(t, a, 2, down, kmsg.UpdateFeaturesRequestFeatureUpdate{Feature: "nope", MaxVersionLevel: 1, UpgradeType: 1})
		}, 2, 0, false},
		{"a downgrade", func() *kmsg.UpdateFeaturesResponse { return updateFeatures(t, a, 2, down) }, 1, 1, true},
		{"the same again", func() *kmsg.UpdateFeaturesResponse { return updateFeatures(t, a, 1, down) }, 1, 1, true},
		{"an upgrade by the oldest version", func() *kmsg.UpdateFeaturesResponse {
			return updateFeatures(t, a, 0, kmsg.UpdateFeaturesRequestFeatureUpdate{Feature: name, MaxVersionLevel: 2})
		}, 2, 2, true},
	} {
		resp := step.ask()
		level, epoch := stored()
		if level != step.level || epoch != step.epoch || step.ok != (resp.ErrorCode == 0) {
			t.Errorf("%s: level %d in epoch %d, want %d in %d; answered %+v", step.name, level, epoch, step.level, step.epoch, resp)
		}
	}
	topics.change = metadata.ErrUnavailable
	if resp := updateFeatures(t, a, 2, down); result(resp.ErrorCode, nil) != "NOT_CONTROLLER" {
		t.Errorf("while the store is away: %+v", resp)
	}
}

// The ways from one level to another, as Kafka 4.2 answers them.
func TestCheckFeature(t *testing.T) {
	a, _ := newTestAdmin(t, nil)
	feature := protocol.Feature{Name: "transaction.version", Min: 0, Max: 2}
	const (
		up, down, unsafe = 1, 2, 3
		needsType        = "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade."
		newer            = "Can't downgrade to a newer version."
	)
	for _, tc := range []struct {
		from, to int16
		kind     int8
		want     string
	}{
		{2, 2, up, ""}, {2, 2, down, ""}, {2, 2, unsafe, ""}, {0, 0, down, ""},
		{2, 1, down, ""}, {2, 0, unsafe, ""}, {1, 0, down, ""}, {2, 1, up, needsType}, {1, 0, up, needsType},
		{0, 1, up, ""}, {0, 2, up, ""}, {1, 2, up, ""}, {1, 2, down, newer}, {0, 1, unsafe, newer},
		{1, 3, up, "Local controller 1 only supports versions 0-2"}, {1, -1, down, "A feature version cannot be less than 0."},
	} {
		now := protocol.FinalizedFeatures{}.With(map[string]int16{feature.Name: tc.from})
		req := kmsg.NewPtrUpdateFeaturesRequest()
		req.Version = 2
		req.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: feature.Name, MaxVersionLevel: tc.to, UpgradeType: tc.kind}}
		levels, why := a.newLevels(now, []protocol.Feature{feature}, req)
		got := ""
		if why != nil {
			_, got, _ = strings.Cut(why.message, "transaction.version. ")
		}
		changed := tc.want == "" && tc.from != tc.to
		if got != tc.want || changed != (len(levels) == 1) || changed && levels[feature.Name] != tc.to {
			t.Errorf("%+v: %q, %v", tc, got, levels)
		}
		// Version 0 knows upgrades alone.
		req.Version = 0
		_, why = a.newLevels(now, []protocol.Feature{feature}, req)
		if wantRefused := tc.to < tc.from || tc.to > feature.Max; wantRefused != (why != nil) {
			t.Errorf("v0 %+v: %v", tc, why)
		}
	}
}

func TestThereAreNoACLs(t *testing.T) {
	a, _ := newTestAdmin(t, nil)
	const want = "SECURITY_DISABLED: No Authorizer is configured."
	for version := int16(1); version <= 3; version++ {
		describe := kmsg.NewPtrDescribeACLsRequest()
		describe.Version = version
		resp := onTheWire(t, a.DescribeAcls(t.Context(), client, describe))
		got := []string{result(resp.ErrorCode, resp.ErrorMessage)}
		create := kmsg.NewPtrCreateACLsRequest()
		create.Version, create.Creations = version, make([]kmsg.CreateACLsRequestCreation, 2)
		for _, r := range onTheWire(t, a.CreateAcls(t.Context(), client, create)).Results {
			got = append(got, result(r.ErrorCode, r.ErrorMessage))
		}
		remove := kmsg.NewPtrDeleteACLsRequest()
		remove.Version, remove.Filters = version, make([]kmsg.DeleteACLsRequestFilter, 2)
		for _, r := range onTheWire(t, a.DeleteAcls(t.Context(), client, remove)).Results {
			got = append(got, result(r.ErrorCode, r.ErrorMessage))
		}
		if !slices.Equal(got, []string{want, want, want, want, want}) {
			t.Errorf("v%d: %q", version, got)
		}
	}
}

// TestDescribeClientQuotas refuses what a Kafka 4.2.0 broker refuses, in its words.
func TestDescribeClientQuotas(t *testing.T) {
	a, _ := newTestAdmin(t, nil)
	type component = kmsg.DescribeClientQuotasRequestComponent
	for _, tc := range []struct {
		components []component
		want       string
	}{
		{nil, "ok"},
		{[]component{{EntityType: "user", MatchType: 0, Match: ptr("u")}, {EntityType: "client-id", MatchType: 2}}, "ok"},
		{[]component{{EntityType: "nope", Match: ptr("u")}}, "UNSUPPORTED_VERSION: Unsupported entity type nope"},
		{[]component{{EntityType: "user", MatchType: 9}}, "INVALID_REQUEST: Unknown match type 9"},
		{[]component{{EntityType: "user", MatchType: 1}, {EntityType: "user", MatchType: 1}}, "INVALID_REQUEST: Entity type user cannot appear more than once in the filter."},
		{[]component{{EntityType: "ip", MatchType: 1}, {EntityType: "user", MatchType: 1}}, "INVALID_REQUEST: Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component."},
		{[]component{{EntityType: "", MatchType: 1}}, "INVALID_REQUEST: Invalid empty entity type."},
		{[]component{{EntityType: "user", MatchType: 0}}, "INVALID_REQUEST: Request specified MATCH_TYPE_EXACT, but set match string to null."},
		{[]component{{EntityType: "user", MatchType: 1, Match: ptr("u")}}, "INVALID_REQUEST: Request specified a match string for a match type that takes none."},
	} {
		for version := int16(0); version <= 1; version++ {
			req := kmsg.NewPtrDescribeClientQuotasRequest()
			req.Version, req.Components = version, tc.components
			resp := onTheWire(t, a.DescribeClientQuotas(t.Context(), client, req))
			if got := result(resp.ErrorCode, resp.ErrorMessage); got != tc.want || len(resp.Entries) != 0 || (resp.Entries != nil) != (tc.want == "ok") {
				t.Errorf("v%d %+v: %q, entries %v", version, tc.components, got, resp.Entries)
			}
		}
	}
}
