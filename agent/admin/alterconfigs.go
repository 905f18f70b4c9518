package admin

// AlterConfigs (33), versions 0 to 2.
//
//   - v0 KIP-133; v2 flexible. Superseded by IncrementalAlterConfigs (KIP-339),
//     and still what some user interfaces call.

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
)

// AlterConfigs makes the configs of each resource exactly those of the request:
// what it doesn't name goes back to its default.
func (a *Admin) AlterConfigs(ctx context.Context, _ protocol.Client, req *kmsg.AlterConfigsRequest) *kmsg.AlterConfigsResponse {
	ctx, cancel := withTimeout(ctx, 0)
	defer cancel()
	resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
	of := func(r kmsg.AlterConfigsRequestResource) resource { return resource{r.ResourceType, r.ResourceName} }
	twice := duplicates(req.Resources, of)
	for _, r := range req.Resources {
		result := kmsg.NewAlterConfigsResponseResource()
		result.ResourceType, result.ResourceName = r.ResourceType, r.ResourceName
		why := duplicateResource()
		if !twice[of(r)] {
			why = a.replace(ctx, of(r), r.Configs, req.ValidateOnly)
		}
		if why != nil {
			result.ErrorCode, result.ErrorMessage = why.code, &why.message
		}
		resp.Resources = append(resp.Resources, result)
	}
	return resp
}

func (a *Admin) replace(ctx context.Context, r resource, asked []kmsg.AlterConfigsRequestResourceConfig, validate bool) *refusal {
	if r.kind == kmsg.ConfigResourceTypeBrokerLogger {
		return refuse(kerr.InvalidRequest, "Unknown resource type %d", r.kind) // levels can't be replaced, only set
	}
	var keys, null []string
	for _, c := range asked {
		keys = append(keys, c.Name)
		if c.Value == nil {
			null = append(null, c.Name)
		}
	}
	return a.alter(ctx, r, keys, validate, func(set map[string]string) *refusal {
		if why := nullValues(null); why != nil {
			return why
		}
		clear(set)
		for _, c := range asked {
			set[c.Name] = *c.Value
		}
		return nil
	})
}
