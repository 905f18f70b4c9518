package main

import (
	"context"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/settings"
	"github.com/wadi-log/wadi/metadata/postgres"
	"github.com/wadi-log/wadi/metadata/sqlite"
)

func migrateCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the metadata store to this version's schema",
		Long: `Bring the metadata store to the schema of this version of wadi. An agent does so by itself only where the
store is empty; with a schema that is older than its own it refuses to start.

Agents that run may go on meanwhile: most migrations only add what older versions don't ask for. Where agents of an older version must
not go on, the command refuses while there are any, and names them. With --force it goes on, and they stop serving.`,
		Example: `  WADI_METADATA=postgres://wadi:secret@db/wadi wadi migrate
  wadi migrate --config wadi.yaml`,
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
			from, to, err := migrate(cmd.Context(), config.MetadataURL(), force)
			if err != nil {
				return err
			}
			if from == to {
				cmd.PrintErrf("the metadata schema is at version %d already\n", to)
			} else {
				cmd.PrintErrf("migrated the metadata schema from version %d to %d\n", from, to)
			}
			return nil
		},
	}
	settings.Register(cmd.Flags(), "metadata", "data-dir")
	cmd.Flags().BoolVar(&force, "force", false, "also while agents run that must not go on")
	return cmd
}

func migrate(ctx context.Context, url string, force bool) (from, to int64, err error) {
	if strings.HasPrefix(url, "sqlite:") {
		return sqlite.Migrate(ctx, url, force)
	}
	return postgres.Migrate(ctx, url, force)
}
