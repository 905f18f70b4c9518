package configs

import "github.com/twmb/franz-go/pkg/kmsg"

// Entry is a config as DescribeConfigs shows it.
type Entry struct {
	*Definition
	// Value is canonical; nil is null.
	Value  *string
	Source kmsg.ConfigSource
	// Chain is what the value was chosen from (Kafka's "synonyms"): the first counts.
	Chain []Link
}

// Link is one source of a config's value.
type Link struct {
	Name   string
	Value  string
	Source kmsg.ConfigSource
}

// DescribeTopic returns every topic config, by name, with the value that holds
// for a topic with these configs on this broker.
func DescribeTopic(topic map[string]string, broker Broker) []Entry {
	return describe(topicDefinitions, topic, kmsg.ConfigSourceDynamicTopicConfig, broker)
}

// DescribeGroup returns every group config, by name, with the value that holds
// for groups that set none.
func DescribeGroup(broker Broker) []Entry {
	return describe(groupDefinitions, nil, kmsg.ConfigSourceGroupConfig, broker)
}

// DescribeClientMetrics returns every config of a client metrics subscription
// that sets none.
func DescribeClientMetrics() []Entry {
	return describe(clientMetricsDefinitions, nil, kmsg.ConfigSourceClientMetricsConfig, Broker{})
}

// DescribeBroker returns every broker config, by name. The facts are the
// values of those that report what the agent is (advertised.listeners ...).
func DescribeBroker(broker Broker, facts map[string]string) []Entry {
	set := make(map[string]string, len(broker.settings)+len(facts))
	for name, value := range facts {
		set[name] = value
	}
	for name, value := range broker.settings {
		set[name] = value
	}
	return describe(brokerDefinitions, set, kmsg.ConfigSourceStaticBrokerConfig, Broker{})
}

func describe(definitions []Definition, set map[string]string, source kmsg.ConfigSource, broker Broker) []Entry {
	entries := make([]Entry, len(definitions))
	for i := range definitions {
		d := &definitions[i]
		e := Entry{Definition: d, Source: kmsg.ConfigSourceDefaultConfig, Chain: chain(d, set, source, broker)}
		if value, ok := effective(d, set, broker); ok {
			e.Value = &value
		}
		if len(e.Chain) > 0 {
			e.Source = e.Chain[0].Source
		}
		if d.Sensitive {
			e.Value = nil
			for j := range e.Chain {
				e.Chain[j].Value = ""
			}
		}
		entries[i] = e
	}
	return entries
}

// chain lists the sources of a config's value, in the order in which they
// count: what is set on the resource, what the agent's settings say, the
// default under the broker config's name where there is one.
func chain(d *Definition, set map[string]string, source kmsg.ConfigSource, broker Broker) []Link {
	var links []Link
	if raw, ok := set[d.Name]; ok {
		if value, err := d.Parse(raw); err == nil {
			links = append(links, Link{d.Name, value, source})
		}
	}
	for _, s := range d.Synonyms {
		if value, ok := broker.settings[s.Name]; ok {
			links = append(links, Link{s.Name, value, kmsg.ConfigSourceStaticBrokerConfig})
		}
	}
	name, value, ok := d.Name, d.Default, !d.Nullable
	if len(d.Synonyms) > 0 {
		first := brokerByName[d.Synonyms[0].Name]
		name, value, ok = first.Name, first.Default, !first.Nullable
	}
	if ok {
		links = append(links, Link{name, value, kmsg.ConfigSourceDefaultConfig})
	}
	return links
}
