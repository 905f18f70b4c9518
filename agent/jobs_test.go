package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/wadi-log/wadi/agent/fetch"
	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/agent/maintenance/backup"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sqlite"
	"github.com/wadi-log/wadi/objstore/memory"
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

// TestStoreBehindItsNewestSnapshotIsNoticedByARunningAgent: nothing is deleted then, until a restart and in spite of what it commits next.
func TestStoreBehindItsNewestSnapshotIsNoticedByARunningAgent(t *testing.T) {
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "metadata.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	create := func(name string) {
		t.Helper()
		if _, err := store.CreateTopic(t.Context(), metadata.NewTopic{Name: name, Partitions: 1}); err != nil {
			t.Fatal(err)
		}
	}
	create("a")
	log := slog.New(slog.DiscardHandler)
	a := &Agent{store: store, bucket: memory.Open(), follower: fetch.NewFollower(store, fetch.NewTail(1), fetch.Followers{}, log), log: log}
	if err := a.onward(t.Context()); err != nil {
		t.Fatalf("without a snapshot: %v", err)
	}
	progress := maintenance.NewProgress("snapshot", rate.NewLimiter(rate.Inf, 1), maintenance.NewMetrics(prometheus.NewRegistry()))
	m, err := backup.Write(t.Context(), store, a.bucket, progress)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.onward(t.Context()); err != nil {
		t.Fatalf("with a snapshot of its own: %v", err)
	}
	m.LastSeq++
	b, err := json.Marshal(m)
	key := "snapshots/" + m.Name + "/manifest.json"
	if err := errors.Join(err, a.bucket.Delete(t.Context(), key), a.bucket.Put(t.Context(), key, b)); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if err := a.onward(t.Context()); !errors.Is(err, fetch.ErrWentBack) {
			t.Errorf("behind the newest snapshot: %v", err)
		}
		create(fmt.Sprint("b", i))
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
