package e2e

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/wadi-log/wadi/test/txncheck"
)

// TestTransactionsWhileServersDie runs the checker of transactions while servers are killed and stopped,
// each time for WADI_TXNCHECK_FOR (10s). WADI_TXNCHECK_SEED repeats all scripts, losses and
// kills of a run. With WADI_TXNCHECK_BOOTSTRAP, the address of a cluster of one broker, it checks that
// cluster instead, and harms it in no way: what it reports of a real Kafka is wrong with the checker.
func TestTransactionsWhileServersDie(t *testing.T) {
	if bootstrap := os.Getenv("WADI_TXNCHECK_BOOTSTRAP"); bootstrap != "" {
		checkOtherCluster(t, bootstrap)
		return
	}
	for _, test := range []struct {
		name  string
		start func(t *testing.T) *victims
	}{
		{"1 agent, embedded", loneVictim},
		{"3 agents, postgres+minio", victimFleet},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := test.start(t)
			config := checkerConfig(t)
			config.Bootstrap, config.Strict = v.bootstrap, true
			run, err := txncheck.Start(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			v.suffer(rand.New(rand.NewPCG(config.Seed, 1)), checkerTime(t))
			report := judge(t, run)
			t.Logf("%v", v)
			// What never happened was not checked. A short run on a busy machine has of
			// some things none, by chance.
			happened := map[string]int{
				"transactions committed": report.Committed, "transactions aborted": report.Aborted, "snapshots": report.Snapshots,
				"answers lost": int(report.LostAnswers), "agents killed": v.killed,
			}
			if checkerTime(t) >= time.Minute {
				maps.Copy(happened, map[string]int{
					"transactions of fenced producers": report.Fenced, "transactions timed out": report.TimedOut,
					"records transformed": report.Transformed, "offsets of the group": report.Offsets, "agents stopped": v.stopped,
				})
			}
			for what, n := range happened {
				if n == 0 {
					t.Errorf("no %s in this run", what)
				}
			}
		})
	}
}

func checkOtherCluster(t *testing.T, bootstrap string) {
	config := checkerConfig(t)
	config.Bootstrap = bootstrap
	// The cluster may have been checked before.
	suffix := "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	for i := range config.Topics {
		config.Topics[i].Name += suffix
	}
	config.Output += suffix
	config.Group += suffix
	run, err := txncheck.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(checkerTime(t))
	judge(t, run)
}

// checkerConfig is the default with the seed given, else a random one.
func checkerConfig(t *testing.T) txncheck.Config {
	t.Helper()
	config := txncheck.DefaultConfig()
	seed := cmp.Or(os.Getenv("WADI_TXNCHECK_SEED"), strconv.FormatUint(rand.Uint64(), 10))
	var err error
	if config.Seed, err = strconv.ParseUint(seed, 10, 64); err != nil {
		t.Fatalf("WADI_TXNCHECK_SEED: %v", err)
	}
	config.Logf, config.Settle = t.Logf, 5*time.Minute
	t.Logf("WADI_TXNCHECK_SEED=%s repeats this", seed)
	return config
}

func checkerTime(t *testing.T) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(cmp.Or(os.Getenv("WADI_TXNCHECK_FOR"), "10s"))
	if err != nil {
		t.Fatalf("WADI_TXNCHECK_FOR: %v", err)
	}
	return d
}

// judge ends the run and fails the test with all that is wrong.
func judge(t *testing.T, run *txncheck.Run) txncheck.Report {
	t.Helper()
	history, err := run.Finish(t.Context())
	if err != nil {
		t.Error(err)
	}
	for _, problem := range txncheck.Verify(history) {
		t.Error(problem)
	}
	report := history.Report()
	run.Lost(&report)
	t.Logf("%v", report)
	return report
}
