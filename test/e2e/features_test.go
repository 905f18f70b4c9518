package e2e

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/test/harness"
)

// TestFeatureLevelsReachEveryAgent changes transaction.version through one agent.
func TestFeatureLevelsReachEveryAgent(t *testing.T) {
	options := setups[1].options(t)
	first, second := askerOf(t, harness.Agent(t, options)), askerOf(t, harness.Agent(t, options))
	told := func(a asker) string {
		t.Helper()
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "e2e", "1"
		resp := a.ask(req).(*kmsg.ApiVersionsResponse)
		level := "off"
		for _, f := range resp.FinalizedFeatures {
			if f.Name == "transaction.version" {
				level = fmt.Sprintf("%d to %d", f.MinVersionLevel, f.MaxVersionLevel)
			}
		}
		return fmt.Sprintf("%s in epoch %d", level, resp.FinalizedFeaturesEpoch)
	}
	if got := told(second); got != "2 to 2 in epoch 0" {
		t.Errorf("at first it is %s", got)
	}
	const upgrade, safeDowngrade = 1, 2
	for _, step := range []struct {
		level int16
		kind  int8
		want  string
	}{{1, safeDowngrade, "1 to 1 in epoch 1"}, {0, safeDowngrade, "off in epoch 2"}, {2, upgrade, "2 to 2 in epoch 3"}} {
		req := kmsg.NewPtrUpdateFeaturesRequest()
		req.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: "transaction.version", MaxVersionLevel: step.level, UpgradeType: step.kind}}
		if resp := first.ask(req).(*kmsg.UpdateFeaturesResponse); resp.ErrorCode != 0 {
			t.Fatal(kerr.ErrorForCode(resp.ErrorCode), *resp.ErrorMessage)
		}
		if got := told(first); got != step.want {
			t.Errorf("the agent that changed it says %s, want %s", got, step.want)
		}
		eventually(t, "the other agent says "+step.want, func() bool { return told(second) == step.want })
	}
	if got := told(askerOf(t, harness.Agent(t, options))); got != "2 to 2 in epoch 3" {
		t.Errorf("an agent that starts then says %s", got)
	}
}
