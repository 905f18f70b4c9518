// Package recovery is `wadi recover`: it rebuilds a metadata store that was lost from what is in the
// object store, and reports what it restored, exactly, and what it could not.
package recovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"github.com/wadi-log/wadi/agent"
	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/agent/maintenance/backup"
	"github.com/wadi-log/wadi/agent/maintenance/recovery"
	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/exitcode"
	"github.com/wadi-log/wadi/cmd/wadi/internal/flagvalue"
	"github.com/wadi-log/wadi/cmd/wadi/internal/output"
	"github.com/wadi-log/wadi/cmd/wadi/internal/settings"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// Exit codes beside 0 and 1.
const (
	exitUndecided = 3
	exitLosses    = 4
)

// options are the flags.
type options struct {
	dryRun     bool
	snapshot   string
	unfinished string
	topics     []string
	json       bool
}

// Command returns `wadi recover`.
func Command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Rebuild a lost metadata store from the object store",
		Long: `Rebuild a metadata store that was lost, into an empty one (--metadata): from the newest snapshot in the object
store, and the data files that came after it. Stop all agents first, and start them when it is done. Nothing in the object
store is changed, and the metadata store in one transaction at the end: it can be tried as often as you like.

Every record that was acknowledged comes back, once and in the order of its producer. What only the lost store knew is as
old as the snapshot: committed offsets, groups, configs, deletions. How transactions since then ended is lost: say by --unfinished what
shall become of their records. abort is right for applications that commit the offsets of what they read with
their transactions (Kafka Streams): they do the work again. commit keeps the records of all others.

Exit codes: 0 everything that the object store has is restored; 1 it failed, and nothing was changed; 3 transactions must be
decided on by --unfinished, and nothing was changed; 4 restored, but data files are missing or damaged, as reported. A dry
run ends with the same ones.`,
		Example: `  wadi recover --metadata postgres://wadi@db/new --objects s3://bucket/prefix --dry-run
  wadi recover --metadata postgres://wadi@db/new --objects s3://bucket/prefix --unfinished abort`,
		Args:              args.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, _, err := settings.Load(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			if err := config.Validate(); err != nil {
				return err
			}
			return run(cmd, config, o)
		},
	}
	settings.Register(cmd.Flags(), "metadata", "objects", "data-dir")
	flags := cmd.Flags()
	flags.BoolVar(&o.dryRun, "dry-run", false, "change nothing, and report what would be restored")
	flags.StringVar(&o.snapshot, "snapshot", "", "name of the snapshot to begin with, as wadi backup --list has it (default the newest)")
	flags.Var(flagvalue.OneOf(&o.unfinished, "abort", "commit"), "unfinished", "what becomes of transactions whose end is lost: abort or commit")
	flags.StringArrayVar(&o.topics, "topic", nil, "ID=NAME of a topic that is newer than the snapshot (default recovered-ID); may be repeated")
	flags.BoolVar(&o.json, "json", false, "write the report as JSON")
	return cmd
}

func run(cmd *cobra.Command, config agent.Config, o options) (err error) {
	ctx := cmd.Context()
	names, err := parseTopics(o.topics)
	if err != nil {
		return err
	}
	// Only the metadata store is written to, and only if this is no dry run.
	bucket, err := agent.OpenObjects(ctx, config, agent.ReadOnly, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bucket.Close()) }()
	var store metadata.Store
	if !o.dryRun {
		if store, err = agent.OpenMetadata(ctx, config.MetadataURL(), agent.ReadWrite); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		if err := checkEmpty(ctx, store); err != nil {
			return err
		}
	}
	progress := maintenance.NewProgress("recover", rate.NewLimiter(rate.Inf, 1), maintenance.NewMetrics(prometheus.NewRegistry()))
	report, err := recovery.Recover(ctx, store, bucket, progress, recovery.Options{
		Snapshot: o.snapshot, Unfinished: recovery.Unfinished(o.unfinished), Names: names, DryRun: o.dryRun,
		Tell: func(what string) { cmd.PrintErrln("wadi: " + what) },
	})
	if ctx.Err() != nil && err != nil {
		return context.Cause(ctx)
	}
	return finish(cmd.OutOrStdout(), report, err, o.json)
}

// checkEmpty refuses a store that is in use at once, not after minutes of reading.
func checkEmpty(ctx context.Context, store metadata.Store) error {
	last, err := store.LastSeq(ctx)
	if err == nil && last > 0 {
		err = fmt.Errorf("--metadata: %w; recover restores into a new database alone", metadata.ErrStoreNotEmpty)
	}
	return err
}

// finish writes the report, and makes of the recovery's end the command's.
func finish(out io.Writer, report *recovery.Report, err error, asJSON bool) error {
	undecided := errors.Is(err, recovery.ErrUnfinished)
	if err != nil && !undecided {
		return explain(err)
	}
	write := writeText
	if asJSON {
		write = func(w io.Writer, r *recovery.Report) error { return output.JSON(w, r) }
	}
	if err := write(out, report); err != nil {
		return err
	}
	switch {
	case undecided, len(report.Transactions) > 0 && report.TransactionsEnded == "":
		return exitcode.With(exitUndecided, fmt.Errorf("how %s ended is lost; say --unfinished abort or --unfinished commit (see the report, and --help); nothing was changed",
			output.Plural(len(report.Transactions), "transaction")))
	case !report.Whole():
		return exitcode.With(exitLosses, fmt.Errorf("%s missing, %s damaged: their records are lost (see the report)",
			output.Plural(len(report.Missing), "data file"), output.Plural(len(report.Damaged), "data file")))
	}
	return nil
}

// explain says what can be done about an error.
func explain(err error) error {
	switch {
	case errors.Is(err, metadata.ErrOutcomeUnknown):
		return fmt.Errorf("%w; the metadata store may be restored: if it refuses a second try as not empty, it is", err)
	case errors.Is(err, backup.ErrNoSnapshot):
		return fmt.Errorf("%w; check --objects, and --snapshot if it is given. Without a snapshot nothing can be restored: the data files have "+
			"all records, but not the names and configs of topics, nor which of their records were deleted or compacted. wadi inspect shows what is in a file", err)
	}
	return fmt.Errorf("%w; nothing was changed", err)
}

// parseTopics reads ID=NAME pairs.
func parseTopics(pairs []string) (map[uuid.UUID]string, error) {
	names := map[uuid.UUID]string{}
	taken := map[string]bool{}
	for _, pair := range pairs {
		text, name, ok := strings.Cut(pair, "=")
		id, err := uuid.Parse(text)
		switch {
		case !ok || err != nil:
			return nil, fmt.Errorf("--topic %q: want ID=NAME, with the ID as the report of a dry run has it", pair)
		case names[id] != "" || taken[name]:
			return nil, fmt.Errorf("--topic %q: its ID or its name is given twice", pair)
		}
		if err := protocol.CheckTopicName(name); err != nil {
			return nil, fmt.Errorf("--topic %q: %w", pair, err)
		}
		names[id], taken[name] = name, true
	}
	return names, nil
}
