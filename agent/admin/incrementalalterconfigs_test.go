package admin

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
)

type operation = kmsg.IncrementalAlterConfigsRequestResourceConfig

func op(kind kmsg.IncrementalAlterConfigOp, name string, value *string) operation {
	o := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	o.Op, o.Name, o.Value = kind, name, value
	return o
}

func set(name, value string) operation { return op(kmsg.IncrementalAlterConfigOpSet, name, &value) }
func remove(name string) operation     { return op(kmsg.IncrementalAlterConfigOpDelete, name, nil) }
func add(name, value string) operation { return op(kmsg.IncrementalAlterConfigOpAppend, name, &value) }
func subtract(name, value string) operation {
	return op(kmsg.IncrementalAlterConfigOpSubtract, name, &value)
}

func incrementRequest(r resource, ops ...operation) *kmsg.IncrementalAlterConfigsRequest {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Version = 1
	res := kmsg.NewIncrementalAlterConfigsRequestResource()
	res.ResourceType, res.ResourceName, res.Configs = r.kind, r.name, ops
	req.Resources = append(req.Resources, res)
	return req
}

// TestIncrementalAlterConfigsAnswers compares with the answers of a Kafka 4.2.0
// broker. Before, the topic has retention.ms=5 and cleanup.policy=compact.
func TestIncrementalAlterConfigsAnswers(t *testing.T) {
	topic := resource{topicResource, "t"}
	before := "cleanup.policy=compact retention.ms=5"
	for name, tc := range map[string]struct {
		resource resource
		ops      []operation
		want     string
		configs  string // afterwards
	}{
		"set":                   {topic, []operation{set("segment.ms", " 7 ")}, "ok", before + " segment.ms=7"},
		"set again":             {topic, []operation{set("retention.ms", "6")}, "ok", "cleanup.policy=compact retention.ms=6"},
		"set the same":          {topic, []operation{set("retention.ms", "5")}, "ok", before},
		"delete":                {topic, []operation{remove("retention.ms")}, "ok", "cleanup.policy=compact"},
		"delete what isn't set": {topic, []operation{remove("segment.ms")}, "ok", before},
		"delete the unknown":    {topic, []operation{remove("nope")}, "ok", before},
		"delete with a value":   {topic, []operation{op(kmsg.IncrementalAlterConfigOpDelete, "retention.ms", ptr("5"))}, "ok", "cleanup.policy=compact"},
		"add":                   {topic, []operation{add("cleanup.policy", "delete")}, "ok", "cleanup.policy=compact,delete retention.ms=5"},
		"add what is there":     {topic, []operation{add("cleanup.policy", "compact")}, "ok", before},
		"add to nothing":        {topic, []operation{add("leader.replication.throttled.replicas", "0:1,1:1")}, "ok", "cleanup.policy=compact leader.replication.throttled.replicas=0:1,1:1 retention.ms=5"},
		"add the bad":           {topic, []operation{add("cleanup.policy", "foo")}, "INVALID_CONFIG: Invalid value compact,foo for configuration cleanup.policy: String must be one of: compact, delete", before},
		"add to no list":        {topic, []operation{add("retention.ms", "5")}, "INVALID_CONFIG: Can't APPEND to key retention.ms because its type is not LIST.", before},
		"add to the unknown":    {topic, []operation{add("nope", "5")}, "INVALID_CONFIG: Can't APPEND to key nope because its type is not LIST.", before},
		"subtract all":          {topic, []operation{subtract("cleanup.policy", "compact")}, "ok", "cleanup.policy= retention.ms=5"},
		"subtract what isn't":   {topic, []operation{subtract("cleanup.policy", "delete")}, "ok", before},
		"subtract from no list": {topic, []operation{subtract("retention.ms", "5")}, "INVALID_CONFIG: Can't SUBTRACT to key retention.ms because its type is not LIST.", before},
		"several":               {topic, []operation{set("segment.ms", "7"), remove("retention.ms"), add("cleanup.policy", "delete")}, "ok", "cleanup.policy=compact,delete segment.ms=7"},
		"one bad of several":    {topic, []operation{set("segment.ms", "7"), set("nope", "1")}, "INVALID_CONFIG: Unknown topic config name: nope", before},
		"twice in one":          {topic, []operation{set("segment.ms", "7"), remove("segment.ms")}, "INVALID_REQUEST: Error due to duplicate config keys", before},
		"null":                  {topic, []operation{op(kmsg.IncrementalAlterConfigOpSet, "segment.ms", nil), op(kmsg.IncrementalAlterConfigOpAppend, "cleanup.policy", nil)}, "INVALID_REQUEST: Null value not supported for : cleanup.policy, segment.ms", before},
		"no such operation":     {topic, []operation{op(9, "cleanup.policy", ptr("x"))}, "INVALID_REQUEST: Unknown operation 9 on cleanup.policy", before},
		"bad value":             {topic, []operation{set("segment.ms", "0")}, "INVALID_CONFIG: Invalid value 0 for configuration segment.ms: Value must be at least 1", before},
		"contradiction":         {topic, []operation{set("min.compaction.lag.ms", "7"), set("max.compaction.lag.ms", "5")}, "INVALID_CONFIG: conflict topic config setting min.compaction.lag.ms (7) > max.compaction.lag.ms (5)", before},
		"nothing":               {topic, nil, "ok", before},
		"unknown topic":         {resource{topicResource, "none"}, []operation{set("segment.ms", "7")}, "UNKNOWN_TOPIC_OR_PARTITION: The topic 'none' does not exist.", before},
		"illegal topic":         {resource{topicResource, "a b"}, []operation{set("segment.ms", "7")}, "INVALID_TOPIC_EXCEPTION: Topic name is invalid: ", before},
		"no topic":              {resource{topicResource, ""}, []operation{set("segment.ms", "7")}, "INVALID_REQUEST: Default topic resources are not allowed.", before},
		"unknown kind":          {resource{99, "m"}, nil, "INVALID_REQUEST: Unknown resource type 99", before},
	} {
		t.Run(name, func(t *testing.T) {
			a, topics := newTestAdmin(t, nil)
			create(t, topics, metadata.NewTopic{Name: "t", Configs: map[string]string{"retention.ms": "5", "cleanup.policy": "compact"}})
			for _, step := range []struct {
				version  int16
				validate bool
			}{{0, true}, {1, true}, {1, false}} {
				req := incrementRequest(tc.resource, tc.ops...)
				req.Version, req.ValidateOnly = step.version, step.validate
				r := onTheWire(t, a.IncrementalAlterConfigs(t.Context(), client, req)).Resources[0]
				if got := result(r.ErrorCode, r.ErrorMessage); got != tc.want && !(tc.want != "ok" && strings.HasPrefix(got, tc.want)) {
					t.Errorf("v%d, validate only %v: %q, want %q", step.version, step.validate, got, tc.want)
				}
				if r.ResourceType != tc.resource.kind || r.ResourceName != tc.resource.name {
					t.Errorf("answered as %v %q", r.ResourceType, r.ResourceName)
				}
				want := tc.configs
				if step.validate {
					want = before
				}
				if got := stored(t, topics, "t"); got != want {
					t.Errorf("v%d, validate only %v: configs are %q, want %q", step.version, step.validate, got, want)
				}
			}
		})
	}
}

func TestAppendStartsFromWhatHolds(t *testing.T) {
	a, topics := newTestAdmin(t, map[string]string{"log.cleanup.policy": "delete"})
	create(t, topics, metadata.NewTopic{Name: "t"})
	a.IncrementalAlterConfigs(t.Context(), client, incrementRequest(resource{topicResource, "t"}, add("cleanup.policy", "compact")))
	if got := stored(t, topics, "t"); got != "cleanup.policy=delete,compact" {
		t.Errorf("configs are %q", got)
	}
}

// stored renders a topic's configs as they are in the store.
func stored(t *testing.T, topics metadata.Topics, name string) string {
	t.Helper()
	topic, _ := find(t, topics, name)
	var pairs []string
	for name, value := range topic.Configs {
		pairs = append(pairs, name+"="+value)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, " ")
}
