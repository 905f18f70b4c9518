// Package bootstrap connects wadi's client commands to a Kafka cluster.
//
// The commands speak nothing but Kafka's protocol, so they work with any
// broker. The package holds the flags that they share, and turns what goes
// wrong on the way to a broker into one line that says what to do.
package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/cmd/wadi/internal/flagvalue"
)

// Env is the environment variable for --bootstrap.
const Env = "WADI_BOOTSTRAP"

// Flags are the flags of every client command.
type Flags struct {
	bootstrap string
	// Timeout bounds each wait for the cluster.
	Timeout time.Duration
}

// Register adds the flags to the command.
func (f *Flags) Register(cmd *cobra.Command) {
	f.bootstrap, f.Timeout = "localhost:9092", time.Minute
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.VarP(flagvalue.Text(&f.bootstrap, "host:port,..."), "bootstrap", "b", "brokers to connect to first (env "+Env+")")
	flags.Var(flagvalue.Duration(&f.Timeout), "timeout", "longest wait for an answer")
}

// seeds returns the host:port of --bootstrap, WADI_BOOTSTRAP or the default.
func (f *Flags) seeds(cmd *cobra.Command) ([]string, error) {
	text, source := f.bootstrap, "--bootstrap"
	if value := os.Getenv(Env); value != "" && !cmd.Flags().Changed("bootstrap") {
		text, source = value, Env
	}
	var seeds []string
	for _, seed := range strings.Split(text, ",") {
		seed = strings.TrimSpace(seed)
		host, port, err := net.SplitHostPort(seed)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil || host == "" {
			return nil, fmt.Errorf("%s: %q is no host:port, as in localhost:9092", source, seed)
		}
		seeds = append(seeds, seed)
	}
	return seeds, nil
}

// Client is a connection to a cluster that has answered once.
type Client struct {
	*kgo.Client
	Admin *kadm.Client
	// Timeout is that of the flags.
	Timeout time.Duration
	seeds   string
	dials   *dialErrors
	// interrupted is why the command's context ended, nil while it goes on.
	interrupted func() error
}

// Connect makes a client and asks for one answer. The caller closes it.
func (f *Flags) Connect(cmd *cobra.Command, options ...kgo.Opt) (*Client, error) {
	seeds, err := f.seeds(cmd)
	if err != nil {
		return nil, err
	}
	if f.Timeout <= 0 {
		return nil, errors.New("--timeout: leaves no time for an answer; want more than 0")
	}
	c := &Client{
		Timeout: f.Timeout, seeds: strings.Join(seeds, ","), dials: &dialErrors{},
		interrupted: func() error { return context.Cause(cmd.Context()) },
	}
	all := append([]kgo.Opt{
		kgo.SeedBrokers(seeds...),
		kgo.ClientID("wadi"),
		kgo.WithHooks(c.dials),
		kgo.DialTimeout(min(f.Timeout, 10*time.Second)),
		kgo.MetadataMinAge(250 * time.Millisecond), // find another agent soon when one goes
		kgo.DisableClientMetrics(),                 // a command is too short-lived to be worth a broker's telemetry
	}, options...)
	if c.Client, err = kgo.NewClient(all...); err != nil {
		return nil, fmt.Errorf("making a Kafka client: %w", err)
	}
	c.Admin = kadm.NewClient(c.Client)
	c.Admin.SetTimeoutMillis(int32(min(f.Timeout.Milliseconds(), 1<<30)))
	ctx, cancel := c.Bound(cmd.Context())
	defer cancel()
	// kgo waits for a broker's first answer by a clock of its own; only closing
	// the client ends that.
	abandon := context.AfterFunc(ctx, c.Close)
	err = c.Ping(ctx)
	if !abandon() && err == nil {
		err = ctx.Err() // closed in the last moment
	}
	if err != nil {
		c.Close()
		if cause := c.interrupted(); cause != nil {
			return nil, cause
		}
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer within %v", f.Timeout)
		}
		return nil, fmt.Errorf("can't reach Kafka at %s: %w; start an agent there (wadi agent), or name another one with --bootstrap", c.seeds, err)
	}
	return c, nil
}

// Bound returns ctx with the timeout of the flags.
func (c *Client) Bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.Timeout)
}

// Explain says what we were doing when err came, and what to do where that is
// known. message is the broker's own text, "" where it sent none.
func (c *Client) Explain(doing string, err error, message string) error {
	var dial *net.OpError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled) && c.interrupted() != nil:
		return c.interrupted()
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("%s: there is no such topic; see wadi topic list, or wadi topic create", doing)
	case errors.Is(err, kerr.GroupIDNotFound):
		return fmt.Errorf("%s: there is no such group; see wadi group list", doing)
	case errors.Is(err, context.DeadlineExceeded):
		return c.Unanswered(doing)
	case errors.As(err, &dial):
		return fmt.Errorf("%s: %w; the cluster at %s names this address to clients (agents: --advertise)", doing, err, c.seeds)
	}
	if kafka := (*kerr.Error)(nil); errors.As(err, &kafka) {
		if message == "" {
			message = kafka.Description
		}
		return fmt.Errorf("%s: %s: %s", doing, kafka.Message, message)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// Unanswered is the error for a wait that was longer than the timeout. It
// names the last broker that could not be dialled, which is the usual reason: a client
// goes on with the addresses that the cluster advertises, not with --bootstrap.
func (c *Client) Unanswered(doing string) error {
	if last := c.dials.last(); last != nil {
		return fmt.Errorf("%s: no answer within %v (%w); check that the agents run and that their --advertise addresses can be reached from here", doing, c.Timeout, last)
	}
	return fmt.Errorf("%s: no answer within %v; try again, or allow more with --timeout", doing, c.Timeout)
}

// dialErrors remembers the last failed dial; kgo retries those silently.
type dialErrors struct {
	mu  sync.Mutex
	err error
}

var _ kgo.HookBrokerConnect = (*dialErrors)(nil)

// OnBrokerConnect is called by kgo after each dial.
func (d *dialErrors) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

func (d *dialErrors) last() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}
