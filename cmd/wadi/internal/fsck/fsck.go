// Package fsck is `wadi fsck`: it opens the stores, has them compared by the package of
// the same name, and writes the report for people or programs.
package fsck

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/wadi-log/wadi/agent"
	"github.com/wadi-log/wadi/agent/maintenance/fsck"
	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/exitcode"
	"github.com/wadi-log/wadi/cmd/wadi/internal/output"
	"github.com/wadi-log/wadi/cmd/wadi/internal/settings"
)

// Exit codes beside 0.
const (
	foundCode  = 1
	failedCode = 2
)

// failed marks an error that kept the check from being done.
func failed(err error) error { return exitcode.With(failedCode, err) }

// Command returns `wadi fsck`.
func Command() *cobra.Command {
	var asJSON bool
	var options fsck.Options
	cmd := &cobra.Command{
		Use:   "fsck",
		Short: "Compare the object store with the metadata store",
		Long: `Compare the object store with the metadata store, while agents work or not, and say where they disagree:
objects that are missing, of another size or damaged, with the topics, partitions and offsets that are hit; offsets that no
row of the index covers, or two; rows that are not what their file says; files that miscount their rows; objects that
nobody knows. It reads the end of each data file, with --deep all of them; a finding is confirmed by a second look.

Nothing is written without --repair, so credentials that allow only reading will do. With it, objects that no commit can
bring any more are deleted, and those that have been dead for --delete-grace and are in no snapshot that counts; and
what files say of their rows is corrected. With --deep too, files that a merge could not read once, and that can be read,
are merged again. Rows are never removed: of records that are lost, they are all that is left.

The exit code is 0 without findings, 1 with findings (repaired ones, too), and 2 if the check could not be done.`,
		Example: `  wadi fsck
  WADI_METADATA=postgres://wadi:secret@db/wadi wadi fsck --objects s3://bucket/prefix --deep
  wadi fsck --config wadi.yaml --json | jq '.findings[] | select(.severity == "loss") | .hit[]'
  wadi fsck --config wadi.yaml --repair`,
		Args:              func(cmd *cobra.Command, list []string) error { return failed(args.None(cmd, list)) },
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return run(cmd, options, asJSON) },
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if cmd.HasParent() {
			err = cmd.Parent().FlagErrorFunc()(cmd, err)
		}
		return failed(err)
	})
	settings.Register(cmd.Flags(), "metadata", "objects", "data-dir", "delete-grace")
	cmd.Flags().BoolVar(&options.Deep, "deep", false, "read all records, and verify every checksum")
	cmd.Flags().BoolVar(&options.Repair, "repair", false, "delete what nobody refers to, and correct counts")
	cmd.Flags().IntVar(&options.Parallel, "parallel", 8, "data files to look at at the same time")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

func run(cmd *cobra.Command, options fsck.Options, asJSON bool) error {
	config, _, err := settings.Load(cmd.Flags(), os.Environ())
	if err != nil {
		return failed(err)
	}
	if options.Parallel < 1 {
		return failed(errors.New("--parallel: want at least 1"))
	}
	options.Grace = config.DeleteGrace
	shown := newProgress(cmd.ErrOrStderr())
	options.Progress = shown.show
	report, err := check(cmd.Context(), config, options)
	shown.end()
	if report != nil {
		result := result{Report: *report, Total: report.Total(), Complete: err == nil}
		if err != nil {
			result.Error = err.Error()
		}
		write := writeText
		if asJSON {
			write = writeJSON
		}
		err = errors.Join(err, write(cmd.OutOrStdout(), result))
	}
	switch {
	case cmd.Context().Err() != nil:
		return context.Cause(cmd.Context()) // not the call that it happened to interrupt
	case err != nil:
		return failed(err)
	case report.Total() > 0:
		return exitcode.With(foundCode, fmt.Errorf("the stores disagree: %s", output.Plural(int(report.Total()), "finding")))
	}
	return nil
}

// check opens the stores and checks them. The report is nil if it could not even begin.
func check(ctx context.Context, config agent.Config, options fsck.Options) (report *fsck.Report, err error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if err := config.CheckStoresExist(); err != nil {
		return nil, err
	}
	access := agent.ReadOnly
	if options.Repair {
		access = agent.ReadWrite
	}
	store, err := agent.OpenMetadata(ctx, config.MetadataURL(), access)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	bucket, err := agent.OpenObjects(ctx, config, access, prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bucket.Close()) }()
	found, err := fsck.Run(ctx, store, bucket, options)
	return &found, err
}
