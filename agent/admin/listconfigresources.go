package admin

// ListConfigResources (74), versions 0 to 1.
//
//   - v0 KIP-1000, client metrics subscriptions alone; v1 KIP-1142, all kinds

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// ListConfigResources lists the subscriptions and groups on which something is set, and all
// topics and brokers.
func (a *Admin) ListConfigResources(ctx context.Context, _ protocol.Client, req *kmsg.ListConfigResourcesRequest) *kmsg.ListConfigResourcesResponse {
	ctx, cancel := withTimeout(ctx, 0)
	defer cancel()
	resp := req.ResponseKind().(*kmsg.ListConfigResourcesResponse)
	kinds := []kmsg.ConfigResourceType{kmsg.ConfigResourceTypeClientMetrics}
	if req.Version >= 1 {
		all := []kmsg.ConfigResourceType{
			kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger,
			kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig,
		}
		if kinds = nil; len(req.ResourceTypes) == 0 {
			kinds = all
		}
		for _, asked := range req.ResourceTypes {
			kind := kmsg.ConfigResourceType(asked)
			if !slices.Contains(all, kind) {
				resp.ErrorCode = kerr.UnsupportedVersion.Code
				return resp
			}
			if !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
		}
	}
	for _, kind := range kinds {
		names, why := a.resourceNames(ctx, kind)
		if why != nil {
			resp.ErrorCode, resp.ConfigResources = why.code, nil
			return resp
		}
		for _, name := range names {
			r := kmsg.NewListConfigResourcesResponseConfigResource()
			r.Name, r.Type = name, int8(kind)
			resp.ConfigResources = append(resp.ConfigResources, r)
		}
	}
	return resp
}

func (a *Admin) resourceNames(ctx context.Context, kind kmsg.ConfigResourceType) (names []string, why *refusal) {
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		topics, err := a.topics.AllTopics(ctx)
		if err != nil {
			return nil, a.refused("list config resources", "topics", err)
		}
		for _, topic := range topics {
			names = append(names, topic.Name)
		}
	case kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger:
		for _, agent := range a.agents.Alive() {
			// Agents behind one address have one.
			if name := brokerName(agent.ConfigID()); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	default:
		names = a.settings.Names(metadata.ConfigKind(kind))
	}
	return names, nil
}
