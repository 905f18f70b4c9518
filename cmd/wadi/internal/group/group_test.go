package group

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// run runs `wadi group` with the arguments against the cluster.
func run(t *testing.T, cluster *kfake.Cluster, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := Command()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append(args, "--bootstrap", cluster.ListenAddrs()[0]))
	var out, messages bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&messages)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), messages.String(), err
}

// mustRun is run where an error fails the test.
func mustRun(t *testing.T, cluster *kfake.Cluster, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, err := run(t, cluster, args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return stdout, stderr
}

// newCluster starts a Kafka with topics t and u of two partitions.
func newCluster(t *testing.T, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	options = append([]kfake.Opt{
		kfake.NumBrokers(1), kfake.SeedTopics(2, "t", "u"),
		kfake.BrokerConfigs(map[string]string{"group.consumer.heartbeat.interval.ms": "100"}),
	}, options...)
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	nameAssignedTopics(t, cluster)
	return cluster
}

// nameAssignedTopics puts the names of topics into what the cluster says of
// members of the consumer protocol. Kafka does; kfake sends their IDs alone.
func nameAssignedTopics(t *testing.T, cluster *kfake.Cluster) {
	t.Helper()
	client := newClient(t, cluster)
	var inner atomic.Bool
	cluster.ControlKey(int16(kmsg.ConsumerGroupDescribe), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if inner.Load() {
			return nil, nil, false
		}
		var response *kmsg.ConsumerGroupDescribeResponse
		var err error
		cluster.SleepControl(func() {
			inner.Store(true)
			defer inner.Store(false)
			response, err = req.(*kmsg.ConsumerGroupDescribeRequest).RequestWith(t.Context(), client)
		})
		if err != nil {
			return nil, err, true
		}
		for _, group := range response.Groups {
			for _, m := range group.Members {
				for i, assigned := range m.Assignment.TopicPartitions {
					m.Assignment.TopicPartitions[i].Topic = cluster.TopicIDInfo(assigned.TopicID).Topic
				}
			}
		}
		return response, nil, true
	})
}

func newClient(t *testing.T, cluster *kfake.Cluster, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseAllowingRebalance)
	return client
}

// produce writes n records to one partition, each of its own batch.
func produce(t *testing.T, client *kgo.Client, topic string, number int32, n int) {
	t.Helper()
	for range n {
		record := &kgo.Record{Topic: topic, Partition: number, Value: []byte("x")}
		if err := client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// join starts a member of group g that reads t, and returns the records that
// it gets. It stays until the test ends.
func join(t *testing.T, cluster *kfake.Cluster, options ...kgo.Opt) <-chan *kgo.Record {
	t.Helper()
	client := newClient(t, cluster, append([]kgo.Opt{
		kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.ClientID("member"), kgo.HeartbeatInterval(100 * time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}, options...)...)
	records := make(chan *kgo.Record, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
				select {
				case records <- r:
				case <-ctx.Done():
				}
			})
		}
	}()
	return records
}

// await takes records until it gets the one at the offset.
func await(t *testing.T, records <-chan *kgo.Record, offset int64) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case r := <-records:
			if r.Offset == offset {
				return
			}
		case <-deadline:
			t.Fatalf("no record at offset %d", offset)
		}
	}
}

// memberKinds are the kinds of members that a group can have.
func memberKinds(t *testing.T) map[string][]kgo.Opt {
	t.Helper()
	return map[string][]kgo.Opt{
		"classic":         {},
		"classic static":  {kgo.InstanceID("i")},
		"consumer":        {kgo.ServerSideBalancer()},
		"consumer static": {kgo.ServerSideBalancer(), kgo.InstanceID("i")},
	}
}

func TestResetFencesMembersAndTheyGoOnFromTheNewOffsets(t *testing.T) {
	for kind, options := range memberKinds(t) {
		t.Run(kind, func(t *testing.T) {
			cluster := newCluster(t)
			produce(t, newClient(t, cluster), "t", 0, 5)
			records := join(t, cluster, options...)
			await(t, records, 4)

			_, stderr, err := run(t, cluster, "reset", "g", "--all-topics", "--to-offset", "2")
			if err != nil || !strings.Contains(stderr, "nothing was changed; add --execute to commit these offsets; the group has 1 member, so stop its consumers first, or add --force") {
				t.Errorf("dry run: got %v, said %q", err, stderr)
			}
			_, _, err = run(t, cluster, "reset", "g", "--all-topics", "--to-offset", "2", "--execute")
			if err == nil || !strings.Contains(err.Error(), "it has 1 member (Stable); stop its consumers, or add --force") {
				t.Errorf("without --force: got %v", err)
			}
			select {
			case r := <-records:
				t.Fatalf("the member was disturbed before --force: got offset %d", r.Offset)
			default:
			}
			stdout, stderr := mustRun(t, cluster, "reset", "g", "--topic", "t:0", "--to-offset", "2", "--execute", "--force")
			// A classic member that came back at once is put out again.
			said := regexp.MustCompile(`^committed 1 offset of group g\n(1 member was|\d members were) put out of the group; on joining again, they go on from these offsets\n$`)
			if !said.MatchString(stderr) {
				t.Errorf("said %q", stderr)
			}
			if !strings.Contains(stdout, "t      0          ") {
				t.Errorf("printed %q", stdout)
			}
			await(t, records, 2)
			await(t, records, 4)
		})
	}
}

func TestDescribeShowsMembersOfBothProtocols(t *testing.T) {
	for kind, options := range memberKinds(t) {
		t.Run(kind, func(t *testing.T) {
			cluster := newCluster(t)
			produce(t, newClient(t, cluster), "t", 1, 1)
			await(t, join(t, cluster, options...), 0)
			stdout, _ := mustRun(t, cluster, "describe", "g", "-o", "json")
			var groups []described
			if err := json.Unmarshal([]byte(stdout), &groups); err != nil || len(groups) != 1 || len(groups[0].Members) != 1 {
				t.Fatalf("printed %s: %v", stdout, err)
			}
			protocol, _, static := strings.Cut(kind, " ")
			g, m := groups[0], groups[0].Members[0]
			if g.Type != protocol || g.ProtocolType != "consumer" || g.State != "Stable" || g.Assignor == "" || (g.Epoch != nil) != (protocol == consumerProtocol) || g.Coordinator.Port == 0 {
				t.Errorf("group: %s", stdout)
			}
			if m.Protocol != protocol || m.ClientID != "member" || m.MemberID == "" || m.Host == "" || (m.InstanceID != nil) != static || (m.Epoch != nil) != (protocol == consumerProtocol) {
				t.Errorf("member: %s", stdout)
			}
			if assignmentText(m.Partitions) != "t:0-1" || len(g.Offsets) != 2 || *g.Offsets[1].MemberID != m.MemberID || *g.Offsets[1].End != 1 {
				t.Errorf("partitions: %s", stdout)
			}
			text, _ := mustRun(t, cluster, "describe", "g")
			for _, want := range []string{"g  " + protocol + "  Stable  assignor ", "1 member, 2 partitions", "MEMBER ", "TOPIC ", "t:0-1\n"} {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in:\n%s", want, text)
				}
			}
		})
	}
}

func TestDescribeShowsOnlyWhatWasAskedFor(t *testing.T) {
	cluster := newCluster(t)
	produce(t, newClient(t, cluster), "t", 0, 1)
	await(t, join(t, cluster), 0)
	members, _ := mustRun(t, cluster, "describe", "g", "--members")
	if !strings.Contains(members, "MEMBER ") || strings.Contains(members, "TOPIC ") || strings.Contains(members, "lag") {
		t.Errorf("--members printed\n%s", members)
	}
	offsets, _ := mustRun(t, cluster, "describe", "g", "--offsets")
	if !strings.Contains(offsets, "TOPIC ") || strings.Contains(offsets, "CLIENT ") {
		t.Errorf("--offsets printed\n%s", offsets)
	}
}

func TestSecondsAreReadFromTheFirstUnreadRecord(t *testing.T) {
	cluster := newCluster(t, kfake.SeedTopics(70, "wide"))
	client := newClient(t, cluster)
	// More partitions than one request is for, each with batches that fill the
	// room of a first round.
	var records []*kgo.Record
	for number := range int32(70) {
		for i, age := range []time.Duration{time.Hour, 100 * time.Second, 0} {
			value := make([]byte, 80<<10)
			value[0] = byte(i)
			records = append(records, &kgo.Record{Topic: "wide", Partition: number, Value: value, Timestamp: time.Now().Add(-age)})
		}
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	mustRun(t, cluster, "reset", "g", "--topic", "wide", "--to-offset", "1", "--execute")
	stdout, stderr := mustRun(t, cluster, "describe", "g", "-o", "json")
	var groups []described
	if err := json.Unmarshal([]byte(stdout), &groups); err != nil || stderr != "" {
		t.Fatalf("printed %s, said %q: %v", stdout, stderr, err)
	}
	if n := len(groups[0].Offsets); n != 70 || *groups[0].Lag != 140 {
		t.Errorf("%d partitions, lag %d", n, *groups[0].Lag)
	}
	for _, row := range groups[0].Offsets {
		if row.LagSeconds == nil || *row.LagSeconds < 100 || *row.LagSeconds > 1000 {
			t.Errorf("partition %d: %s seconds, want a little more than 100", row.Partition, secondsText(row.LagSeconds))
		}
	}
}

func TestSecondsOfAPartitionThatEndsInAControlRecord(t *testing.T) {
	cluster := newCluster(t)
	client := newClient(t, cluster, kgo.TransactionalID("tx"))
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produce(t, client, "t", 0, 1)
	if err := client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	mustRun(t, cluster, "reset", "g", "--topic", "t:0", "--to-offset", "1", "--execute")
	stdout, stderr := mustRun(t, cluster, "describe", "g")
	if !regexp.MustCompile(`t      0          1          2    1    \d{1,2}\.\d`).MatchString(stdout) || stderr != "" {
		t.Errorf("printed\n%ssaid %q", stdout, stderr)
	}
}

// Compaction leaves batches without records behind.
func TestSecondsAreReadBehindABatchThatCompactionEmptied(t *testing.T) {
	cluster := newCluster(t)
	produce(t, newClient(t, cluster), "t", 0, 5)
	mustRun(t, cluster, "reset", "g", "--topic", "t:0", "--to-offset", "1", "--execute")
	var asked []int64
	cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		fetch := req.(*kmsg.FetchRequest)
		asked = append(asked, fetch.Topics[0].Partitions[0].FetchOffset)
		if len(asked) > 1 {
			return nil, nil, false
		}
		emptied := kmsg.NewRecordBatch()
		emptied.FirstOffset, emptied.LastOffsetDelta, emptied.Magic = 1, 2, 2
		emptied.Length = int32(len(emptied.AppendTo(nil)) - 12)
		batch := emptied.AppendTo(nil)
		binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)))
		response := req.ResponseKind().(*kmsg.FetchResponse)
		topic, answer := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
		topic.Topic, topic.TopicID = fetch.Topics[0].Topic, fetch.Topics[0].TopicID
		answer.RecordBatches = batch
		topic.Partitions = append(topic.Partitions, answer)
		response.Topics = append(response.Topics, topic)
		return response, nil, true
	})
	stdout, stderr := mustRun(t, cluster, "describe", "g")
	if !regexp.MustCompile(`t      0          1          5    4    \d{1,2}\.\d`).MatchString(stdout) || stderr != "" || !slices.Equal(asked, []int64{1, 4}) {
		t.Errorf("printed\n%ssaid %q, fetched at %v", stdout, stderr, asked)
	}
}

func TestUnreadableRecordsLeaveSecondsUnknown(t *testing.T) {
	cluster := newCluster(t)
	produce(t, newClient(t, cluster), "t", 0, 2)
	mustRun(t, cluster, "reset", "g", "--topic", "t", "--to-offset", "1", "--execute")
	for reason, err := range map[string]*kerr.Error{
		"KAFKA_STORAGE_ERROR": kerr.KafkaStorageError,
		"OFFSET_OUT_OF_RANGE": kerr.OffsetOutOfRange,
	} {
		cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: err, Count: 1})
		stdout, stderr := mustRun(t, cluster, "describe", "g")
		if !strings.Contains(stdout, "t      0          1          2    1    -  ") || !strings.HasPrefix(stderr, "seconds are unknown for t:0: "+reason) {
			t.Errorf("%s: printed\n%ssaid %q", reason, stdout, stderr)
		}
	}
}

func TestResetRepeatsWhenMembersCameBack(t *testing.T) {
	cluster := newCluster(t)
	produce(t, newClient(t, cluster), "t", 0, 5)
	refusals := 0
	cluster.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if refusals++; refusals > 3 {
			return nil, nil, false
		}
		cluster.KeepControl()
		return refuse(req, kerr.UnknownMemberID), nil, true
	})
	_, stderr := mustRun(t, cluster, "reset", "g", "--topic", "t:0", "--to-offset", "3", "--execute")
	if stderr != "committed 1 offset of group g\n" || refusals != 4 {
		t.Errorf("said %q after %d commits", stderr, refusals)
	}
	if stdout, _ := mustRun(t, cluster, "describe", "g"); !strings.Contains(stdout, "t      0          3 ") {
		t.Errorf("printed\n%s", stdout)
	}
}

func TestResetGivesUpWhenMembersComeBackAgainAndAgain(t *testing.T) {
	cluster := newCluster(t)
	commits := 0
	cluster.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		commits++
		return refuse(req, kerr.UnknownMemberID), nil, true
	})
	stdout, _, err := run(t, cluster, "reset", "g", "--topic", "t", "--to-offset", "0", "--execute", "--force")
	if err == nil || !strings.Contains(err.Error(), "nothing was committed") || commits != resetAttempts || stdout != "" {
		t.Errorf("got %v after %d commits, printed %q", err, commits, stdout)
	}
}

// refuse answers a commit with an error for all partitions, or for one where named.
func refuse(req kmsg.Request, err *kerr.Error, only ...int32) kmsg.Response {
	commit := req.(*kmsg.OffsetCommitRequest)
	response := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	for _, topic := range commit.Topics {
		out := kmsg.NewOffsetCommitResponseTopic()
		out.Topic, out.TopicID = topic.Topic, topic.TopicID
		for _, p := range topic.Partitions {
			answer := kmsg.NewOffsetCommitResponseTopicPartition()
			answer.Partition = p.Partition
			if len(only) == 0 || only[0] == p.Partition {
				answer.ErrorCode = err.Code
			}
			out.Partitions = append(out.Partitions, answer)
		}
		response.Topics = append(response.Topics, out)
	}
	return response
}

func TestResetNamesPartitionsThatWereRefused(t *testing.T) {
	cluster := newCluster(t)
	cluster.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		return refuse(req, kerr.TopicAuthorizationFailed, 1), nil, true
	})
	_, _, err := run(t, cluster, "reset", "g", "--topic", "t", "--to-latest", "--execute")
	if err == nil || !strings.HasPrefix(err.Error(), "committing offsets of group g in t:1: TOPIC_AUTHORIZATION_FAILED: ") || !strings.HasSuffix(err.Error(), "\nall others of group g are committed (1)") {
		t.Errorf("got %v", err)
	}
}

func TestGroupsOfOtherKindsAreNotTouched(t *testing.T) {
	cluster := newCluster(t)
	cluster.ControlKey(int16(kmsg.ListGroups), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		response := req.ResponseKind().(*kmsg.ListGroupsResponse)
		group := kmsg.NewListGroupsResponseGroup()
		group.Group, group.GroupType, group.GroupState, group.ProtocolType = "g", "share", "Stable", "share"
		response.Groups = append(response.Groups, group)
		return response, nil, true
	})
	if stdout, _ := mustRun(t, cluster, "list"); !strings.Contains(stdout, "g      share  share          Stable\n") {
		t.Errorf("printed\n%s", stdout)
	}
	for _, args := range [][]string{
		{"describe", "g"}, {"reset", "g", "--topic", "t", "--to-latest", "--execute", "--force"}, {"delete", "g", "--yes"},
	} {
		if _, _, err := run(t, cluster, args...); err == nil || !strings.Contains(err.Error(), "group g is a share group") {
			t.Errorf("%v: got %v", args, err)
		}
	}
}

func TestMembersOfAnotherProtocolTypeAreNotFenced(t *testing.T) {
	cluster := newCluster(t)
	mustRun(t, cluster, "reset", "g", "--topic", "t", "--to-latest", "--execute")
	cluster.ControlKey(int16(kmsg.DescribeGroups), func(req kmsg.Request) (kmsg.Response, error, bool) {
		response := req.ResponseKind().(*kmsg.DescribeGroupsResponse)
		group := kmsg.NewDescribeGroupsResponseGroup()
		group.Group, group.State, group.ProtocolType = "g", "Stable", "connect"
		group.Members = append(group.Members, kmsg.NewDescribeGroupsResponseGroupMember())
		response.Groups = append(response.Groups, group)
		return response, nil, true
	})
	_, _, err := run(t, cluster, "reset", "g", "--topic", "t", "--to-latest", "--execute", "--force")
	if err == nil || !strings.Contains(err.Error(), "protocol type connect") {
		t.Errorf("got %v", err)
	}
}

func TestLiveGroupsAreNotDeleted(t *testing.T) {
	cluster := newCluster(t)
	produce(t, newClient(t, cluster), "t", 0, 1)
	await(t, join(t, cluster), 0)
	mustRun(t, cluster, "reset", "empty", "--topic", "u", "--to-latest", "--execute")
	_, stderr, err := run(t, cluster, "delete", "empty", "g", "--yes")
	if err == nil || err.Error() != "group g has 1 member (Stable); stop its consumers first, see wadi group describe g --members" || stderr != "" {
		t.Errorf("got %v, said %q", err, stderr)
	}
	if stdout, _ := mustRun(t, cluster, "list", "-o", "name"); stdout != "empty\ng\n" {
		t.Errorf("a group was deleted although another could not be: %q", stdout)
	}
	// One that joins between the look and the deletion is the broker's to find.
	cluster.ControlKey(int16(kmsg.DeleteGroups), func(req kmsg.Request) (kmsg.Response, error, bool) {
		response := req.ResponseKind().(*kmsg.DeleteGroupsResponse)
		group := kmsg.NewDeleteGroupsResponseGroup()
		group.Group, group.ErrorCode = "empty", kerr.NonEmptyGroup.Code
		response.Groups = append(response.Groups, group)
		return response, nil, true
	})
	_, _, err = run(t, cluster, "delete", "empty", "--yes")
	if err == nil || err.Error() != "deleting group empty: it has members again; stop its consumers first" {
		t.Errorf("got %v", err)
	}
}

func TestOffsetsOfTopicsThatAreReadAreNotDeleted(t *testing.T) {
	cluster := newCluster(t)
	client := newClient(t, cluster)
	produce(t, client, "t", 0, 1)
	// Before the member comes: offsets of a topic that it reads, and of another.
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: "t", Partition: 0, LeaderEpoch: -1})
	offsets.Add(kadm.Offset{Topic: "u", Partition: 0, LeaderEpoch: -1})
	offsets.Add(kadm.Offset{Topic: "u", Partition: 1, LeaderEpoch: -1})
	if err := kadm.NewClient(client).CommitAllOffsets(t.Context(), "g", offsets); err != nil {
		t.Fatal(err)
	}
	await(t, join(t, cluster), 0)
	_, stderr, err := run(t, cluster, "delete", "g", "--offsets", "--topic", "t", "--topic", "u:1", "--yes")
	if err == nil || !strings.Contains(err.Error(), "deleting offsets of group g in t:0: members of the group read this topic; stop them first") {
		t.Errorf("got %v", err)
	}
	if stderr != "deleted 1 offset of group g in topic u\n" {
		t.Errorf("said %q", stderr)
	}
	_, _, err = run(t, cluster, "delete", "g", "--offsets", "--topic", "u:1", "--yes")
	if err == nil || err.Error() != "group g has no offset of u partition 1; see wadi group describe g" {
		t.Errorf("got %v", err)
	}
}

// Before Kafka 2.6 groups have no states to list, before 3.7 no types, and an
// unknown group is Dead rather than an error.
func TestOldBrokers(t *testing.T) {
	cluster := newCluster(t, kfake.MaxVersions(kversion.V2_4_0()))
	mustRun(t, cluster, "reset", "g", "--topic", "t", "--to-latest", "--execute")
	if stdout, _ := mustRun(t, cluster, "list", "--type", "classic"); !strings.Contains(stdout, "g      classic  -              -\n") {
		t.Errorf("printed\n%s", stdout)
	}
	if stdout, _ := mustRun(t, cluster, "list", "--type", "consumer", "-o", "name"); stdout != "" {
		t.Errorf("printed %q", stdout)
	}
	if _, _, err := run(t, cluster, "list", "--state", "Empty"); err == nil || !strings.Contains(err.Error(), "too old") {
		t.Errorf("got %v", err)
	}
	if stdout, _ := mustRun(t, cluster, "describe", "g"); !strings.Contains(stdout, "g  classic  Empty") {
		t.Errorf("printed\n%s", stdout)
	}
	if _, _, err := run(t, cluster, "describe", "nosuch"); err == nil || !strings.Contains(err.Error(), "there is no such group") {
		t.Errorf("got %v", err)
	}
}

func TestListReportsBrokersThatFail(t *testing.T) {
	cluster := newCluster(t)
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListGroups}, Err: kerr.ClusterAuthorizationFailed, Count: -1})
	if stdout, _, err := run(t, cluster, "list"); err == nil || !strings.HasPrefix(err.Error(), "listing groups: CLUSTER_AUTHORIZATION_FAILED: ") || stdout != "" {
		t.Errorf("got %v, printed %q", err, stdout)
	}
}

func TestDeletingAsksOnlyTerminals(t *testing.T) {
	cluster := newCluster(t)
	mustRun(t, cluster, "reset", "g", "--topic", "t", "--to-latest", "--execute")
	for _, args := range [][]string{{"delete", "g"}, {"delete", "g", "--offsets", "--topic", "t"}} {
		if _, _, err := run(t, cluster, args...); err == nil || !strings.Contains(err.Error(), "--yes") {
			t.Errorf("%v: got %v", args, err)
		}
	}
	if stdout, _ := mustRun(t, cluster, "describe", "g"); !strings.Contains(stdout, "2 partitions") {
		t.Errorf("printed\n%s", stdout)
	}
}
