package topic

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
	"github.com/wadi-log/wadi/cmd/wadi/internal/flagvalue"
	"github.com/wadi-log/wadi/cmd/wadi/internal/output"
)

func alterCommand() *cobra.Command {
	var (
		connection bootstrap.Flags
		partitions int32
		configs    map[string]string
		deletes    []string
	)
	cmd := &cobra.Command{
		Use:   "alter TOPIC",
		Short: "Change configs of a topic, or add partitions",
		Long: `Change configs of a topic, or add partitions. Partitions can't be taken away, and adding some
changes which partition a key goes to.`,
		Example: `  wadi topic alter orders --config retention.ms=86400000
  wadi topic alter orders --delete-config retention.ms
  wadi topic alter orders --partitions 24`,
		Args:              args.One("a topic"),
		ValidArgsFunction: connection.CompleteTopics(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			changes, err := configChanges(configs, deletes)
			if err != nil {
				return err
			}
			grow := cmd.Flags().Changed("partitions")
			if len(changes) == 0 && !grow {
				return errors.New("nothing to change; use --config, --delete-config or --partitions")
			}
			client, err := connection.Connect(cmd)
			if err != nil {
				return err
			}
			defer client.Close()
			if len(changes) > 0 {
				if err := alterConfigs(cmd, client, names[0], changes); err != nil {
					return err
				}
			}
			if grow {
				return addPartitions(cmd, client, names[0], int(partitions))
			}
			return nil
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().VarPF(flagvalue.Int32(&partitions), "partitions", "p", "number of partitions afterwards").DefValue = ""
	cmd.Flags().VarP(flagvalue.KeyValues(&configs), "config", "c", "config to set; may be repeated")
	cmd.Flags().StringSliceVar(&deletes, "delete-config", nil, "`name` of a config to put back to its default; may be repeated")
	connection.Register(cmd)
	return cmd
}

// configChanges returns what to alter, by name.
func configChanges(set map[string]string, deletes []string) ([]kadm.AlterConfig, error) {
	var changes []kadm.AlterConfig
	for key, value := range set {
		if slices.Contains(deletes, key) {
			return nil, fmt.Errorf("%s is in --config and in --delete-config; choose one", key)
		}
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: &value})
	}
	for _, key := range args.Unique(deletes) {
		changes = append(changes, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: key})
	}
	slices.SortFunc(changes, func(a, b kadm.AlterConfig) int { return strings.Compare(a.Name, b.Name) })
	return changes, nil
}

func alterConfigs(cmd *cobra.Command, client *bootstrap.Client, name string, changes []kadm.AlterConfig) error {
	ctx, cancel := client.Bound(cmd.Context())
	defer cancel()
	responses, err := client.Admin.AlterTopicConfigs(ctx, changes, name)
	if err != nil {
		return client.Explain("altering configs of "+name, err, "")
	}
	for _, response := range responses {
		if response.Err != nil {
			return client.Explain("altering configs of "+name, response.Err, response.ErrMessage)
		}
	}
	for _, change := range changes {
		if change.Value == nil {
			cmd.PrintErrf("%s: %s has its default again\n", name, change.Name)
		} else {
			cmd.PrintErrf("%s: %s=%s\n", name, change.Name, *change.Value)
		}
	}
	return nil
}

func addPartitions(cmd *cobra.Command, client *bootstrap.Client, name string, count int) error {
	topics, err := load(cmd.Context(), client, name)
	if err != nil {
		return err
	}
	if have := len(topics[0].Partitions); count <= have {
		return fmt.Errorf("--partitions: topic %s has %d already; want more", name, have)
	}
	ctx, cancel := client.Bound(cmd.Context())
	defer cancel()
	responses, err := client.Admin.UpdatePartitions(ctx, count, name)
	if err != nil {
		return client.Explain("adding partitions to "+name, err, "")
	}
	if response := responses[name]; response.Err != nil {
		return client.Explain("adding partitions to "+name, response.Err, response.ErrMessage)
	}
	cmd.PrintErrf("topic %s has %s\n", name, output.Plural(count, "partition"))
	return nil
}
