package agent

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-log/wadi/metadata"
)

// startAgent runs an agent in this process, on ports of its own unless the config says where. It is stopped after the test.
func startAgent(t *testing.T, config Config) (a *Agent, ended <-chan error) {
	t.Helper()
	if config.KafkaListen == DefaultConfig().KafkaListen {
		config.KafkaListen = "127.0.0.1:0"
	}
	if config.HTTPListen == DefaultConfig().HTTPListen {
		config.HTTPListen = "127.0.0.1:0"
	}
	a, err := New(t.Context(), config, "v1.2.3", slog.New(slog.DiscardHandler), new(slog.LevelVar))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	over := make(chan struct{})
	go func() {
		defer close(over)
		done <- a.Run(ctx)
	}()
	t.Cleanup(func() { stop(); <-over })
	return a, done
}

// ask sends a request to the agent's HTTP listener, over a connection of its own.
func ask(t *testing.T, a *Agent, method, path string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+a.HTTPAddr()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// listAgents is GET /v1/agents.
func listAgents(t *testing.T, a *Agent) (list []ListedAgent) {
	t.Helper()
	status, body := ask(t, a, http.MethodGet, "/v1/agents")
	if err := json.Unmarshal([]byte(body), &list); status != http.StatusOK || err != nil {
		t.Fatalf("GET /v1/agents: %d, %v: %s", status, err, body)
	}
	return list
}

// TestDrainLeadsClientsElsewhereFirst drains one of two agents over HTTP. It goes on serving until
// the other one has left, too.
func TestDrainLeadsClientsElsewhereFirst(t *testing.T) {
	config := DefaultConfig()
	config.DataDir, config.DrainDelay = t.TempDir(), time.Hour
	config.Name, config.Zone = "first", "z1"
	first, _ := startAgent(t, config)
	config.Name = "second"
	second, ended := startAgent(t, config)

	list := listAgents(t, second)
	if len(list) != 2 || list[0].Self || !list[1].Self {
		t.Fatalf("the agents are %+v", list)
	}
	for i, want := range []string{"first", "second"} {
		l := list[i]
		if l.NodeID != int32(i+1) || l.Name != want || l.Zone != "z1" || l.State != metadata.Serving || l.Version != "v1.2.3" ||
			len(l.Listeners) != 1 || len(l.Roles) != 3 || l.Load.MemoryBytes < 1<<20 || time.Since(l.StartedAt) > time.Hour {
			t.Errorf("agent %d is %+v", i+1, l)
		}
	}

	if status, body := ask(t, second, http.MethodPost, "/v1/drain"); status != http.StatusAccepted {
		t.Fatalf("POST /v1/drain: %d: %s", status, body)
	}
	deadline := time.After(time.Minute)
	drains := func(a *Agent) bool {
		list := listAgents(t, a)
		return len(list) == 2 && list[1].State == metadata.Draining
	}
	for !drains(first) || !drains(second) {
		select {
		case err := <-ended:
			t.Fatalf("ended at once: %v", err)
		case <-deadline:
			t.Fatal("it is not seen as draining")
		case <-time.After(10 * time.Millisecond):
		}
	}
	if status, body := ask(t, second, http.MethodGet, "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz of a draining agent: %d: %s", status, body)
	}
	if status, body := ask(t, second, http.MethodGet, "/metrics"); status != http.StatusOK ||
		!strings.Contains(body, `wadi_agent_state{state="draining"} 1`) || !strings.Contains(body, `wadi_agents{state="serving"} 1`) {
		t.Errorf("/metrics of a draining agent: %d, without its state", status)
	}
	conn, err := net.Dial("tcp", second.KafkaAddr())
	if err != nil {
		t.Errorf("a draining agent takes no clients any more: %v", err)
	} else if err := conn.Close(); err != nil {
		t.Error(err)
	}

	if status, body := ask(t, first, http.MethodPost, "/v1/drain"); status != http.StatusAccepted {
		t.Fatalf("POST /v1/drain: %d: %s", status, body)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-deadline:
		t.Error("with nobody to take over, it goes on")
	}
}

func TestOnlyThisMachineDrains(t *testing.T) {
	drained := 0
	handler := newHTTP(func(context.Context) error { return nil }, http.NotFoundHandler(), func() { drained++ }, prometheus.NewRegistry()).Handler
	for _, c := range []struct {
		peer, to string
		header   [2]string
		allowed  bool
	}{
		{peer: "127.0.0.1:4321", allowed: true},
		{peer: "[::1]:4321", allowed: true},
		{peer: "[::ffff:127.0.0.1]:4321", allowed: true},
		{peer: "10.1.2.3:4321", to: "10.1.2.3:80", allowed: true},
		{peer: "10.1.2.3:4321", to: "[::ffff:10.1.2.3]:80", allowed: true},
		{peer: "[2001:db8::1]:4321", to: "[2001:db8::1]:80", allowed: true},
		{peer: "10.1.2.3:4321", to: "10.1.2.4:80"},
		{peer: "10.1.2.3:4321"},
		{peer: "[2001:db8::1]:4321", to: "10.1.2.3:80"},
		{},
		// Pages in a browser on this machine, of which the second has had its host's name lead here.
		{peer: "127.0.0.1:4321", header: [2]string{"Sec-Fetch-Site", "cross-site"}},
		{peer: "127.0.0.1:4321", header: [2]string{"Origin", "http://example.com"}},
	} {
		req := httptest.NewRequest(http.MethodPost, "http://example.com/v1/drain", nil)
		req.RemoteAddr = c.peer
		if c.to != "" {
			to := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.to))
			req = req.WithContext(context.WithValue(req.Context(), http.LocalAddrContextKey, to))
		}
		if c.header[0] != "" {
			req.Header.Set(c.header[0], c.header[1])
		}
		before, resp := drained, httptest.NewRecorder()
		handler.ServeHTTP(resp, req)
		want := http.StatusForbidden
		if c.allowed {
			want = http.StatusAccepted
		}
		if resp.Code != want || (drained > before) != c.allowed {
			t.Errorf("%+v: %d, drained: %v", c, resp.Code, drained > before)
		}
	}
}
