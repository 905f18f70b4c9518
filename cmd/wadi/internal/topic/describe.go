package topic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
	"github.com/wadi-log/wadi/cmd/wadi/internal/output"
)

// described is one topic in `wadi topic describe -o json`.
type described struct {
	Name       string      `json:"name"`
	ID         string      `json:"id"`
	Internal   bool        `json:"internal"`
	Partitions []partition `json:"partitions"`
	// Configs are those set on the topic; defaults are left out.
	Configs map[string]string `json:"configs"`
}

// partition is one partition of a described topic. End is the next offset,
// so End - Start is at least the number of records.
type partition struct {
	Partition int32 `json:"partition"`
	Leader    int32 `json:"leader"`
	Start     int64 `json:"start"`
	End       int64 `json:"end"`
}

func describeCommand() *cobra.Command {
	var connection bootstrap.Flags
	format := "table"
	cmd := &cobra.Command{
		Use:   "describe TOPIC...",
		Short: "Show partitions, offsets and configs of topics",
		Long:  "Show partitions, offsets and configs of topics. Only configs that are set on the topic are shown.",
		Example: `  wadi topic describe orders
  wadi topic describe orders payments -o json`,
		Args:              args.Some("a topic"),
		ValidArgsFunction: connection.CompleteTopics(0),
		RunE: func(cmd *cobra.Command, names []string) error {
			client, err := connection.Connect(cmd)
			if err != nil {
				return err
			}
			defer client.Close()
			topics, err := describe(cmd.Context(), client, args.Unique(names))
			if err != nil {
				return err
			}
			if format == "json" {
				return output.JSON(cmd.OutOrStdout(), topics)
			}
			return writeDescribed(cmd.OutOrStdout(), topics)
		},
	}
	cmd.Flags().SortFlags = false
	output.Register(cmd, &format, "table", "json")
	connection.Register(cmd)
	return cmd
}

// describe gathers what three APIs know of the topics, in the order of names.
func describe(ctx context.Context, client *bootstrap.Client, names []string) ([]described, error) {
	details, err := load(ctx, client, names...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := client.Bound(ctx)
	defer cancel()
	starts, err := client.Admin.ListStartOffsets(ctx, names...)
	if err := errors.Join(err, starts.Error()); err != nil {
		return nil, client.Explain("listing start offsets", err, "")
	}
	ends, err := client.Admin.ListEndOffsets(ctx, names...)
	if err := errors.Join(err, ends.Error()); err != nil {
		return nil, client.Explain("listing end offsets", err, "")
	}
	configs, err := client.Admin.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, client.Explain("describing configs", err, "")
	}

	byName := map[string]described{}
	for _, detail := range details {
		topic := described{
			Name: detail.Topic, ID: idText(detail.ID), Internal: detail.IsInternal, Configs: map[string]string{},
		}
		for _, p := range detail.Partitions.Sorted() {
			start, _ := starts.Lookup(detail.Topic, p.Partition)
			end, _ := ends.Lookup(detail.Topic, p.Partition)
			topic.Partitions = append(topic.Partitions, partition{p.Partition, p.Leader, start.Offset, end.Offset})
		}
		byName[detail.Topic] = topic
	}
	for _, resource := range configs {
		if resource.Err != nil {
			return nil, client.Explain("describing configs of "+resource.Name, resource.Err, resource.ErrMessage)
		}
		for _, config := range resource.Configs {
			if config.Source == kmsg.ConfigSourceDynamicTopicConfig {
				byName[resource.Name].Configs[config.Key] = configText(config)
			}
		}
	}
	var topics []described
	for _, name := range names {
		topics = append(topics, byName[name])
	}
	return topics, nil
}

func configText(config kadm.Config) string {
	if config.Sensitive {
		return "(hidden)"
	}
	return config.MaybeValue()
}

func writeDescribed(w io.Writer, topics []described) error {
	for i, topic := range topics {
		var head strings.Builder
		if i > 0 {
			head.WriteString("\n")
		}
		fmt.Fprintf(&head, "%s  %s  id %s\n", topic.Name, output.Plural(len(topic.Partitions), "partition"), topic.ID)
		for _, key := range slices.Sorted(maps.Keys(topic.Configs)) {
			fmt.Fprintf(&head, "  %s=%s\n", key, topic.Configs[key])
		}
		if _, err := io.WriteString(w, head.String()); err != nil {
			return err
		}
		var rows [][]string
		for _, p := range topic.Partitions {
			rows = append(rows, []string{
				strconv.Itoa(int(p.Partition)), strconv.Itoa(int(p.Leader)),
				strconv.FormatInt(p.Start, 10), strconv.FormatInt(p.End, 10),
			})
		}
		if err := output.Table(w, "PARTITION LEADER START END", rows); err != nil {
			return err
		}
	}
	return nil
}
