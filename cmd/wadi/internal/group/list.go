package group

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
	"github.com/wadi-log/wadi/cmd/wadi/internal/output"
)

// What --state and --type take. Only the first two types have all of this
// command; the others are listed.
var (
	stateWords = []string{"Empty", "Assigning", "Reconciling", "PreparingRebalance", "CompletingRebalance", "Stable", "NotReady", "Dead"}
	typeWords  = []string{classicProtocol, consumerProtocol, "share", "streams"}
)

// listed is one group in `wadi group list -o json`.
type listed struct {
	Group        string `json:"group"`
	Type         string `json:"type"`
	ProtocolType string `json:"protocol_type"`
	State        string `json:"state"`
}

func listCommand() *cobra.Command {
	var (
		connection bootstrap.Flags
		states     []string
		types      []string
		format     = "table"
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List consumer groups",
		Long: `List consumer groups, and groups of Kafka's other kinds.

States: ` + strings.Join(stateWords, ", ") + `.
Types: ` + strings.Join(typeWords, ", ") + `.`,
		Example: `  wadi group list
  wadi group list --state Stable,Empty --type consumer
  wadi group list -o name | xargs wadi group describe`,
		Args:              args.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			states, err := canonical("state", states, stateWords)
			if err != nil {
				return err
			}
			types, err := canonical("type", types, typeWords)
			if err != nil {
				return err
			}
			client, err := connection.Connect(cmd)
			if err != nil {
				return err
			}
			defer client.Close()
			ctx, cancel := client.Bound(cmd.Context())
			defer cancel()
			groups, err := list(ctx, client, states, types)
			if err != nil {
				return err
			}
			return writeList(cmd, format, groups)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringSliceVar(&states, "state", nil, "only groups in this `state`; may be repeated")
	flags.StringSliceVar(&types, "type", nil, "only groups of this `type`; may be repeated")
	for name, words := range map[string][]string{"state": stateWords, "type": typeWords} {
		if err := cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			panic(err) // the flags were added above
		}
	}
	output.Register(cmd, &format, "table", "json", "name")
	connection.Register(cmd)
	return cmd
}

// canonical returns the words as Kafka writes them, whatever their case.
func canonical(flag string, given, words []string) ([]string, error) {
	var found []string
	for _, text := range given {
		i := slices.IndexFunc(words, func(word string) bool { return strings.EqualFold(word, text) })
		if i < 0 {
			return nil, fmt.Errorf("--%s %q: want %s or %s", flag, text, strings.Join(words[:len(words)-1], ", "), words[len(words)-1])
		}
		found = append(found, words[i])
	}
	return found, nil
}

// list returns the groups in these states and of these types (all where none
// is named), by name. ctx must have a deadline.
func list(ctx context.Context, client *bootstrap.Client, states, types []string) ([]listed, error) {
	req := kmsg.NewPtrListGroupsRequest()
	req.StatesFilter, req.TypesFilter = states, types
	groups := []listed{} // an empty list is [] in JSON, not null
	for _, shard := range client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, client.Explain("listing groups", shard.Err, "")
		}
		response, ok := shard.Resp.(*kmsg.ListGroupsResponse)
		if !ok {
			return nil, errors.New("listing groups: the answer is to another request")
		}
		if err := kerr.ErrorForCode(response.ErrorCode); err != nil {
			return nil, client.Explain("listing groups", err, "")
		}
		for _, g := range response.Groups {
			// A broker that does not tell the type (before KIP-848) has classic groups only.
			group := listed{g.Group, strings.ToLower(cmp.Or(g.GroupType, classicProtocol)), g.ProtocolType, g.GroupState}
			if group.State == "" && len(states) > 0 {
				return nil, errors.New("--state: the brokers are too old to tell the states of groups (Kafka 2.6)")
			}
			// Brokers that are older than a filter answer with all groups.
			if (len(states) == 0 || slices.Contains(states, group.State)) && (len(types) == 0 || slices.Contains(types, group.Type)) {
				groups = append(groups, group)
			}
		}
	}
	slices.SortFunc(groups, func(a, b listed) int { return strings.Compare(a.Group, b.Group) })
	// Agents that share their groups may each list all of them.
	return slices.CompactFunc(groups, func(a, b listed) bool { return a.Group == b.Group }), nil
}

func writeList(cmd *cobra.Command, format string, groups []listed) error {
	out := cmd.OutOrStdout()
	switch format {
	case "json":
		return output.JSON(out, groups)
	case "name":
		for _, group := range groups {
			if _, err := fmt.Fprintln(out, group.Group); err != nil {
				return err
			}
		}
		return nil
	}
	var rows [][]string
	for _, group := range groups {
		rows = append(rows, []string{group.Group, group.Type, orDash(group.ProtocolType), orDash(group.State)})
	}
	return output.Table(out, "GROUP TYPE PROTOCOL-TYPE STATE", rows)
}
