package topic

import (
	"bytes"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// run runs `wadi topic` with the arguments against the cluster.
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

func newCluster(t *testing.T) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "t", "u"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

func TestRefusalsAreShownWithTheBrokersReason(t *testing.T) {
	message := "retention.ms: must be a number"
	cluster := newCluster(t)
	cluster.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
		response := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		topic := kmsg.NewCreateTopicsResponseTopic()
		topic.Topic, topic.ErrorCode, topic.ErrorMessage = "new", kerr.InvalidConfig.Code, &message
		response.Topics = append(response.Topics, topic)
		return response, nil, true
	})
	_, _, err := run(t, cluster, "create", "new", "--config", "retention.ms=soon")
	if want := "creating topic new: INVALID_CONFIG: " + message; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}

	cluster.ControlKey(int16(kmsg.IncrementalAlterConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		response := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
		resource := kmsg.NewIncrementalAlterConfigsResponseResource()
		resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, "t"
		resource.ErrorCode, resource.ErrorMessage = kerr.InvalidConfig.Code, &message
		response.Resources = append(response.Resources, resource)
		return response, nil, true
	})
	_, stderr, err := run(t, cluster, "alter", "t", "--config", "retention.ms=soon", "--partitions", "9")
	if want := "altering configs of t: INVALID_CONFIG: " + message; err == nil || err.Error() != want || stderr != "" {
		t.Errorf("got %v (%s), want %s", err, stderr, want)
	}
	if n := len(cluster.PartitionInfos("t")); n != 2 {
		t.Errorf("partitions were added after the configs had been refused: %d", n)
	}
}

func TestDeleteReportsEachTopic(t *testing.T) {
	cluster := newCluster(t)
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DeleteTopics}, Topic: "t", Err: kerr.TopicAuthorizationFailed})
	_, stderr, err := run(t, cluster, "delete", "t", "u", "--yes")
	if err == nil || !strings.HasPrefix(err.Error(), "deleting topic t: TOPIC_AUTHORIZATION_FAILED: ") || stderr != "deleted topic u\n" {
		t.Errorf("got %v, said %q", err, stderr)
	}
}

func TestDeleteAsksOnlyTerminals(t *testing.T) {
	cluster := newCluster(t)
	_, _, err := run(t, cluster, "delete", "t")
	if err == nil || !strings.Contains(err.Error(), "--yes") || cluster.TopicInfo("t") == nil {
		t.Errorf("got %v", err)
	}
}

func TestDescribeFailsWhenOffsetsAreUnknown(t *testing.T) {
	cluster := newCluster(t)
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	stdout, _, err := run(t, cluster, "describe", "t")
	if err == nil || !strings.Contains(err.Error(), "listing start offsets: ") || stdout != "" {
		t.Errorf("got %v, printed %q", err, stdout)
	}
}

func TestInternalTopicsAreListedOnDemand(t *testing.T) {
	cluster := newCluster(t)
	internal := func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		response := req.ResponseKind().(*kmsg.MetadataResponse)
		for _, name := range []string{"__consumer_offsets", "t"} {
			topic := kmsg.NewMetadataResponseTopic()
			topic.Topic, topic.IsInternal = kmsg.StringPtr(name), strings.HasPrefix(name, "__")
			response.Topics = append(response.Topics, topic)
		}
		return response, nil, true
	}
	cluster.ControlKey(int16(kmsg.Metadata), internal)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"list", "-o", "name"}, "t\n"},
		{[]string{"list", "-o", "name", "--internal"}, "__consumer_offsets\nt\n"},
	} {
		if stdout, _, err := run(t, cluster, test.args...); err != nil || stdout != test.want {
			t.Errorf("%v: got %q, %v; want %q", test.args, stdout, err, test.want)
		}
	}
}
