package topic

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
	"github.com/wadi-log/wadi/cmd/wadi/internal/flagvalue"
	"github.com/wadi-log/wadi/cmd/wadi/internal/output"
)

func createCommand() *cobra.Command {
	var (
		connection  bootstrap.Flags
		partitions  int32
		configs     map[string]string
		ifNotExists bool
	)
	cmd := &cobra.Command{
		Use:   "create TOPIC",
		Short: "Create a topic",
		Example: `  wadi topic create orders --partitions 12
  wadi topic create orders --config retention.ms=604800000 --config compression.type=zstd
  wadi topic create orders --if-not-exists`,
		Args:              args.One("a topic"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, names []string) error {
			if partitions < 1 && cmd.Flags().Changed("partitions") {
				return fmt.Errorf("--partitions: %d is too few; want 1 or more", partitions)
			}
			client, err := connection.Connect(cmd)
			if err != nil {
				return err
			}
			defer client.Close()
			ctx, cancel := client.Bound(cmd.Context())
			defer cancel()

			set := map[string]*string{}
			for key, value := range configs {
				set[key] = &value
			}
			const brokerDefault = -1 // KIP-464
			created, err := client.Admin.CreateTopic(ctx, partitions, brokerDefault, set, names[0])
			if errors.Is(err, kerr.TopicAlreadyExists) {
				if ifNotExists {
					cmd.PrintErrf("topic %s exists\n", names[0])
					return nil
				}
				return fmt.Errorf("creating topic %s: it exists (or one of nearly the same name: . and _ count as equal); --if-not-exists accepts that", names[0])
			}
			if err != nil {
				return client.Explain("creating topic "+names[0], err, created.ErrMessage)
			}
			cmd.PrintErrf("created topic %s with %s\n", names[0], output.Plural(int(created.NumPartitions), "partition"))
			return nil
		},
	}
	partitions = -1
	cmd.Flags().SortFlags = false
	cmd.Flags().VarPF(flagvalue.Int32(&partitions), "partitions", "p", "number of partitions (default: the cluster's num.partitions)").DefValue = ""
	cmd.Flags().VarP(flagvalue.KeyValues(&configs), "config", "c", "topic config by Kafka's name; may be repeated")
	cmd.Flags().BoolVar(&ifNotExists, "if-not-exists", false, "succeed when the topic exists")
	connection.Register(cmd)
	return cmd
}
