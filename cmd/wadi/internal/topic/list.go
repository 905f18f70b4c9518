package topic

import (
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
	"github.com/wadi-log/wadi/cmd/wadi/internal/output"
)

// listed is one topic in `wadi topic list -o json`.
type listed struct {
	Name       string `json:"name"`
	ID         string `json:"id"`
	Partitions int    `json:"partitions"`
	Internal   bool   `json:"internal"`
}

func listCommand() *cobra.Command {
	var (
		connection bootstrap.Flags
		internal   bool
		format     = "table"
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List topics",
		Example: `  wadi topic list
  wadi topic list -o name | xargs wadi topic describe
  wadi topic list -o json --internal`,
		Args:              args.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connection.Connect(cmd)
			if err != nil {
				return err
			}
			defer client.Close()
			topics, err := load(cmd.Context(), client)
			if err != nil {
				return err
			}
			found := []listed{} // an empty list is [] in JSON, not null
			for _, topic := range topics {
				if internal || !topic.IsInternal {
					found = append(found, listed{topic.Topic, idText(topic.ID), len(topic.Partitions), topic.IsInternal})
				}
			}
			return writeList(cmd, format, found)
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&internal, "internal", false, "list Kafka's internal topics too")
	output.Register(cmd, &format, "table", "json", "name")
	connection.Register(cmd)
	return cmd
}

func writeList(cmd *cobra.Command, format string, topics []listed) error {
	out := cmd.OutOrStdout()
	switch format {
	case "json":
		return output.JSON(out, topics)
	case "name":
		for _, topic := range topics {
			if _, err := fmt.Fprintln(out, topic.Name); err != nil {
				return err
			}
		}
		return nil
	}
	var rows [][]string
	for _, topic := range topics {
		rows = append(rows, []string{topic.Name, strconv.Itoa(topic.Partitions), topic.ID})
	}
	return output.Table(out, "NAME PARTITIONS ID", rows)
}

// idText is the topic ID as Kafka prints it: URL-safe base64 of the UUID (KIP-516).
func idText(id kadm.TopicID) string {
	if id == (kadm.TopicID{}) {
		return "-" // brokers before Kafka 2.8
	}
	return base64.RawURLEncoding.EncodeToString(id[:])
}
