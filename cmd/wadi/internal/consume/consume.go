// Package consume is `wadi consume`: it reads records of topics of any Kafka
// cluster to standard output. It is no member of a group and commits no offsets.
//
// Without --follow it reads what is there when it starts, and ends. Records of
// one partition come in their order; partitions are mixed.
package consume

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
	"github.com/wadi-log/wadi/cmd/wadi/internal/flagvalue"
)

// options are the flags of the command.
type options struct {
	connection bootstrap.Flags
	from       string
	until      string
	partitions []int32
	count      int64
	follow     bool
	format     string
	nullMarker string
	isolation  string
}

// Command returns `wadi consume`.
func Command() *cobra.Command {
	o := options{from: "start", until: "end", format: "value", isolation: "read_uncommitted"}
	cmd := &cobra.Command{
		Use:   "consume TOPIC...",
		Short: "Read records to standard output",
		Long: `Read records to standard output, up to the present end of each partition, or on and on with --follow.

Formats: value, key-value (with a tab between), json, raw (values without newlines), or a template:
%k key, %v value, %t topic, %p partition, %o offset, %T timestamp in ms, %h headers, %K and %V lengths
(-1 is null), %% percent; \n \t \r \0 \\ \xHH escapes. A newline is added unless a template ends in a
control character.`,
		Example: `  wadi consume greetings
  wadi consume orders --offset -10 --format '%p %o %k %v'
  wadi consume orders --offset @2026-11-23T09:00:00Z --until @2026-11-23T10:00:00Z --format json
  wadi consume orders --offset end --follow`,
		Args:              args.Some("a topic"),
		ValidArgsFunction: o.connection.CompleteTopics(0),
		RunE:              o.run,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.Var(flagvalue.Text(&o.from, "position"), "offset", "where to begin: start, end, N, -N from the end, or @time (RFC 3339 or ms)")
	flags.Var(flagvalue.Text(&o.until, "position"), "until", "where to stop, exclusive; as for --offset")
	flags.Int32SliceVarP(&o.partitions, "partition", "p", nil, "only this partition `number`; may be repeated")
	flags.Lookup("partition").DefValue = "" // not []
	flags.Int64VarP(&o.count, "count", "n", 0, "stop after this `number` of records")
	flags.BoolVarP(&o.follow, "follow", "f", false, "go on with new records until interrupted")
	flags.Var(flagvalue.Text(&o.format, "format"), "format", "format of a record: value, key-value, json, raw or a template (see above)")
	flags.Var(flagvalue.Text(&o.nullMarker, "text"), "null-marker", "what to print for null keys and values, outside JSON")
	flags.Var(flagvalue.OneOf(&o.isolation, "read_uncommitted", "read_committed"), "isolation", "which records of transactions to show")
	o.connection.Register(cmd)
	if err := cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]cobra.Completion{"value", "key-value", "json", "raw"}, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag was added above
	}
	return cmd
}

func (o *options) run(cmd *cobra.Command, topics []string) error {
	req, err := o.request(cmd, topics)
	if err != nil {
		return err
	}
	format, err := parseFormat(o.format, o.nullMarker)
	if err != nil {
		return fmt.Errorf("--format: %w", err)
	}
	limit := int64(math.MaxInt64)
	if cmd.Flags().Changed("count") {
		if limit = o.count; limit < 1 {
			return fmt.Errorf("--count: %d records are none; want 1 or more", limit)
		}
	}
	isolation := kgo.ReadUncommitted()
	if req.readCommitted {
		isolation = kgo.ReadCommitted()
	}
	client, err := o.connection.Connect(cmd,
		kgo.FetchIsolationLevel(isolation),
		kgo.KeepControlRecords(),
		// An offset that vanishes (retention) is an error to be told of, not to be skipped.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	spans, err := plan(cmd.Context(), client, req, cmd.PrintErrf)
	if err != nil {
		return err
	}
	return newReader(client, cmd.OutOrStdout(), format, limit, o.follow).run(cmd.Context(), spans)
}

// request checks the flags that say what to read.
func (o *options) request(cmd *cobra.Command, topics []string) (request, error) {
	var req request
	var err error
	if req.from, err = parsePosition(o.from); err != nil {
		return req, fmt.Errorf("--offset: %w", err)
	}
	if req.until, err = parsePosition(o.until); err != nil {
		return req, fmt.Errorf("--until: %w", err)
	}
	if o.follow && cmd.Flags().Changed("until") {
		return req, errors.New("--follow has no end; leave out --until, or stop by --count")
	}
	slices.Sort(topics)
	req.topics = slices.Compact(topics)
	req.partitions = o.partitions
	req.follow = o.follow
	req.readCommitted = o.isolation == "read_committed"
	return req, nil
}
