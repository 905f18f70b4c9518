// Package topic is `wadi topic`: create, list, describe, alter and delete
// topics of any Kafka cluster. Results go to standard output, what was done
// to standard error.
package topic

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
)

// Command returns `wadi topic` with its subcommands.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topic",
		Short: "Create, list, describe, alter and delete topics",
		Example: `  wadi topic create orders --partitions 12
  wadi topic list
  wadi topic describe orders`,
		Args: args.Subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(createCommand(), listCommand(), describeCommand(), alterCommand(), deleteCommand())
	return cmd
}

// load returns the named topics, all of them when none is named, by name.
// A topic that does not exist is an error.
func load(ctx context.Context, client *bootstrap.Client, names ...string) ([]kadm.TopicDetail, error) {
	ctx, cancel := client.Bound(ctx)
	defer cancel()
	details, err := client.Admin.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return nil, client.Explain("listing topics", err, "")
	}
	topics := details.Sorted()
	for _, topic := range topics {
		if topic.Err != nil {
			return nil, client.Explain("topic "+topic.Topic, topic.Err, "")
		}
	}
	for _, name := range names {
		if !details.Has(name) {
			return nil, client.Explain("topic "+name, kerr.UnknownTopicOrPartition, "")
		}
	}
	return topics, nil
}
