package admin

// UpdateFeatures (57), versions 0 to 2.
//
//   - v0 KIP-584; v1 KIP-778 kinds of downgrade, validation only; v2 KIP-1022 one error for all

import (
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// Kinds of update of v1. Nothing is lost by any level, so both downgrades are one.
const (
	featureUpgrade         = 1
	featureUnsafeDowngrade = 3
)

// finalizedFeatures is where the levels are stored.
var finalizedFeatures = metadata.ConfigResource{Kind: metadata.FeatureConfig}

// UpdateFeatures chooses the levels of features. All updates come or none, and the
// error of one is the request's, in each version, as in Kafka 4.
func (a *Admin) UpdateFeatures(ctx context.Context, client protocol.Client, req *kmsg.UpdateFeaturesRequest) *kmsg.UpdateFeaturesResponse {
	ctx, cancel := withTimeout(ctx, req.TimeoutMillis)
	defer cancel()
	resp := req.ResponseKind().(*kmsg.UpdateFeaturesResponse)
	if why := a.updateFeatures(ctx, client, req); why != nil {
		resp.ErrorCode, resp.ErrorMessage = why.code, &why.message
		return resp
	}
	if req.Version < 2 {
		for _, update := range req.FeatureUpdates {
			result := kmsg.NewUpdateFeaturesResponseResult()
			result.Feature = update.Feature
			resp.Results = append(resp.Results, result)
		}
	}
	return resp
}

func (a *Admin) updateFeatures(ctx context.Context, client protocol.Client, req *kmsg.UpdateFeaturesRequest) *refusal {
	var levels map[string]int16
	edit := func(stored map[string]string) (map[string]string, error) {
		now, err := protocol.ParseFinalizedFeatures(stored)
		if err != nil {
			return nil, err
		}
		var why *refusal
		levels, why = a.newLevels(now, protocol.Features(), req)
		switch {
		case why != nil:
			return nil, why
		case len(levels) == 0:
			return stored, nil
		}
		return now.With(levels).Stored(), nil
	}
	var err error
	if req.ValidateOnly {
		_, err = edit(a.settings.Of(finalizedFeatures))
	} else if err = a.settings.Alter(ctx, finalizedFeatures, edit); err == nil && len(levels) > 0 {
		a.log.Info("levels of features changed", "client", client.ID, "levels", levels)
	}
	var why *refusal
	switch {
	case errors.As(err, &why):
		return &refusal{why.code, "The update failed for all features since the following feature had an error: " + why.message}
	case err != nil:
		return a.refused("update features", "", err)
	}
	return nil
}

// newLevels are the levels that the request changes, or why one can't be.
func (a *Admin) newLevels(now protocol.FinalizedFeatures, features []protocol.Feature, req *kmsg.UpdateFeaturesRequest) (map[string]int16, *refusal) {
	levels := map[string]int16{}
	for _, update := range req.FeatureUpdates {
		if req.Version < 1 {
			update.UpgradeType = featureUpgrade // it knows no other
		}
		i := slices.IndexFunc(features, func(f protocol.Feature) bool { return f.Name == update.Feature })
		var feature *protocol.Feature
		if i >= 0 {
			feature = &features[i]
		}
		if why := a.checkFeature(now, feature, update); why != nil {
			return nil, why
		}
		if level := update.MaxVersionLevel; level != now.Level(*feature) {
			levels[update.Feature] = level
		}
	}
	return levels, nil
}

// checkFeature says in Kafka's words why a feature, nil if there is no such one, can't
// be updated; nil if it can.
func (a *Admin) checkFeature(now protocol.FinalizedFeatures, feature *protocol.Feature, update kmsg.UpdateFeaturesRequestFeatureUpdate) *refusal {
	level, upgrade, controller := update.MaxVersionLevel, update.UpgradeType == featureUpgrade, a.agents.Self().ConfigID()
	no := func(format string, args ...any) *refusal {
		return refuse(kerr.InvalidUpdateVersion, "Invalid update version %d for feature %s. "+format, append([]any{level, update.Feature}, args...)...)
	}
	switch {
	case update.UpgradeType < featureUpgrade || update.UpgradeType > featureUnsafeDowngrade:
		return no("The controller does not support the given upgrade type.")
	case level < 0:
		return no("A feature version cannot be less than 0.")
	case feature == nil && level == 0:
		return no("Feature %s not found.", update.Feature)
	case feature == nil:
		return no("Local controller %d does not support this feature.", controller)
	case level < feature.Min || level > feature.Max:
		return no("Local controller %d only supports versions %d-%d", controller, feature.Min, feature.Max)
	case level < now.Level(*feature) && upgrade:
		return no("Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.")
	case level > now.Level(*feature) && !upgrade:
		return no("Can't downgrade to a newer version.")
	case feature.Fixed && level != feature.Max:
		return no("This feature comes with the version of Wadi that runs, at %d.", feature.Max)
	}
	return nil
}
