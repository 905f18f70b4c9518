package admin

// DescribeClientQuotas (48), versions 0 to 1.
//
//   - v0 KIP-546; v1 flexible
//
// No client is throttled yet, and AlterClientQuotas is not served.

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
)

// DescribeClientQuotas checks the filter as Kafka does, and answers that nothing matches.
func (a *Admin) DescribeClientQuotas(_ context.Context, _ protocol.Client, req *kmsg.DescribeClientQuotasRequest) *kmsg.DescribeClientQuotasResponse {
	resp := req.ResponseKind().(*kmsg.DescribeClientQuotasResponse)
	resp.ErrorMessage = new(string)
	if why := checkQuotaFilter(req.Components); why != nil {
		resp.ErrorCode, resp.ErrorMessage = why.code, &why.message
		return resp
	}
	resp.Entries = []kmsg.DescribeClientQuotasResponseEntry{} // null is an error
	return resp
}

func checkQuotaFilter(components []kmsg.DescribeClientQuotasRequestComponent) *refusal {
	const exact, usual, any = 0, 1, 2
	seen := map[string]bool{}
	for _, c := range components {
		switch {
		case c.EntityType == "":
			return refuse(kerr.InvalidRequest, "Invalid empty entity type.")
		case seen[c.EntityType]:
			return refuse(kerr.InvalidRequest, "Entity type %s cannot appear more than once in the filter.", c.EntityType)
		case !slices.Contains([]string{"user", "client-id", "ip"}, c.EntityType):
			return refuse(kerr.UnsupportedVersion, "Unsupported entity type %s", c.EntityType)
		case c.MatchType < exact || c.MatchType > any:
			return refuse(kerr.InvalidRequest, "Unknown match type %d", c.MatchType)
		case c.MatchType == exact && c.Match == nil:
			return refuse(kerr.InvalidRequest, "Request specified MATCH_TYPE_EXACT, but set match string to null.")
		case c.MatchType != exact && c.Match != nil:
			return refuse(kerr.InvalidRequest, "Request specified a match string for a match type that takes none.")
		}
		seen[c.EntityType] = true
	}
	if seen["ip"] && len(seen) > 1 {
		return refuse(kerr.InvalidRequest, "Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component.")
	}
	return nil
}
