package admin

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
)

// resource names what a config belongs to.
type resource struct {
	kind kmsg.ConfigResourceType
	name string
}

// stored is the resource in the metadata store, where it is no topic.
func (r resource) stored() metadata.ConfigResource {
	return metadata.ConfigResource{Kind: metadata.ConfigKind(r.kind), Name: r.name}
}

// alter changes a resource's configs, or only says whether it could. The
// function edit changes a map of what is set on the resource; keys are the configs that
// the request names.
//
// The store runs the edit under its lock, on what is set then: of two edits at the same
// time, through whichever agents, each sees the other's result or is seen by it.
func (a *Admin) alter(ctx context.Context, r resource, keys []string, validate bool, edit func(set map[string]string) *refusal) *refusal {
	if why := a.checkResource(r); why != nil {
		return why
	}
	if twice := duplicates(keys, func(key string) string { return key }); len(twice) > 0 {
		return refuse(kerr.InvalidRequest, "Error due to duplicate config keys")
	}
	var changed []string
	change := func(set map[string]string) (map[string]string, error) {
		before := maps.Clone(set)
		if why := edit(set); why != nil {
			return nil, why
		}
		if why := a.canonical(r, set); why != nil {
			return nil, why
		}
		changed = difference(before, set)
		return set, nil
	}
	var err error
	if r.kind == kmsg.ConfigResourceTypeTopic {
		err = a.alterTopic(ctx, r.name, validate, change)
	} else if validate {
		_, err = change(cloned(a.settings.Of(r.stored())))
	} else {
		err = a.settings.Alter(ctx, r.stored(), change)
	}
	var why *refusal
	switch {
	case errors.As(err, &why):
		return why
	case err != nil:
		return a.refused("alter configs", r.name, err)
	}
	if !validate && len(changed) > 0 {
		a.log.Info("configs altered", "of", r.kind, "name", r.name, "configs", changed)
	}
	return nil
}

func (a *Admin) alterTopic(ctx context.Context, name string, validate bool, change metadata.ConfigEdit) error {
	topic, err := a.topics.TopicNow(ctx, name)
	if err == nil {
		if validate {
			_, err = change(cloned(topic.Configs))
		} else {
			_, err = a.topics.AlterTopicConfigs(ctx, topic.ID, change)
		}
	}
	if errors.Is(err, metadata.ErrUnknownTopic) {
		return refuse(kerr.UnknownTopicOrPartition, "The topic '%s' does not exist.", name)
	}
	return err
}

// cloned copies a map that may be nil.
func cloned(set map[string]string) map[string]string {
	if set == nil {
		return map[string]string{}
	}
	return maps.Clone(set)
}

// difference returns the names of the configs that differ.
func difference(old, set map[string]string) []string {
	var names []string
	for name, value := range set {
		if was, ok := old[name]; !ok || was != value {
			names = append(names, name)
		}
	}
	for name := range old {
		if _, ok := set[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// checkResource refuses names of resources on which nothing can be set.
func (a *Admin) checkResource(r resource) *refusal {
	if len(r.name) > metadata.MaxConfigName {
		return refuse(kerr.InvalidRequest, "The name of the resource has %d bytes, more than %d.", len(r.name), metadata.MaxConfigName)
	}
	switch r.kind {
	case kmsg.ConfigResourceTypeTopic:
		if r.name == "" {
			return refuse(kerr.InvalidRequest, "Default topic resources are not allowed.")
		}
		if err := protocol.CheckTopicName(r.name); err != nil {
			return invalidName(err)
		}
	case kmsg.ConfigResourceTypeBroker:
		if r.name != "" {
			_, _, why := a.agent(r.name)
			return why
		}
	case kmsg.ConfigResourceTypeBrokerLogger:
		_, _, why := a.agent(r.name)
		return why
	case kmsg.ConfigResourceTypeGroupConfig:
		if r.name == "" {
			return refuse(kerr.InvalidRequest, "Default group resources are not allowed.")
		}
	case kmsg.ConfigResourceTypeClientMetrics:
		if r.name == "" {
			return refuse(kerr.InvalidRequest, "Subscription name can't be empty")
		}
	default:
		return refuse(kerr.InvalidRequest, "Unknown resource type %d", r.kind)
	}
	return nil
}

// canonical checks what is to be set on a resource together, and brings the values into
// canonical form.
func (a *Admin) canonical(r resource, set map[string]string) *refusal {
	broker := *a.settings.Broker()
	var err error
	switch r.kind {
	case kmsg.ConfigResourceTypeTopic:
		_, err = configs.ParseTopic(set, broker)
	case kmsg.ConfigResourceTypeBroker:
		_, err = a.brokerWith(r, set)
	case kmsg.ConfigResourceTypeGroupConfig:
		_, err = configs.ParseGroup(set, broker)
	case kmsg.ConfigResourceTypeClientMetrics:
		_, err = configs.ParseClientMetrics(set)
	case kmsg.ConfigResourceTypeBrokerLogger:
		return nil // setLevel has checked it
	}
	for name, value := range set {
		if err == nil {
			set[name], err = definition(r.kind, name).Parse(value)
		}
	}
	switch {
	case errors.Is(err, configs.ErrInvalidRequest), r.kind == kmsg.ConfigResourceTypeBroker && err != nil:
		return refuse(kerr.InvalidRequest, "%v", err)
	case err != nil:
		return refuse(kerr.InvalidConfig, "%v", err)
	}
	return nil
}

// brokerWith returns the broker as it will be with that set on the resource, which is all
// brokers or one.
func (a *Admin) brokerWith(r resource, set map[string]string) (configs.Broker, error) {
	if r.name == "" {
		self := resource{r.kind, brokerName(a.agents.Self().ConfigID())}
		return a.settings.Broker().With(set, a.settings.Of(self.stored()))
	}
	return a.settings.Broker().With(a.settings.Of(resource{r.kind, ""}.stored()), set)
}

// definition returns a config of a resource, nil if there is none of that name.
func definition(kind kmsg.ConfigResourceType, name string) *configs.Definition {
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		return configs.TopicDefinition(name)
	case kmsg.ConfigResourceTypeBroker:
		return configs.BrokerDefinition(name)
	case kmsg.ConfigResourceTypeGroupConfig:
		return configs.GroupDefinition(name)
	case kmsg.ConfigResourceTypeClientMetrics:
		return configs.ClientMetricsDefinition(name)
	}
	return nil
}

// duplicateResource is the answer for a resource named twice in one request.
func duplicateResource() *refusal {
	return refuse(kerr.InvalidRequest, "Each resource must appear at most once.")
}

// nullValues refuses configs that come without a value where one is needed.
func nullValues(keys []string) *refusal {
	if len(keys) == 0 {
		return nil
	}
	slices.Sort(keys)
	return refuse(kerr.InvalidRequest, "Null value not supported for : %s", strings.Join(keys, ", "))
}
