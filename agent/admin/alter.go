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
)

// resource names what a config belongs to.
type resource struct {
	kind kmsg.ConfigResourceType
	name string
}

// alter changes a resource's configs, or only says whether it could. The
// function edit derives the topic's new configs from a copy of the present ones;
// keys are the configs that the request names.
//
// The present ones are read from the store. Two edits at the same time may
// both start from there: then, of a config that both change, the later one stays.
func (a *Admin) alter(ctx context.Context, r resource, keys []string, validate bool, edit func(set map[string]string) *refusal) *refusal {
	if r.kind != kmsg.ConfigResourceTypeTopic {
		return a.alterOther(r, keys)
	}
	if r.name == "" {
		return refuse(kerr.InvalidRequest, "Default topic resources are not allowed.")
	}
	if err := protocol.CheckTopicName(r.name); err != nil {
		return invalidName(err)
	}
	if twice := duplicates(keys, func(key string) string { return key }); len(twice) > 0 {
		return refuse(kerr.InvalidRequest, "Error due to duplicate config keys")
	}
	topic, err := a.topics.TopicNow(ctx, r.name)
	switch {
	case errors.Is(err, metadata.ErrUnknownTopic):
		return refuse(kerr.UnknownTopicOrPartition, "The topic '%s' does not exist.", r.name)
	case err != nil:
		return a.refused("alter configs", r.name, err)
	}
	set := maps.Clone(topic.Configs)
	if set == nil {
		set = map[string]string{}
	}
	if why := edit(set); why != nil {
		return why
	}
	set, why := a.canonical(set)
	if why != nil {
		return why
	}
	changes := difference(topic.Configs, set)
	if validate || len(changes) == 0 {
		return nil
	}
	if _, err := a.topics.AlterTopicConfigs(ctx, topic.ID, changes); err != nil {
		return a.refused("alter configs", r.name, err)
	}
	a.log.Info("topic configs altered", "topic", r.name, "configs", slices.Sorted(maps.Keys(changes)))
	return nil
}

// difference returns the changes that make the old configs the new ones.
func difference(old, set map[string]string) map[string]*string {
	changes := map[string]*string{}
	for name, value := range set {
		if was, ok := old[name]; !ok || was != value {
			changes[name] = &value
		}
	}
	for name := range old {
		if _, ok := set[name]; !ok {
			changes[name] = nil
		}
	}
	return changes
}

// alterOther answers for what has no configs that could be changed over the wire.
func (a *Admin) alterOther(r resource, keys []string) *refusal {
	switch r.kind {
	case kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger:
		if r.name != "" {
			if _, why := a.agent(r.name); why != nil {
				return why
			}
		}
		if len(keys) == 0 {
			return nil
		}
		return refuse(kerr.InvalidRequest, "Cannot update these configs dynamically: %s. They are settings of the agents.", strings.Join(keys, ", "))
	case kmsg.ConfigResourceTypeGroupConfig:
		return refuse(kerr.InvalidRequest, "Groups have no configs of their own; their defaults (group.consumer.session.timeout.ms ...) are settings of the agents.")
	case kmsg.ConfigResourceTypeClientMetrics:
		return refuse(kerr.InvalidRequest, "Client metrics subscriptions are not kept.")
	}
	return refuse(kerr.InvalidRequest, "Unknown resource type %d", r.kind)
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
	return refuse(kerr.InvalidRequest, "Null value not supported for : %s", strings.Join(keys, ","))
}
