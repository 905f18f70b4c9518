package bootstrap

import (
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// completeTimeout bounds how long the Tab key may hang without an agent.
const completeTimeout = 2 * time.Second

// CompleteTopics completes topic names: at most limit arguments, any number
// for 0. Without a cluster it completes nothing, and says nothing: the user is in the
// middle of a line.
func (f *Flags) CompleteTopics(limit int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if limit > 0 && len(args) >= limit {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		f.Timeout = completeTimeout
		client, err := f.Connect(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer client.Close()
		ctx, cancel := client.Bound(cmd.Context())
		defer cancel()
		topics, err := client.Admin.ListTopics(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []cobra.Completion
		for _, name := range topics.Names() {
			if !slices.Contains(args, name) {
				names = append(names, name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
