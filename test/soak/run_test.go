package soak

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestFaultsOfAClusterAreFound runs the load against kfake, which keeps everything unless the
// test interferes. Without that nothing may be found.
func TestFaultsOfAClusterAreFound(t *testing.T) {
	for _, test := range []struct {
		name string
		says string // of one of the problems; "" for none
		harm func(t *testing.T, cluster *kfake.Cluster)
	}{
		{"none", "", func(*testing.T, *kfake.Cluster) {}},
		{"records are deleted that should stay", "are gone, the last of which was written", func(t *testing.T, cluster *kfake.Cluster) {
			admin := kadm.NewClient(newClient(t, cluster))
			ends, err := admin.ListEndOffsets(t.Context(), "kept")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := admin.DeleteRecords(t.Context(), ends.Offsets()); err != nil {
				t.Fatal(err)
			}
		}},
		{"a record that nobody here wrote", "soak-tail-0: kept/", func(t *testing.T, cluster *kfake.Cluster) {
			for partition := range int32(3) {
				record := &kgo.Record{Topic: "kept", Partition: partition, Value: []byte("what is this?")}
				if err := newClient(t, cluster).ProduceSync(t.Context(), record).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"reads that skip records and begin anew", "comes after", func(t *testing.T, cluster *kfake.Cluster) {
			cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				for _, topic := range r.(*kmsg.FetchRequest).Topics {
					for i := range topic.Partitions {
						topic.Partitions[i].FetchOffset++
					}
				}
				return nil, nil, false
			})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			config := DefaultConfig()
			config.Bootstrap, config.Seed, config.Rate = cluster.ListenAddrs(), 1, 1<<20
			config.Writers, config.Patience = 2, 2*time.Minute
			config.Topics = []Topic{{Name: "kept", Partitions: 3, Share: 1}, {Name: "compacted", Partitions: 2, Share: 1, Keys: 10}}
			if test.says != "" {
				config.Patience = 3 * time.Second // what is broken may never come to its end
			}
			run, err := Start(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			defer run.Close()
			await(t, func() bool { r := run.Report(); return r.Written > 500 && r.Read > 500 })
			test.harm(t, cluster)
			written := run.Report().Written
			found := func() string {
				var all []string
				for _, problem := range run.Problems() {
					all = append(all, problem.Error())
				}
				return strings.Join(all, "\n")
			}
			said := func() bool { return test.says != "" && strings.Contains(found(), test.says) }
			await(t, func() bool { return run.Report().Written > written+500 || said() })
			await(t, func() bool { return run.Report().CatchUps > 3 || said() })
			run.StopWriting()
			run.Finish(t.Context())
			all := found()
			if test.says == "" && all != "" || !strings.Contains(all, test.says) {
				t.Errorf("want %q, found:\n%s", test.says, all)
			}
			t.Log(run.Report())
		})
	}
}

func newClient(t *testing.T, cluster *kfake.Cluster) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// await waits until something holds.
func await(t *testing.T, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		if holds() {
			return
		}
		<-tick.C
	}
	t.Fatal("not within a minute")
}
