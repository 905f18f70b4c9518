package main

import (
	"flag"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kfake"
)

var update = flag.Bool("update", false, "write what the commands print into the scripts and the README")

// TestMain lets the scripts run this test binary as wadi, and tests of signals
// as a command that says which one it got.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"wadi": main, "wadi-signals": waitForSignals})
}

// TestScripts runs testdata/scripts, each against a Kafka of its own that
// allows auto-creation with three partitions. Time zone and locale are fixed.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/scripts",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup: func(env *testscript.Env) error {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.AllowAutoTopicCreation(), kfake.DefaultNumPartitions(3))
			if err != nil {
				return err
			}
			env.Defer(cluster.Close)
			env.Setenv("WADI_BOOTSTRAP", cluster.ListenAddrs()[0])
			env.Setenv("TZ", "UTC")
			env.Setenv("LC_ALL", "C")
			return os.MkdirAll(env.WorkDir, 0o700)
		},
	})
}
