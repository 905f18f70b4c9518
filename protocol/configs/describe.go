package configs

import (
	"maps"

	"github.com/twmb/franz-go/pkg/kmsg"
)

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
// for a group with these configs on this broker.
func DescribeGroup(group map[string]string, broker Broker) []Entry {
	return describe(groupDefinitions, group, kmsg.ConfigSourceGroupConfig, broker)
}

// DescribeClientMetrics returns every config of a client metrics subscription
// with these configs.
func DescribeClientMetrics(subscription map[string]string) []Entry {
	return describe(clientMetricsDefinitions, subscription, kmsg.ConfigSourceClientMetricsConfig, Broker{})
}

// DescribeBroker returns every broker config, by name. The facts are the
// values of those that report what the agent is (advertised.listeners ...).
func DescribeBroker(broker Broker, facts map[string]string) []Entry {
	broker.static, broker.settings = maps.Clone(broker.static), maps.Clone(broker.settings)
	for name, value := range facts {
		if _, set := broker.settings[name]; !set {
			broker.static[name], broker.settings[name] = value, value
		}
	}
	entries := make([]Entry, len(brokerDefinitions))
	for i := range brokerDefinitions {
		d := &brokerDefinitions[i]
		links := broker.links(d.Name)
		if !d.Nullable {
			links = append(links, Link{d.Name, d.Default, kmsg.ConfigSourceDefaultConfig})
		}
		value, ok := effective(d, broker.settings, Broker{})
		entries[i] = newEntry(d, value, ok, links)
	}
	return entries
}

// DescribeBrokerDefaults returns the broker configs that were set over the wire for
// all brokers, by name, and only what was set there.
func DescribeBrokerDefaults(broker Broker) []Entry {
	var entries []Entry
	for i := range brokerDefinitions {
		d := &brokerDefinitions[i]
		if value, ok := broker.defaults[d.Name]; ok {
			entries = append(entries, newEntry(d, value, true, []Link{{d.Name, value, kmsg.ConfigSourceDynamicDefaultBrokerConfig}}))
		}
	}
	return entries
}

// links lists where a broker config was set, in the order in which that counts.
func (b Broker) links(name string) []Link {
	var links []Link
	for _, layer := range []struct {
		set    map[string]string
		source kmsg.ConfigSource
	}{
		{b.own, kmsg.ConfigSourceDynamicBrokerConfig},
		{b.defaults, kmsg.ConfigSourceDynamicDefaultBrokerConfig},
		{b.static, kmsg.ConfigSourceStaticBrokerConfig},
	} {
		if value, ok := layer.set[name]; ok {
			links = append(links, Link{name, value, layer.source})
		}
	}
	return links
}

// newEntry shows a value (null without ok) with where it comes from, and no secrets.
func newEntry(d *Definition, value string, ok bool, chain []Link) Entry {
	e := Entry{Definition: d, Source: kmsg.ConfigSourceDefaultConfig, Chain: chain}
	if len(chain) > 0 {
		e.Source = chain[0].Source
	}
	if d.Sensitive {
		for i := range chain {
			chain[i].Value = ""
		}
	} else if ok {
		e.Value = &value
	}
	return e
}

func describe(definitions []Definition, set map[string]string, source kmsg.ConfigSource, broker Broker) []Entry {
	entries := make([]Entry, len(definitions))
	for i := range definitions {
		d := &definitions[i]
		value, ok := effective(d, set, broker)
		entries[i] = newEntry(d, value, ok, chain(d, set, source, broker))
	}
	return entries
}

// chain lists the sources of a config's value, in the order in which they
// count: what is set on the resource, what is set on the broker, the
// default under the broker config's name where there is one.
func chain(d *Definition, set map[string]string, source kmsg.ConfigSource, broker Broker) []Link {
	var links []Link
	if raw, ok := set[d.Name]; ok {
		if value, err := d.Parse(raw); err == nil {
			links = append(links, Link{d.Name, value, source})
		}
	}
	for _, s := range d.Synonyms {
		links = append(links, broker.links(s.Name)...)
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
