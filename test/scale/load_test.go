package scale

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestLoadCountsAndChecks runs the load against kfake, which keeps everything unless the test interferes.
func TestLoadCountsAndChecks(t *testing.T) {
	for _, test := range []struct {
		name string
		says string // of what is wrong; "" for nothing
		harm func(*testing.T, *kfake.Cluster)
	}{
		{"nothing is wrong", "", func(*testing.T, *kfake.Cluster) {}},
		{"a record that nobody here wrote", "a value of 5 bytes", func(t *testing.T, cluster *kfake.Cluster) {
			client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DefaultProduceTopic("scale"))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if err := client.ProduceSync(t.Context(), kgo.StringRecord("other")).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			config := Config{Bootstrap: cluster.ListenAddrs(), Topic: "scale", Partitions: 5, Producers: 3, Consumers: 2, Rate: 1 << 20, ValueBytes: 256, Patience: 2 * time.Minute}
			load, err := Start(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			defer load.Close()
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for begun := time.Now(); load.Acked() < 1000 || load.read.Load() < 1000; <-tick.C {
				if time.Since(begun) > time.Minute {
					t.Fatalf("%d records acknowledged and %d read within a minute", load.Acked(), load.read.Load())
				}
			}
			test.harm(t, cluster)
			waits := load.Waits()
			err = load.Finish(t.Context())
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("want %q, got %v", test.says, err)
				}
				return
			}
			if err != nil {
				t.Error(err)
			}
			if later := load.Waits(); len(waits.Acked) < 1000 || len(waits.Read) < 1000 || int64(len(waits.Read)+len(later.Read)) != load.Acked() {
				t.Errorf("%d and %d waits, then %d and %d; %d records", len(waits.Acked), len(waits.Read), len(later.Acked), len(later.Read), load.Acked())
			}
			for _, wait := range waits.Read {
				if wait <= 0 || wait > time.Minute {
					t.Errorf("a record took %v", wait)
				}
			}
		})
	}
}
