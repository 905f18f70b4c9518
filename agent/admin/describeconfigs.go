package admin

// DescribeConfigs (32), versions 1 to 4.
//
//   - v1 KIP-226 sources and synonyms; v2 throttle after the answer
//   - v3 KIP-569 types and documentation; v4 flexible
//   - resources: topics, brokers, KIP-412 broker loggers, KIP-714 client
//     metrics, KIP-848 groups

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
)

// DescribeConfigs tells every config of each resource asked for, defaults
// included, or those named in the request.
func (a *Admin) DescribeConfigs(ctx context.Context, _ protocol.Client, req *kmsg.DescribeConfigsRequest) *kmsg.DescribeConfigsResponse {
	ctx, cancel := withTimeout(ctx, 0)
	defer cancel()
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	for _, r := range req.Resources {
		result := kmsg.NewDescribeConfigsResponseResource()
		result.ResourceType, result.ResourceName = r.ResourceType, r.ResourceName
		entries, why := a.describe(ctx, r)
		if why != nil {
			result.ErrorCode, result.ErrorMessage = why.code, &why.message
		}
		for _, e := range entries {
			if len(r.ConfigNames) == 0 || slices.Contains(r.ConfigNames, e.Name) {
				result.Configs = append(result.Configs, shown(e, r.ResourceType, req))
			}
		}
		resp.Resources = append(resp.Resources, result)
	}
	return resp
}

func (a *Admin) describe(ctx context.Context, r kmsg.DescribeConfigsRequestResource) ([]configs.Entry, *refusal) {
	switch r.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		return a.describeTopic(ctx, r.ResourceName)
	case kmsg.ConfigResourceTypeBroker:
		// The empty name asks for what was set for all brokers over the wire.
		if r.ResourceName == "" {
			return configs.DescribeBrokerDefaults(*a.settings.Broker()), nil
		}
		agent, why := a.agent(r.ResourceName)
		if why != nil {
			return nil, why
		}
		return configs.DescribeBroker(a.settings.BrokerOf(agent.NodeID), a.factsOf(agent)), nil
	case kmsg.ConfigResourceTypeBrokerLogger:
		if r.ResourceName == "" {
			return nil, refuse(kerr.InvalidRequest, "Broker id must not be empty")
		}
		agent, why := a.agent(r.ResourceName)
		if why != nil {
			return nil, why
		}
		return a.loggers(agent), nil
	case kmsg.ConfigResourceTypeGroupConfig:
		if r.ResourceName == "" {
			return nil, refuse(kerr.InvalidRequest, "Group name must not be empty")
		}
		return configs.DescribeGroup(a.settings.Of(resource{r.ResourceType, r.ResourceName}.stored()), *a.settings.Broker()), nil
	case kmsg.ConfigResourceTypeClientMetrics:
		if r.ResourceName == "" {
			return nil, refuse(kerr.InvalidRequest, "Client metrics subscription name must not be empty")
		}
		return configs.DescribeClientMetrics(a.settings.Of(resource{r.ResourceType, r.ResourceName}.stored())), nil
	}
	return nil, refuse(kerr.InvalidRequest, "Unknown resource type %d", r.ResourceType)
}

func (a *Admin) describeTopic(ctx context.Context, name string) ([]configs.Entry, *refusal) {
	if err := protocol.CheckTopicName(name); err != nil {
		return nil, invalidName(err)
	}
	topic, err := a.topics.TopicByName(ctx, name)
	switch {
	case errors.Is(err, metadata.ErrUnknownTopic):
		return nil, refuse(kerr.UnknownTopicOrPartition, "")
	case err != nil:
		return nil, a.refused("describe configs", name, err)
	}
	return configs.DescribeTopic(topic.Configs, *a.settings.Broker()), nil
}

// agent returns the registered agent of that broker ID. Any agent describes any
// other: behind a load balancer the request reaches any of them.
func (a *Admin) agent(name string) (metadata.Agent, *refusal) {
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil || strconv.FormatInt(id, 10) != name { // "+1" would name a resource of its own
		return metadata.Agent{}, refuse(kerr.InvalidRequest, "Broker id must be an integer, but it is: %s", name)
	}
	known := append(a.agents.Alive(), a.agents.Self())
	i := slices.IndexFunc(known, func(agent metadata.Agent) bool { return int64(agent.NodeID) == id })
	if i < 0 {
		return metadata.Agent{}, refuse(kerr.InvalidRequest, "Unexpected broker id, expected a registered one or empty string, but received %s", name)
	}
	return known[i], nil
}

// nodeName is an agent's name among the resources.
func nodeName(agent metadata.Agent) string { return strconv.Itoa(int(agent.NodeID)) }

func (a *Admin) factsOf(agent metadata.Agent) map[string]string {
	facts := maps.Clone(a.facts)
	if facts == nil {
		facts = map[string]string{}
	}
	id := nodeName(agent)
	facts["broker.id"], facts["node.id"] = id, id
	advertised := make([]string, len(agent.Listeners))
	for i, l := range agent.Listeners {
		advertised[i] = l.String()
	}
	facts["advertised.listeners"] = strings.Join(advertised, ",")
	if agent.Zone != "" {
		facts["broker.rack"] = agent.Zone
	}
	return facts
}

// rootLogger describes the one logger that there is.
var rootLogger = configs.Definition{Name: "root", Doc: "Level of the agent's log."}

// loggers shows an agent's level: what was set over the wire, or else how agents like
// this one start.
func (a *Admin) loggers(agent metadata.Agent) []configs.Entry {
	level := a.settings.Of(resource{kmsg.ConfigResourceTypeBrokerLogger, nodeName(agent)}.stored())[rootLogger.Name]
	if level == "" {
		level = a.settings.UsualLevel()
	}
	return []configs.Entry{{Definition: &rootLogger, Value: &level, Source: kmsg.ConfigSourceDynamicBrokerLoggerConfig}}
}

// shown turns an entry into its form on the wire. What can't be changed over
// the wire is read-only.
func shown(e configs.Entry, resource kmsg.ConfigResourceType, req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.Value, c.Source, c.IsSensitive, c.ConfigType = e.Name, e.Value, e.Source, e.Sensitive, e.Type
	c.ReadOnly = resource == kmsg.ConfigResourceTypeBroker && !e.Dynamic
	if req.IncludeDocumentation {
		c.Documentation = &e.Doc
	}
	if req.IncludeSynonyms {
		for _, link := range e.Chain {
			s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			s.Name, s.Source = link.Name, link.Source
			if !e.Sensitive {
				s.Value = &link.Value
			}
			c.ConfigSynonyms = append(c.ConfigSynonyms, s)
		}
	}
	return c
}
