package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/agent/maintenance/backup"
	"github.com/wadi-log/wadi/agent/maintenance/compact"
	"github.com/wadi-log/wadi/agent/maintenance/merge"
	"github.com/wadi-log/wadi/agent/maintenance/retention"
	"github.com/wadi-log/wadi/agent/maintenance/sweep"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
)

// jobs are the kinds of background work that the agent does.
func (a *Agent) jobs(reg prometheus.Registerer) []maintenance.Job {
	// Leases are this process's, not the agent's: what a process had begun that died, it can't go on with.
	holder := uuid.New()
	jobs := []maintenance.Job{
		a.trimJob(),
		a.mergeJob(reg),
		byStoredConfigs(retention.Job(a.store, a.records, a.catalog, a.settings.Broker, holder, a.log), a.settings.BrokerError),
		sweep.Orphans(a.store, a.bucket, a.onward, a.config.OrphanInterval, holder, a.log),
		byStoredConfigs(a.compactJob(holder), a.settings.BrokerError),
	}
	takes := a.config.SnapshotInterval > 0
	if takes {
		jobs = append(jobs, backup.Job(a.store, a.bucket, a.onward, a.config.SnapshotInterval, holder, a.log))
	}
	return append(jobs, sweep.Delete(a.store, a.store, a.bucket, a.onward, sweep.DeleteConfig{Grace: a.config.DeleteGrace, TakesSnapshots: takes}, holder, a.log))
}

// onward fails when the metadata store has gone back in time: behind the newest snapshot in the bucket, or behind
// what this process has seen of it.
func (a *Agent) onward(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, onwardTimeout)
	defer cancel()
	_, least, err := backup.NewestSeq(ctx, a.bucket)
	if err != nil {
		return err
	}
	return a.follower.CheckOnward(ctx, least)
}

// byStoredConfigs has a job that removes records do nothing while not all broker configs that are stored are
// in force here (unfit says why): they are the defaults of topics, and may keep what this agent's own settings
// let go.
func byStoredConfigs(job maintenance.Job, unfit func() error) maintenance.Job {
	round := job.Round
	job.Round = func(ctx context.Context, p *maintenance.Progress) (more bool, err error) {
		if err := unfit(); err != nil {
			return false, fmt.Errorf("stored broker configs are invalid here, so no records are removed by this agent: %w", err)
		}
		return round(ctx, p)
	}
	return job
}

// onwardTimeout bounds a look whether the metadata store went back in time.
const onwardTimeout = 30 * time.Second

// minBackoff is the least time between two looks for something to do, whatever is configured.
const minBackoff = 100 * time.Millisecond

// compactJob keeps the latest record of each key of compacted topics. A quarter of the memory for
// background work is for the keys of a pass, which stay there while other jobs have their turn.
func (a *Agent) compactJob(holder uuid.UUID) maintenance.Job {
	compactor := compact.New(a.records, a.bucket, a.catalog, a.settings.Broker, holder, compact.Config{
		KeyBytes:    a.config.JobMemoryBytes / 4,
		WindowBytes: a.config.JobMemoryBytes / 8,
		FileBytes:   a.config.MergeBytes,
	}, a.log)
	return maintenance.Job{
		Name: "compact",
		Every: func() time.Duration {
			return max(time.Duration(a.settings.Broker().CleanerBackoffMs)*time.Millisecond, minBackoff)
		},
		Heavy: true,
		Round: compactor.Round,
		Waits: compactor.KeepLease,
	}
}

// mergeJob joins small data files.
func (a *Agent) mergeJob(reg prometheus.Registerer) maintenance.Job {
	return merge.New(merge.Config{
		After: a.config.MergeAfter, FlushBytes: a.config.FlushBytes, FileBytes: a.config.MergeBytes, MemoryBytes: a.config.JobMemoryBytes,
		Compression: datafile.Compression(a.config.FileCompression), Behind: a.blocks.MergesBehind,
	}, a.bucket, a.store, merge.NewMetrics(reg), a.log).Job()
}

// newRunner runs them; nil without the role.
func (a *Agent) newRunner(reg prometheus.Registerer) *maintenance.Runner {
	if !a.config.hasRole(metadata.RoleJobs) {
		return nil
	}
	paused := func() []string { return a.settings.Broker().JobsPaused }
	return maintenance.NewRunner(a.jobs(reg), paused, a.config.JobBandwidth, maintenance.NewMetrics(reg), a.log)
}
