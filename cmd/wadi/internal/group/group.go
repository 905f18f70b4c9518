// Package group is `wadi group`: list, describe, reset and delete consumer
// groups of any Kafka cluster, of the classic protocol and of the consumer protocol
// (KIP-848). Results go to standard output, what was done to standard error.
//
// What a reset would do is planned as a pure function of what the cluster
// says (plan.go), shown, and only then acted on. A group with members is never touched
// unless the user says so.
package group

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
)

// Command returns `wadi group` with its subcommands.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "group",
		Short: "List, describe, reset and delete consumer groups",
		Example: `  wadi group list
  wadi group describe billing
  wadi group reset billing --topic orders --by-duration 1h`,
		Args: args.Subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(listCommand(), describeCommand(), resetCommand(), deleteCommand())
	return cmd
}

// Protocols that a group, or one member of it, can speak. A group of the
// consumer protocol may have classic members, while it is migrated.
const (
	classicProtocol  = "classic"
	consumerProtocol = "consumer"
)

// described is one group as `wadi group describe -o json` shows it.
type described struct {
	Group string `json:"group"`
	// Type is classic or consumer.
	Type string `json:"type"`
	// ProtocolType is what a classic group's members agree on: consumer,
	// connect, or "" where it never had members.
	ProtocolType string `json:"protocol_type"`
	State        string `json:"state"`
	Assignor     string `json:"assignor"`
	// Epoch is the group epoch of KIP-848. Classic groups don't tell their generation.
	Epoch       *int32      `json:"epoch"`
	Coordinator coordinator `json:"coordinator"`
	Members     []member    `json:"members"`
	// Offsets is nil where nobody asked for them.
	Offsets []progress `json:"offsets"`
	// Lag is the sum over the partitions where it is known, LagSeconds the
	// longest; nil where it is known of none.
	Lag        *int64   `json:"lag"`
	LagSeconds *float64 `json:"lag_seconds"`

	// subscribed are the topics that members ask for by name, or are assigned.
	subscribed []string
}

type coordinator struct {
	ID   int32  `json:"id"`
	Host string `json:"host"`
	Port int32  `json:"port"`
}

// member is one member of a group.
type member struct {
	MemberID   string  `json:"member_id"`
	InstanceID *string `json:"instance_id"`
	ClientID   string  `json:"client_id"`
	Host       string  `json:"host"`
	Protocol   string  `json:"protocol"`
	// Epoch is the member epoch of KIP-848, nil in a classic group.
	Epoch      *int32       `json:"epoch"`
	Partitions []assignment `json:"partitions"`
}

// assignment is the partitions of one topic that a member has.
type assignment struct {
	Topic      string  `json:"topic"`
	Partitions []int32 `json:"partitions"`
}

// load returns the groups in the order of names. A group that is not there is
// an error, and so is one of another kind.
func load(ctx context.Context, client *bootstrap.Client, names ...string) ([]described, error) {
	found, err := find(ctx, client, names...)
	if err != nil {
		return nil, err
	}
	var groups []described
	var missing []error
	for _, name := range names {
		group, ok := found[name]
		if !ok {
			missing = append(missing, client.Explain("group "+name, kerr.GroupIDNotFound, ""))
			continue
		}
		groups = append(groups, group)
	}
	return groups, errors.Join(missing...)
}

// find returns the groups that exist, by name. One that goes meanwhile does
// not exist.
//
// Each protocol has a describe request for its own groups. Which is right is
// looked up first, in the list: brokers differ in what they answer to the wrong one, and
// old brokers list no types and have only classic groups.
func find(ctx context.Context, client *bootstrap.Client, names ...string) (map[string]described, error) {
	ctx, cancel := client.Bound(ctx)
	defer cancel()
	all, err := list(ctx, client, nil, nil)
	if err != nil {
		return nil, err
	}
	var classic, consumer []string
	for _, group := range all {
		switch {
		case !slices.Contains(names, group.Group):
		case group.Type == classicProtocol:
			classic = append(classic, group.Group)
		case group.Type == consumerProtocol:
			consumer = append(consumer, group.Group)
		default:
			return nil, fmt.Errorf("group %s is a %s group, which wadi can only list", group.Group, group.Type)
		}
	}
	found := map[string]described{}
	if err := findClassic(ctx, client, classic, found); err != nil {
		return nil, err
	}
	return found, findConsumer(ctx, client, consumer, found)
}

func findClassic(ctx context.Context, client *bootstrap.Client, names []string, found map[string]described) error {
	if len(names) == 0 {
		return nil // to kadm, no groups are all groups
	}
	groups, err := client.Admin.DescribeGroups(ctx, names...)
	if err != nil {
		return client.Explain("describing groups", err, "")
	}
	for name, group := range groups {
		switch {
		case errors.Is(group.Err, kerr.GroupIDNotFound), group.Err == nil && group.State == "Dead": // before v6, KIP-1043
		case group.Err != nil:
			return client.Explain("describing group "+name, group.Err, group.ErrMessage)
		default:
			found[name] = fromClassic(group)
		}
	}
	return nil
}

func findConsumer(ctx context.Context, client *bootstrap.Client, names []string, found map[string]described) error {
	if len(names) == 0 {
		return nil
	}
	groups, err := client.Admin.DescribeConsumerGroups(ctx, names...)
	if err != nil {
		return client.Explain("describing groups", err, "")
	}
	for name, group := range groups {
		switch {
		case errors.Is(group.Err, kerr.GroupIDNotFound):
		case group.Err != nil:
			return client.Explain("describing group "+name, group.Err, "")
		default:
			found[name] = fromConsumer(group)
		}
	}
	return nil
}

func fromClassic(d kadm.DescribedGroup) described {
	group := described{
		Group: d.Group, Type: classicProtocol, ProtocolType: d.ProtocolType, State: d.State, Assignor: d.Protocol,
		Coordinator: coordinator{d.Coordinator.NodeID, d.Coordinator.Host, d.Coordinator.Port},
		Members:     []member{},
	}
	topics := map[string]bool{}
	for _, m := range d.Members {
		out := member{MemberID: m.MemberID, InstanceID: m.InstanceID, ClientID: m.ClientID, Host: m.ClientHost, Protocol: classicProtocol}
		assigned := kadm.TopicsSet{}
		if a, ok := m.Assigned.AsConsumer(); ok {
			for _, topic := range a.Topics {
				assigned.Add(topic.Topic, topic.Partitions...)
			}
		}
		out.Partitions = assignments(assigned)
		if join, ok := m.Join.AsConsumer(); ok {
			mark(topics, join.Topics)
		}
		mark(topics, assigned.Topics())
		group.Members = append(group.Members, out)
	}
	group.subscribed = sortedKeys(topics)
	return group
}

func fromConsumer(d kadm.DescribedConsumerGroup) described {
	group := described{
		Group: d.Group, Type: consumerProtocol, ProtocolType: "consumer", State: d.State, Assignor: d.AssignorName, Epoch: &d.Epoch,
		Coordinator: coordinator{d.Coordinator.NodeID, d.Coordinator.Host, d.Coordinator.Port},
		Members:     []member{},
	}
	topics := map[string]bool{}
	for _, m := range d.Members {
		out := member{
			MemberID: m.MemberID, InstanceID: m.InstanceID, ClientID: m.ClientID, Host: m.ClientHost,
			Protocol: consumerProtocol, Epoch: &m.MemberEpoch, Partitions: assignments(m.Assignment),
		}
		if m.MemberType == 0 { // classic, from v1 on; -1 is unknown
			out.Protocol = classicProtocol
		}
		mark(topics, m.SubscribedTopics)
		mark(topics, m.Assignment.Topics()) // what a regular expression matched
		group.Members = append(group.Members, out)
	}
	group.subscribed = sortedKeys(topics)
	return group
}
