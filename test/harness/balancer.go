package harness

import (
	"fmt"
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
// in turn, and looks a few times a second which of them listen.
type Balancer struct {
	t       testing.TB
	program string
	folder  string
	address string
	process *process
	ready   bool // asks agents whether they are ready
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

// ByReadiness has the balancer ask agents whether they are ready (/readyz), as one in production does, and not only
// whether they listen: so it leaves out those that hang. It goes before Start.
func (b *Balancer) ByReadiness() { b.ready = true }

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

// config: timeouts longer than any Kafka request; a connection that an agent
// refuses goes to the next one; those of an agent that died end with it.
func (b *Balancer) config(agents []*AgentProcess) string {
	check, how := "inter 100ms fall 2 rise 1", ""
	if b.ready {
		check, how = "inter 250ms fall 2 rise 1", "\toption httpchk GET /readyz\n\ttimeout check 1s\n"
	}
	var s strings.Builder
	fmt.Fprintf(&s, `global
	maxconn 4000
defaults
	mode tcp
	timeout connect 2s
	timeout client 15m
	timeout server 15m
	timeout queue 5s
	option redispatch 1
	retries 5
	default-server %s on-marked-down shutdown-sessions
frontend kafka
	bind %s
	default_backend agents
backend agents
	balance roundrobin
%s`, check, b.address, how)
	for i, a := range agents {
		fmt.Fprintf(&s, "\tserver agent%d %s check", i, a.Bootstrap())
		if b.ready {
			fmt.Fprintf(&s, " port %s", a.http[strings.LastIndexByte(a.http, ':')+1:])
		}
		s.WriteString("\n")
	}
	return s.String()
}
