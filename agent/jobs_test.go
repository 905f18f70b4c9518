package agent

import (
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

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
