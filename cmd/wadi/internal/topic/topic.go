// Package topic is `wadi topic`: create, list, describe, alter and delete
// topics of any Kafka cluster. Results go to standard output, what was done
// to standard error.
package topic

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

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

// table writes rows below a header, in aligned columns.
func table(w io.Writer, header string, rows [][]string) error {
	var text strings.Builder
	fmt.Fprintln(&text, strings.ReplaceAll(header, " ", "\t"))
	for _, row := range rows {
		fmt.Fprintln(&text, strings.Join(row, "\t"))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(t, text.String()); err != nil {
		return err
	}
	return t.Flush()
}

// writeJSON writes v as indented JSON.
func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// plural returns "1 partition" or "3 partitions".
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// unique drops names that were given twice, keeping the order.
func unique(names []string) []string {
	var kept []string
	for _, name := range names {
		if !slices.Contains(kept, name) {
			kept = append(kept, name)
		}
	}
	return kept
}
