package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/test/harness"
)

// fsck runs wadi fsck on the agent's stores, and returns the report and the exit code.
func fsck(t *testing.T, agent *harness.AgentProcess, options harness.AgentOptions, flags ...string) (report fsckReport, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), harness.Binary(t), append([]string{"fsck", "--json", "--data-dir", agent.DataDir(), "--delete-grace", "1s"}, flags...)...)
	cmd.Env = append(os.Environ(), "WADI_METADATA="+options.Metadata, "WADI_OBJECTS="+options.Objects,
		"WADI_OBJECTS_ACCESS_KEY="+options.AccessKey, "WADI_OBJECTS_SECRET_KEY="+options.SecretKey)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil || code > 1 {
		t.Fatalf("wadi fsck ended with %d: %v\n%s%s", code, err, out.String(), complaint.String())
	}
	return report, code
}

// fsckReport is what the test needs of the report.
type fsckReport struct {
	Total    int64
	Complete bool
	Rows     int64
	Findings []struct {
		Kind, Key string
		Hit       []struct {
			Topic     string
			Partition int32
			First     int64 `json:"first_offset"`
			Last      int64 `json:"last_offset"`
		}
	}
}

// TestFsckFindsNothingWhileAgentsWork checks stores that are written, merged and cleaned up all the
// time, and then finds the one object that is taken away.
func TestFsckFindsNothingWhileAgentsWork(t *testing.T) {
	eachSetup(t, func(t *testing.T, options harness.AgentOptions) {
		options.Flags = append(options.Flags, append([]string{"--merge-after=1s", "--put-rate=-1", "--flush-interval=1ms"}, hastyFlags...)...)
		agent := harness.Agent(t, options)
		const topic = "checked"
		createTopic(t, agent.Bootstrap(), topic, 3)
		producer := client(t, kgo.SeedBrokers(agent.Bootstrap()), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
		produced := 0
		produce := func(n int) {
			for range n {
				produced++
				if err := producer.ProduceSync(t.Context(), kgo.StringRecord(strings.Repeat(fmt.Sprintf("record %d ", produced), 50))).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
		}
		merged := func() float64 { return agent.Metrics()[`wadi_job_files_total{name="merge"}`] }
		produce(100)
		for round := 0; round < 3 || merged() == 0; round++ {
			produce(50)
			if r, code := fsck(t, agent, options, "--deep"); code != 0 || r.Total != 0 || !r.Complete || r.Rows == 0 {
				t.Fatalf("round %d: exit code %d, report %+v", round, code, r)
			}
		}
		if code := agent.Stop(); code != 0 {
			t.Fatalf("the agent ended with %d", code)
		}

		bucket := bucketOf(t, agent, options)
		for _, key := range dataFiles(t, bucket) {
			// Some of them are dead, and not missed. The store may have been about to delete one when the agent ended.
			object, err := bucket.Get(t.Context(), key, 0, -1)
			if errors.Is(err, objstore.ErrNotFound) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := bucket.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			r, code := fsck(t, agent, options)
			if err := bucket.Put(t.Context(), key, object); err != nil {
				t.Fatal(err)
			}
			if code == 0 {
				continue
			}
			if r.Total != 1 || r.Findings[0].Kind != "missing-object" || r.Findings[0].Key != key || len(r.Findings[0].Hit) == 0 || r.Findings[0].Hit[0].Topic != topic {
				t.Errorf("exit code %d, report %+v", code, r)
			}
			if r, code := fsck(t, agent, options, "--deep"); code != 0 {
				t.Errorf("with the object back: exit code %d, report %+v", code, r)
			}
			return
		}
		t.Error("no object is missed")
	})
}
