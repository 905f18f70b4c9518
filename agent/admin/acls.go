package admin

// DescribeAcls (29), CreateAcls (30) and DeleteAcls (31), versions 1 to 3 each.
//
//   - v1 KIP-290 patterns; v2 flexible; v3 KIP-373 user resources
//
// There is no authorizer: everyone may do everything. The answers are those of a Kafka
// without one. (One file for three, since they say one thing.)

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
)

// noAuthorizer tells tools that there are no ACLs, where UNSUPPORTED_VERSION would
// tell them that the broker is too old.
func noAuthorizer() *refusal {
	return refuse(kerr.SecurityDisabled, "No Authorizer is configured.")
}

// DescribeAcls answers that there are none.
func (a *Admin) DescribeAcls(_ context.Context, _ protocol.Client, req *kmsg.DescribeACLsRequest) *kmsg.DescribeACLsResponse {
	resp := req.ResponseKind().(*kmsg.DescribeACLsResponse)
	why := noAuthorizer()
	resp.ErrorCode, resp.ErrorMessage = why.code, &why.message
	return resp
}

// CreateAcls refuses each.
func (a *Admin) CreateAcls(_ context.Context, _ protocol.Client, req *kmsg.CreateACLsRequest) *kmsg.CreateACLsResponse {
	resp := req.ResponseKind().(*kmsg.CreateACLsResponse)
	for range req.Creations {
		result, why := kmsg.NewCreateACLsResponseResult(), noAuthorizer()
		result.ErrorCode, result.ErrorMessage = why.code, &why.message
		resp.Results = append(resp.Results, result)
	}
	return resp
}

// DeleteAcls refuses each filter.
func (a *Admin) DeleteAcls(_ context.Context, _ protocol.Client, req *kmsg.DeleteACLsRequest) *kmsg.DeleteACLsResponse {
	resp := req.ResponseKind().(*kmsg.DeleteACLsResponse)
	for range req.Filters {
		result, why := kmsg.NewDeleteACLsResponseResult(), noAuthorizer()
		result.ErrorCode, result.ErrorMessage = why.code, &why.message
		resp.Results = append(resp.Results, result)
	}
	return resp
}
