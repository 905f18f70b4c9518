package cluster

// ApiVersions (18), versions 0 to 4.
//
//   - v0 KIP-35, v1 throttle time
//   - v3 KIP-511: the client tells its software's name and version; KIP-584: features
//   - v4 KIP-1022: features whose lowest version is 0, which older clients refuse

import (
	"context"
	"regexp"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
)

// softwareName is what KIP-511 allows as a name and as a version.
var softwareName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

// ApiVersions tells which versions of which APIs are served, from the one table.
func (c *Cluster) ApiVersions(_ context.Context, _ protocol.Client, req *kmsg.ApiVersionsRequest) *kmsg.ApiVersionsResponse {
	if !protocol.Supports(req.Key(), req.Version) {
		return UnsupportedApiVersions()
	}
	resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
	if req.Version >= 3 && (!softwareName.MatchString(req.ClientSoftwareName) || !softwareName.MatchString(req.ClientSoftwareVersion)) {
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp
	}
	resp.ApiKeys = apiKeys()
	if req.Version < 3 {
		return resp
	}
	finalized := c.features()
	resp.FinalizedFeaturesEpoch = finalized.Epoch
	for _, f := range protocol.Features() {
		if f.Min > 0 || req.Version >= 4 {
			supported := kmsg.NewApiVersionsResponseSupportedFeature()
			supported.Name, supported.MinVersion, supported.MaxVersion = f.Name, f.Min, f.Max
			resp.SupportedFeatures = append(resp.SupportedFeatures, supported)
		}
		level := finalized.Level(f)
		if level == 0 {
			continue // it is off, which clients read from its absence
		}
		shown := kmsg.NewApiVersionsResponseFinalizedFeature()
		shown.Name, shown.MinVersionLevel, shown.MaxVersionLevel = f.Name, level, level
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, shown)
	}
	return resp
}

// UnsupportedApiVersions answers an ApiVersions request of a version that is
// not served: in version 0, which every client reads, with the list by which it
// chooses the version to ask in again (KIP-511).
func UnsupportedApiVersions() *kmsg.ApiVersionsResponse {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ErrorCode = kerr.UnsupportedVersion.Code
	resp.ApiKeys = apiKeys()
	return resp
}

func apiKeys() []kmsg.ApiVersionsResponseApiKey {
	ranges := protocol.Versions()
	keys := make([]kmsg.ApiVersionsResponseApiKey, len(ranges))
	for i, r := range ranges {
		keys[i] = kmsg.NewApiVersionsResponseApiKey()
		keys[i].ApiKey, keys[i].MinVersion, keys[i].MaxVersion = r.Key, r.Advertised, r.Max
	}
	return keys
}
