package admin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
)

// TestStoreFailures: what passes by itself becomes a code on which clients
// retry, and no answer repeats the store's words.
func TestStoreFailures(t *testing.T) {
	secret := "postgres://user:secret@host"
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"unavailable": {fmt.Errorf("%w: %s", metadata.ErrUnavailable, secret), "NOT_CONTROLLER"},
		"unknown":     {fmt.Errorf("%w: %s", metadata.ErrOutcomeUnknown, secret), "REQUEST_TIMED_OUT"},
		"surprise":    {fmt.Errorf("surprise: %s", secret), "UNKNOWN_SERVER_ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			a, topics := newTestAdmin(t, nil)
			create(t, topics, metadata.NewTopic{Name: "t"})
			grow := kmsg.NewPtrCreatePartitionsRequest()
			grow.Topics = append(grow.Topics, kmsg.CreatePartitionsRequestTopic{Topic: "t", Count: 9})
			answers := func() map[string]string {
				got := map[string]string{}
				c := a.CreateTopics(t.Context(), client, createRequest(7, newTopic{name: "u", partitions: 1, replicas: 1})).Topics[0]
				got["create"] = result(c.ErrorCode, c.ErrorMessage)
				d := a.DeleteTopics(t.Context(), client, deleteRequest(6, []string{"t"})).Topics[0]
				got["delete"] = result(d.ErrorCode, d.ErrorMessage)
				p := a.CreatePartitions(t.Context(), client, grow).Topics[0]
				got["grow"] = result(p.ErrorCode, p.ErrorMessage)
				i := a.IncrementalAlterConfigs(t.Context(), client, incrementRequest(resource{kmsg.ConfigResourceTypeTopic, "t"}, set("retention.ms", "5"))).Resources[0]
				got["alter"] = result(i.ErrorCode, i.ErrorMessage)
				return got
			}
			topics.change = tc.err
			for step, got := range answers() {
				if !strings.HasPrefix(got, tc.want+":") || strings.Contains(got, "secret") {
					t.Errorf("%s, the change fails: %q, want %s", step, got, tc.want)
				}
			}
			topics.change, topics.lookup = nil, tc.err
			for step, got := range answers() {
				if !strings.HasPrefix(got, tc.want+":") || strings.Contains(got, "secret") {
					t.Errorf("%s, the lookup fails: %q, want %s", step, got, tc.want)
				}
			}
			c := a.DescribeConfigs(t.Context(), client, describeRequest(kmsg.ConfigResourceTypeTopic, "t")).Resources[0]
			if got := result(c.ErrorCode, c.ErrorMessage); !strings.HasPrefix(got, tc.want+":") || strings.Contains(got, "secret") {
				t.Errorf("describe: %q, want %s", got, tc.want)
			}
		})
	}
}
