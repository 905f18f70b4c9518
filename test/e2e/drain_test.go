package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/test/harness"
)

// TestRollingRestartShowsNoErrorToApplications stops and starts each agent in turn, with SIGTERM, under
// clients of two libraries that produce and consume all the while. None of them may hear of it.
func TestRollingRestartShowsNoErrorToApplications(t *testing.T) {
	for _, balanced := range []bool{false, true} {
		name := "direct"
		if balanced {
			name = "behind a balancer"
		}
		t.Run(name, func(t *testing.T) {
			options := setups[1].options(t)
			options.Flags = append(options.Flags, "--drain-delay=2s")
			var agents []*harness.AgentProcess
			var bootstrap string
			if balanced {
				f := startFleet(t, options, 3)
				agents, bootstrap = f.agents, f.balancer.Address()
			} else {
				var seeds []string
				for range 3 {
					agents = append(agents, harness.Agent(t, options))
					seeds = append(seeds, agents[len(agents)-1].Bootstrap())
				}
				bootstrap = strings.Join(seeds, ",")
			}
			createTopic(t, agents[0].Bootstrap(), "ledger", 6)
			createTopic(t, agents[0].Bootstrap(), "lines", 1)

			seeds := strings.Split(bootstrap, ",")
			l, produced := &ledger{acked: map[string]int64{}}, producing(t)
			producer := client(t, kgo.SeedBrokers(seeds...), kgo.DefaultProduceTopic("ledger"), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(200))
			j := newJournal()
			member := join(t, j, bootstrap, "group", "ledger", kgo.SeedBrokers(seeds...))
			lines := startKcat(t, bootstrap, "lines")
			produced.start(func(ctx context.Context, i int) {
				<-time.After(time.Millisecond)
				producer.Produce(context.WithoutCancel(ctx), &kgo.Record{Key: fmt.Append(nil, i%64), Value: fmt.Append(nil, i)}, l.promise)
			})
			produced.start(func(_ context.Context, i int) { lines.write(i) })

			progress := func() {
				t.Helper()
				acked, read := l.count(), lines.read.Load()
				harness.Eventually(t, time.Minute, func() error {
					lines.alive()
					if now, lined := l.count(), lines.read.Load(); now <= acked+100 || lined <= read+5 {
						return fmt.Errorf("franz-go went from %d records to %d, and kcat from %d to %d", acked, now, read, lined)
					}
					return nil
				})
			}
			progress()
			for i, agent := range agents {
				if code := agent.Stop(); code != 0 {
					t.Errorf("agent %d ended with code %d", i, code)
				}
				progress()
				agent.Restart()
				progress()
			}

			produced.stop()
			if err := producer.Flush(t.Context()); err != nil {
				t.Error(err)
			}
			for _, err := range l.failed {
				t.Errorf("the producer was told: %v", err)
			}
			lines.finish()
			eventually(t, "the group has read everything", func() bool { return len(j.received()) >= l.count() })
			member.leave()
			j.mu.Lock()
			for _, problem := range j.problems {
				// The balancer of the tests looks at ports, not at /readyz: it gives new connections to a draining agent to
				// its end. franz-go tells a consumer of one that ends before its first answer, and goes on by itself.
				if balanced && strings.Contains(problem, "unable to join group session: broker closed the connection immediately") {
					t.Log(problem)
					continue
				}
				t.Error(problem)
			}
			j.mu.Unlock()
			checkLedger(t, l, readAll(t, agents[0].Bootstrap(), "ledger"))
			t.Logf("%d records by franz-go, %d by librdkafka", l.count(), lines.read.Load())
		})
	}
}

// producers call functions again and again until they are stopped.
type producers struct {
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func producing(t *testing.T) *producers {
	p := &producers{}
	p.ctx, p.cancel = context.WithCancel(t.Context())
	t.Cleanup(p.stop)
	return p
}

// start calls produce with 0, 1, 2 ... on and on.
func (p *producers) start(produce func(ctx context.Context, i int)) {
	p.done.Go(func() {
		for i := 0; p.ctx.Err() == nil; i++ {
			produce(p.ctx, i)
		}
	})
}

func (p *producers) stop() {
	p.cancel()
	p.done.Wait()
}

// kcatPair is two kcats, of which one produces numbered lines that the other one reads.
type kcatPair struct {
	t        *testing.T
	producer *exec.Cmd
	consumer *exec.Cmd
	in       io.WriteCloser
	written  int
	// What they printed beside records. Read it after they have ended.
	said, consumerSaid bytes.Buffer
	read               atomic.Int64
	// wrong holds what the consumer printed beside the numbers in their order.
	mu    sync.Mutex
	wrong []string
	gone  bool          // the producer
	ended chan struct{} // when the consumer has, with its error
	err   error
}

func startKcat(t *testing.T, bootstrap, topic string) *kcatPair {
	t.Helper()
	k := &kcatPair{t: t, ended: make(chan struct{})}
	k.producer = exec.Command(kcat(t), append(patient(), "-P", "-b", bootstrap, "-t", topic, "-p", "0", "-X", "enable.idempotence=true", "-X", "linger.ms=0")...)
	k.producer.Stdout, k.producer.Stderr = &k.said, &k.said
	k.consumer = exec.Command(kcat(t), append(patient(), "-C", "-u", "-b", bootstrap, "-t", topic, "-p", "0", "-o", "beginning")...)
	k.consumer.Stderr = &k.consumerSaid
	out, err := k.consumer.StdoutPipe()
	if err == nil {
		k.in, err = k.producer.StdinPipe()
	}
	if err := errors.Join(err, k.producer.Start(), k.consumer.Start()); err != nil {
		t.Fatal(err)
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); k.read.Add(1) {
			if want := strconv.FormatInt(k.read.Load(), 10); lines.Text() != want {
				k.mu.Lock()
				k.wrong = append(k.wrong, fmt.Sprintf("read %q where %s is next", lines.Text(), want))
				k.mu.Unlock()
			}
		}
		k.err = k.consumer.Wait()
		close(k.ended)
	}()
	t.Cleanup(func() {
		// One of both may have ended; what counts is that none is left.
		_ = k.producer.Process.Kill()
		_ = k.consumer.Process.Kill()
	})
	return k
}

// write gives the producer a line, at a pace that it keeps up with.
func (k *kcatPair) write(i int) {
	<-time.After(5 * time.Millisecond)
	if _, err := fmt.Fprintln(k.in, i); err != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.gone = true
		return
	}
	k.written = i + 1
}

// alive fails the test when one of them has ended, or was not told what it should be.
func (k *kcatPair) alive() {
	k.t.Helper()
	select {
	case <-k.ended:
		k.t.Fatalf("kcat -C ended early, after %d lines: %v: %s", k.read.Load(), k.err, &k.consumerSaid)
	default:
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone {
		k.t.Fatalf("kcat -P ended early: %v: %s", k.producer.Wait(), &k.said)
	}
	if len(k.wrong) > 0 {
		k.t.Fatal(strings.Join(k.wrong, "\n"))
	}
}

// finish ends both, and fails the test unless every line was delivered, read once, and in order.
func (k *kcatPair) finish() {
	k.t.Helper()
	if err := errors.Join(k.in.Close(), k.producer.Wait()); err != nil {
		k.t.Errorf("kcat -P: %v: %s", err, &k.said)
	}
	if strings.Contains(k.said.String(), "Delivery failed") {
		k.t.Errorf("kcat -P was told: %s", &k.said)
	}
	eventually(k.t, "kcat has read all lines", func() bool {
		k.alive()
		return k.read.Load() >= int64(k.written)
	})
	if err := k.consumer.Process.Kill(); err != nil {
		k.t.Error(err)
	}
	<-k.ended
	if strings.Contains(k.consumerSaid.String(), "ERROR: Topic") {
		k.t.Errorf("kcat -C was told: %s", &k.consumerSaid)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, wrong := range k.wrong {
		k.t.Error(wrong)
	}
}
