package agent

import (
	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/agent/maintenance/backup"
	"github.com/wadi-log/wadi/agent/maintenance/retention"
	"github.com/wadi-log/wadi/agent/maintenance/sweep"
)

// jobs are the kinds of background work that the agent does.
func (a *Agent) jobs() []maintenance.Job {
	// Leases are this process's, not the agent's: what a process had begun that died, it can't go on with.
	holder := uuid.New()
	jobs := []maintenance.Job{
		a.trimJob(),
		retention.Job(a.store, a.records, a.catalog, a.settings.Broker, holder, a.log),
		sweep.Orphans(a.store, a.bucket, a.config.OrphanInterval, holder, a.log),
	}
	// Dead files wait for a snapshot only if there will be one.
	var snapshots sweep.Snapshots
	if a.config.SnapshotInterval > 0 {
		snapshots = a.store
		jobs = append(jobs, backup.Job(a.store, a.bucket, a.config.SnapshotInterval, holder, a.log))
	}
	return append(jobs, sweep.Delete(a.store, snapshots, a.bucket, a.config.DeleteGrace, holder, a.log))
}

// runner runs them; nil without the role.
func (a *Agent) newRunner(metrics *maintenance.Metrics) *maintenance.Runner {
	if !a.config.hasRole(roleJobs) {
		return nil
	}
	paused := func() []string { return a.settings.Broker().JobsPaused }
	return maintenance.NewRunner(a.jobs(), paused, a.config.JobBandwidth, metrics, a.log)
}
