package admin

// IncrementalAlterConfigs (44), versions 0 to 1.
//
//   - v0 KIP-339; v1 flexible

import (
	"context"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
)

// IncrementalAlterConfigs sets and deletes the configs that the request names, and
// adds to and takes from those that are lists. All of a topic's changes come or none.
func (a *Admin) IncrementalAlterConfigs(ctx context.Context, _ protocol.Client, req *kmsg.IncrementalAlterConfigsRequest) *kmsg.IncrementalAlterConfigsResponse {
	ctx, cancel := withTimeout(ctx, 0)
	defer cancel()
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	of := func(r kmsg.IncrementalAlterConfigsRequestResource) resource {
		return resource{r.ResourceType, r.ResourceName}
	}
	twice := duplicates(req.Resources, of)
	for _, r := range req.Resources {
		result := kmsg.NewIncrementalAlterConfigsResponseResource()
		result.ResourceType, result.ResourceName = r.ResourceType, r.ResourceName
		why := duplicateResource()
		if !twice[of(r)] {
			why = a.increment(ctx, of(r), r.Configs, req.ValidateOnly)
		}
		if why != nil {
			result.ErrorCode, result.ErrorMessage = why.code, &why.message
		}
		resp.Resources = append(resp.Resources, result)
	}
	return resp
}

func (a *Admin) increment(ctx context.Context, r resource, ops []kmsg.IncrementalAlterConfigsRequestResourceConfig, validate bool) *refusal {
	var keys, null []string
	for _, op := range ops {
		keys = append(keys, op.Name)
		if op.Value == nil && op.Op != kmsg.IncrementalAlterConfigOpDelete {
			null = append(null, op.Name)
		}
	}
	return a.alter(ctx, r, keys, validate, func(set map[string]string) *refusal {
		if why := nullValues(null); why != nil {
			return why
		}
		for _, op := range ops {
			if why := a.apply(set, op); why != nil {
				return why
			}
		}
		return nil
	})
}

// apply makes one change. Deleting what is not set, or no config at all, is done.
func (a *Admin) apply(set map[string]string, op kmsg.IncrementalAlterConfigsRequestResourceConfig) *refusal {
	switch op.Op {
	case kmsg.IncrementalAlterConfigOpSet:
		set[op.Name] = *op.Value
	case kmsg.IncrementalAlterConfigOpDelete:
		delete(set, op.Name)
	case kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract:
		d := configs.TopicDefinition(op.Name)
		if d == nil || d.Type != kmsg.ConfigTypeList {
			return refuse(kerr.InvalidConfig, "Can't %s to key %s because its type is not LIST.", op.Op, op.Name)
		}
		elements := a.listNow(set, op.Name)
		for _, e := range configs.SplitList(*op.Value) {
			if op.Op == kmsg.IncrementalAlterConfigOpSubtract {
				elements = slices.DeleteFunc(elements, func(have string) bool { return have == e })
			} else if !slices.Contains(elements, e) {
				elements = append(elements, e)
			}
		}
		set[op.Name] = strings.Join(elements, ",")
	default:
		return refuse(kerr.InvalidRequest, "Unknown operation %d on %s", op.Op, op.Name)
	}
	return nil
}

// listNow returns the elements of a list config that hold now, which is where
// a topic that sets none starts from.
func (a *Admin) listNow(set map[string]string, name string) []string {
	for _, e := range configs.DescribeTopic(set, a.broker) {
		if e.Name == name && e.Value != nil {
			return configs.SplitList(*e.Value)
		}
	}
	return nil
}
