package agent

import "github.com/wadi-log/wadi/agent/maintenance"

// jobs are the kinds of background work that the agent does.
func (a *Agent) jobs() []maintenance.Job {
	return []maintenance.Job{
		a.trimJob(),
	}
}

// runner runs them; nil without the role.
func (a *Agent) newRunner(metrics *maintenance.Metrics) *maintenance.Runner {
	if !a.config.hasRole(roleJobs) {
		return nil
	}
	paused := func() []string { return a.settings.Broker().JobsPaused }
	return maintenance.NewRunner(a.jobs(), paused, a.config.JobBandwidth, metrics, a.log)
}
