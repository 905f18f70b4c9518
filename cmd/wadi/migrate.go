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
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the metadata store to this version's schema",
		Long: `Bring the metadata store to the schema of this version of wadi. An agent does so by itself only where the
store is empty; with a schema that is older or newer than its own it refuses to start. Stop all agents first: those
that run don't notice, and would misread what agents of this version write.`,
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
			from, to, err := migrate(cmd.Context(), config.MetadataURL())
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
	return cmd
}

func migrate(ctx context.Context, url string) (from, to int64, err error) {
	if strings.HasPrefix(url, "sqlite:") {
		return sqlite.Migrate(ctx, url)
	}
	return postgres.Migrate(ctx, url)
}
