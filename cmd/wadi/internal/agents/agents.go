// Package agents is `wadi agents`: it asks one agent over HTTP which ones are alive, and what they do.
package agents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wadi-log/wadi/agent"
	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/flagvalue"
	"github.com/wadi-log/wadi/cmd/wadi/internal/output"
)

const (
	// timeout bounds one question.
	timeout = 10 * time.Second
	// mostBytes bounds its answer: a thousand agents are half a megabyte.
	mostBytes = 64 << 20
)

// Command returns `wadi agents`.
func Command() *cobra.Command {
	var (
		address = "localhost:8080"
		every   time.Duration
		asJSON  bool
	)
	cmd := &cobra.Command{
		Use:   "agents",
		Short: "List the agents that are alive",
		Long: `List the agents that are alive, as the one at --http knows since its last beat, a few seconds ago at most: their state
(serving; slow, when their stores answer much later than those of others; draining, when they will stop soon), what they
do, and their load over the last beats. PUT and COMMIT are medians of how long object store and metadata store take to
answer. The agent that was asked has a star.`,
		Example: `  wadi agents
  wadi agents --http agent-1.example.org:8080 --every 2s
  wadi agents --json | jq -r '.[] | select(.state != "serving") | .name'`,
		Args:              args.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			where, err := endpoint(address)
			if err != nil {
				return err
			}
			if every < 0 {
				return errors.New("--every: want a time of 0 or more")
			}
			write := writeTable
			if asJSON {
				write = func(w io.Writer, list []agent.ListedAgent) error { return output.JSON(w, list) }
			}
			show := func() error {
				list, err := ask(cmd.Context(), where)
				if err != nil {
					return err
				}
				return write(cmd.OutOrStdout(), list)
			}
			if every == 0 {
				return show()
			}
			return repeat(cmd, every, show)
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().Var(flagvalue.Text(&address, "host:port"), "http", "any agent's --http-listen, or its URL")
	cmd.Flags().Var(flagvalue.Duration(&every), "every", "list again and again, with this time between, until interrupted; 0 is once")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON, as GET /v1/agents has it")
	return cmd
}

// repeat shows the list until it is interrupted. What fails once it works is said, and tried again: the
// agent may be restarting.
func repeat(cmd *cobra.Command, every time.Duration, show func() error) error {
	ctx := cmd.Context()
	if err := show(); err != nil {
		return err
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil // which is how watching ends
		case <-ticker.C:
		}
		if _, err := fmt.Fprintln(cmd.OutOrStdout()); err != nil {
			return err
		}
		if err := show(); err != nil && ctx.Err() == nil {
			cmd.PrintErrln("wadi: " + err.Error())
		}
	}
}

// endpoint is where to ask, given an address or a base URL.
func endpoint(address string) (string, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("--http: %q is no host:port and no URL; want an agent's --http-listen, as in localhost:8080", address)
	}
	return u.JoinPath("/v1/agents").String(), nil
}

func ask(ctx context.Context, where string) (list []agent.ListedAgent, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
			return nil, cause
		}
		return nil, fmt.Errorf("can't reach an agent: %w; start one (wadi agent), or name its --http-listen with --http", err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read, or the error says why not
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s; is it an agent of this version, and its --http-listen?", where, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, mostBytes)).Decode(&list); err != nil {
		return nil, fmt.Errorf("%s answers something else than a list of agents: %w", where, err)
	}
	return list, nil
}
