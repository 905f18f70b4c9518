package group

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
	"github.com/wadi-log/wadi/cmd/wadi/internal/output"
)

func describeCommand() *cobra.Command {
	var (
		connection       bootstrap.Flags
		members, offsets bool
		format           = "table"
	)
	cmd := &cobra.Command{
		Use:   "describe GROUP...",
		Short: "Show members, offsets and lag of groups",
		Long: `Show members, offsets and lag of groups.

LAG counts the offsets between the group's committed offset and the end of the partition. SECONDS is how long
ago the first record that the group has not read was written, by that record's timestamp. A dash is what nobody
knows: the offset of a partition that the group never committed, the end of a topic that is gone.`,
		Example: `  wadi group describe billing
  wadi group describe billing audit --members
  wadi group describe billing -o json | jq .[0].lag_seconds`,
		Args:              args.Some("a group"),
		ValidArgsFunction: connection.CompleteGroups(0),
		RunE: func(cmd *cobra.Command, names []string) error {
			if members && offsets {
				return errors.New("--members and --offsets each show one part alone; leave both out for all")
			}
			client, err := connection.Connect(cmd)
			if err != nil {
				return err
			}
			defer client.Close()
			groups, err := load(cmd.Context(), client, args.Unique(names)...)
			if err != nil {
				return err
			}
			if !members {
				if err := addOffsets(cmd.Context(), client, groups, cmd.PrintErrf); err != nil {
					return err
				}
			}
			if format == "json" {
				return output.JSON(cmd.OutOrStdout(), groups)
			}
			for i, group := range groups {
				if err := writeDescribed(cmd.OutOrStdout(), group, i > 0, !offsets, !members); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&members, "members", false, "only members; asks for no offsets")
	cmd.Flags().BoolVar(&offsets, "offsets", false, "only offsets")
	output.Register(cmd, &format, "table", "json")
	connection.Register(cmd)
	return cmd
}

// writeDescribed writes one group: a line of its own, then its members and
// offsets as tables.
func writeDescribed(w io.Writer, group described, gap, members, offsets bool) error {
	var head strings.Builder
	if gap {
		head.WriteString("\n")
	}
	fmt.Fprintf(&head, "%s  %s  %s", group.Group, group.Type, group.State)
	if group.ProtocolType != "" && group.ProtocolType != "consumer" {
		fmt.Fprintf(&head, "  of %s", group.ProtocolType)
	}
	if group.Assignor != "" {
		fmt.Fprintf(&head, "  assignor %s", group.Assignor)
	}
	if group.Epoch != nil {
		fmt.Fprintf(&head, "  epoch %d", *group.Epoch)
	}
	fmt.Fprintf(&head, "  coordinator %d at %s:%d\n", group.Coordinator.ID, group.Coordinator.Host, group.Coordinator.Port)
	fmt.Fprintf(&head, "  %s", output.Plural(len(group.Members), "member"))
	if offsets {
		fmt.Fprintf(&head, ", %s", output.Plural(len(group.Offsets), "partition"))
		if group.Lag != nil {
			fmt.Fprintf(&head, ", lag %d records", *group.Lag)
		}
		if group.LagSeconds != nil {
			fmt.Fprintf(&head, ", %s seconds", secondsText(group.LagSeconds))
		}
	}
	head.WriteString("\n")
	if _, err := io.WriteString(w, head.String()); err != nil {
		return err
	}
	if members && len(group.Members) > 0 {
		if err := writeMembers(w, group.Members); err != nil {
			return err
		}
	}
	if offsets && len(group.Offsets) > 0 {
		return writeOffsets(w, group)
	}
	return nil
}

func writeMembers(w io.Writer, members []member) error {
	var rows [][]string
	for _, m := range members {
		rows = append(rows, []string{
			cell(m.MemberID), instanceText(m), cell(m.ClientID), cell(m.Host), m.Protocol, orUnknown(m.Epoch), assignmentText(m.Partitions),
		})
	}
	return output.Table(w, "MEMBER INSTANCE CLIENT HOST PROTOCOL EPOCH PARTITIONS", rows)
}

func instanceText(m member) string {
	if m.InstanceID == nil {
		return "-"
	}
	return cell(*m.InstanceID)
}

func writeOffsets(w io.Writer, group described) error {
	var rows [][]string
	for _, row := range group.Offsets {
		owner := "-"
		if row.MemberID != nil {
			owner = cell(*row.MemberID)
		}
		rows = append(rows, []string{
			row.Topic, strconv.Itoa(int(row.Partition)), orUnknown(row.Committed), orUnknown(row.End),
			orUnknown(row.Lag), secondsText(row.LagSeconds), owner, cell(row.Metadata),
		})
	}
	return output.Table(w, "TOPIC PARTITION COMMITTED END LAG SECONDS MEMBER METADATA", rows)
}
