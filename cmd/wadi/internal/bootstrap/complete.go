package bootstrap

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// completeTimeout bounds how long the Tab key may hang without an agent, unless the line has a timeout already.
const completeTimeout = 2 * time.Second

// CompleteTopics completes topic names: at most limit arguments, any number
// for 0. Without a cluster it completes nothing, and says nothing: the user is in the
// middle of a line.
func (f *Flags) CompleteTopics(limit int) cobra.CompletionFunc {
	return f.complete(limit, func(ctx context.Context, client *Client) ([]string, error) {
		topics, err := client.Admin.ListTopics(ctx)
		return topics.Names(), err
	})
}

// CompleteGroups completes names of groups as CompleteTopics does topics.
func (f *Flags) CompleteGroups(limit int) cobra.CompletionFunc {
	return f.complete(limit, func(ctx context.Context, client *Client) ([]string, error) {
		groups, err := client.Admin.ListGroups(ctx)
		return groups.Groups(), err
	})
}

func (f *Flags) complete(limit int, list func(context.Context, *Client) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if limit > 0 && len(args) >= limit {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		if !cmd.Flags().Changed("timeout") {
			f.Timeout = completeTimeout
		}
		client, err := f.Connect(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer client.Close()
		ctx, cancel := client.Bound(cmd.Context())
		defer cancel()
		all, err := list(ctx, client)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []cobra.Completion
		for _, name := range all {
			if !slices.Contains(args, name) {
				names = append(names, name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
