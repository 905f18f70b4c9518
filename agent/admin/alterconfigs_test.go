package admin

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
)

func TestAlterConfigsReplacesAll(t *testing.T) {
	before := "cleanup.policy=compact retention.ms=5"
	for name, tc := range map[string]struct {
		resource resource
		configs  []string // name, value pairs; "-" is null
		want     string
		after    string
	}{
		"other configs":  {resource{topicResource, "t"}, []string{"segment.ms", " 99 "}, "ok", "segment.ms=99"},
		"same and other": {resource{topicResource, "t"}, []string{"segment.ms", "99", "retention.ms", "5"}, "ok", "retention.ms=5 segment.ms=99"},
		"none":           {resource{topicResource, "t"}, nil, "ok", ""},
		"null":           {resource{topicResource, "t"}, []string{"segment.ms", "-"}, "INVALID_REQUEST: Null value not supported for : segment.ms", before},
		"unknown":        {resource{topicResource, "t"}, []string{"nope", "1"}, "INVALID_CONFIG: Unknown topic config name: nope", before},
		"twice":          {resource{topicResource, "t"}, []string{"segment.ms", "1", "segment.ms", "2"}, "INVALID_REQUEST: Error due to duplicate config keys", before},
		"bad":            {resource{topicResource, "t"}, []string{"segment.ms", "-1"}, "INVALID_CONFIG: Invalid value -1 for configuration segment.ms: Value must be at least 1", before},
		"unknown topic":  {resource{topicResource, "none"}, []string{"segment.ms", "1"}, "UNKNOWN_TOPIC_OR_PARTITION: The topic 'none' does not exist.", before},
		"broker":         {resource{brokerResource, "1"}, []string{"num.partitions", "1"}, "INVALID_REQUEST: Cannot update these configs dynamically: num.partitions", before},
		"logger":         {resource{loggerResource, "1"}, []string{"root", "DEBUG"}, "INVALID_REQUEST: Unknown resource type 8", before},
		"unknown kind":   {resource{99, "1"}, nil, "INVALID_REQUEST: Unknown resource type 99", before},
	} {
		t.Run(name, func(t *testing.T) {
			a, topics := newTestAdmin(t, nil)
			create(t, topics, metadata.NewTopic{Name: "t", Configs: map[string]string{"retention.ms": "5", "cleanup.policy": "compact"}})
			for _, step := range []struct {
				version  int16
				validate bool
			}{{0, true}, {1, true}, {2, true}, {2, false}} {
				req := alterRequest(tc.resource, tc.configs...)
				req.Version, req.ValidateOnly = step.version, step.validate
				r := onTheWire(t, a.AlterConfigs(t.Context(), client, req)).Resources[0]
				if got := result(r.ErrorCode, r.ErrorMessage); got != tc.want && !(tc.want != "ok" && strings.HasPrefix(got, tc.want)) {
					t.Errorf("v%d, validate only %v: %q, want %q", step.version, step.validate, got, tc.want)
				}
				want := tc.after
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

func alterRequest(r resource, pairs ...string) *kmsg.AlterConfigsRequest {
	req := kmsg.NewPtrAlterConfigsRequest()
	res := kmsg.NewAlterConfigsRequestResource()
	res.ResourceType, res.ResourceName = r.kind, r.name
	for i := 0; i < len(pairs); i += 2 {
		c := kmsg.NewAlterConfigsRequestResourceConfig()
		if c.Name = pairs[i]; pairs[i+1] != "-" {
			c.Value = &pairs[i+1]
		}
		res.Configs = append(res.Configs, c)
	}
	req.Resources = append(req.Resources, res)
	return req
}

func TestResourceNamedTwiceIsRefusedTwice(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	create(t, topics, metadata.NewTopic{Name: "t"})
	create(t, topics, metadata.NewTopic{Name: "u"})
	incremental := incrementRequest(resource{topicResource, "t"}, set("segment.ms", "7"))
	incremental.Resources = append(incremental.Resources, incremental.Resources[0], incrementRequest(resource{topicResource, "u"}, set("segment.ms", "7")).Resources[0])
	var got []string
	for _, r := range a.IncrementalAlterConfigs(t.Context(), client, incremental).Resources {
		got = append(got, r.ResourceName+" "+result(r.ErrorCode, r.ErrorMessage))
	}
	want := []string{"t INVALID_REQUEST: Each resource must appear at most once.", "t INVALID_REQUEST: Each resource must appear at most once.", "u ok"}
	if !slices.Equal(got, want) {
		t.Errorf("incremental: %q, want %q", got, want)
	}
	legacy := alterRequest(resource{topicResource, "t"}, "segment.ms", "9")
	legacy.Resources = append(legacy.Resources, legacy.Resources[0], alterRequest(resource{topicResource, "u"}, "segment.ms", "9").Resources[0])
	got = nil
	for _, r := range a.AlterConfigs(t.Context(), client, legacy).Resources {
		got = append(got, r.ResourceName+" "+result(r.ErrorCode, r.ErrorMessage))
	}
	if !slices.Equal(got, want) {
		t.Errorf("legacy: %q, want %q", got, want)
	}
	if stored(t, topics, "t") != "" || stored(t, topics, "u") != "segment.ms=9" {
		t.Errorf("configs are %q and %q", stored(t, topics, "t"), stored(t, topics, "u"))
	}
}
