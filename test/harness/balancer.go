package harness

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Balancer is HAProxy before agents: it gives each connection to the next agent
// in turn, and asks a few times a second which of them are ready, in the way of deploy/haproxy.cfg.
type Balancer struct {
	t       testing.TB
	program string
	folder  string
	address string
	process *process
}

// NewBalancer chooses the balancer's address, which agents are to advertise
// ("--advertise="+Address()). It balances from [Balancer.Start] on, and is stopped
// after the test.
func NewBalancer(t testing.TB) *Balancer {
	t.Helper()
	program, err := findTool("haproxy")
	require(t, err)
	b := &Balancer{t: t, program: program}
	if b.folder, err = current.newFolder("haproxy"); err != nil {
		t.Fatal(err)
	}
	if b.address, err = freeAddress(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.process.kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of HAProxy:\n%s", logTail(b.logPath()))
		}
		if err := os.RemoveAll(b.folder); err != nil {
			t.Error(err)
		}
	})
	return b
}

// Address is where the balancer listens.
func (b *Balancer) Address() string { return b.address }

func (b *Balancer) logPath() string { return filepath.Join(b.folder, "log") }

// Start starts balancing over the agents, and returns when the balancer takes connections.
func (b *Balancer) Start(agents ...*AgentProcess) {
	b.t.Helper()
	config := filepath.Join(b.folder, "haproxy.cfg")
	if err := os.WriteFile(config, []byte(b.config(agents)), 0o600); err != nil {
		b.t.Fatal(err)
	}
	var err error
	// -db: in the foreground, a single process.
	if b.process, err = launch(exec.Command(b.program, "-db", "-f", config), b.logPath(), syscall.SIGKILL); err != nil {
		b.t.Fatal(err)
	}
	if err := poll(time.Minute, b.process, func() error {
		conn, err := net.Dial("tcp", b.address)
		if err != nil {
			return err
		}
		return conn.Close()
	}); err != nil {
		b.t.Fatalf("start HAProxy: %v\n%s", err, logTail(b.logPath()))
	}
}

// Ready returns when the balancer has found all agents ready: one that started again
// gets no connections before.
func (b *Balancer) Ready() {
	b.t.Helper()
	if err := poll(time.Minute, b.process, b.allUp); err != nil {
		b.t.Fatalf("HAProxy doesn't find all agents ready: %v\n%s", err, logTail(b.logPath()))
	}
}

// allUp asks HAProxy's management socket for its table of servers, of whose columns it needs the 2nd (svname) and the 18th (status).
func (b *Balancer) allUp() (err error) {
	conn, err := net.Dial("unix", b.socket())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := io.WriteString(conn, "show stat agents 4 -1\n"); err != nil {
		return err
	}
	table, err := csv.NewReader(conn).ReadAll()
	if err != nil {
		return err
	}
	if len(table) < 2 {
		return errors.New("HAProxy tells of no agent")
	}
	for _, row := range table[1:] {
		if name, status := row[1], row[17]; status != "UP" {
			return fmt.Errorf("%s is %q", name, status)
		}
	}
	return nil
}

func (b *Balancer) socket() string { return filepath.Join(b.folder, "stats") }

// config: timeouts longer than any Kafka request; a connection that an agent
// refuses goes to the next one; those of an agent that died or hangs end with it. An agent that says that it isn't ready keeps
// what it has, and gets no more (L7OKC). The check's patience is above what an agent takes to say that its store is away.
func (b *Balancer) config(agents []*AgentProcess) string {
	var s strings.Builder
	fmt.Fprintf(&s, `global
	maxconn 4000
	stats socket %s
defaults
	mode tcp
	timeout connect 2s
	timeout client 15m
	timeout server 15m
	timeout queue 5s
	timeout check 4s
	option redispatch 1
	retries 5
	default-server inter 100ms fall 2 rise 1 on-marked-down shutdown-sessions
frontend kafka
	bind %s
	default_backend agents
backend agents
	balance roundrobin
	option httpchk GET /readyz
	http-check expect status 200 error-status L7OKC
`, b.socket(), b.address)
	for i, a := range agents {
		fmt.Fprintf(&s, "\tserver agent%d %s check port %s\n", i, a.Bootstrap(), a.http[strings.LastIndexByte(a.http, ':')+1:])
	}
	return s.String()
}
