package admin

// IncrementalAlterConfigs (44), versions 0 to 1.
//
//   - v0 KIP-339; v1 flexible
//   - resources: as DescribeConfigs

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
// adds to and takes from those that are lists. All of a resource's changes come or none.
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
			apply := a.apply
			if r.kind == kmsg.ConfigResourceTypeBrokerLogger {
				apply = setLevel
			}
			if why := apply(r, set, op); why != nil {
				return why
			}
		}
		return nil
	})
}

// apply makes one change. Deleting what is not set, or no config at all, is done.
func (a *Admin) apply(r resource, set map[string]string, op kmsg.IncrementalAlterConfigsRequestResourceConfig) *refusal {
	switch op.Op {
	case kmsg.IncrementalAlterConfigOpSet:
		set[op.Name] = *op.Value
	case kmsg.IncrementalAlterConfigOpDelete:
		delete(set, op.Name)
	case kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract:
		d := definition(r.kind, op.Name)
		switch {
		case (d == nil || d.Type != kmsg.ConfigTypeList) && r.kind == kmsg.ConfigResourceTypeBroker:
			return refuse(kerr.InvalidConfig, "Config value %s is not allowed for config key: %s", strings.ToLower(op.Op.String()), op.Name)
		case d == nil || d.Type != kmsg.ConfigTypeList:
			return refuse(kerr.InvalidConfig, "Can't %s to key %s because its type is not LIST.", op.Op, op.Name)
		}
		elements := a.listNow(r, set, op.Name)
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
// a resource that sets none starts from.
func (a *Admin) listNow(r resource, set map[string]string, name string) []string {
	if value, ok := set[name]; ok {
		return configs.SplitList(value)
	}
	var entries []configs.Entry
	switch r.kind {
	case kmsg.ConfigResourceTypeTopic:
		entries = configs.DescribeTopic(nil, *a.settings.Broker())
	case kmsg.ConfigResourceTypeBroker:
		// An error comes from what is set elsewhere, and canonical will tell it.
		broker, _ := a.brokerWith(r, nil)
		entries = configs.DescribeBroker(broker, nil)
	}
	for _, e := range entries {
		if e.Name == name && e.Value != nil {
			return configs.SplitList(*e.Value)
		}
	}
	return nil
}

// levels are those that a logger may have.
var levels = []string{"DEBUG", "INFO", "WARN", "ERROR"}

// setLevel changes the level of an agent's log (KIP-412). There is one logger, the root.
func setLevel(_ resource, set map[string]string, op kmsg.IncrementalAlterConfigsRequestResourceConfig) *refusal {
	switch op.Op {
	case kmsg.IncrementalAlterConfigOpSet:
		if op.Name != rootLogger.Name {
			return refuse(kerr.InvalidConfig, "Logger %s does not exist!", op.Name)
		}
		if !slices.Contains(levels, *op.Value) {
			return refuse(kerr.InvalidConfig, "Cannot set the log level of %s to %s as it is not a supported log level. Valid log levels are %s", op.Name, *op.Value, strings.Join(levels, ", "))
		}
		set[op.Name] = *op.Value
		return nil
	case kmsg.IncrementalAlterConfigOpDelete:
		if op.Name != rootLogger.Name {
			return refuse(kerr.InvalidConfig, "Logger %s does not exist!", op.Name)
		}
		return refuse(kerr.InvalidRequest, "Removing the log level of the root logger is not allowed")
	case kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract:
		return refuse(kerr.InvalidRequest, "%s operation is not allowed for the BROKER_LOGGER resource", op.Op)
	}
	return refuse(kerr.InvalidRequest, "Unknown operation %d on %s", op.Op, op.Name)
}
