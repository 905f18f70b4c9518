// Package ready is `wadi ready`: it asks the agent on this machine whether it takes clients. It
// is the health check of containers that hold nothing but wadi, and knows no more than the agent's answer.
package ready

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/flagvalue"
	"github.com/wadi-log/wadi/cmd/wadi/internal/settings"
)

// maxAnswerBytes bounds how much of an answer is read: the agent's is a line.
const maxAnswerBytes = 4 << 10

// Command returns `wadi ready`.
func Command() *cobra.Command {
	timeout := 5 * time.Second
	cmd := &cobra.Command{
		Use:   "ready",
		Short: "Ask the agent on this machine whether it takes clients",
		Long: `Ask the agent on this machine whether it takes clients: the exit code is 0 if it does, and 1 with the reason if it
doesn't (it starts or drains, or can't reach its metadata store). It is GET /readyz for containers without curl. The
settings are the agent's, from its environment and its file, so that in the agent's container none is needed.`,
		Example: `  wadi ready
  wadi ready --http-listen localhost:8081
  docker compose exec agent-1 wadi ready`,
		Args:              args.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, _, err := settings.Load(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			if timeout <= 0 {
				return errors.New("--timeout: want more than 0")
			}
			address, err := dialable(config.HTTPListen)
			if err != nil {
				return fmt.Errorf("--http-listen: %w; want host:port, as in localhost:8080", err)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return ask(ctx, address)
		},
	}
	settings.Register(cmd.Flags(), "http-listen")
	cmd.Flags().Var(flagvalue.Duration(&timeout), "timeout", "longest wait for the answer")
	return cmd
}

// dialable is where a client on this machine reaches a listener, which may be on all addresses.
func dialable(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port), nil
}

// ask returns nil if the agent says that it takes clients.
func ask(ctx context.Context, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	// No proxy: the agent is on this machine, whatever the environment says of the rest of the world.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("no agent answers: %w", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil {
		return fmt.Errorf("reading the answer of the agent at %s: %w", address, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the agent at %s is not ready: %s", address, strings.TrimSpace(string(answer)))
	}
	return nil
}
