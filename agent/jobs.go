package agent

import (
	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/agent/maintenance/backup"
)

// jobs are the kinds of background work that the agent does.
func (a *Agent) jobs() []maintenance.Job {
	// Leases are this process's, not the agent's: what a process had begun that died, it can't go on with.
	holder := uuid.New()
	jobs := []maintenance.Job{
		a.trimJob(),
	}
	if a.config.SnapshotInterval > 0 {
		jobs = append(jobs, backup.Job(a.store, a.bucket, a.config.SnapshotInterval, holder, a.log))
	}
	return jobs
}

// runner runs them; nil without the role.
func (a *Agent) newRunner(metrics *maintenance.Metrics) *maintenance.Runner {
	if !a.config.hasRole(roleJobs) {
		return nil
	}
	paused := func() []string { return a.settings.Broker().JobsPaused }
	return maintenance.NewRunner(a.jobs(), paused, a.config.JobBandwidth, metrics, a.log)
}
