package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/test/harness"
)

// groupKinds are the kinds of members that a group can have.
func groupKinds(t *testing.T) map[string][]kgo.Opt {
	t.Helper()
	return map[string][]kgo.Opt{
		"classic":         {},
		"classic-static":  {kgo.InstanceID("one")},
		"consumer":        {kgo.ServerSideBalancer()},
		"consumer-static": {kgo.ServerSideBalancer(), kgo.InstanceID("one")},
	}
}

// TestGroupsAreMovedUnderTheirMembers describes, moves and deletes a group
// through one agent, while its member is at another one.
func TestGroupsAreMovedUnderTheirMembers(t *testing.T) {
	options := setups[1].options(t)
	agent, other := harness.Agent(t, options), harness.Agent(t, options)
	wadi := harness.Binary(t)
	for kind, memberOptions := range groupKinds(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel() // each mostly waits for a heartbeat
			group := func(args ...string) []byte {
				t.Helper()
				return run(t, wadi, append([]string{"group"}, append(args, "--bootstrap", other.Bootstrap())...)...)
			}
			createTopic(t, agent.Bootstrap(), kind, 2)
			for range 5 {
				produceOne(t, agent.Bootstrap(), kind)
			}
			member := client(t, append(memberOptions, kgo.SeedBrokers(agent.Bootstrap()), kgo.ConsumerGroup(kind), kgo.ConsumeTopics(kind),
				kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(500*time.Millisecond))...)
			first := readGroup(t, member, 5)
			if err := member.CommitUncommittedOffsets(t.Context()); err != nil {
				t.Fatal(err)
			}

			d := describeGroup(t, group("describe", kind, "-o", "json"))
			protocol, _, static := strings.Cut(kind, "-")
			if d.Type != protocol || d.State != "Stable" || len(d.Members) != 1 || (d.Members[0].InstanceID != nil) != static || d.Lag != 0 {
				t.Errorf("before the reset: %+v", d)
			}
			group("reset", kind, "--all-topics", "--to-earliest", "--execute", "--force")
			again := readGroup(t, member, 5)
			for at := range first {
				if !again[at] {
					t.Errorf("%v was not read again", at)
				}
			}

			// A static member keeps its place when it goes; a reset by force frees it.
			member.Close()
			group("reset", kind, "--all-topics", "--shift-by", "-1", "--execute", "--force")
			d = describeGroup(t, group("describe", kind, "-o", "json"))
			if d.State != "Empty" || d.Lag == 0 || d.LagSeconds <= 0 {
				t.Errorf("after the member went: %+v", d)
			}
			group("delete", kind, "--yes")
			if left := string(group("list", "-o", "name")); strings.Contains(left, kind+"\n") {
				t.Errorf("deleted, and still listed: %q", left)
			}
		})
	}
}

// described is what the test reads of wadi group describe -o json.
type described struct {
	Type, State string
	Members     []struct {
		InstanceID *string `json:"instance_id"`
	}
	Lag        int64
	LagSeconds float64 `json:"lag_seconds"`
}

func describeGroup(t *testing.T, output []byte) described {
	t.Helper()
	var groups []described
	if err := json.Unmarshal(output, &groups); err != nil || len(groups) != 1 {
		t.Fatalf("%v in %s", err, output)
	}
	return groups[0]
}

// place is where a record lies.
type place struct {
	partition int32
	offset    int64
}

// readGroup reads n records as a member, whatever was read before.
func readGroup(t *testing.T, member *kgo.Client, n int) map[place]bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := map[place]bool{}
	for len(got) < n {
		fetches := member.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("read %d of %d records: %v", len(got), n, ctx.Err())
		}
		fetches.EachRecord(func(r *kgo.Record) { got[place{r.Partition, r.Offset}] = true })
	}
	return got
}
