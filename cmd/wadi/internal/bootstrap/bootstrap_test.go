package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// connect runs Connect as a command with these arguments does.
func connect(t *testing.T, ctx context.Context, args ...string) (*Client, error) {
	t.Helper()
	var flags Flags
	cmd := &cobra.Command{Use: "test"}
	flags.Register(cmd)
	cmd.SetContext(ctx)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	client, err := flags.Connect(cmd)
	if err == nil {
		t.Cleanup(client.Close)
	}
	return client, err
}

func TestFlagBeatsEnvironment(t *testing.T) {
	for _, test := range []struct{ flag, env, want string }{
		{"", "", "localhost:9092"},
		{"", "env:1,env:2", "env:1,env:2"},
		{"flag:1", "env:1", "flag:1"},
		{"localhost:9092", "env:1", "localhost:9092"},
		{"a:1, b:2", "", "a:1,b:2"},
		{"[::1]:9092", "", "[::1]:9092"},
	} {
		t.Setenv(Env, test.env)
		var flags Flags
		cmd := &cobra.Command{Use: "test"}
		flags.Register(cmd)
		if test.flag != "" {
			if err := cmd.ParseFlags([]string{"--bootstrap", test.flag}); err != nil {
				t.Fatal(err)
			}
		}
		if seeds, err := flags.seeds(cmd); err != nil || strings.Join(seeds, ",") != test.want {
			t.Errorf("%+v: got %v, %v", test, seeds, err)
		}
	}
	t.Setenv(Env, "")
	for _, bad := range []string{"", "host", ":9092", "host:", "host:port", "host:70000", "a:1,,b:2"} {
		if _, err := connect(t, t.Context(), "--bootstrap", bad); err == nil || !strings.Contains(err.Error(), "--bootstrap: ") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

func TestSilentPortIsNamedAfterTheTimeout(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	address := listener.Addr().String()
	_, err = connect(t, t.Context(), "--bootstrap", address, "--timeout", "200ms")
	if err == nil || !strings.Contains(err.Error(), "can't reach Kafka at "+address+": no answer within 200ms; ") || !strings.HasSuffix(err.Error(), "--bootstrap") {
		t.Errorf("got %v", err)
	}
}

func TestInterruptedConnectSaysSo(t *testing.T) {
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(interrupted)
	if _, err := connect(t, ctx, "--bootstrap", "127.0.0.1:1"); !errors.Is(err, interrupted) {
		t.Errorf("got %v", err)
	}
}

func TestUnreachableAdvertisedAddressIsNamed(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	// An address that nobody listens on any more.
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := gone.Addr().(*net.TCPAddr).Port
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	cluster.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		response := req.ResponseKind().(*kmsg.MetadataResponse)
		broker := kmsg.NewMetadataResponseBroker()
		broker.Host, broker.Port = "127.0.0.1", int32(port)
		response.Brokers = append(response.Brokers, broker)
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = kmsg.StringPtr("t")
		topic.Partitions = append(topic.Partitions, kmsg.NewMetadataResponseTopicPartition())
		response.Topics = append(response.Topics, topic)
		return response, nil, true
	})
	client, err := connect(t, t.Context(), "--bootstrap", cluster.ListenAddrs()[0], "--timeout", "4s")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := client.Bound(t.Context())
	defer cancel()
	_, err = kadm.NewClient(client.Client).ListStartOffsets(ctx, "t")
	if err == nil {
		t.Fatal("an address without a listener answered")
	}
	if text := client.Explain("listing offsets", err, "").Error(); !strings.Contains(text, gone.Addr().String()) || !strings.Contains(text, "--advertise") {
		t.Errorf("got %s", text)
	}
}

func TestExplain(t *testing.T) {
	var interrupted error
	client := &Client{dials: &dialErrors{}, seeds: "a:1", interrupted: func() error { return interrupted }}
	for _, test := range []struct {
		err     error
		message string
		want    string
	}{
		{kerr.UnknownTopicOrPartition, "", "doing: there is no such topic; see wadi topic list, or wadi topic create"},
		{kerr.InvalidConfig, "x is no number", "doing: INVALID_CONFIG: x is no number"},
		{kerr.TopicAuthorizationFailed, "", "doing: TOPIC_AUTHORIZATION_FAILED: Not authorized to access topics: [Topic authorization failed.]"},
		{errors.New("odd"), "", "doing: odd"},
	} {
		if got := client.Explain("doing", test.err, test.message); got == nil || got.Error() != test.want {
			t.Errorf("got %v, want %s", got, test.want)
		}
	}
	if err := client.Explain("doing", nil, "all is well"); err != nil {
		t.Errorf("no error is no error; got %v", err)
	}
	interrupted = errors.New("interrupted")
	if err := client.Explain("doing", fmt.Errorf("asking: %w", context.Canceled), ""); !errors.Is(err, interrupted) {
		t.Errorf("got %v for the call that a signal ended", err)
	}
}

func TestDialErrorIsForgottenOnceADialWorks(t *testing.T) {
	d := &dialErrors{}
	d.OnBrokerConnect(kgo.BrokerMetadata{}, 0, nil, errors.New("refused"))
	if d.last() == nil {
		t.Error("the failure was not kept")
	}
	d.OnBrokerConnect(kgo.BrokerMetadata{}, 0, nil, nil)
	if err := d.last(); err != nil {
		t.Errorf("got %v after a dial that worked", err)
	}
}
