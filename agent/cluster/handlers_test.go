package cluster

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

func TestApiVersionsIsTheTable(t *testing.T) {
	c := &Cluster{features: noFeatures}
	for version := int16(0); version <= 4; version++ {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = version, "a-client", "1.0"
		resp := onTheWire(t, c.ApiVersions(t.Context(), client, req))
		if resp.ErrorCode != 0 || resp.Version != version || len(resp.ApiKeys) != len(protocol.Versions()) {
			t.Fatalf("v%d: error %d, version %d, %d keys", version, resp.ErrorCode, resp.Version, len(resp.ApiKeys))
		}
		for i, want := range protocol.Versions() {
			if got := resp.ApiKeys[i]; got.ApiKey != want.Key || got.MinVersion != want.Advertised || got.MaxVersion != want.Max {
				t.Errorf("v%d: %+v, want %+v", version, got, want)
			}
		}
		var supported, finalized []string
		for _, f := range resp.SupportedFeatures {
			supported = append(supported, fmt.Sprintf("%s %d-%d", f.Name, f.MinVersion, f.MaxVersion))
		}
		for _, f := range resp.FinalizedFeatures {
			finalized = append(finalized, fmt.Sprintf("%s %d-%d", f.Name, f.MinVersionLevel, f.MaxVersionLevel))
		}
		// A client of version 3 refuses a feature that may be off, so it is told of none.
		all := []string{"group.version 1-1", "transaction.version 2-2"}
		wantSupported := map[int16][]string{4: {"group.version 0-1", "transaction.version 0-2"}}[version]
		wantFinalized := map[int16][]string{3: all, 4: all}[version]
		if !slices.Equal(supported, wantSupported) || !slices.Equal(finalized, wantFinalized) {
			t.Errorf("v%d: features %v, %v", version, supported, finalized)
		}
	}
}

func TestApiVersionsTellsTheLevelsInForce(t *testing.T) {
	var chosen protocol.FinalizedFeatures
	c := &Cluster{features: func() protocol.FinalizedFeatures { return chosen }}
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 3, "a-client", "1.0"
	for level, want := range map[int16][]string{0: {"group.version 1"}, 1: {"group.version 1", "transaction.version 1"}, 2: {"group.version 1", "transaction.version 2"}} {
		chosen = chosen.With(map[string]int16{"transaction.version": level})
		resp := onTheWire(t, c.ApiVersions(t.Context(), client, req))
		var told []string
		for _, f := range resp.FinalizedFeatures {
			if f.MinVersionLevel != f.MaxVersionLevel {
				t.Errorf("%s is at %d to %d", f.Name, f.MinVersionLevel, f.MaxVersionLevel)
			}
			told = append(told, fmt.Sprintf("%s %d", f.Name, f.MaxVersionLevel))
		}
		if !slices.Equal(told, want) || resp.FinalizedFeaturesEpoch != chosen.Epoch {
			t.Errorf("at level %d: %v in epoch %d, want %v in %d", level, told, resp.FinalizedFeaturesEpoch, want, chosen.Epoch)
		}
	}
}

func TestApiVersionsOfUnknownVersion(t *testing.T) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version = 99
	for name, resp := range map[string]*kmsg.ApiVersionsResponse{
		"handler": (&Cluster{features: noFeatures}).ApiVersions(t.Context(), client, req), "unread request": UnsupportedApiVersions(),
	} {
		if resp.Version != 0 || resp.ErrorCode != kerr.UnsupportedVersion.Code || len(resp.ApiKeys) != len(protocol.Versions()) {
			t.Errorf("%s: version %d, error %d, %d keys", name, resp.Version, resp.ErrorCode, len(resp.ApiKeys))
		}
	}
}

func TestApiVersionsChecksTheSoftware(t *testing.T) {
	for _, tc := range []struct {
		name, version string
		ok            bool
	}{
		{"apache-kafka-java", "4.2.0", true}, {"x", "1", true}, {"a.b-c", "v1.2-rc.3", true},
		{"", "1", false}, {"x", "", false}, {"-x", "1", false}, {"x-", "1", false}, {"x y", "1", false}, {"x\n", "1", false}, {"é", "1", false},
	} {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 3, tc.name, tc.version
		resp := (&Cluster{features: noFeatures}).ApiVersions(t.Context(), client, req)
		if ok := resp.ErrorCode == 0; ok != tc.ok || !ok && (resp.ErrorCode != kerr.InvalidRequest.Code || len(resp.ApiKeys) != 0) {
			t.Errorf("%q %q: error %d with %d keys", tc.name, tc.version, resp.ErrorCode, len(resp.ApiKeys))
		}
	}
}

func TestDescribeCluster(t *testing.T) {
	alive := agents(2, 5)
	alive[1].Zone = "z"
	c := &Cluster{router: NewRouter(view(alive), Zones{}), clusterID: clusterID}
	for version := int16(0); version <= 2; version++ {
		for _, tc := range []struct {
			endpoint int8
			want     int16
		}{{1, 0}, {2, kerr.MismatchedEndpointType.Code}, {7, kerr.UnsupportedEndpointType.Code}} {
			req := kmsg.NewPtrDescribeClusterRequest()
			req.Version, req.EndpointType, req.IncludeClusterAuthorizedOperations, req.IncludeFencedBrokers = version, tc.endpoint, true, true
			resp := onTheWire(t, c.DescribeCluster(t.Context(), client, req))
			if version == 0 {
				tc.want = 0 // has no endpoint type
			}
			if resp.ErrorCode != tc.want {
				t.Errorf("v%d, endpoint %d: error %d, want %d", version, tc.endpoint, resp.ErrorCode, tc.want)
			}
			if tc.want != 0 {
				if len(resp.Brokers) != 0 || resp.ControllerID != -1 || resp.ErrorMessage == nil {
					t.Errorf("v%d, endpoint %d: %+v", version, tc.endpoint, resp)
				}
				continue
			}
			if resp.ClusterID != clusterID || resp.ControllerID != 2 || resp.ClusterAuthorizedOperations != 8096 || len(resp.Brokers) != 2 ||
				resp.Brokers[1].NodeID != 5 || *resp.Brokers[1].Rack != "z" || resp.Brokers[0].Rack != nil || resp.Brokers[0].IsFenced {
				t.Errorf("v%d: %+v", version, resp)
			}
		}
	}
}

func describeRequest(limit int32, cursor string, names ...string) *kmsg.DescribeTopicPartitionsRequest {
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit = limit
	for _, name := range names {
		topic := kmsg.NewDescribeTopicPartitionsRequestTopic()
		topic.Topic = name
		req.Topics = append(req.Topics, topic)
	}
	if cursor != "" {
		at := kmsg.NewDescribeTopicPartitionsRequestCursor()
		if n, err := fmt.Sscanf(cursor, "%s %d", &at.Topic, &at.Partition); n != 2 {
			panic(err)
		}
		req.Cursor = &at
	}
	return req
}

// described renders an answer: each topic with its partitions or its error, and the cursor.
func described(resp *kmsg.DescribeTopicPartitionsResponse) []string {
	var lines []string
	for _, topic := range resp.Topics {
		line := *topic.Topic
		for _, p := range topic.Partitions {
			line += fmt.Sprint(" ", p.Partition)
		}
		if topic.ErrorCode != 0 {
			line += " " + kerr.TypedErrorForCode(topic.ErrorCode).Message
		}
		lines = append(lines, line)
	}
	if next := resp.NextCursor; next != nil {
		lines = append(lines, fmt.Sprintf("next %s %d", next.Topic, next.Partition))
	}
	return lines
}

func TestDescribeTopicPartitionsPages(t *testing.T) {
	c, topics := newTestCluster(t, map[string]string{"max.request.partition.size.limit": "8"}, agents(1, 2)...)
	create(t, topics, "m5", 5)
	m1 := create(t, topics, "m1", 2)
	create(t, topics, "m9", 2)
	for _, tc := range []struct {
		name string
		req  *kmsg.DescribeTopicPartitionsRequest
		want []string
	}{
		{"by name", describeRequest(100, "", "m5", "m1", "m1"), []string{"m1 0 1", "m5 0 1 2 3 4"}},
		{"all, up to the setting", describeRequest(100, ""), []string{"m1 0 1", "m5 0 1 2 3 4", "m9 0", "next m9 1"}},
		{"full within a topic", describeRequest(4, "", "m9", "m5", "m1"), []string{"m1 0 1", "m5 0 1", "next m5 2"}},
		{"full between topics", describeRequest(7, "", "m9", "m5", "m1"), []string{"m1 0 1", "m5 0 1 2 3 4", "next m9 0"}},
		{"full at the end", describeRequest(2, "", "m1"), []string{"m1 0 1"}},
		{"one at least", describeRequest(0, "", "m1"), []string{"m1 0", "next m1 1"}},
		{"negative limit", describeRequest(-1, "", "m1"), []string{"m1 0", "next m1 1"}},
		{"from a cursor", describeRequest(3, "m5 1", "m9", "m5", "m1"), []string{"m5 1 2 3", "next m5 4"}},
		{"cursor behind the partitions", describeRequest(3, "m5 7", "m9", "m5", "m1"), []string{"m5", "m9 0 1"}},
		{"cursor over all topics", describeRequest(3, "m5 3"), []string{"m5 3 4", "m9 0", "next m9 1"}},
		{"cursor at a topic that went", describeRequest(3, "m4 3"), []string{"m5 0 1 2", "next m5 3"}},
		{"cursor after all topics", describeRequest(3, "z 0"), nil},
		{"cursor outside the topics asked for", describeRequest(3, "m4 0", "m5", "m1"), []string{"m1 INVALID_REQUEST", "m5 INVALID_REQUEST"}},
		{"negative cursor", describeRequest(3, "m5 -1", "m5"), []string{"m5 INVALID_REQUEST"}},
		{"errors don't count", describeRequest(1, "", "aa", "a b", "m1"), []string{"a b INVALID_TOPIC_EXCEPTION", "aa UNKNOWN_TOPIC_OR_PARTITION", "m1 0", "next m1 1"}},
		{"no name", describeRequest(9, "", ""), []string{" INVALID_TOPIC_EXCEPTION"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp := onTheWire(t, c.DescribeTopicPartitions(t.Context(), client, tc.req))
			if got := described(resp); !slices.Equal(got, tc.want) {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
	p := c.DescribeTopicPartitions(t.Context(), client, describeRequest(1, "", "m1")).Topics[0].Partitions[0]
	leader := c.router.View(client).Topic(m1.ID).Leader(0).NodeID
	if p.LeaderID != leader || p.LeaderEpoch != protocol.LeaderEpoch || !slices.Equal(p.Replicas, []int32{leader}) || !slices.Equal(p.ISR, p.Replicas) {
		t.Errorf("%+v", p)
	}
}

// TestDescribeTopicPartitionsWalk follows cursors and finds every partition once.
func TestDescribeTopicPartitionsWalk(t *testing.T) {
	c, topics := newTestCluster(t, nil, agents(1)...)
	for i := range int32(6) {
		create(t, topics, fmt.Sprint("t", i), i+1)
	}
	for _, limit := range []int32{1, 2, 5, 21, 100} {
		seen := map[string]int{}
		req := describeRequest(limit, "")
		for pages := 0; ; pages++ {
			if pages > 30 {
				t.Fatalf("limit %d: no end", limit)
			}
			resp := onTheWire(t, c.DescribeTopicPartitions(t.Context(), client, req))
			for _, topic := range resp.Topics {
				for _, p := range topic.Partitions {
					seen[fmt.Sprint(*topic.Topic, "-", p.Partition)]++
				}
			}
			if resp.NextCursor == nil {
				break
			}
			req = describeRequest(limit, fmt.Sprint(resp.NextCursor.Topic, " ", resp.NextCursor.Partition))
		}
		if len(seen) != 21 {
			t.Errorf("limit %d: %d partitions, want 21", limit, len(seen))
		}
		for partition, n := range seen {
			if n != 1 {
				t.Errorf("limit %d: %s came %d times", limit, partition, n)
			}
		}
	}
}

func TestDescribeTopicPartitionsDuringAnOutage(t *testing.T) {
	c, topics := newTestCluster(t, nil, agents(1)...)
	topics.known = []metadata.Topic{create(t, topics, "t", 1)}
	topics.err = metadata.ErrUnavailable
	got := described(c.DescribeTopicPartitions(t.Context(), client, describeRequest(9, "", "t", "u")))
	if want := []string{"t 0", "u LEADER_NOT_AVAILABLE"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if resp := c.DescribeTopicPartitions(t.Context(), client, describeRequest(9, "")); resp != nil {
		t.Errorf("all topics are %q, of which nothing is known", described(resp))
	}
}

func TestFindCoordinator(t *testing.T) {
	c := &Cluster{router: NewRouter(view(agents(1, 2, 3)), Zones{})}
	for version := int16(0); version <= 6; version++ {
		for _, kind := range []int8{0, 1, 2, 9, -1} {
			if version == 0 && kind != 0 {
				continue
			}
			req := kmsg.NewPtrFindCoordinatorRequest()
			req.Version, req.CoordinatorType = version, kind
			req.CoordinatorKey = "g"
			req.CoordinatorKeys = []string{"g", "h", "g", ""}
			resp := onTheWire(t, c.FindCoordinator(t.Context(), client, req))
			answers := resp.Coordinators
			keys := req.CoordinatorKeys
			if version < 4 {
				keys = []string{"g"}
				answers = []kmsg.FindCoordinatorResponseCoordinator{{Key: "g", NodeID: resp.NodeID, Host: resp.Host, Port: resp.Port, ErrorCode: resp.ErrorCode, ErrorMessage: resp.ErrorMessage}}
			}
			if len(answers) != len(keys) {
				t.Fatalf("v%d: %d answers to %d keys", version, len(answers), len(keys))
			}
			for i, a := range answers {
				if kind == 0 || kind == 1 {
					want := c.router.View(client).Coordinator(kind, keys[i])
					if a.Key != keys[i] || a.ErrorCode != 0 || a.NodeID != want.NodeID || a.Host != want.Host || a.Port != want.Port {
						t.Errorf("v%d, type %d, key %q: %+v, want %+v", version, kind, keys[i], a, want)
					}
				} else if a.Key != keys[i] || a.ErrorCode != kerr.InvalidRequest.Code || a.NodeID != -1 || a.Port != -1 || a.ErrorMessage == nil {
					t.Errorf("v%d, type %d, key %q: %+v", version, kind, keys[i], a)
				}
			}
		}
	}
}
