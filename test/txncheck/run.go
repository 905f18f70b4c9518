package txncheck

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Config says what to check.
type Config struct {
	// Bootstrap is the address of a broker, or of a balancer before some. Each of
	// them must serve all partitions.
	Bootstrap string
	// Seed decides on the scripts of all writers and on what their connections lose.
	Seed uint64
	// Strict: see [History].
	Strict bool
	Losses Losses
	// Writers have transactional IDs, Producers have none; Transformers are a group.
	Writers, Producers, Transformers int
	// Topics are made by Start; Output is the name of another one, which the group writes to.
	Topics           []Topic
	Output           string
	OutputPartitions int32
	// Group is the transformers'.
	Group string
	// ShortTimeout and LongTimeout are of transactions. Each producer has one of them, and only
	// those with the short one sleep longer.
	ShortTimeout, LongTimeout time.Duration
	// Settle bounds how long Finish waits until everything is decided and read.
	Settle time.Duration
	// Logf is told of what may interest when something is wrong.
	Logf func(format string, args ...any)
}

// Topic is one that the writers write to.
type Topic struct {
	Name       string
	Partitions int32
	// Input: the group transforms its records.
	Input bool
}

// DefaultConfig has 20 partitions of 4 topics, and as many clients as two cores feel.
func DefaultConfig() Config {
	return Config{
		Losses:  DefaultLosses,
		Writers: 10, Producers: 2, Transformers: 3,
		Topics: []Topic{{"orders", 6, false}, {"payments", 5, false}, {"input", 5, true}},
		Output: "output", OutputPartitions: 4, Group: "transformers",
		ShortTimeout: 3 * time.Second, LongTimeout: 15 * time.Second,
		Settle: 2 * time.Minute,
		Logf:   func(string, ...any) {},
	}
}

// Run is a load under way.
type Run struct {
	config  Config
	journal *journal
	lost    lossCounts
	readers atomic.Int32 // numbers given
	calm    atomic.Bool  // the load has ended
	// written are the partitions that writers choose from, output those of the group.
	written, output []int32

	stopLoad, stopReaders context.CancelFunc
	load, transformers    sync.WaitGroup
	tails, watchers       sync.WaitGroup
	tailing               []*tail
}

// Times that clients wait. A server that hangs is given up early, so that the others get something to do.
const (
	requestOverhead = 5 * time.Second
	callTimeout     = 20 * time.Second
	// strayFor is for how long a request that was never answered may still be carried
	// out, by a server that hung or waited for its store.
	strayFor = 20 * time.Second
)

// Start makes the topics and lets the load and the readers loose. They run until
// Finish, or until the context ends.
func Start(ctx context.Context, config Config) (*Run, error) {
	all := append(config.Topics[:len(config.Topics):len(config.Topics)], Topic{Name: config.Output, Partitions: config.OutputPartitions})
	r := &Run{config: config, journal: newJournal(config.Strict, all)}
	for _, t := range config.Topics {
		r.written = append(r.written, r.journal.index[t.Name]...)
	}
	r.output = r.journal.index[config.Output]
	if err := r.createTopics(ctx, all); err != nil {
		return nil, err
	}
	loadCtx, stopLoad := context.WithCancel(ctx)
	readersCtx, stopReaders := context.WithCancel(ctx)
	r.stopLoad, r.stopReaders = stopLoad, stopReaders
	for i := range config.Writers {
		r.load.Go(func() { newWriter(r, i).live(loadCtx) })
	}
	for i := range config.Producers {
		r.load.Go(func() { (&plain{run: r, number: i}).live(loadCtx) })
	}
	for i := range config.Transformers {
		// They go on until the input is transformed.
		r.transformers.Go(func() { newTransformer(r, i).live(readersCtx) })
	}
	for i := range 3 {
		t := newTail(r, i > 0)
		r.tailing = append(r.tailing, t)
		r.tails.Go(func() { t.live(readersCtx) })
	}
	for _, committed := range []bool{true, false} {
		r.watchers.Go(func() { r.readAgainAndAgain(loadCtx, committed) })
		r.watchers.Go(func() { r.watch(loadCtx) })
	}
	r.watchers.Go(func() { r.watchOffsets(loadCtx) })
	return r, nil
}

// createTopics makes the topics, which must be new: the log is the run's alone.
func (r *Run) createTopics(ctx context.Context, topics []Topic) error {
	client, _, err := r.client("admin", nil)
	if err != nil {
		return err
	}
	defer client.Close()
	for _, t := range topics {
		if _, err := kadm.NewClient(client).CreateTopic(ctx, t.Partitions, 1, nil, t.Name); err != nil {
			return fmt.Errorf("create topic %s: %w", t.Name, err)
		}
	}
	return nil
}

// client returns a client that reaches the servers by a line of the name.
func (r *Run) client(name string, losses Losses, options ...kgo.Opt) (*kgo.Client, *line, error) {
	l := newLine(r.config.Seed, name, losses, &r.lost)
	c, err := kgo.NewClient(append(r.options(name, l), options...)...)
	return c, l, err
}

// options are those of all clients.
func (r *Run) options(name string, l *line) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(r.config.Bootstrap), kgo.ClientID(name), kgo.Dialer(l.dial),
		kgo.MetadataMinAge(100 * time.Millisecond), kgo.RequestTimeoutOverhead(requestOverhead), kgo.RetryTimeout(callTimeout),
		kgo.RetryBackoffFn(func(tries int) time.Duration {
			return min(time.Duration(tries)*20*time.Millisecond, 500*time.Millisecond)
		}),
	}
}

// Finish ends the load, waits until everything is decided, transformed and read, and returns
// what happened. Servers must all be up. Without an error everything was settled in time.
func (r *Run) Finish(ctx context.Context) (History, error) {
	ctx, cancel := context.WithTimeout(ctx, r.config.Settle)
	defer cancel()
	r.stopLoad()
	r.calm.Store(true)
	r.load.Wait()
	r.watchers.Wait()
	err := r.settle(ctx)
	r.stopReaders()
	r.transformers.Wait()
	r.tails.Wait()
	return r.journal.history(), err
}

// settle waits until nothing is open, and reads all of it with each isolation level.
func (r *Run) settle(ctx context.Context) error {
	w, err := r.newWatcher("settle")
	if err != nil {
		return err
	}
	defer w.client.Close()
	readAll := func(ctx context.Context, w *watcher) error {
		return errors.Join(r.readFromStart(ctx, w, true), r.readFromStart(ctx, w, false))
	}
	// The group writes as long as there is input, which must be decided first.
	for _, wait := range []struct {
		what string
		done func(context.Context, *watcher) error
	}{
		{"all transactions are decided", r.allDecided},
		{"everything is read", readAll},
		{"the group has transformed all input", r.allTransformed},
		{"the group's transactions are decided", r.allDecided},
		{"everything is read again", readAll},
		{"the tailing readers are at the end", func(context.Context, *watcher) error { return r.allTailed() }},
	} {
		for {
			err := wait.done(ctx, w)
			if err == nil {
				break
			}
			if !pause(ctx, 100*time.Millisecond) {
				return fmt.Errorf("not until %s: %w", wait.what, err)
			}
		}
		r.config.Logf("%v: %s", r.journal.now().Round(time.Millisecond), wait.what)
	}
	return nil
}

// pause waits for d, or returns false when the context has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// code is the error of a code, with what was asked.
func code(what string, c int16) error {
	if err := kerr.ErrorForCode(c); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
