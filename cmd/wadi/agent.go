package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wadi-log/wadi/agent"
	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/settings"
)

func agentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run an agent: a broker for Kafka clients",
		Long: `Run an agent: a broker for Kafka clients. Without any setting it keeps everything under ./wadi-data.

Each flag is also an environment variable (--kafka-listen is WADI_KAFKA_LISTEN) and a key of the YAML file
(kafka-listen); flags win over the environment, and the environment over the file. Flags show
in ps, so the keys of the object store are none: set WADI_OBJECTS_ACCESS_KEY and WADI_OBJECTS_SECRET_KEY;
and a --metadata URL with a password is better set as WADI_METADATA.

The first SIGTERM or SIGINT drains the agent: where there are others it has clients led to them for --drain-delay; then it
ships what it holds, answers, and exits with 0. The second one stops it at once.`,
		Example: `  wadi agent
  wadi agent --kafka-listen 0.0.0.0:9092 --advertise wadi.example.org:9092
  WADI_METADATA=postgres://wadi:secret@db/wadi wadi agent --objects s3://bucket/prefix
  wadi agent --config wadi.yaml --kafka-config num.partitions=12`,
		Args:              args.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              runAgent,
	}
	settings.Register(cmd.Flags())
	return cmd
}

func runAgent(cmd *cobra.Command, _ []string) error {
	config, odd, err := settings.Load(cmd.Flags(), os.Environ())
	if err != nil {
		return err
	}
	if err := config.Validate(); err != nil {
		return err
	}
	var level slog.LevelVar
	log := newLogger(cmd.ErrOrStderr(), config, &level)
	if config, err = agent.LimitMemory(config, log); err != nil {
		return err
	}
	for _, variable := range odd {
		log.Warn("environment variable is no setting; misspelt?", "variable", variable.Variable, "meant", variable.Meant)
	}
	ctx := cmd.Context()
	a, err := agent.New(ctx, config, currentVersion().Version, log, &level)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx) // not the call that it happened to interrupt
		}
		return err
	}
	if config.LogFormat == "json" {
		logBanner(log, a) // whoever reads the log as JSON must not trip over text
	} else if err := writeBanner(cmd.ErrOrStderr(), a.Describe(), bootstrapFor(a.KafkaAddr())); err != nil {
		return fmt.Errorf("writing the start-up banner: %w", err)
	}
	return a.Run(ctx)
}

// newLogger logs to w in the format that Validate allowed, and from the level, which
// it sets to the config's.
func newLogger(w io.Writer, config agent.Config, level *slog.LevelVar) *slog.Logger {
	level.Set(map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}[config.LogLevel])
	options := &slog.HandlerOptions{Level: level}
	if config.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// writeBanner says what runs where, and what to try first.
func writeBanner(w io.Writer, facts []agent.Fact, bootstrap string) error {
	flag := " -b " + bootstrap
	if bootstrap == "localhost:9092" || bootstrap == "127.0.0.1:9092" {
		flag = "" // the default of the client commands
	}
	var text strings.Builder
	fmt.Fprintln(&text, currentVersion())
	for _, fact := range facts {
		fmt.Fprintf(&text, "  %s\t%s\n", fact.Name, fact.Value)
	}
	fmt.Fprintf(&text, "  try\techo hello | wadi produce greetings%s && wadi consume greetings%s\n", flag, flag)
	fmt.Fprintf(&text, "  or\tkcat -b %s -L\n", bootstrap)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(t, text.String()); err != nil {
		return err
	}
	return t.Flush()
}

func logBanner(log *slog.Logger, a *agent.Agent) {
	attributes := []any{"version", currentVersion().Version}
	for _, fact := range a.Describe() {
		attributes = append(attributes, strings.ReplaceAll(strings.ToLower(fact.Name), " ", "_"), fact.Value)
	}
	log.Info("agent listens", attributes...)
}

// bootstrapFor is an address that clients on this machine can dial, for a
// listener that may be on all addresses.
func bootstrapFor(listener string) string {
	host, port, err := net.SplitHostPort(listener)
	if err != nil {
		return listener
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return listener
}
