package soak

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Config says what to write and read.
type Config struct {
	// Bootstrap are the addresses of brokers.
	Bootstrap []string
	Seed      uint64
	// Rate is the bytes of values a second.
	Rate   int64
	Topics []Topic
	// Writers, Tails and CatchUps are numbers of clients. Each tail reads everything.
	Writers, Tails, CatchUps int
	// Patience is how long anything may take while agents die: to write or to read what is there.
	Patience time.Duration
}

// DefaultConfig has everything but addresses and seed.
func DefaultConfig() Config {
	return Config{
		Rate: 20 << 20, Topics: DefaultTopics(2*time.Minute, 2<<20), Writers: 4, Tails: 2, CatchUps: 2, Patience: 2 * time.Minute,
	}
}

// Run is a run of the load. Its methods are for one goroutine.
type Run struct {
	config   Config
	ledger   *ledger
	admin    *kgo.Client
	problems problems
	started  time.Time

	read, gaps, catchUps atomic.Int64

	writing, reading         sync.WaitGroup
	stopWriting, stopReading context.CancelFunc
	tails                    []*reader
	clients                  []*kgo.Client // of the writers and tails
	writtenFor               time.Duration
}

// Start creates the topics and begins. ctx bounds Start alone; Close ends what it began.
func Start(ctx context.Context, config Config) (_ *Run, err error) {
	r := &Run{config: config, ledger: newLedger(NewPayload(config.Seed), config.Topics), started: time.Now()}
	r.stopWriting, r.stopReading = func() {}, func() {}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	if r.admin, err = kgo.NewClient(r.clientOptions("soak-admin")...); err != nil {
		return nil, err
	}
	for _, topic := range config.Topics {
		if _, err := kadm.NewClient(r.admin).CreateTopic(ctx, topic.Partitions, -1, topic.configs(), topic.Name); err != nil {
			return nil, fmt.Errorf("create topic %s: %w", topic.Name, err)
		}
	}
	var writers []*writer
	for i := range config.Writers {
		w, err := r.newWriter(i)
		if err != nil {
			return nil, err
		}
		writers, r.clients = append(writers, w), append(r.clients, w.client)
	}
	for i := range config.Tails {
		from := map[*partition]int64{}
		for _, p := range r.ledger.partitions {
			from[p] = 0
		}
		tail, err := r.newReader(fmt.Sprint("soak-tail-", i), from)
		if err != nil {
			return nil, err
		}
		r.tails, r.clients = append(r.tails, tail), append(r.clients, tail.client)
	}
	background := context.WithoutCancel(ctx)
	var writing, reading context.Context
	writing, r.stopWriting = context.WithCancel(background)
	reading, r.stopReading = context.WithCancel(background)
	for _, w := range writers {
		r.writing.Go(func() { w.write(writing) })
	}
	for _, tail := range r.tails {
		r.reading.Go(func() { tail.tail(reading) })
	}
	for i := range config.CatchUps {
		r.reading.Go(func() { r.catchUp(reading, i) })
	}
	return r, nil
}

func (r *Run) clientOptions(id string) []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(r.config.Bootstrap...), kgo.ClientID(id), kgo.RetryTimeout(r.config.Patience), kgo.DialTimeout(2 * time.Second)}
}

// StopWriting ends the writers; what they have begun is acknowledged when it returns.
func (r *Run) StopWriting() {
	r.stopWriting()
	r.writtenFor = time.Since(r.started)
	r.writing.Wait()
}

// Finish has the tails read up to the end and everything that is left read once more
// from the start. StopWriting goes before it.
func (r *Run) Finish(ctx context.Context) {
	to, from := map[*partition]int64{}, map[*partition]int64{}
	for _, p := range r.ledger.partitions {
		acked, sent := p.ends()
		if acked != sent {
			r.problems.add(fmt.Errorf("%v: %d of %d records are not acknowledged", p, sent-acked, sent))
		}
		to[p], from[p] = acked, 0
	}
	limit, cancel := context.WithTimeout(ctx, r.config.Patience)
	defer cancel()
	for _, tail := range r.tails {
		var err error
		for {
			if err = tail.arrived(limit, to); err == nil || limit.Err() != nil {
				break
			}
			pause(limit, 100*time.Millisecond)
		}
		if err != nil {
			r.problems.add(fmt.Errorf("%s: %w: %w", tail.name, errStuck, err))
		}
	}
	again, err := r.newReader("soak-again", from)
	if err == nil {
		err = again.readTo(ctx, to)
	}
	if err != nil {
		r.problems.add(err)
	}
}

// Close ends everything.
func (r *Run) Close() {
	r.stopWriting()
	r.stopReading()
	for _, client := range r.clients {
		client.Close()
	}
	r.writing.Wait()
	r.reading.Wait()
	if r.admin != nil {
		r.admin.Close()
	}
}

// Problems returns the rules that were broken; the first ones, if there are many.
func (r *Run) Problems() []error { return r.problems.list() }

// Kept returns how many bytes of values lie behind the log starts of all partitions, and up to a
// second's worth of each more.
func (r *Run) Kept(ctx context.Context) (bytes int64, err error) {
	starts, err := r.logStarts(ctx, r.ledger.partitions)
	if err != nil {
		return 0, err
	}
	for p, start := range starts {
		p.mu.Lock()
		if start < p.sent {
			before, _ := p.at(start)
			bytes += p.bytes - before.bytes
		}
		p.mu.Unlock()
	}
	return bytes, nil
}

// Report says what happened in a run.
type Report struct {
	Took                 time.Duration
	Written, Bytes       int64
	Read, Gaps, CatchUps int64
}

// Report counts what happened so far.
func (r *Run) Report() Report {
	report := Report{Took: r.writtenFor, Read: r.read.Load(), Gaps: r.gaps.Load(), CatchUps: r.catchUps.Load()}
	if report.Took == 0 {
		report.Took = time.Since(r.started)
	}
	for _, p := range r.ledger.partitions {
		p.mu.Lock()
		report.Written += p.acked
		report.Bytes += p.bytes
		p.mu.Unlock()
	}
	return report
}

func (r Report) String() string {
	return fmt.Sprintf("%d records (%.1f MB/s) written in %v, %d read and checked, %d of them behind others that were gone, %d catch-up reads",
		r.Written, float64(r.Bytes)/1e6/r.Took.Seconds(), r.Took.Round(time.Second), r.Read, r.Gaps, r.CatchUps)
}

// maxProblems is the number of problems that are kept: one fault shows in many reads, and another one must be seen among them.
const maxProblems = 1000

type problems struct {
	mu    sync.Mutex
	found []error
	more  int
}

func (p *problems) add(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.found) < maxProblems {
		p.found = append(p.found, err)
	} else {
		p.more++
	}
}

func (p *problems) list() []error {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := slices.Clone(p.found)
	if p.more > 0 {
		found = append(found, errors.New(fmt.Sprint(p.more, " more problems")))
	}
	return found
}
