package e2e

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/dir"
	"github.com/wadi-log/wadi/objstore/minio"
	"github.com/wadi-log/wadi/objstore/s3"
	"github.com/wadi-log/wadi/test/harness"
)

// hastyFlags let maintenance do within seconds what otherwise takes minutes to hours.
var hastyFlags = []string{
	"--kafka-config=log.retention.check.interval.ms=200", "--delete-grace=1s", "--orphan-interval=1s", "--snapshot-interval=0",
}

// bucketOf opens the agent's object store from outside.
func bucketOf(t *testing.T, agent *harness.AgentProcess, options harness.AgentOptions) objstore.Bucket {
	t.Helper()
	var bucket objstore.Bucket
	var err error
	switch kind, _, _ := strings.Cut(options.Objects, ":"); kind {
	case "minio":
		var config minio.Config
		if config, err = minio.ParseURL(options.Objects); err == nil {
			config.AccessKey, config.SecretKey = options.AccessKey, options.SecretKey
			bucket, err = minio.Open(t.Context(), config)
		}
	case "s3":
		var config s3.Config
		if config, err = s3.ParseURL(options.Objects); err == nil {
			config.AccessKey, config.SecretKey = options.AccessKey, options.SecretKey
			bucket, err = s3.Open(t.Context(), config)
		}
	default:
		bucket, err = dir.Open(t.Context(), filepath.Join(agent.DataDir(), "objects"))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bucket.Close(); err != nil {
			t.Error(err)
		}
	})
	return bucket
}

// dataFiles are the keys of all objects among the data files.
func dataFiles(t *testing.T, bucket objstore.Bucket) (keys []string) {
	t.Helper()
	err := bucket.List(t.Context(), "data/", func(o objstore.ObjectInfo) error {
		keys = append(keys, o.Key)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// setConfigs sets configs of a topic, as kafka-configs does.
func setConfigs(t *testing.T, agent *harness.AgentProcess, topic string, set map[string]string) {
	t.Helper()
	var configs []kadm.AlterConfig
	for name, value := range set {
		configs = append(configs, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	answers, err := kadm.NewClient(client(t, kgo.SeedBrokers(agent.Bootstrap()))).AlterTopicConfigs(t.Context(), configs, topic)
	if err == nil {
		_, err = answers.On(topic, nil)
	}
	if err != nil {
		t.Fatalf("set %v: %v", set, err)
	}
}

// produceAt writes numbered records from one number to another (exclusive) in one batch.
func produceAt(t *testing.T, agent *harness.AgentProcess, topic string, at time.Time, from, to int) {
	t.Helper()
	var records []*kgo.Record
	for n := from; n < to; n++ {
		records = append(records, &kgo.Record{Topic: topic, Timestamp: at, Value: []byte(fmt.Sprint(n))})
	}
	if err := client(t, kgo.SeedBrokers(agent.Bootstrap())).ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// TestRetentionActsAndChangesLive sets retention.ms and retention.bytes on a topic whose consumers
// stand where records go, and sees them go on at the log start.
func TestRetentionActsAndChangesLive(t *testing.T) {
	eachSetup(t, func(t *testing.T, options harness.AgentOptions) {
		options.Flags = append(append(options.Flags, hastyFlags...), "--merge-after=1h") // retention goes by whole runs
		agent := harness.Agent(t, options)
		const topic, kept = "retained", "kept"
		for _, name := range []string{topic, kept} {
			createTopic(t, agent.Bootstrap(), name, 1)
			setConfigs(t, agent, name, map[string]string{"retention.ms": "-1"})
			produceAt(t, agent, name, time.Now().Add(-48*time.Hour), 0, 10)
			produceAt(t, agent, name, time.Now().Add(-24*time.Hour), 10, 20)
			produceAt(t, agent, name, time.Now(), 20, 30)
		}
		reader := client(t, kgo.SeedBrokers(agent.Bootstrap()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		ask := askAgent(t, "the agent", agent, topic)
		if p := ask.fetch(5); p.ErrorCode != 0 {
			t.Fatal(kerr.ErrorForCode(p.ErrorCode))
		}

		setConfigs(t, agent, topic, map[string]string{"retention.ms": "129600000"}) // 36 hours
		eventually(t, "what is older than retention.ms goes", func() bool { return ask.list(-2) == 10 })
		// Its tail hears of it right after.
		eventually(t, "consumers are told", func() bool { return ask.fetch(5).ErrorCode == kerr.OffsetOutOfRange.Code })
		reader.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(5)}})
		next := int64(10) // where a consumer that stood before the log start goes on
		for next < 30 {
			fetches := reader.PollFetches(t.Context())
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) {
				if r.Offset != next || string(r.Value) != fmt.Sprint(next) {
					t.Fatalf("got offset %d with %q, want %d", r.Offset, r.Value, next)
				}
				next++
			})
		}

		setConfigs(t, agent, topic, map[string]string{"retention.ms": "-1", "retention.bytes": "1"})
		eventually(t, "what retention.bytes is reached without goes", func() bool { return ask.list(-2) == 20 })
		setConfigs(t, agent, topic, map[string]string{"retention.ms": "0"})
		eventually(t, "nothing stays", func() bool { return ask.list(-2) == 30 })
		produceAt(t, agent, topic, time.Now().Add(time.Minute), 30, 31)
		if start, end := ask.list(-2), ask.list(-1); start != 30 || end != 31 {
			t.Errorf("a record of the future: log from %d to %d", start, end)
		}
		if start := askAgent(t, "the agent", agent, kept).list(-2); start != 0 {
			t.Errorf("a topic without limits starts at %d", start)
		}
		eventually(t, "the records that went are counted", func() bool { return agent.Metrics()[`wadi_job_records_total{name="retention"}`] == 30 })
	})
}

// TestDeletedTopicsLeaveAnEmptyBucket: of a topic, and of records that were deleted one by one.
func TestDeletedTopicsLeaveAnEmptyBucket(t *testing.T) {
	eachSetup(t, func(t *testing.T, options harness.AgentOptions) {
		options.Flags = append(options.Flags, hastyFlags...)
		agent := harness.Agent(t, options)
		bucket := bucketOf(t, agent, options)
		admin := kadm.NewClient(client(t, kgo.SeedBrokers(agent.Bootstrap())))
		for _, topic := range []string{"deleted", "emptied"} {
			createTopic(t, agent.Bootstrap(), topic, 3)
			for i := range 5 {
				produceAt(t, agent, topic, time.Now(), 10*i, 10*i+10)
			}
		}
		if len(dataFiles(t, bucket)) == 0 {
			t.Fatal("no data files")
		}
		if _, err := admin.DeleteTopics(t.Context(), "deleted"); err != nil {
			t.Fatal(err)
		}
		ends, err := admin.ListEndOffsets(t.Context(), "emptied")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := admin.DeleteRecords(t.Context(), ends.Offsets()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the bucket is empty", func() bool { return len(dataFiles(t, bucket)) == 0 })
		// Files are counted once the store has forgotten them, which comes after their objects.
		eventually(t, "files are counted as deleted", func() bool {
			metrics := agent.Metrics()
			return metrics[`wadi_job_files_total{name="delete"}`] > 0 && metrics[`wadi_job_deleted_bytes_total{name="delete"}`] > 0
		})
		// The topic that is left works on.
		produceAt(t, agent, "emptied", time.Now(), 50, 60)
		if got := len(dataFiles(t, bucket)); got == 0 {
			t.Error("a new data file is gone at once")
		}
	})
}

// TestOrphansDisappear puts objects into the bucket by hand.
func TestOrphansDisappear(t *testing.T) {
	eachSetup(t, func(t *testing.T, options harness.AgentOptions) {
		options.Flags = append(options.Flags, hastyFlags...)
		agent := harness.Agent(t, options)
		bucket := bucketOf(t, agent, options)
		createTopic(t, agent.Bootstrap(), "live", 1)
		produceAt(t, agent, "live", time.Now(), 0, 10)
		live := dataFiles(t, bucket)
		file := func(age time.Duration) string {
			id := uuid.New()
			binary.BigEndian.PutUint64(id[:], uint64(time.Now().Add(-age).UnixMilli())<<16|0x7<<12|uint64(id[7]))
			return datafile.Key(id)
		}
		orphan, young, foreign := file(3*time.Hour), file(50*time.Minute), "data/00/by-hand"
		for _, key := range []string{orphan, young, foreign} {
			if err := bucket.Put(t.Context(), key, []byte("what a crashed agent left")); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the orphan is gone", func() bool { return !slices.Contains(dataFiles(t, bucket), orphan) })
		for range 2 { // walks more
			walks := agent.Metrics()[`wadi_job_rounds_total{name="orphans"}`]
			eventually(t, "another walk ends", func() bool { return agent.Metrics()[`wadi_job_rounds_total{name="orphans"}`] > walks })
		}
		want := append(live, young, foreign)
		slices.Sort(want)
		if got := dataFiles(t, bucket); !slices.Equal(got, want) {
			t.Errorf("left are %q, want %q", got, want)
		}
		if n := agent.Metrics()[`wadi_job_deleted_bytes_total{name="orphans"}`]; n != float64(len("what a crashed agent left")) {
			t.Errorf("%v bytes are counted as deleted", n)
		}
		if logs := agent.Logs(); strings.Count(logs, foreign) != 1 || !strings.Contains(logs, "deleted orphaned data files") {
			t.Error("the log does not tell of the orphan, or not once of the foreign object")
		}
		if got := readAll(t, agent.Bootstrap(), "live"); len(got) != 10 {
			t.Errorf("%d of 10 records are left", len(got))
		}
	})
}
