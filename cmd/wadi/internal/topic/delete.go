package topic

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
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
			names = unique(names)
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
				if err := confirm(cmd, names); err != nil {
					return err
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

// confirm asks on the terminal; anything but yes is an error.
func confirm(cmd *cobra.Command, names []string) error {
	cmd.PrintErrf("Delete %s with all records: %s? Type yes: ", plural(len(names), "topic"), strings.Join(names, ", "))
	answer := make(chan string, 1)
	go func() {
		// Ends with the process at the latest: a read from a terminal can't be cancelled.
		line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			line = ""
		}
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-cmd.Context().Done():
		return context.Cause(cmd.Context())
	case text := <-answer:
		if strings.EqualFold(text, "yes") || strings.EqualFold(text, "y") {
			return nil
		}
		return errors.New("nothing was deleted")
	}
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
