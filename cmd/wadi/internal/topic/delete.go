package topic

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
	"github.com/wadi-log/wadi/cmd/wadi/internal/output"
	"github.com/wadi-log/wadi/cmd/wadi/internal/terminal"
)

func deleteCommand() *cobra.Command {
	var connection bootstrap.Flags
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete TOPIC...",
		Short: "Delete topics with all their records",
		Example: `  wadi topic delete orders
  wadi topic delete orders payments --yes`,
		Args:              args.Some("a topic"),
		ValidArgsFunction: connection.CompleteTopics(0),
		RunE: func(cmd *cobra.Command, names []string) error {
			names = args.Unique(names)
			if !yes && !terminal.Is(cmd.InOrStdin()) {
				return errors.New("deleting topics can't be undone; say --yes where nobody can be asked")
			}
			client, err := connection.Connect(cmd)
			if err != nil {
				return err
			}
			defer client.Close()
			// All names are checked before the first topic goes: a typing error
			// should not be found half-way.
			if _, err := load(cmd.Context(), client, names...); err != nil {
				return err
			}
			if !yes {
				question := fmt.Sprintf("Delete %s with all records: %s?", output.Plural(len(names), "topic"), strings.Join(names, ", "))
				if yes, err := terminal.Confirm(cmd, question); err != nil || !yes {
					return cmp.Or(err, errors.New("nothing was deleted"))
				}
			}
			return deleteTopics(cmd, client, names)
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	connection.Register(cmd)
	return cmd
}

func deleteTopics(cmd *cobra.Command, client *bootstrap.Client, names []string) error {
	ctx, cancel := client.Bound(cmd.Context())
	defer cancel()
	responses, err := client.Admin.DeleteTopics(ctx, names...)
	if err != nil {
		return client.Explain("deleting topics", err, "")
	}
	var failed []error
	for _, name := range names {
		if response := responses[name]; response.Err != nil {
			failed = append(failed, client.Explain("deleting topic "+name, response.Err, response.ErrMessage))
			continue
		}
		cmd.PrintErrf("deleted topic %s\n", name)
	}
	return errors.Join(failed...)
}
