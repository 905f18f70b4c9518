package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wadi-log/wadi/cmd/wadi/internal/agents"
	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/backup"
	"github.com/wadi-log/wadi/cmd/wadi/internal/consume"
	"github.com/wadi-log/wadi/cmd/wadi/internal/fsck"
	"github.com/wadi-log/wadi/cmd/wadi/internal/group"
	"github.com/wadi-log/wadi/cmd/wadi/internal/inspect"
	"github.com/wadi-log/wadi/cmd/wadi/internal/produce"
	"github.com/wadi-log/wadi/cmd/wadi/internal/ready"
	"github.com/wadi-log/wadi/cmd/wadi/internal/recovery"
	"github.com/wadi-log/wadi/cmd/wadi/internal/resume"
	"github.com/wadi-log/wadi/cmd/wadi/internal/topic"
)

// Groups of commands in the help.
const (
	serverGroup = "server"
	clientGroup = "client"
)

// rootCommand returns `wadi` with all its commands.
func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "wadi",
		Short: "A Kafka-protocol log on object storage",
		Long: `A Kafka-protocol log whose only disks are somebody else's: records live in an object store, their
order in a metadata store, and any agent can serve any client.`,
		Example: `  wadi agent
  echo hello | wadi produce greetings
  wadi consume greetings`,
		Args:          args.Subcommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceUsage:  true, // an error is one line, and says what to do
		SilenceErrors: true, // main prints them
	}
	root.SetFlagErrorFunc(explainFlag)
	root.AddGroup(
		&cobra.Group{ID: serverGroup, Title: "Server:"},
		&cobra.Group{ID: clientGroup, Title: "Clients of any Kafka cluster:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, cmd := range commands {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add(serverGroup, agentCommand(), agents.Command(), ready.Command(), migrateCommand(), inspect.Command(), fsck.Command(), backup.Command(), recovery.Command(), resume.Command())
	add(clientGroup, topic.Command(), group.Command(), produce.Command(), consume.Command())
	add("", versionCommand())
	return root
}

// explainFlag says what is wrong with a flag in the words of its value.
func explainFlag(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	var missing *pflag.NotExistError
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return err
	case errors.As(err, &invalid):
		return fmt.Errorf("--%s %q: %w", invalid.GetFlag().Name, invalid.GetValue(), errors.Unwrap(invalid))
	case errors.As(err, &missing):
		return fmt.Errorf("%w; %s", err, args.SeeHelp(cmd))
	}
	return fmt.Errorf("%w; %s", err, args.SeeHelp(cmd))
}
