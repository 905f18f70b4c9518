package agent

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/protocol/configs"
)

func TestEveryJobCanBePaused(t *testing.T) {
	a := &Agent{config: DefaultConfig()}
	for _, job := range a.jobs(prometheus.NewRegistry()) {
		if !slices.Contains(configs.JobNames(), job.Name) {
			t.Errorf("%s takes no job %q", configs.JobsPaused, job.Name)
		}
		if job.Every == nil || job.Round == nil {
			t.Errorf("job %q does nothing", job.Name)
		}
	}
}

func TestAgentsWithoutTheRoleDoNoBackgroundWork(t *testing.T) {
	a := &Agent{config: DefaultConfig()}
	if a.newRunner(prometheus.NewRegistry()) == nil {
		t.Error("no background work by default")
	}
	a.config.Roles = "consume, produce"
	if err := a.config.Validate(); err != nil {
		t.Error(err)
	}
	if a.newRunner(prometheus.NewRegistry()) != nil {
		t.Error("background work without the role")
	}
}

// TestNothingIsRemovedByConfigsThatAreNotInForce: log.retention.ms may be set to keep for ever what this
// agent's own settings let go after a week.
func TestNothingIsRemovedByConfigsThatAreNotInForce(t *testing.T) {
	rounds := 0
	var unfit error
	job := byStoredConfigs(maintenance.Job{Round: func(context.Context, *maintenance.Progress) (bool, error) {
		rounds++
		return true, nil
	}}, func() error { return unfit })
	if more, err := job.Round(t.Context(), nil); !more || err != nil || rounds != 1 {
		t.Errorf("%d rounds, more %v, %v", rounds, more, err)
	}
	unfit = errors.New("conflict")
	if more, err := job.Round(t.Context(), nil); more || !errors.Is(err, unfit) || rounds != 1 {
		t.Errorf("%d rounds by configs that are not in force, more %v, %v", rounds, more, err)
	}
}
