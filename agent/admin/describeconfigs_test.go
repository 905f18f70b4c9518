package admin

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol/configs"
)

const (
	topicResource  = kmsg.ConfigResourceTypeTopic
	brokerResource = kmsg.ConfigResourceTypeBroker
	loggerResource = kmsg.ConfigResourceTypeBrokerLogger
	groupResource  = kmsg.ConfigResourceTypeGroupConfig
	clientResource = kmsg.ConfigResourceTypeClientMetrics
)

func describeRequest(kind kmsg.ConfigResourceType, name string, keys ...string) *kmsg.DescribeConfigsRequest {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version = 4
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kind, name, keys
	req.Resources = append(req.Resources, r)
	return req
}

func TestDescribeConfigsAnswers(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	create(t, topics, metadata.NewTopic{Name: "t"})
	for _, tc := range []struct {
		kind kmsg.ConfigResourceType
		name string
		want string
		some string // a config that must be there, with its value
	}{
		{topicResource, "t", "ok", "retention.ms=604800000"},
		{topicResource, "none", "UNKNOWN_TOPIC_OR_PARTITION", ""},
		{topicResource, "a b", "INVALID_TOPIC_EXCEPTION: Topic name is invalid: ", ""},
		{topicResource, "", "INVALID_TOPIC_EXCEPTION: Topic name is invalid: ", ""},
		{brokerResource, "1", "ok", "advertised.listeners=PLAINTEXT://one:9092"},
		{brokerResource, "1", "ok", "broker.rack=a"},
		{brokerResource, "1", "ok", "log.dirs=s3://bucket"},
		{brokerResource, "2", "ok", "advertised.listeners=PLAINTEXT://[::1]:9093"},
		{brokerResource, "2", "ok", "node.id=2"},
		{brokerResource, "3", "INVALID_REQUEST: Unexpected broker id", ""},
		{brokerResource, "x", "INVALID_REQUEST: Broker id must be an integer, but it is: x", ""},
		{brokerResource, "+1", "INVALID_REQUEST: Broker id must be an integer, but it is: +1", ""},
		{brokerResource, "", "ok", ""},
		{loggerResource, "1", "ok", "root=INFO"},
		{loggerResource, "3", "INVALID_REQUEST: Unexpected broker id", ""},
		{loggerResource, "", "INVALID_REQUEST: Broker id must not be empty", ""},
		{groupResource, "g", "ok", "consumer.session.timeout.ms=45000"},
		{groupResource, "", "INVALID_REQUEST: Group name must not be empty", ""},
		{clientResource, "m", "ok", "interval.ms=300000"},
		{clientResource, "", "INVALID_REQUEST: Client metrics subscription name must not be empty", ""},
		{0, "x", "INVALID_REQUEST: Unknown resource type 0", ""},
		{99, "x", "INVALID_REQUEST: Unknown resource type 99", ""},
	} {
		r := onTheWire(t, a.DescribeConfigs(t.Context(), client, describeRequest(tc.kind, tc.name))).Resources[0]
		if got := result(r.ErrorCode, r.ErrorMessage); got != tc.want && !(tc.want != "ok" && strings.HasPrefix(got, tc.want)) {
			t.Errorf("%v %q: %q, want %q", tc.kind, tc.name, got, tc.want)
		}
		if r.ResourceType != tc.kind || r.ResourceName != tc.name {
			t.Errorf("%v %q is answered as %v %q", tc.kind, tc.name, r.ResourceType, r.ResourceName)
		}
		var got []string
		for _, c := range r.Configs {
			if c.Value != nil {
				got = append(got, c.Name+"="+*c.Value)
			}
			if want := tc.kind == brokerResource && !configs.BrokerDefinition(c.Name).Dynamic; c.ReadOnly != want {
				t.Errorf("%v %q: %s is read-only: %v, want %v", tc.kind, tc.name, c.Name, c.ReadOnly, want)
			}
		}
		if tc.some != "" && !slices.Contains(got, tc.some) || tc.some == "" && len(got) != 0 {
			t.Errorf("%v %q: %q, want %q among them", tc.kind, tc.name, got, tc.some)
		}
	}
}

func TestDescribeConfigsOfEachVersion(t *testing.T) {
	a, topics := newTestAdmin(t, map[string]string{"message.max.bytes": "5000"})
	create(t, topics, metadata.NewTopic{Name: "t", Configs: map[string]string{"max.message.bytes": "77"}})
	for version := int16(1); version <= 4; version++ {
		for _, include := range []bool{true, false} {
			req := describeRequest(topicResource, "t", "max.message.bytes", "nope", "flush.ms")
			req.Version, req.IncludeSynonyms, req.IncludeDocumentation = version, include, include
			r := onTheWire(t, a.DescribeConfigs(t.Context(), client, req)).Resources[0]
			if len(r.Configs) != 2 || r.Configs[0].Name != "flush.ms" || r.Configs[1].Name != "max.message.bytes" {
				t.Fatalf("v%d: %+v", version, r.Configs)
			}
			c := r.Configs[1]
			if *c.Value != "77" || c.Source != kmsg.ConfigSourceDynamicTopicConfig || r.Configs[0].Source != kmsg.ConfigSourceDefaultConfig {
				t.Errorf("v%d: %+v", version, r.Configs)
			}
			if version >= 3 && c.ConfigType != kmsg.ConfigTypeInt {
				t.Errorf("v%d: type %v", version, c.ConfigType)
			}
			if got, want := c.Documentation != nil && *c.Documentation != "", include && version >= 3; got != want {
				t.Errorf("v%d: documentation %v, want %v", version, got, want)
			}
			var synonyms []string
			for _, s := range c.ConfigSynonyms {
				synonyms = append(synonyms, s.Source.String()+" "+s.Name+"="+*s.Value)
			}
			want := []string{"DYNAMIC_TOPIC_CONFIG max.message.bytes=77", "STATIC_BROKER_CONFIG message.max.bytes=5000", "DEFAULT_CONFIG message.max.bytes=1048588"}
			if include && !slices.Equal(synonyms, want) || !include && len(synonyms) != 0 {
				t.Errorf("v%d: synonyms %q", version, synonyms)
			}
		}
	}
}

func TestDescribeConfigsAnswersEachResource(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	create(t, topics, metadata.NewTopic{Name: "t"})
	req := describeRequest(topicResource, "t")
	req.Resources = append(req.Resources, req.Resources[0], describeRequest(brokerResource, "9").Resources[0], describeRequest(brokerResource, "1").Resources[0])
	resp := a.DescribeConfigs(t.Context(), client, req)
	if len(resp.Resources) != 4 || len(resp.Resources[0].Configs) != 33 || len(resp.Resources[1].Configs) != 33 || resp.Resources[2].ErrorCode == 0 || resp.Resources[3].ErrorCode != 0 {
		t.Errorf("%d results", len(resp.Resources))
	}
}
