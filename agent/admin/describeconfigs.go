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
		id, agent, why := a.agent(r.ResourceName)
		if why != nil {
			return nil, why
		}
		return configs.DescribeBroker(a.settings.BrokerOf(id), a.factsOf(id, agent)), nil
	case kmsg.ConfigResourceTypeBrokerLogger:
		if r.ResourceName == "" {
			return nil, refuse(kerr.InvalidRequest, "Broker id must not be empty")
		}
		id, _, why := a.agent(r.ResourceName)
		if why != nil {
			return nil, why
		}
		return a.loggers(id), nil
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

// agent returns the broker ID of that name, and an agent that clients know by it. Any agent describes any
// other: behind a load balancer the request reaches any of them.
func (a *Admin) agent(name string) (int32, metadata.Agent, *refusal) {
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil || strconv.FormatInt(id, 10) != name { // "+1" would name a resource of its own
		return 0, metadata.Agent{}, refuse(kerr.InvalidRequest, "Broker id must be an integer, but it is: %s", name)
	}
	agent, known := a.agentOf(int32(id))
	if !known {
		return 0, metadata.Agent{}, refuse(kerr.InvalidRequest, "Unexpected broker id, expected a registered one or empty string, but received %s", name)
	}
	return int32(id), agent, nil
}

// agentOf returns an agent that clients know by the broker ID: one whose configs are that broker's or else, when that one is
// gone from a load balancer's address, another one there.
func (a *Admin) agentOf(id int32) (agent metadata.Agent, known bool) {
	all := append(a.agents.Alive(), a.agents.Self())
	i := slices.IndexFunc(all, func(agent metadata.Agent) bool { return agent.ConfigID() == id })
	if i < 0 {
		i = slices.IndexFunc(all, func(agent metadata.Agent) bool {
			return slices.ContainsFunc(agent.Listeners, func(l metadata.Listener) bool { return agent.BrokerID(l) == id })
		})
	}
	if i < 0 {
		return agent, false
	}
	return all[i], true
}

// brokerName is a broker's name among the resources.
func brokerName(id int32) string { return strconv.Itoa(int(id)) }

func (a *Admin) factsOf(id int32, agent metadata.Agent) map[string]string {
	facts := maps.Clone(a.facts)
	if facts == nil {
		facts = map[string]string{}
	}
	facts["broker.id"], facts["node.id"] = brokerName(id), brokerName(id)
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

// loggers shows a broker's level: what was set over the wire, or else how agents like
// this one start.
func (a *Admin) loggers(id int32) []configs.Entry {
	level := a.settings.Of(resource{kmsg.ConfigResourceTypeBrokerLogger, brokerName(id)}.stored())[rootLogger.Name]
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
