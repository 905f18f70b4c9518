// Package resume is `wadi resume`: it shows why a metadata store is halted and what is known to be lost, and, on
// demand, gives that up.
package resume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/wadi-log/wadi/agent"
	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/output"
	"github.com/wadi-log/wadi/cmd/wadi/internal/settings"
	"github.com/wadi-log/wadi/metadata"
)

// Command returns `wadi resume`.
func Command() *cobra.Command {
	var accept bool
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "Show what a halted metadata store has lost, and give it up",
		Long: `Show why the metadata store is halted and what is known to be lost; with --accept-loss, give that up.

Agents halt a metadata store that lacks changes which one of them had acknowledged or seen: it failed over to a replica that
lagged, or was restored under running agents. They serve nothing then, and acknowledge nothing. There are three ways out:

  - bring the server back that has all changes, the former primary. The agents go on by themselves; resume is not needed.
  - stop all agents, and rebuild the metadata store from the object store into an empty database with wadi recover. All records
    that were acknowledged come back, those from before the last snapshot exactly as they were.
  - wadi resume --accept-loss. The agents go on with what the store has. Lost records stay lost: their data files are
    deleted as orphans within hours, and others get their offsets. So start consumers anew that have read further than the log now goes;
    they would skip as many of the new records.

Exit codes: 0 the store is not halted, or not any more; 1 it is, and nothing was changed.`,
		Example: `  wadi resume --metadata postgres://wadi@db/wadi
  wadi resume --metadata postgres://wadi@db/wadi --accept-loss`,
		Args:              args.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			config, _, err := settings.Load(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			if err := config.Validate(); err != nil {
				return err
			}
			if err := config.CheckMetadataExists(); err != nil {
				return err
			}
			access := agent.ReadOnly
			if accept {
				access = agent.ReadWrite
			}
			store, err := agent.OpenMetadata(cmd.Context(), config.MetadataURL(), access)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }()
			return run(cmd.Context(), cmd.OutOrStdout(), store, accept)
		},
	}
	settings.Register(cmd.Flags(), "metadata", "data-dir")
	cmd.Flags().BoolVar(&accept, "accept-loss", false, "go on without what is lost")
	return cmd
}

func run(ctx context.Context, out io.Writer, store metadata.Store, accept bool) error {
	halt, err := store.Halt(ctx)
	if err != nil {
		return err
	}
	if halt == nil {
		_, err := fmt.Fprintln(out, "the metadata store is not halted")
		return err
	}
	topics, _, err := store.ListTopics(ctx)
	if err != nil {
		return err
	}
	if err := write(out, halt, topics); err != nil {
		return err
	}
	if !accept {
		return errors.New("the metadata store is halted, and nothing was changed; see wadi resume --help for the ways out")
	}
	if err := store.Resume(ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, "\nwhat is lost was given up; agents go on within seconds")
	return err
}

// write reports what is known.
func write(out io.Writer, halt *metadata.Halt, topics []metadata.Topic) error {
	if len(halt.Losses) == 0 {
		_, err := fmt.Fprintln(out, "halted, and nobody noted why")
		return err
	}
	if _, err := fmt.Fprintf(out, "halted since %s; noticed by %s\n\n", halt.Since.UTC().Format(time.RFC3339), output.Plural(len(halt.Losses), "agent")); err != nil {
		return err
	}
	var table strings.Builder
	fmt.Fprintln(&table, "NOTICED\tKNEW CHANGES UP TO\tOF WHICH THE DATABASE HAD\tLOST, AT LEAST")
	for _, l := range halt.Losses {
		lost := "the newest"
		if l.Changes > 0 {
			lost = fmt.Sprintf("%s from %s on", output.Plural(l.Changes, "change"), humanize.Comma(l.First))
		}
		fmt.Fprintf(&table, "%s\t%s\t%s\t%s\n", l.At.UTC().Format(time.RFC3339), humanize.Comma(l.Had), humanize.Comma(l.Has), lost)
	}
	if records := merge(halt.Losses, topics); len(records) > 0 {
		fmt.Fprintln(&table, "\nLOST RECORDS OF\tPARTITION\tFROM OFFSET\tTO")
		for _, r := range records {
			fmt.Fprintf(&table, "%s\t%s\t%d\t%d\n", r.topic, r.partition, r.Offset, r.NextOffset-1)
		}
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(t, table.String()); err != nil {
		return err
	}
	return t.Flush()
}

type lostRecords struct {
	topic, partition string
	metadata.LostRecords
}

// merge unites what agents know of each partition, and finds its topic.
func merge(losses []metadata.Loss, topics []metadata.Topic) []lostRecords {
	all := map[metadata.PartitionID]metadata.LostRecords{}
	for _, l := range losses {
		for _, r := range l.Records {
			if known, ok := all[r.Partition]; ok {
				r.Offset, r.NextOffset = min(r.Offset, known.Offset), max(r.NextOffset, known.NextOffset)
			}
			all[r.Partition] = r
		}
	}
	var out []lostRecords
	for _, topic := range topics {
		for index, id := range topic.Partitions {
			if r, ok := all[id]; ok {
				out = append(out, lostRecords{topic.Name, fmt.Sprint(index), r})
				delete(all, id)
			}
		}
	}
	for _, r := range all {
		out = append(out, lostRecords{"(a topic that is gone)", "?", r})
	}
	slices.SortStableFunc(out, func(a, b lostRecords) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.Partition, b.Partition))
	})
	return out
}
