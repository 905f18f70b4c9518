package admin

// UpdateFeatures (57), versions 0 to 2.
//
//   - v0 KIP-584; v1 KIP-778 kinds of downgrade, validation only; v2 KIP-1022 one error for all
//
// Features come with the program: each is at its only level.

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
)

// Kinds of update of v1.
const (
	featureUpgrade         = 1
	featureSafeDowngrade   = 2
	featureUnsafeDowngrade = 3
)

// UpdateFeatures accepts the levels that are in force and refuses all others. All updates
// come or none.
func (a *Admin) UpdateFeatures(_ context.Context, _ protocol.Client, req *kmsg.UpdateFeaturesRequest) *kmsg.UpdateFeaturesResponse {
	resp := req.ResponseKind().(*kmsg.UpdateFeaturesResponse)
	for _, update := range req.FeatureUpdates {
		result := kmsg.NewUpdateFeaturesResponseResult()
		result.Feature = update.Feature
		if why := checkFeature(update, req.Version); why != nil {
			result.ErrorCode, result.ErrorMessage = why.code, &why.message
			if resp.ErrorCode == 0 && req.Version >= 2 {
				message := "The update failed for all features since the following feature had an error: " + why.message
				resp.ErrorCode, resp.ErrorMessage = why.code, &message
			}
		}
		if req.Version < 2 {
			resp.Results = append(resp.Results, result)
		}
	}
	return resp
}

func checkFeature(update kmsg.UpdateFeaturesRequestFeatureUpdate, version int16) *refusal {
	refuseLevel := func(format string, args ...any) *refusal {
		return refuse(kerr.InvalidUpdateVersion, "Invalid update version %d for feature %s. "+format, append([]any{update.MaxVersionLevel, update.Feature}, args...)...)
	}
	features := protocol.Features()
	i := slices.IndexFunc(features, func(f protocol.Feature) bool { return f.Name == update.Feature })
	switch {
	case version >= 1 && (update.UpgradeType < featureUpgrade || update.UpgradeType > featureUnsafeDowngrade):
		return refuseLevel("The controller does not support the given upgrade type.")
	case update.MaxVersionLevel < 0:
		return refuseLevel("A feature version cannot be less than 0.")
	case i < 0:
		return refuseLevel("This feature is not supported.")
	case update.MaxVersionLevel < features[i].Min || update.MaxVersionLevel > features[i].Max:
		return refuseLevel("Supported are the versions %d-%d", features[i].Min, features[i].Max)
	case update.MaxVersionLevel != features[i].Max:
		return refuseLevel("Features come with the version of Wadi that runs; this one is at %d.", features[i].Max)
	}
	return nil
}
